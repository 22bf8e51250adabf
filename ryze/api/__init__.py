"""The HTTP API on Quart-Trio.

application       the Quart application: routes, hooks, error handlers
routes/           the request handlers, one module per resource
authorization     scopes of routes; tokens and rate limits of requests
cors              CORS headers and preflight requests
request_log       one log line per request
request_bodies    types of the bodies that handlers read
response_bodies   types of the bodies that handlers return
requests          reading the bodies of requests
responses         JSON responses and errors
streamed_body     request bodies without an end, with back-pressure
services          the objects that handlers use
openapi/          the OpenAPI and AsyncAPI documents
docs_page/        the files of the page at /docs
write_documents   writes the documents into ``schema/``
"""

__all__: list[str] = []
