"""Queries: plain synchronous functions, called by ``Database.read`` and ``Database.write``.

Each takes the peewee database first and opens its own connection, because peewee keeps one
connection per thread and the functions run in any thread of a pool. A function that writes uses
one transaction, which takes the write lock at its start (``lock_type`` in ``database.py``): its
checks hold until it commits.

Token hashes are unique among accounts and instances together, since a token identifies its owner.
"""

from collections.abc import Callable
from dataclasses import dataclass
from functools import lru_cache
from typing import Any

import msgspec
from msgspec.structs import asdict, fields
from peewee import JOIN, SQL, Database, Expression, Model

from ryze.errors import AlreadyExists, KeyFileError, StoreError
from ryze.records import Account, Instance, InstanceSettings, WebsocketConfig
from ryze.store.models import AccountRow, InstanceRow, WebsocketConfigRow, unix_now
from ryze.store.sealing import TokenCipher
from ryze.store.tokens import hash_token

__all__ = [
    "QuotaExceeded",
    "Resealed",
    "delete_instance",
    "insert_account",
    "insert_instance",
    "ping",
    "select_accounts",
    "select_instances",
    "select_websocket_config",
    "update_account_token",
    "update_instance_seals",
    "update_instance_settings",
    "update_instance_token",
    "upsert_websocket_config",
]


class QuotaExceeded(StoreError):
    """The account has reached its instance quota.

    Args:
        max_instances: the quota.
    """

    def __init__(self, max_instances: int) -> None:
        super().__init__(f"the account has reached its quota of {max_instances} instances")
        self.max_instances = max_instances


def ping(database: Database) -> None:
    """Read from a table; a plain ``SELECT 1`` would not access the file."""
    with database.connection_context():
        AccountRow.select(SQL("1")).limit(1).tuples().execute(database)


def select_accounts(database: Database) -> list[Account]:
    """Return all accounts, oldest first."""
    row = AccountRow
    columns = (row.id, row.name, row.token_hash, row.max_instances)
    with database.connection_context():
        return [Account(*found) for found in _rows(database, row.select(*columns).order_by(row.id))]


def insert_account(
    database: Database, name: str, token_hash: str, max_instances: int | None = None
) -> Account:
    """Create an account.

    Raises:
        AlreadyExists: the name or the token is taken.
    """
    with database.connection_context(), database.atomic():
        if _exists(database, AccountRow, AccountRow.name == name):
            raise AlreadyExists("name")
        _check_token_is_free(database, token_hash)
        insert = AccountRow.insert(name=name, token_hash=token_hash, max_instances=max_instances)
        return Account(insert.execute(database), name, token_hash, max_instances)


def update_account_token(database: Database, account_id: int, token_hash: str) -> bool:
    """Replace the token of an account; False if the account does not exist.

    Raises:
        AlreadyExists: the token is taken, including by this account itself.
    """
    with database.connection_context(), database.atomic():
        _check_token_is_free(database, token_hash)
        update = AccountRow.update(token_hash=token_hash).where(AccountRow.id == account_id)
        return bool(update.execute(database))


_SETTINGS = tuple(getattr(InstanceRow, setting.name) for setting in fields(InstanceSettings))
_WEBSOCKET = (
    WebsocketConfigRow.enabled,
    WebsocketConfigRow.events,
    WebsocketConfigRow.media_base64,
)
_INSTANCE = (
    InstanceRow.id,
    InstanceRow.account,
    InstanceRow.name,
    InstanceRow.token_hash,
    InstanceRow.token_sealed,
    *_WEBSOCKET,
    *_SETTINGS,
)


def select_instances(database: Database, cipher: TokenCipher) -> list[Instance]:
    """Return all instances with their configurations, oldest first.

    Raises:
        KeyFileError: a token does not open with this key; the message names the instance.
    """
    joined = InstanceRow.select(*_INSTANCE).join(WebsocketConfigRow, JOIN.LEFT_OUTER)
    with database.connection_context():
        rows = _rows(database, joined.order_by(InstanceRow.id))
    return [_instance(cipher, *row) for row in rows]


