"""The first tables: accounts, instances, websocket_configs."""

from peewee import (
    BigIntegerField,
    BlobField,
    BooleanField,
    Database,
    ForeignKeyField,
    IntegerField,
    Model,
    TextField,
)
from playhouse.migrate import SchemaMigrator
from playhouse.sqlite_ext import AutoIncrementField


def tables(db: Database) -> list[type[Model]]:
    class Account(Model):
        id = AutoIncrementField()
        name = TextField(unique=True)
        token_hash = TextField(unique=True)
        max_instances = IntegerField(null=True)
        created_at = BigIntegerField()

        class Meta:
            database = db
            table_name = "accounts"
            legacy_table_names = False

    class Instance(Model):
        id = AutoIncrementField()
        account = ForeignKeyField(Account, on_delete="CASCADE")
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
        created_at = BigIntegerField()

        class Meta:
            database = db
            table_name = "instances"
            legacy_table_names = False
            indexes = ((("account", "name"), True),)

    class WebsocketConfig(Model):
        instance = ForeignKeyField(Instance, primary_key=True, on_delete="CASCADE")
        enabled = BooleanField()
        events = TextField()
        media_base64 = BooleanField()
        updated_at = BigIntegerField()

        class Meta:
            database = db
            table_name = "websocket_configs"
            legacy_table_names = False

    return [Account, Instance, WebsocketConfig]


def up(migrator: SchemaMigrator, db: Database) -> None:
    # Without IF NOT EXISTS: a table that exists before its migration must be reported.
    db.create_tables(tables(db), safe=False)


def down(migrator: SchemaMigrator, db: Database) -> None:
    db.drop_tables(tables(db))
