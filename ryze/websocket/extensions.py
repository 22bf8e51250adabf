"""Which extensions a client offers, and what we agree on: permessage-deflate, or nothing.

The grammar is that of RFC 6455, section 9.1; the parameters those of RFC 7692, section 7.1. What
is agreed on has no context takeover and our full window, so that one compressed frame fits every
client: an offer that asks us for a smaller window is declined, and the next one looked at.
"""

import re
from typing import NamedTuple

__all__ = ["Offer", "agree", "parse_offers"]

_DEFLATE = "permessage-deflate"
_NO_CONTEXT_TAKEOVER = ("server_no_context_takeover", "client_no_context_takeover")
_WINDOW_BITS = frozenset(map(str, range(8, 16)))
_FULL_WINDOW = "15"

# Token and quoted-string of RFC 9110, section 5.6; what is quoted must be a token too.
_TCHAR = r"[!#$%&'*+\-.^_`|~0-9A-Za-z]"
_WS = r"[ \t]*+"
_QUOTED = rf'"(?:\\?{_TCHAR})++"'
# No groups that are repeated possessively: Python 3.11 fails on some of those.
_PARAMETER = rf"{_WS};{_WS}{_TCHAR}++(?:{_WS}={_WS}(?:{_TCHAR}++|{_QUOTED}))?+"
# One offer and the comma behind it; or none, which a list may have between its commas.
_offer = re.compile(rf"{_WS}(?:({_TCHAR}++)((?:{_PARAMETER})*+){_WS})?(?:,|\Z)")
_parameter = re.compile(rf"({_TCHAR}++)(?:{_WS}={_WS}({_TCHAR}++|{_QUOTED}))?")


class Offer(NamedTuple):
    """One extension that a client offers.

    Args:
        name: of the extension.
        parameters: name and value in their order; None where there is no value.
    """

    name: str
    parameters: list[tuple[str, str | None]]


def parse_offers(text: str) -> list[Offer]:
    """What a ``Sec-WebSocket-Extensions`` of a request says, in the client's order.

    Raises:
        ValueError: this is not its grammar, so the handshake must fail (RFC 6455, section 9.1).
    """
    offers: list[Offer] = []
    position = 0
    while position < len(text):
        match = _offer.match(text, position)
        if match is None:
            raise ValueError("not a list of extensions")
        if match[1]:
            offers.append(Offer(match[1], _parameters(match[2])))
        position = match.end()
    return offers


def agree(offers: list[Offer]) -> str | None:
    """The first offer that we can keep, as our answer names it; None if there is none."""
    for name, parameters in offers:
        if name == _DEFLATE and _can_keep(parameters):
            window = [f"{key}={value}" for key, value in parameters if key.startswith("server_max")]
            return "; ".join((name, *_NO_CONTEXT_TAKEOVER, *window))
    return None


def _parameters(text: str) -> list[tuple[str, str | None]]:
    return [
        (name, value.strip('"').replace("\\", "") or None)
        for name, value in _parameter.findall(text)
    ]


def _can_keep(parameters: list[tuple[str, str | None]]) -> bool:
    """No parameter is unknown, stands twice, or has a value that is none."""
    names = {name for name, _ in parameters}
    return len(names) == len(parameters) and all(_is_acceptable(*each) for each in parameters)


def _is_acceptable(name: str, value: str | None) -> bool:
    match name:
        case "server_no_context_takeover" | "client_no_context_takeover":
            return value is None
        case "server_max_window_bits":
            return value == _FULL_WINDOW
        case "client_max_window_bits":
            # We never name a window for it, so it compresses with any up to 15 bits.
            return value is None or value in _WINDOW_BITS
    return False
