"""The client's address behind reverse proxies (``X-Forwarded-For``).

Theory. Each proxy appends the address of its own peer, so the list reads from the client to us,
and its left part is whatever the client has made up. Only entries appended by a trusted proxy are
true: so we walk from our peer to the left while the addresses are trusted; the first one that is
not is the client. Without trusted proxies the headers mean nothing.
"""

import re
from collections.abc import Sequence
from ipaddress import IPv4Address, IPv4Network, IPv6Address, IPv6Network, ip_address

__all__ = ["TrustedProxies"]

# Some proxies append the port, and with it the brackets of IPv6.
_WITH_PORT = re.compile(r"\[(?P<ipv6>[^\]]*)\](?::\d+)?|(?P<ipv4>[^:]*):\d+")

# No deployment has more proxies in a row; entries further left are not read.
_MAX_HOPS = 16


class TrustedProxies:
    """The networks of our proxies, whose forwarding headers are believed.

    Args:
        networks: of the proxies.
    """

    def __init__(self, networks: Sequence[IPv4Network | IPv6Network]) -> None:
        self._networks = tuple(networks)

    def trusts(self, peer: str) -> bool:
        """Is this the address of a trusted proxy?"""
        address = _parse_address(peer)
        return address is not None and self._trusts(address)

    def client(self, peer: str, forwarded_for: str) -> str:
        """Return the address of the client.

        Args:
            peer: address of the TCP peer.
            forwarded_for: all ``X-Forwarded-For`` headers of the request, joined by commas.
        """
        client = _parse_address(peer)
        if client is None:
            return peer
        if self._networks and forwarded_for:
            for entry in reversed(forwarded_for.rsplit(",", _MAX_HOPS)[-_MAX_HOPS:]):
                # An invalid entry comes from a client that a trusted proxy let through: the best
                # known address is that of the proxy.
                if not self._trusts(client) or (previous := _parse_address(entry)) is None:
                    break
                client = previous
        return str(client)

    def _trusts(self, address: IPv4Address | IPv6Address) -> bool:
        return any(address in network for network in self._networks)


def _parse_address(text: str) -> IPv4Address | IPv6Address | None:
    """Parse an address with or without port; IPv4-mapped IPv6 becomes IPv4, invalid text None."""
    text = text.strip()
    match = _WITH_PORT.fullmatch(text)
    try:
        address = ip_address(match["ipv6"] or match["ipv4"] if match else text)
    except ValueError:
        return None
    return (address.version == 6 and address.ipv4_mapped) or address
