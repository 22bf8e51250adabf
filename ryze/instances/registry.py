"""Accounts and instances in memory, and the feed of their changes.

Requests, upgrades and events are decided here, without asking the database: everything is
loaded at start, and every change goes to the database first, then to memory, then to the
followers, in that order and one at a time. So what is in memory has been written, and a database
that fails later stops changes, not events.

Followers (the hub) act synchronously. A void token has no connections left: memory forgets it and
the hub ends the connections that it opened in one step, without an await between. An upgrade is
likewise one step from its token to the hub, so each comes wholly before or wholly after the other.

Accounts can be changed by another process as well (``ryze account rotate``): `watch` notices.
"""

from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import NoReturn

import msgspec
import structlog
import trio

from ryze.changes import (
    AccountTokenRevoked,
    Change,
    Follower,
    InstanceDeleted,
    InstanceTokenChanged,
    SettingsChanged,
    WebsocketConfigured,
)
from ryze.errors import StoreError
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
    """All accounts and instances, by token hash and by name. Made by `Registry.load`.

    Args:
        database: where changes are written.
        cipher: seals the tokens of new instances.
    """

    def __init__(self, database: Database, cipher: TokenCipher) -> None:
        self._database = database
        self._cipher = cipher
        # Told of every change, in this order; add_follower() appends.
        self._followers: list[Follower] = []
        # Accounts by token hash; replaced as a whole by load() and watch().
        self._accounts: dict[str, Account] = {}
        # Instances by id, by (account, name) and by token hash: the same objects in all three,
        # changed by _keep(), _forget() and change_token() only.
        self._by_id: dict[int, Instance] = {}
        self._by_name: dict[tuple[int, str], Instance] = {}
        self._by_token: dict[str, Instance] = {}
        # Held from a write to the database until memory and all followers agree with it.
        self._writing = trio.Lock()

    @classmethod
    async def load(cls, database: Database, cipher: TokenCipher) -> "Registry":
        """Read everything.

        Raises:
            StoreError: the database cannot be read.
            KeyFileError: the tokens in it were sealed with another key.
        """
        registry = cls(database, cipher)
        await registry._load_accounts()
        for instance in await database.read(select_instances, cipher):
            registry._keep(instance)
        return registry

    def add_follower(self, follower: Follower) -> None:
        """Tell `follower` of every change from now on, once it is written and in memory.

        It is called synchronously, with no await between the change in memory and the call.
        """
        self._followers.append(follower)

    def __repr__(self) -> str:
        return f"<Registry {len(self._accounts)} accounts, {len(self._by_id)} instances>"

    # Look-ups

    def account_by_token_hash(self, token_hash: str) -> Account | None:
        """Return the account whose token has this hash."""
        return self._accounts.get(token_hash)

    def instance_by_token_hash(self, token_hash: str) -> Instance | None:
        """Return the instance whose token has this hash."""
        return self._by_token.get(token_hash)

    def find(self, account_id: int, name: str) -> Instance | None:
        """Return the instance of this name, if the account has one."""
        return self._by_name.get((account_id, name))

    def instances(self, account_id: int) -> list[Instance]:
        """List the instances of an account, oldest first."""
        return [found for found in self._by_id.values() if found.account_id == account_id]

    async def websocket_config(self, instance: Instance) -> WebsocketConfig | None:
        """Read the configuration from the database; None if it was never set.

        Raises:
            StoreError: the database cannot be read.
        """
        return await self._database.read(select_websocket_config, instance.id)

    # Changes. Cancelled while it writes, each still finishes, so that memory has what was written.

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
        """Set the WebSocket configuration; it applies to open connections from the next event on.

        Returns:
            False if the instance has been deleted meanwhile.

        Raises:
            StoreError: the database cannot be written.
        """
        async with self._writing:
            if not await self._database.write(upsert_websocket_config, instance.id, config):
                return False
            configured = replace(self._by_id[instance.id], websocket=config)
            self._keep(configured)
            self._announce(WebsocketConfigured(configured))
        return True

    async def change_settings(
        self, instance: Instance, changes: Mapping[str, object]
    ) -> InstanceSettings | None:
        """Change some settings of an instance; they apply from the next event on.

        Args:
            instance: may be outdated; its current state is read once the change may be made.
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
            changed = replace(current, settings=settings)
            self._keep(changed)
            self._announce(SettingsChanged(changed))
        return settings

    async def change_token(self, instance: Instance, token: str) -> Instance | None:
        """Give an instance a new token; connections that the old one opened end.

        Connections opened with the account's token stay, and their envelopes carry the new one.

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
            # Not `instance`, which may have changed while the request waited for the lock.
            known = self._by_id[instance.id]
            renewed = replace(known, token=token, token_hash=hash_token(token))
            del self._by_token[known.token_hash]
            self._keep(renewed)
            self._announce(InstanceTokenChanged(renewed, known.token_hash))
        return renewed

    async def delete_instance(self, instance: Instance) -> bool:
        """Delete an instance and everything of it; its open connections end.

        Returns:
            False if it has been deleted meanwhile.

        Raises:
            StoreError: the database cannot be written.
        """
        async with self._writing:
            deleted = await self._database.write(delete_instance, instance.id)
            if deleted:
                known = self._by_id[instance.id]
                self._forget(known)
                self._announce(InstanceDeleted(known))
        return deleted

    # Changes by other processes

    async def watch(self) -> NoReturn:
        """Reload accounts that other processes have changed, until cancelled."""
        # Version of the loaded accounts; unknown at first, as they may have changed since.
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
        for token_hash in before.keys() - self._accounts.keys():
            self._announce(AccountTokenRevoked(token_hash))

    def _announce(self, change: Change) -> None:
        for follower in self._followers:
            follower(change)

    def _keep(self, instance: Instance) -> None:
        self._by_id[instance.id] = instance
        self._by_name[instance.account_id, instance.name] = instance
        self._by_token[instance.token_hash] = instance

    def _forget(self, instance: Instance) -> None:
        del self._by_id[instance.id]
        del self._by_name[instance.account_id, instance.name]
        del self._by_token[instance.token_hash]