def insert_instance(
    database: Database,
    cipher: TokenCipher,
    account_id: int,
    name: str,
    token: str,
    settings: InstanceSettings,
    websocket: WebsocketConfig | None,
) -> Instance:
    """Create an instance of an account, with its WebSocket configuration if any.

    Raises:
        AlreadyExists: the account has an instance of this name, or the token is taken.
        QuotaExceeded: the account has reached its quota. Checked last: a client that repeats a
            successful request is told that the instance exists.
    """
    token_hash = hash_token(token)
    insert = InstanceRow.insert(
        account=account_id,
        name=name,
        token_hash=token_hash,
        token_sealed=cipher.seal(token, token_hash),
        **asdict(settings),
    )
    with database.connection_context(), database.atomic():
        _check_name_is_free(database, account_id, name)
        _check_token_is_free(database, token_hash)
        _check_quota(database, account_id)
        instance_id = insert.execute(database)
        if websocket is not None:
            _upsert_websocket_config(database, instance_id, websocket)
    return Instance(instance_id, account_id, name, token, token_hash, settings, websocket)


def update_instance_settings(
    database: Database, instance_id: int, settings: InstanceSettings
) -> bool:
    """Replace the settings of an instance; False if the instance does not exist."""
    update = InstanceRow.update(**asdict(settings)).where(InstanceRow.id == instance_id)
    with database.connection_context(), database.atomic():
        return bool(update.execute(database))


def update_instance_token(
    database: Database, cipher: TokenCipher, instance_id: int, token: str
) -> bool:
    """Replace the token of an instance; False if the instance does not exist.

    Raises:
        AlreadyExists: the token is taken, including by this instance itself.
    """
    token_hash = hash_token(token)
    values = {"token_hash": token_hash, "token_sealed": cipher.seal(token, token_hash)}
    with database.connection_context(), database.atomic():
        if not _exists(database, InstanceRow, InstanceRow.id == instance_id):
            return False
        _check_token_is_free(database, token_hash)
        InstanceRow.update(**values).where(InstanceRow.id == instance_id).execute(database)
        return True


def delete_instance(database: Database, instance_id: int) -> bool:
    """Delete an instance and all its data; False if the instance does not exist."""
    with database.connection_context(), database.atomic():
        delete = InstanceRow.delete().where(InstanceRow.id == instance_id)
        return bool(delete.execute(database))


@dataclass(frozen=True, slots=True)
class Resealed:
    """The result for one batch of instances.

    Args:
        last_id: the greatest id in the batch.
        examined: number of instances in the batch.
        resealed: number of them that were re-sealed.
    """

    last_id: int
    examined: int
    resealed: int


_RESEAL = "UPDATE instances SET token_sealed = ? WHERE id = ?"


def update_instance_seals(
    database: Database, cipher: TokenCipher, after: int, at_most: int
) -> Resealed | None:
    """Re-seal the tokens of the next batch of instances with the cipher's first key.

    One transaction, synced to disk when this returns, because a key is retired afterwards.
    (``synchronous`` is NORMAL elsewhere, where a power failure can undo the last changes.)

    Args:
        database: the peewee database.
        cipher: opens the tokens with any of its keys.
        after: the batch begins after this id.
        at_most: the maximum size of the batch.

    Returns:
        The result; None if there are no more instances.

    Raises:
        KeyFileError: a token does not open; the message names the instance.
    """
    row = InstanceRow
    columns = (row.id, row.name, row.token_hash, row.token_sealed)
    query = row.select(*columns).where(row.id > after).order_by(row.id).limit(at_most)
    # Statements as text: building one with peewee takes longer than running it.
    execute: Callable[..., Any] = database.execute_sql
    with database.connection_context():
        execute("PRAGMA synchronous = FULL")  # for this connection only, which is closed below
        with database.atomic():
            found = _rows(database, query)
            old = [instance for instance in found if not cipher.is_current(instance[3])]
            for instance_id, name, token_hash, sealed in old:
                token = _open(cipher, instance_id, name, token_hash, sealed)
                execute(_RESEAL, (cipher.seal(token, token_hash), instance_id))
    return Resealed(found[-1][0], len(found), len(old)) if found else None


