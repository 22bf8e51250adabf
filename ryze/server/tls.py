"""TLS of the port: the server context, and the handshake of one connection."""

import ssl
from pathlib import Path

import structlog
import trio

from ryze.errors import StartError

__all__ = ["Stream", "load_tls_context", "start_tls"]

# A connection of the port, with or without TLS.
Stream = trio.SocketStream | trio.SSLStream[trio.SocketStream]

_log = structlog.get_logger("ryze.http")


def load_tls_context(certificate: Path | None, key: Path | None) -> ssl.SSLContext | None:
    """Load certificate chain and private key; None without them: the port speaks plain HTTP.

    Raises:
        StartError: a file cannot be read, or the key is not that of the certificate.
    """
    if certificate is None or key is None:
        return None
    context = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
    # No HTTP/2: browsers would tunnel WebSockets through it.
    context.set_alpn_protocols(["http/1.1"])
    try:
        context.load_cert_chain(certificate, key)
    except (OSError, ssl.SSLError) as error:
        raise StartError(
            f"RYZE_TLS_CERT and RYZE_TLS_KEY are not a certificate and its key: {error}"
        ) from error
    return context


async def start_tls(
    stream: trio.SocketStream, context: ssl.SSLContext, deadline: float, peer: str
) -> Stream | None:
    """Perform the TLS handshake with one peer; None if it fails. Cancelling it ends the connection.

    Args:
        stream: the connection.
        context: certificate and key.
        deadline: for the TLS handshake, on Trio's clock.
        peer: address, for the log.
    """
    secured = trio.SSLStream(stream, context, server_side=True, https_compatible=True)
    try:
        with trio.fail_at(deadline):
            await secured.do_handshake()
    except trio.TooSlowError:
        _log.debug("TLS handshake failed", client=peer, reason="timeout")
        return None
    except trio.BrokenResourceError as error:
        cause = str(error.__cause__ or error)
        _log.debug("TLS handshake failed", client=peer, reason="handshake_error", error=cause)
        return None
    return secured
