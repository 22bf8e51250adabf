"""Serializer for schemathesis: NDJSON from an array of events."""

import json
from typing import Any

import schemathesis


@schemathesis.serializer("application/x-ndjson")
def serialize_ndjson(context: object, value: Any) -> Any:
    """One item per line; other values are sent unchanged."""
    if isinstance(value, list):
        return "".join(f"{json.dumps(item)}\n" for item in value).encode()
    return value if isinstance(value, str | bytes) else json.dumps(value).encode()
