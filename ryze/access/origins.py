"""Origins of web pages that may call the API or open a WebSocket, and the CORS headers for them.

Theory. A browser hides a response from a page of another origin unless its headers name that
origin, and before most requests it asks for permission: the preflight (`ryze.api.cors`). Both need
the setting ``RYZE_ALLOWED_ORIGINS``; without it only pages of our own origin are served. Upgrades
are not subject to CORS, so the server checks their origin itself (RFC 6455, section 10.2).

Tokens are sent by the page, in a header that only a preflight permits, never by the browser itself:
there are no cookies and no credentials, so a foreign page has nothing to abuse.
"""

from collections.abc import Collection

__all__ = ["cors_headers", "is_allowed", "is_same_origin"]

_EXPOSED_HEADERS = "X-RateLimit-Limit, X-RateLimit-Remaining, X-RateLimit-Reset, Retry-After"


def is_allowed(origin: str, allowed: Collection[str]) -> bool:
    """Is the origin in the setting? Compared without case; the setting is in lower case."""
    return "*" in allowed or origin.lower() in allowed


def is_same_origin(origin: str, host: str) -> bool:
    """Is the origin that of our own pages, under whatever scheme?"""
    # Not urlsplit: it raises for some values that a client can send.
    return origin.lower().partition("://")[2] == host.lower()


def cors_headers(origin: str, allowed: Collection[str]) -> dict[str, str]:
    """Return the CORS headers of a response, errors included.

    Args:
        origin: of the page that asks; empty if the request names none.
        allowed: the origins of the setting.
    """
    if "*" in allowed:
        return {
            "Access-Control-Allow-Origin": "*",
            "Access-Control-Expose-Headers": _EXPOSED_HEADERS,
        }
    # Also if the request names no origin, or a cache would serve that response to a page.
    vary = {"Vary": "Origin"} if allowed else {}
    if not is_allowed(origin, allowed):
        return vary
    return {
        "Access-Control-Allow-Origin": origin,
        "Access-Control-Expose-Headers": _EXPOSED_HEADERS,
        **vary,
    }
