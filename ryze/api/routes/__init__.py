"""The routes of the HTTP API, one module per resource."""

__all__: list[str] = []
