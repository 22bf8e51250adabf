"""Transports; the fakes of the other tests must behave like the real ones."""

import socket
import ssl
from collections.abc import AsyncIterator, Callable
from contextlib import AbstractAsyncContextManager, asynccontextmanager, suppress
from dataclasses import dataclass
from functools import partial

import pytest
import trio
import trustme
from trio.testing import wait_all_tasks_blocked

from ryze.hub.transport import Transport
from ryze.server.transports import SocketTransport, StreamTransport
from tests.fakes import FakeTransport, PieceTransport


class FakePeer:
    """The peer of a fake transport."""

    def __init__(self, transport: FakeTransport) -> None:
        self._transport = transport
        self._seen = 0

    async def receive(self) -> bytes:
        self._transport.read(65536)
        await wait_all_tasks_blocked()
        data = bytes(self._transport.taken[self._seen :])
        self._seen += len(data)
        return data

    async def send(self, data: bytes) -> None:
        self._transport.feed(data)

    async def send_eof(self) -> None:
        self._transport.feed_eof()

    async def reset(self) -> None:
        self._transport.fail()


class StreamPeer:
    """The peer of a real stream."""

    def __init__(self, stream: trio.SocketStream | trio.SSLStream[trio.SocketStream]) -> None:
        self._stream = stream

    async def receive(self) -> bytes:
        return bytes(await self._stream.receive_some(65536))

    async def send(self, data: bytes) -> None:
        await self._stream.send_all(data)

    async def send_eof(self) -> None:
        socket_stream = _socket_stream(self._stream)
        socket_stream.socket.shutdown(socket.SHUT_WR)

    async def reset(self) -> None:
        socket_stream = _socket_stream(self._stream)
        socket_stream.socket.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, b"\1\0\0\0\0\0\0\0")
        socket_stream.socket.close()


def _socket_stream(
    stream: trio.SocketStream | trio.SSLStream[trio.SocketStream],
) -> trio.SocketStream:
    return stream.transport_stream if isinstance(stream, trio.SSLStream) else stream


@dataclass
class Wire:
    transport: Transport
    peer: FakePeer | StreamPeer
    # Cancelling wait_writable() leaves the transport usable.
    survives_cancel: bool = True


async def _loopback() -> tuple[trio.SocketStream, trio.SocketStream]:
    (listener,) = await trio.open_tcp_listeners(0, host="127.0.0.1")
    async with listener:
        client = await trio.open_tcp_stream(*listener.socket.getsockname())
        return await listener.accept(), client


@asynccontextmanager
async def fake() -> AsyncIterator[Wire]:
    transport = FakeTransport(100_000)
    yield Wire(transport, FakePeer(transport))


@asynccontextmanager
async def fake_pieces() -> AsyncIterator[Wire]:
    transport = PieceTransport(100_000)
    yield Wire(transport, FakePeer(transport))


@asynccontextmanager
async def tcp() -> AsyncIterator[Wire]:
    server, client = await _loopback()
    transport = SocketTransport(server)
    async with client:
        try:
            yield Wire(transport, StreamPeer(client))
        finally:
            transport.close()


@asynccontextmanager
async def tls() -> AsyncIterator[Wire]:
    server, client = await _loopback()
    authority = trustme.CA()
    server_context = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
    authority.issue_cert("localhost").configure_cert(server_context)
    client_context = ssl.create_default_context()
    authority.configure_trust(client_context)
    secured = trio.SSLStream(server, server_context, server_side=True, https_compatible=True)
    peer = trio.SSLStream(
        client, client_context, server_hostname="localhost", https_compatible=True
    )
    async with trio.open_nursery() as nursery:
        nursery.start_soon(secured.do_handshake)
        nursery.start_soon(peer.do_handshake)
    transport = StreamTransport(secured)
    async with client:
        try:
            yield Wire(transport, StreamPeer(peer), survives_cancel=False)
        finally:
            transport.close()


MakeWire = Callable[[], AbstractAsyncContextManager[Wire]]
every_wire = pytest.mark.parametrize("make", [fake, fake_pieces, tcp, tls])


async def _send_all(transport: Transport, data: bytes, *, interrupted: bool = False) -> None:
    """Send as every user of a transport does."""
    rest = memoryview(data)
    while rest:
        taken = transport.send_nowait(rest)
        assert 0 <= taken <= len(rest)
        rest = rest[taken:]
        assert transport.committed <= len(rest)
        if interrupted:
            with trio.move_on_after(0):
                await transport.wait_writable()
        if rest:
            await transport.wait_writable()
    assert transport.committed == 0


