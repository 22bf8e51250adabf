"""What the server knows in memory of accounts and instances.

Requests, upgrades and events are decided here, without asking the database: everything is
loaded at start, and every change goes to the database first, then to memory and to the hub, in
that order and one at a time. So what is in memory has been written, and a database that fails
later stops changes, not events.

Accounts can be changed by another process as well (``ryze account rotate``): `watch` notices.

A token that is void has no connections left: memory forgets it and the hub ends what it opened
in one step, without an await between. An upgrade is likewise one step from its token to the hub,
so each comes wholly before or wholly after the other.
"""

from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import NoReturn

import msgspec
import structlog
import trio

from ryze.disconnects import INSTANCE_DELETED, TOKEN_REVOKED
from ryze.errors import StoreError
from ryze.hub.hub import Hub
from ryze.records import Account, Instance, InstanceSettings, WebsocketConfig
from ryze.store import (
    Database,
    TokenCipher,
    delete_instance,
    hash_token,
    insert_instance,
    select_accounts,
    select_instances,
    select_websocket_config,
    update_instance_settings,
    update_instance_token,
    upsert_websocket_config,
)

__all__ = ["Registry"]

# A token that was rotated by another process works at most this much longer.
_WATCH_SECONDS = 0.5

_log = structlog.get_logger("ryze.registry")


