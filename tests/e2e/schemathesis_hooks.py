"""What schemathesis has to be taught: a stream of lines, made of an array of events."""

import json
from typing import Any

import schemathesis


@schemathesis.serializer("application/x-ndjson")
def lines(context: object, value: Any) -> Any:
    """Each item on a line; what is no array goes out as it is."""
    if isinstance(value, list):
        return "".join(f"{json.dumps(item)}\n" for item in value).encode()
    return value if isinstance(value, str | bytes) else json.dumps(value).encode()
