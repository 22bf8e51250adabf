"""What outlives a restart: accounts, instances and their settings, in one SQLite file.

    tokens      making, hashing and sealing tokens
    key_file    where the keys come from that seal them
    rotation    sealing all of them with a new key
    models      the tables; migrations/ makes them
    queries     plain synchronous functions, one for each question
    database    opens the file and runs the queries in threads

The store knows nobody: of our own code it imports only ``ryze.errors``
and ``ryze.records``, which says what it keeps.
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
from ryze.store.sealing import TokenCipher, hash_token, new_token

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