class Registry:
    """All accounts and instances, by token and by name. Made by `Registry.load`.

    Args:
        database: where changes are written.
        cipher: seals the tokens of new instances.
        hub: is told of changes that concern open connections.
    """

    def __init__(self, database: Database, cipher: TokenCipher, hub: Hub) -> None:
        self._database = database
        self._cipher = cipher
        self._hub = hub
        # Accounts by the hash of their token; replaced as a whole by load() and watch().
        self._accounts: dict[str, Account] = {}
        # Instances by id, by (account, name) and by token hash: the same objects in all three,
        # changed by _keep(), _forget() and change_token() only.
        self._by_id: dict[int, Instance] = {}
        self._by_name: dict[tuple[int, str], Instance] = {}
        self._by_token: dict[str, Instance] = {}
        # Held from a write to the database until memory says the same.
        self._writing = trio.Lock()

    @classmethod
    async def load(cls, database: Database, cipher: TokenCipher, hub: Hub) -> "Registry":
        """Read everything.

        Raises:
            StoreError: the database cannot be read.
            KeyFileError: the tokens in it were sealed with another key.
        """
        registry = cls(database, cipher, hub)
        await registry._load_accounts()
        for instance in await database.read(select_instances, cipher):
            registry._keep(instance)
        return registry

    def __repr__(self) -> str:
        return f"<Registry {len(self._accounts)} accounts, {len(self._by_id)} instances>"

    # Questions

    def account_by_token(self, token_hash: str) -> Account | None:
        """Return the account whose token has this hash."""
        return self._accounts.get(token_hash)

    def instance_by_token(self, token_hash: str) -> Instance | None:
        """Return the instance whose token has this hash."""
        return self._by_token.get(token_hash)

    def find(self, account_id: int, name: str) -> Instance | None:
        """The instance of that name among the account's."""
        return self._by_name.get((account_id, name))

    def instances(self, account_id: int) -> list[Instance]:
        """All instances of an account, oldest first."""
        return [found for found in self._by_id.values() if found.account_id == account_id]

    async def websocket_config(self, instance: Instance) -> WebsocketConfig | None:
        """What the database says; None if it was never set.

        Raises:
            StoreError: the database cannot be read.
        """
        return await self._database.read(select_websocket_config, instance.id)

    # Changes. Cancelled while it writes, each still finishes: what was written is then known.

    async def create_instance(
        self,
        account_id: int,
        name: str,
        token: str,
        settings: InstanceSettings,
        websocket: WebsocketConfig | None,
    ) -> Instance:
        """Add an instance.

        Raises:
            AlreadyExists: the name or the token is taken.
            QuotaExceeded: the account may have no more.
            StoreError: the database cannot be written.
        """
        async with self._writing:
            instance = await self._database.write(
                insert_instance, self._cipher, account_id, name, token, settings, websocket
            )
            self._keep(instance)
        return instance

    async def configure_websocket(self, instance: Instance, config: WebsocketConfig) -> bool:
        """Set the WebSocket of an instance; its open connections follow from the next event on.

        Returns:
            False if the instance has been deleted meanwhile.

        Raises:
            StoreError: the database cannot be written.
        """
        async with self._writing:
            if not await self._database.write(upsert_websocket_config, instance.id, config):
                return False
            self._keep(replace(self._by_id[instance.id], websocket=config))
            self._hub.configure(instance.id, config)
        return True

    async def change_settings(
        self, instance: Instance, changes: Mapping[str, object]
    ) -> InstanceSettings | None:
        """Change some settings of an instance; they apply from the next event on.

        Args:
            instance: any state of it; what counts is the one it has when its turn comes.
            changes: new values by the names of `InstanceSettings`; the others stay.

        Returns:
            All its settings now; None if the instance has been deleted meanwhile.

        Raises:
            StoreError: the database cannot be written.
        """
        async with self._writing:
            current = self._by_id.get(instance.id)
            if current is None:
                return None
            settings = msgspec.structs.replace(current.settings, **changes)
            if not await self._database.write(update_instance_settings, instance.id, settings):
                return None
            self._keep(replace(current, settings=settings))
            self._hub.change_settings(instance.id, settings)
        return settings

    async def change_token(self, instance: Instance, token: str) -> Instance | None:
        """Give an instance another token; connections that the old one opened end.

        Those that the account's token opened stay, and their frames carry the new one.

        Returns:
            The instance as it is now; None if it has been deleted meanwhile.

        Raises:
            AlreadyExists: the token is taken, be it by this instance itself.
            StoreError: the database cannot be written.
        """
        async with self._writing:
            if not await self._database.write(
                update_instance_token, self._cipher, instance.id, token
            ):
                return None
            # Not `instance`: what a request found may have changed while it waited.
            known = self._by_id[instance.id]
            renewed = replace(known, token=token, token_hash=hash_token(token))
            del self._by_token[known.token_hash]
            self._keep(renewed)
            self._hub.renew_token(renewed)
            self._hub.disconnect(renewed.id, TOKEN_REVOKED, key=known.token_hash)
        return renewed

    async def delete_instance(self, instance: Instance) -> bool:
        """Remove an instance and everything of it; its open connections end.

        Returns:
            False if it has been deleted meanwhile.

        Raises:
            StoreError: the database cannot be written.
        """
        async with self._writing:
            deleted = await self._database.write(delete_instance, instance.id)
            if deleted:
                self._forget(self._by_id[instance.id])
                self._hub.disconnect(instance.id, INSTANCE_DELETED)
        return deleted

    # Changes by others

    async def watch(self) -> NoReturn:
        """Follow changes of accounts by other processes, for ever."""
        # Of the accounts that are loaded; unknown at first, as they may have changed since.
        version = None
        has_failed = False
        while True:
            await trio.sleep(_WATCH_SECONDS)
            try:
                current = await self._database.data_version()
                if current != version:
                    await self._load_accounts()
                version, has_failed = current, False
            except StoreError as error:
                if not has_failed:
                    _log.warning("accounts not watched", error=str(error))
                has_failed = True

    async def _load_accounts(self) -> None:
        accounts: Sequence[Account] = await self._database.read(select_accounts)
        before = self._accounts
        self._accounts = {account.token_hash: account for account in accounts}
        for key in before.keys() - self._accounts.keys():
            self._hub.revoke(key)

    def _keep(self, instance: Instance) -> None:
        self._by_id[instance.id] = instance
        self._by_name[instance.account_id, instance.name] = instance
        self._by_token[instance.token_hash] = instance

    def _forget(self, instance: Instance) -> None:
        del self._by_id[instance.id]
        del self._by_name[instance.account_id, instance.name]
        del self._by_token[instance.token_hash]