def select_websocket_config(database: Database, instance_id: int) -> WebsocketConfig | None:
    """Return the configuration of an instance; None if it was never set."""
    query = WebsocketConfigRow.select(*_WEBSOCKET)
    with database.connection_context():
        rows = _rows(database, query.where(WebsocketConfigRow.instance == instance_id))
    return _websocket_config(*rows[0]) if rows else None


def upsert_websocket_config(database: Database, instance_id: int, config: WebsocketConfig) -> bool:
    """Set the configuration of an instance; False if the instance does not exist."""
    with database.connection_context(), database.atomic():
        if not _exists(database, InstanceRow, InstanceRow.id == instance_id):
            return False
        _upsert_websocket_config(database, instance_id, config)
        return True


def _upsert_websocket_config(database: Database, instance_id: int, config: WebsocketConfig) -> None:
    values = {
        "enabled": config.enabled,
        "events": msgspec.json.encode(config.events).decode(),
        "media_base64": config.media_base64,
        "updated_at": unix_now(),
    }
    insert = WebsocketConfigRow.insert(instance=instance_id, **values)
    insert.on_conflict(conflict_target=[WebsocketConfigRow.instance], update=values).execute(
        database
    )


def _rows(database: Database, query: Any) -> list[tuple[Any, ...]]:
    # Rows of the driver: peewee's conversion of each column, which is only bool() here, costs
    # noticeable time when 100,000 instances are loaded.
    rows: list[tuple[Any, ...]] = query.execute(database).cursor.fetchall()
    return rows


def _exists(database: Database, model: type[Model], condition: Expression | bool) -> bool:
    return bool(model.select().where(condition).exists(database))


def _check_name_is_free(database: Database, account_id: int, name: str) -> None:
    same = (InstanceRow.account == account_id) & (InstanceRow.name == name)
    if _exists(database, InstanceRow, same):
        raise AlreadyExists("name")


def _check_token_is_free(database: Database, token_hash: str) -> None:
    for row in (AccountRow, InstanceRow):
        if _exists(database, row, row.token_hash == token_hash):
            raise AlreadyExists("token")


def _check_quota(database: Database, account_id: int) -> None:
    account = AccountRow.select(AccountRow.max_instances).where(AccountRow.id == account_id)
    found = _rows(database, account)
    if not found:
        raise StoreError(f"there is no account with id {account_id}")
    limit = found[0][0]
    instances = InstanceRow.select().where(InstanceRow.account == account_id)
    if limit is not None and instances.count(database) >= limit:
        raise QuotaExceeded(limit)


def _instance(
    cipher: TokenCipher,
    instance_id: int,
    account_id: int,
    name: str,
    token_hash: str,
    token_sealed: bytes,
    enabled: int | None,
    events: str,
    media_base64: int,
    *settings: Any,
) -> Instance:
    token = _open(cipher, instance_id, name, token_hash, token_sealed)
    websocket = None if enabled is None else _websocket_config(enabled, events, media_base64)
    return Instance(
        instance_id, account_id, name, token, token_hash, _instance_settings(*settings), websocket
    )


def _open(
    cipher: TokenCipher, instance_id: int, name: str, token_hash: str, token_sealed: bytes
) -> str:
    try:
        return cipher.open(token_sealed, token_hash)
    except KeyFileError as error:
        raise KeyFileError(f"instance {name} (id {instance_id}): {error}") from error


# Most instances have one of a few settings and configurations. These frozen values are shared, so
# that 100,000 instances load faster and take less memory.
_shared = lru_cache(maxsize=1024)


@_shared
def _instance_settings(
    auto_reject_calls: int, call_reject_message: str, *switches: int
) -> InstanceSettings:
    return InstanceSettings(bool(auto_reject_calls), call_reject_message, *map(bool, switches))


_decode_events = msgspec.json.Decoder(tuple[str, ...]).decode


@_shared
def _websocket_config(enabled: int, events: str, media_base64: int) -> WebsocketConfig:
    try:
        names = _decode_events(events)
    except msgspec.DecodeError as error:
        raise StoreError(f"the events of a WebSocket configuration are damaged: {error}") from error
    return WebsocketConfig(bool(enabled), names, bool(media_base64))
