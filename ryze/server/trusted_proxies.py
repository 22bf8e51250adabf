"""Who is at the other end when proxies stand between us (``X-Forwarded-For``, ``-Proto``).

Theory. Each proxy appends the address that it was called from, so the list reads from the client
to us, and its left part is whatever the client has made up. Only what a proxy of ours has added is
true: so we walk from our peer to the left for as long as those we meet are trusted, and who is
met then is the client. Without trusted proxies the headers mean nothing.
"""

import re
from collections.abc import Sequence
from ipaddress import IPv4Address, IPv4Network, IPv6Address, IPv6Network, ip_address

__all__ = ["TrustedProxies"]

# Some proxies add the port, and with it the brackets of IPv6.
_DRESSED = re.compile(r"\[(?P<ipv6>[^\]]*)\](?::\d+)?|(?P<ipv4>[^:]*):\d+")

# More proxies than anybody has in a row; what is said behind them is not looked at.
_MAX_HOPS = 16


class TrustedProxies:
    """The addresses whose word on their own client counts.

    Args:
        networks: those of our proxies.
    """

    def __init__(self, networks: Sequence[IPv4Network | IPv6Network]) -> None:
        self._networks = tuple(networks)

    def trusts(self, peer: str) -> bool:
        """Is this one of our proxies?"""
        address = _address(peer)
        return address is not None and self._trusts(address)

    def client(self, peer: str, forwarded_for: str) -> str:
        """The address of the client.

        Args:
            peer: who has connected to us.
            forwarded_for: the ``X-Forwarded-For`` of the request, all of them joined by commas.
        """
        client = _address(peer)
        if client is None:
            return peer
        if self._networks and forwarded_for:
            for entry in reversed(forwarded_for.rsplit(",", _MAX_HOPS)[-_MAX_HOPS:]):
                # What cannot be read was said by someone whom a proxy of ours has let through:
                # the client is where that proxy stands, as far as we can know.
                if not self._trusts(client) or (before := _address(entry)) is None:
                    break
                client = before
        return str(client)

    def _trusts(self, address: IPv4Address | IPv6Address) -> bool:
        return any(address in network for network in self._networks)


def _address(text: str) -> IPv4Address | IPv6Address | None:
    """The address in a text, an IPv4 one never in the clothes of IPv6; None if there is none."""
    text = text.strip()
    dressed = _DRESSED.fullmatch(text)
    try:
        address = ip_address(dressed["ipv6"] or dressed["ipv4"] if dressed else text)
    except ValueError:
        return None
    return (address.version == 6 and address.ipv4_mapped) or address
