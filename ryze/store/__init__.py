"""Persistence: accounts, instances and their settings, in one SQLite file.

    database        opens the file and runs query functions in worker threads
    queries         plain synchronous query functions
    models          the tables as peewee models; migrations/ creates them
    tokens          generating and hashing tokens
    sealing         encryption of instance tokens
    key_file        loading and replacing the encryption keys
    key_rotation    re-sealing all tokens with a new key
    ddl             the schema as SQL

Of the other modules of ``ryze`` the store imports only ``errors``, ``masking`` and ``records``.
"""

from ryze.records import DISABLED, Account, Instance, InstanceSettings, WebsocketConfig
from ryze.store.database import Database, DatabaseInUse, open_database
from ryze.store.key_file import LoadedKey, load_key
from ryze.store.key_rotation import Rotation, rotate_key
from ryze.store.queries import (
    QuotaExceeded,
    Resealed,
    delete_instance,
    insert_account,
    insert_instance,
    ping,
    select_accounts,
    select_instances,
    select_websocket_config,
    update_account_token,
    update_instance_seals,
    update_instance_settings,
    update_instance_token,
    upsert_websocket_config,
)
from ryze.store.sealing import TokenCipher
from ryze.store.tokens import hash_token, new_token

__all__ = [
    "DISABLED",
    "Account",
    "Database",
    "DatabaseInUse",
    "Instance",
    "InstanceSettings",
    "LoadedKey",
    "QuotaExceeded",
    "Resealed",
    "Rotation",
    "TokenCipher",
    "WebsocketConfig",
    "delete_instance",
    "hash_token",
    "insert_account",
    "insert_instance",
    "load_key",
    "new_token",
    "open_database",
    "ping",
    "rotate_key",
    "select_accounts",
    "select_instances",
    "select_websocket_config",
    "update_account_token",
    "update_instance_seals",
    "update_instance_settings",
    "update_instance_token",
    "upsert_websocket_config",
]