@every_wire
async def test_all_bytes_arrive_in_order(make: MakeWire) -> None:
    data = bytes(range(256)) * 40_000
    received = bytearray()
    async with make() as wire, trio.open_nursery() as nursery:
        nursery.start_soon(_send_all, wire.transport, data)
        while len(received) < len(data):
            received += await wire.peer.receive()
    assert received == data


@every_wire
async def test_full_transport_takes_nothing_until_the_peer_reads(
    make: MakeWire,
) -> None:
    async with make() as wire, trio.open_nursery() as nursery:
        nursery.start_soon(_send_all, wire.transport, bytes(20_000_000))
        await wait_all_tasks_blocked()
        assert wire.transport.send_nowait(bytes(16384)) == 0
        received = 0
        while received < 20_000_000:
            received += len(await wire.peer.receive())


# With TLS a cancelled wait ends the connection, as documented.
@pytest.mark.parametrize("make", [fake, fake_pieces, tcp])
async def test_cancelled_wait_loses_nothing(make: MakeWire) -> None:
    async with make() as wire:
        data = bytes(range(250)) * 20_000
        received = bytearray()
        async with trio.open_nursery() as nursery:
            nursery.start_soon(partial(_send_all, wire.transport, data, interrupted=True))
            while len(received) < len(data):
                received += await wire.peer.receive()
        assert received == data


@every_wire
async def test_bytes_are_received_until_the_end_of_the_peer(make: MakeWire) -> None:
    async with make() as wire:
        with trio.move_on_after(0):
            await wire.transport.receive_some()
        await wire.peer.send(b"hello")
        data = b""
        while len(data) < 5:
            data += await wire.transport.receive_some()
        assert data == b"hello"
        await wire.peer.send_eof()
        if wire.survives_cancel:
            assert await wire.transport.receive_some() == b""


@every_wire
async def test_lost_connection_raises_os_error(make: MakeWire) -> None:
    async with make() as wire:
        await wire.peer.reset()
        with pytest.raises(OSError):  # noqa: PT011 - that is the contract
            await _send_all(wire.transport, bytes(100_000_000))
        # The system reports the reset once, then an ordinary end.
        with suppress(OSError):
            assert await wire.transport.receive_some() == b""


@every_wire
async def test_closing_and_aborting_are_idempotent(make: MakeWire) -> None:
    async with make() as wire:
        wire.transport.close()
        wire.transport.abort()
        wire.transport.close()
    async with make() as wire:
        wire.transport.abort()
        wire.transport.close()


@every_wire
async def test_sending_after_close_raises_os_error(make: MakeWire) -> None:
    async with make() as wire:
        wire.transport.close()
        with pytest.raises(OSError):  # noqa: PT011
            await _send_all(wire.transport, b"late")


async def test_eof_reaches_the_peer_and_abort_resets_the_connection() -> None:
    async with tcp() as wire:
        wire.transport.send_nowait(b"bye")
        wire.transport.send_eof()
        assert await wire.peer.receive() == b"bye"
        assert await wire.peer.receive() == b""
        await wire.peer.send(b"still there")
        assert await wire.transport.receive_some() == b"still there"
    async with tcp() as wire:
        wire.transport.abort()
        with pytest.raises(trio.BrokenResourceError):
            await wire.peer.receive()


async def test_spurious_readability_is_waited_out(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    wait_readable = trio.lowlevel.wait_readable
    calls = []

    async def too_early(sock: socket.socket) -> None:
        calls.append(sock)
        if len(calls) > 1:
            await wait_readable(sock)

    async with tcp() as wire, trio.open_nursery() as nursery:
        monkeypatch.setattr(trio.lowlevel, "wait_readable", too_early)
        nursery.start_soon(wire.peer.send, b"late")
        assert await wire.transport.receive_some() == b"late"
        assert len(calls) >= 2


async def test_tls_ignores_eof_and_can_be_aborted() -> None:
    async with tls() as wire:
        wire.transport.send_eof()
        await _send_all(wire.transport, b"still open")
        assert await wire.peer.receive() == b"still open"
        wire.transport.abort()
        with pytest.raises(trio.BrokenResourceError):
            await wire.peer.receive()


async def test_tls_record_is_taken_once_all_of_it_is_sent() -> None:
    async with tls() as wire:
        transport = wire.transport
        assert transport.send_nowait(bytes(20_000)) == 0
        assert transport.committed == 16384
        assert transport.send_nowait(bytes(20_000)) == 0
        await transport.wait_writable()
        assert transport.committed == 16384
        assert transport.send_nowait(bytes(20_000)) == 16384
        assert transport.committed == 0
        await transport.wait_writable()
