"""Masking of secrets: tokens, keys and passwords in whatever is logged or shown.

Callers leave secrets out of log lines; this is the second line of defence. It masks too much
rather than too little: values under secret keys at any depth, and tokens inside texts, tracebacks
included.
"""

import re
from collections.abc import Mapping
from typing import Any
from urllib.parse import unquote_plus

__all__ = [
    "MASK",
    "mask",
    "mask_fields",
    "mask_query",
    "mask_text",
    "mask_url_password",
    "may_contain_secret",
]

#: Shown in place of a secret.
MASK = "***"

# Every `name=value` pair in a URL or a form. All of them are matched, as the name may be
# percent-encoded: `%74oken` is a token to every server. The value ends at the next `&` or white
# space and may contain quotes, since a token can have any other printable character.
_PAIR = re.compile(r"(?<![\w%.+-])[\w%.+-]+=[^&\s]+")
# `"token": "..."` in JSON or in a repr, escaped once more or not, and a pair of a header list.
_QUOTED = re.compile(r"""(token\\*["']\s*[:,]\s*)\S+""", re.I)
# `token: ...` in a request head.
_HEADER = re.compile(r"(token\s*:\s*)\S+", re.I)
# `Authorization: Basic ...`, in a head or quoted: the rest of the line, as it contains spaces.
_AUTHORIZATION = re.compile(r"""(authorization\\*["']?\s*[:,=]\s*)[^\r\n]+""", re.I)
_BEARER = re.compile(r"(\bbearer\s+)\S+", re.I)

# `user:password@`, with or without a scheme; up to the last `@`, as a password can contain any
# character.
_USERINFO = re.compile(r"^([^:]*://[^:@]*|[^:@]*):(?!//).*@", re.DOTALL)
_PASSWORD_PARAMETER = re.compile(r"(?i)([?&][^=&]*passw[^=&]*=)[^&]*")

# A text without any of these contains nothing that `mask_text` would mask.
_TRIGGERS = ("=", "token", "authorization", "bearer", "encryption_key")


def mask(secret: str) -> str:
    """Return `MASK`, or nothing for an empty text: whether a secret is set is not a secret."""
    return MASK if secret else ""


def mask_url_password(url: str) -> str:
    """Mask the password of a URL: in its user info, and in parameters such as ``password``.

    Made for database URLs, malformed ones included.
    """
    masked = _USERINFO.sub(rf"\1:{MASK}@", url)
    return _PASSWORD_PARAMETER.sub(rf"\1{MASK}", masked)


def mask_query(target: str) -> str:
    """Mask the tokens in the query of a request target."""
    path, mark, query = target.partition("?")
    return path + mark + "&".join(_mask_parameter(part) for part in query.split("&"))


def mask_text(text: str) -> str:
    """Mask the tokens inside a text: URLs, request heads, JSON, reprs, tracebacks."""
    text = _PAIR.sub(lambda pair: _mask_parameter(pair[0]), text)
    for pattern in (_AUTHORIZATION, _BEARER, _QUOTED, _HEADER):
        text = pattern.sub(rf"\1{MASK}", text)
    return text


def mask_fields(fields: Mapping[str, Any]) -> dict[str, Any]:
    """Mask the fields of a log line, at any depth.

    The result contains only plain values, lists and dicts; other objects become their repr.
    """
    return {name: _mask_value(name, value) for name, value in fields.items()}


def may_contain_secret(text: str) -> bool:
    """Could `mask_text` change this text? A quick check, with false positives.

    True for any text that is not ASCII: ignoring case, the patterns match other letters than
    ours, such as a dotless i.
    """
    lower = text.lower()
    return not text.isascii() or any(trigger in lower for trigger in _TRIGGERS)


def _is_secret_name(name: str) -> bool:
    lower = name.lower()
    return lower.endswith("token") or lower in ("authorization", "encryption_key")


def _mask_parameter(parameter: str) -> str:
    name, equals, value = parameter.partition("=")
    # A value can be a URL again, with a token of its own.
    is_secret = _is_secret_name(unquote_plus(name)) or "token" in unquote_plus(value).lower()
    return f"{name}={MASK}" if equals and is_secret else parameter


def _mask_value(name: str, value: Any) -> Any:
    if _is_secret_name(name):
        return MASK
    match value:
        case str():
            return mask_text(value)
        case None | bool() | int() | float():
            return value
        case Mapping():
            return {str(key): _mask_value(str(key), each) for key, each in value.items()}
        case list() | tuple() | set() | frozenset():
            return [_mask_value("", each) for each in value]
        case _:
            return mask_text(repr(value))
