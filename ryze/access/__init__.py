"""Access control: tokens, rate limits, origins, admission of upgrades."""

__all__: list[str] = []
