"""The routes of the HTTP API, one module per resource.

instances           create, list and delete instances; change their tokens
instance_settings   the seven settings of an instance
websocket_config    Set Websocket and Check Websocket
publish             publish events: JSON, forms, NDJSON
health              health check
metrics             metrics for Prometheus
docs                the OpenAPI and AsyncAPI documents, and the page at /docs
"""

__all__: list[str] = []
