"""The OpenAPI and AsyncAPI documents, made from the code.

document               the OpenAPI document, from the routes and their descriptions
operations             per route: request bodies, responses, errors
websocket_operations   the same for the upgrades of the two WebSocket addresses
asyncapi               the AsyncAPI document of the two WebSocket channels
event_schemas          JSON Schemas of the events
close_codes            close codes, and what each asks of a client

Nothing here is imported before the first request for a document: quart-schema would slow down every
start. It only walks the routes: its decorators would wrap every response on its way out. Ryze reads
and writes its bodies itself, and tests compare the documents with the responses of a server.

The document of the HTTP routes takes their blueprints as an argument, because the routes import
this package to serve it.
"""

__all__: list[str] = []
