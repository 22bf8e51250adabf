"""HTTP: what comes in at the one port, and the routes of the API."""

__all__: list[str] = []
