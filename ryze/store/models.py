"""The tables, as peewee models.

The models are not bound to a database: query functions call ``.execute(database)``, so one
process can open several. A changed model needs a migration; tests/store/test_migrations.py
compares the two.

Ids are never reused (AUTOINCREMENT): else a request that found an instance just before it was
deleted could write to another tenant's instance, created just after.

Indexes are named after the table, not the class (``legacy_table_names = False``), so that the
frozen copy of a model in a migration creates the same indexes, whatever its class is called.

Times are whole Unix seconds: independent of drivers and time zones.
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
    """Return the current time as stored in the tables: whole Unix seconds."""
    return int(time.time())


class AccountRow(Model):
    """A tenant; only the hash of its token is stored."""

    id = AutoIncrementField()
    name = TextField(unique=True)
    token_hash = TextField(unique=True)
    max_instances = IntegerField(null=True)
    created_at = BigIntegerField(default=unix_now)

    class Meta:
        """Name of the table."""

        table_name = "accounts"
        legacy_table_names = False


class InstanceRow(Model):
    """An instance and its settings; its token is stored as hash and sealed."""

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
        """Name of the table; instance names are unique per account."""

        table_name = "instances"
        legacy_table_names = False
        indexes = ((("account", "name"), True),)


class WebsocketConfigRow(Model):
    """The WebSocket configuration of an instance; no row if it was never set.

    ``events`` is a JSON array of names: it is read and written as a whole, and ordered.
    """

    instance = ForeignKeyField(InstanceRow, primary_key=True, on_delete="CASCADE")
    enabled = BooleanField()
    events = TextField()
    media_base64 = BooleanField()
    updated_at = BigIntegerField()

    class Meta:
        """Name of the table."""

        table_name = "websocket_configs"
        legacy_table_names = False


MODELS: tuple[type[Model], ...] = (AccountRow, InstanceRow, WebsocketConfigRow)
