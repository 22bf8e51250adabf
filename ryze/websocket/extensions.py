"""Negotiation of extensions: permessage-deflate, or none.

Grammar: RFC 6455, section 9.1; parameters: RFC 7692, section 7.1. The agreed extension has no
context takeover and the full server window, so that one compressed frame fits every subscriber: an
offer that requires a smaller server window is declined, and the next one considered.
"""

import re
from typing import NamedTuple

__all__ = ["Offer", "agree", "parse_offers"]

_DEFLATE = "permessage-deflate"
_NO_CONTEXT_TAKEOVER = ("server_no_context_takeover", "client_no_context_takeover")
_WINDOW_BITS = frozenset(map(str, range(8, 16)))
_FULL_WINDOW = "15"

# Token and quoted-string of RFC 9110, section 5.6; the quoted text must be a token too.
_TCHAR = r"[!#$%&'*+\-.^_`|~0-9A-Za-z]"
_WS = r"[ \t]*+"
_QUOTED = rf'"(?:\\?{_TCHAR})++"'
# No possessive repetition of groups: Python 3.11 fails on some of them.
_PARAMETER = rf"{_WS};{_WS}{_TCHAR}++(?:{_WS}={_WS}(?:{_TCHAR}++|{_QUOTED}))?+"
# One offer with the comma after it; lists may have empty elements (RFC 9110, section 5.6.1).
_offer = re.compile(rf"{_WS}(?:({_TCHAR}++)((?:{_PARAMETER})*+){_WS})?(?:,|\Z)")
_parameter = re.compile(rf"({_TCHAR}++)(?:{_WS}={_WS}({_TCHAR}++|{_QUOTED}))?")


class Offer(NamedTuple):
    """One extension that a client offers.

    Args:
        name: of the extension.
        parameters: name and value, in order; None: without a value.
    """

    name: str
    parameters: list[tuple[str, str | None]]


def parse_offers(text: str) -> list[Offer]:
    """Parse the ``Sec-WebSocket-Extensions`` of a request, in the client's order.

    Raises:
        ValueError: invalid grammar; the handshake must fail (RFC 6455, section 9.1).
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
    """Return the first acceptable offer as the response names it; None if there is none."""
    for name, parameters in offers:
        if name == _DEFLATE and _is_acceptable_offer(parameters):
            window = [f"{key}={value}" for key, value in parameters if key.startswith("server_max")]
            return "; ".join((name, *_NO_CONTEXT_TAKEOVER, *window))
    return None


def _parameters(text: str) -> list[tuple[str, str | None]]:
    return [
        (name, value.strip('"').replace("\\", "") or None)
        for name, value in _parameter.findall(text)
    ]


def _is_acceptable_offer(parameters: list[tuple[str, str | None]]) -> bool:
    """Are all parameters known, unique and valid?"""
    names = {name for name, _ in parameters}
    return len(names) == len(parameters) and all(
        _is_acceptable_parameter(*each) for each in parameters
    )


def _is_acceptable_parameter(name: str, value: str | None) -> bool:
    match name:
        case "server_no_context_takeover" | "client_no_context_takeover":
            return value is None
        case "server_max_window_bits":
            return value == _FULL_WINDOW
        case "client_max_window_bits":
            # The response names no client window, so the client may use any up to 15 bits.
            return value is None or value in _WINDOW_BITS
    return False
