"""Records: immutable, and without secrets in their repr."""

import msgspec
import pytest

from ryze.records import DISABLED, Account, Instance, InstanceSettings, WebsocketConfig

INSTANCE = Instance(1, 2, "shop", "the-token", "the-hash", InstanceSettings(), None)


def test_repr_contains_neither_token_nor_token_hash() -> None:
    assert "shop" in repr(INSTANCE)
    assert "the-token" not in repr(INSTANCE)
    assert "the-hash" not in repr(INSTANCE)
    assert "the-hash" not in repr(Account(1, "main", "the-hash", None))


def test_disabled_has_the_values_of_the_contract() -> None:
    assert msgspec.structs.astuple(DISABLED) == (False, (), False)


def test_default_instance_settings_match_the_contract() -> None:
    defaults = msgspec.structs.asdict(InstanceSettings())
    assert defaults.pop("disable_history_sync") is True
    assert defaults.pop("call_reject_message") == ""
    assert list(defaults.values()) == [False] * 5


@pytest.mark.parametrize("record", [INSTANCE, DISABLED, InstanceSettings()])
def test_records_are_immutable(record: Instance | WebsocketConfig | InstanceSettings) -> None:
    name = next(iter(type(record).__annotations__))
    # FrozenInstanceError of a dataclass is one; a struct raises it directly.
    with pytest.raises(AttributeError):
        setattr(record, name, None)
    assert not hasattr(record, "__dict__")
