"""The tables, as peewee models.

The models are bound to no database: the query functions say ``.execute(database)``, so one
process can hold several. Whoever changes a model adds a migration; a test compares the two.

Ids are never used again (AUTOINCREMENT): else a request that found an instance just before it
was deleted could write to another tenant's, made just after.

Indexes get their names from the table, not from the class (``legacy_table_names = False``),
so that a migration's frozen copy of a model makes the same ones, whatever it is called.

Times are whole Unix seconds: a number that no driver, and no server's time zone, can misread.
"""

import time

from peewee import (
    BigIntegerField,
    BlobField,
    BooleanField,
    ForeignKeyField,
    IntegerField,
    Model,
    TextField,
)
from playhouse.sqlite_ext import AutoIncrementField

__all__ = ["MODELS", "AccountRow", "InstanceRow", "WebsocketConfigRow", "unix_now"]


def unix_now() -> int:
    """Return the time as the tables keep it."""
    return int(time.time())


class AccountRow(Model):
    """A tenant; its token is not stored, only the token's hash."""

    id = AutoIncrementField()
    name = TextField(unique=True)
    token_hash = TextField(unique=True)
    max_instances = IntegerField(null=True)
    created_at = BigIntegerField(default=unix_now)

    class Meta:
        """Where it is stored."""

        table_name = "accounts"
        legacy_table_names = False


class InstanceRow(Model):
    """An instance and its settings; the token is found by its hash and read from its seal."""

    id = AutoIncrementField()
    account = ForeignKeyField(AccountRow, on_delete="CASCADE")
    name = TextField()
    token_hash = TextField(unique=True)
    token_sealed = BlobField()
    auto_reject_calls = BooleanField()
    call_reject_message = TextField()
    ignore_group_messages = BooleanField()
    keep_online_status = BooleanField()
    auto_read_messages = BooleanField()
    disable_history_sync = BooleanField()
    ignore_status = BooleanField()
    created_at = BigIntegerField(default=unix_now)

    class Meta:
        """Where it is stored; names are unique inside an account."""

        table_name = "instances"
        legacy_table_names = False
        indexes = ((("account", "name"), True),)


class WebsocketConfigRow(Model):
    """The WebSocket configuration of an instance, if it was ever set.

    ``events`` is a JSON array of names: it is only ever read and written whole, and in order.
    """

    instance = ForeignKeyField(InstanceRow, primary_key=True, on_delete="CASCADE")
    enabled = BooleanField()
    events = TextField()
    media_base64 = BooleanField()
    updated_at = BigIntegerField()

    class Meta:
        """Where it is stored."""

        table_name = "websocket_configs"
        legacy_table_names = False


MODELS: tuple[type[Model], ...] = (AccountRow, InstanceRow, WebsocketConfigRow)
