"""Ingest: from the bytes of a producer to published events, whatever carried them.

ndjson_stream   publish an NDJSON body line by line while it is received
bodies          the events of complete bodies and lines; a large one is decoded in a thread
ndjson_lines    lines of a body that is received in pieces
form            an event with its media file, as ``multipart/form-data``

Nothing here knows an HTTP framework: callers pass bytes, and callables that receive, check the
access and publish.
"""

__all__: list[str] = []
