"""Access control: tokens, rate limits, origins, caps, drain, admission of upgrades."""

__all__: list[str] = []
