"""What Ryze publishes about itself, made from the code.

answers     the bodies that routes answer with, as types; an instance of one is its example
routes      for every route: what it takes, what it answers, what can go wrong
openapi     these and the routes of the application as one OpenAPI document (quart-schema)
sockets     the same for the two WebSocket addresses
disconnects what the close codes mean for who reads the documents
events      what producers send and clients get, as JSON Schemas
asyncapi    the two WebSocket channels as an AsyncAPI document
__main__    writes all of them into a folder: ``python -m ryze.api.write_documents schema``

Nothing here takes part in a request but those for the documents themselves, and nothing is
imported before the first of them: quart-schema would make every start slower. Its decorators are
not used on the handlers either, and the application is not handed to it: it would wrap every
answer on its way out. Ryze reads and writes its bodies itself, and the tests hold the documents
against what it really answers.
"""

__all__: list[str] = []
