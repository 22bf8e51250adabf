"""Queries on a real SQLite file."""

import dataclasses
from pathlib import Path

import msgspec
import peewee
import pytest

from ryze.errors import AlreadyExists, KeyFileError, StoreError
from ryze.store import (
    DISABLED,
    Account,
    Database,
    Instance,
    InstanceSettings,
    QuotaExceeded,
    TokenCipher,
    WebsocketConfig,
    delete_instance,
    hash_token,
    insert_account,
    insert_instance,
    open_database,
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
from ryze.store.models import InstanceRow, WebsocketConfigRow
from ryze.store.queries import Resealed

DEFAULTS = InstanceSettings()
CONFIG = WebsocketConfig(True, ("label.update", "message.exchange", "call.update"), True)


async def add(
    database: Database,
    cipher: TokenCipher,
    account: Account,
    name: str,
    token: str | None = None,
    settings: InstanceSettings = DEFAULTS,
    websocket: WebsocketConfig | None = None,
) -> Instance:
    token = token or f"token of {account.name}/{name}"
    return await database.write(
        insert_instance, cipher, account.id, name, token, settings, websocket
    )


async def count_rows(database: Database, model: type[peewee.Model]) -> int:
    def count(peewee_database: peewee.Database) -> int:
        with peewee_database.connection_context():
            return model.select().count(peewee_database)

    return await database.read(count)


class TestAccounts:
    async def test_empty_database_has_none(self, database: Database) -> None:
        assert await database.read(select_accounts) == []

    async def test_inserted_rows_are_selected_oldest_first(self, database: Database) -> None:
        b = await database.write(insert_account, "b", "hash b", max_instances=3)
        a = await database.write(insert_account, "a", "hash a")
        assert b == Account(b.id, "b", "hash b", 3)
        assert a == Account(a.id, "a", "hash a", None)
        assert await database.read(select_accounts) == [b, a]

    async def test_name_is_unique(self, database: Database, account: Account) -> None:
        with pytest.raises(AlreadyExists) as caught:
            await database.write(insert_account, account.name, "another hash")
        assert caught.value.what == "name"
        assert await database.read(select_accounts) == [account]

    async def test_token_is_unique(self, database: Database, account: Account) -> None:
        with pytest.raises(AlreadyExists) as caught:
            await database.write(insert_account, "another", account.token_hash)
        assert caught.value.what == "token"

    async def test_token_of_an_instance_is_taken(
        self, database: Database, cipher: TokenCipher, account: Account
    ) -> None:
        instance = await add(database, cipher, account, "shop")
        with pytest.raises(AlreadyExists) as caught:
            await database.write(insert_account, "another", instance.token_hash)
        assert caught.value.what == "token"

    async def test_token_is_replaced(self, database: Database, account: Account) -> None:
        assert await database.write(update_account_token, account.id, "new hash") is True
        [found] = await database.read(select_accounts)
        assert found == dataclasses.replace(account, token_hash="new hash")

    async def test_taken_token_is_rejected(self, database: Database, account: Account) -> None:
        other = await database.write(insert_account, "other", "other hash")
        with pytest.raises(AlreadyExists) as caught:
            await database.write(update_account_token, account.id, other.token_hash)
        assert caught.value.what == "token"
        assert await database.read(select_accounts) == [account, other]

    async def test_unknown_account_is_false(self, database: Database) -> None:
        assert await database.write(update_account_token, 404, "hash") is False


class TestInstances:
    async def test_empty_database_has_none(self, database: Database, cipher: TokenCipher) -> None:
        assert await database.read(select_instances, cipher) == []

    async def test_inserted_rows_are_selected_oldest_first(
        self, database: Database, cipher: TokenCipher, account: Account
    ) -> None:
        settings = InstanceSettings(True, "später", True, True, True, False, True)
        made = [
            await add(database, cipher, account, "z", settings=settings, websocket=CONFIG),
            await add(database, cipher, account, "m", websocket=DISABLED),
            await add(database, cipher, account, "a"),
        ]
        assert await database.read(select_instances, cipher) == made
        z, m, a = made
        assert z == Instance(
            z.id,
            account.id,
            "z",
            "token of main/z",
            hash_token("token of main/z"),
            settings,
            CONFIG,
        )
        assert (m.settings, m.websocket) == (DEFAULTS, DISABLED)
        assert (a.settings, a.websocket) == (DEFAULTS, None)

    async def test_each_setting_is_stored_in_its_column(
        self, database: Database, cipher: TokenCipher, account: Account
    ) -> None:
        for setting in msgspec.structs.fields(InstanceSettings):
            changed = "busy" if setting.type is str else not setting.default
            settings = msgspec.structs.replace(DEFAULTS, **{setting.name: changed})
            made = await add(database, cipher, account, setting.name, settings=settings)
            assert (await database.read(select_instances, cipher))[-1] == made
            assert made.settings == settings

    async def test_plain_tokens_are_not_in_the_file(
        self, database: Database, cipher: TokenCipher, account: Account, path: Path
    ) -> None:
        await add(database, cipher, account, "shop", token="readable-token")
        for file in (path, path.with_name("ryze.db-wal")):
            assert b"readable-token" not in file.read_bytes()

    async def test_wrong_key_error_names_the_instance(
        self, database: Database, cipher: TokenCipher, account: Account
    ) -> None:
        made = await add(database, cipher, account, "shop")
        with pytest.raises(KeyFileError, match=rf"^instance shop \(id {made.id}\): .*sealed with"):
            await database.read(select_instances, TokenCipher(b"x" * 32))

    async def test_name_is_unique_per_account(
        self, database: Database, cipher: TokenCipher, account: Account
    ) -> None:
        made = await add(database, cipher, account, "shop")
        with pytest.raises(AlreadyExists) as caught:
            await add(database, cipher, account, "shop", token="another")
        assert caught.value.what == "name"
        assert await database.read(select_instances, cipher) == [made]

    async def test_other_account_can_use_the_same_name(
        self, database: Database, cipher: TokenCipher, account: Account
    ) -> None:
        other = await database.write(insert_account, "other", "other hash")
        await add(database, cipher, account, "shop")
        made = await add(database, cipher, other, "shop")
        assert made.account_id == other.id

    async def test_token_is_unique(
        self, database: Database, cipher: TokenCipher, account: Account
    ) -> None:
        other = await database.write(insert_account, "other", "other hash")
        made = await add(database, cipher, account, "shop")
        with pytest.raises(AlreadyExists) as caught:
            await add(database, cipher, other, "new", token=made.token)
        assert caught.value.what == "token"

    async def test_token_of_an_account_is_taken(
        self, database: Database, cipher: TokenCipher, account: Account
    ) -> None:
        with pytest.raises(AlreadyExists) as caught:
            await add(database, cipher, account, "shop", token="account token")
        assert caught.value.what == "token"

    async def test_quota_applies_per_account(
        self, database: Database, cipher: TokenCipher, account: Account
    ) -> None:
        small = await database.write(insert_account, "small", "small hash", 2)
        for name in ("a", "b"):
            await add(database, cipher, account, name)
            await add(database, cipher, small, name)
        with pytest.raises(QuotaExceeded) as caught:
            await add(database, cipher, small, "c")
        assert caught.value.max_instances == 2
        assert isinstance(caught.value, StoreError)
        await add(database, cipher, account, "c")
        assert await count_rows(database, InstanceRow) == 5

    async def test_deleted_instance_does_not_count_against_the_quota(
        self, database: Database, cipher: TokenCipher
    ) -> None:
        one = await database.write(insert_account, "one", "hash", 1)
        first = await add(database, cipher, one, "first")
        await database.write(delete_instance, first.id)
        await add(database, cipher, one, "second")

    async def test_id_of_a_deleted_instance_is_not_reused(
        self, database: Database, cipher: TokenCipher, account: Account
    ) -> None:
        first = await add(database, cipher, account, "shop")
        await database.write(delete_instance, first.id)
        second = await add(database, cipher, account, "shop")
        assert second.id > first.id

    async def test_quota_of_zero_allows_no_instance(
        self, database: Database, cipher: TokenCipher
    ) -> None:
        none = await database.write(insert_account, "none", "hash", 0)
        with pytest.raises(QuotaExceeded):
            await add(database, cipher, none, "first")

    async def test_taken_name_is_reported_before_the_quota(
        self, database: Database, cipher: TokenCipher
    ) -> None:
        one = await database.write(insert_account, "one", "hash", 1)
        await add(database, cipher, one, "shop")
        with pytest.raises(AlreadyExists):
            await add(database, cipher, one, "shop", token="another")

    async def test_instance_of_an_unknown_account_is_a_store_error(
        self, database: Database, cipher: TokenCipher
    ) -> None:
        with pytest.raises(StoreError, match="there is no account with id 404"):
            await add(database, cipher, Account(404, "gone", "hash", None), "shop")

    async def test_deleting_removes_all_data_of_one_instance(
        self, database: Database, cipher: TokenCipher, account: Account
    ) -> None:
        gone = await add(database, cipher, account, "gone", websocket=CONFIG)
        kept = await add(database, cipher, account, "kept", websocket=CONFIG)
        assert await database.write(delete_instance, gone.id) is True
        assert await database.write(delete_instance, gone.id) is False
        assert await database.read(select_instances, cipher) == [kept]
        assert await count_rows(database, WebsocketConfigRow) == 1


class TestInstanceToken:
    async def test_only_the_token_is_replaced(
        self, database: Database, cipher: TokenCipher, account: Account
    ) -> None:
        shop = await add(database, cipher, account, "shop", websocket=CONFIG)
        other = await add(database, cipher, account, "other")
        assert await database.write(update_instance_token, cipher, shop.id, "new") is True
        renewed = dataclasses.replace(shop, token="new", token_hash=hash_token("new"))
        assert await database.read(select_instances, cipher) == [renewed, other]
        # The old token is free.
        assert await add(database, cipher, account, "third", token=shop.token)

    async def test_taken_token_is_rejected(self, database: Database, cipher: TokenCipher) -> None:
        account = await database.write(insert_account, "b", hash_token("b-token"))
        shop, other = [await add(database, cipher, account, name) for name in ("shop", "other")]
        for taken in (shop.token, other.token, "b-token"):
            with pytest.raises(AlreadyExists) as caught:
                await database.write(update_instance_token, cipher, shop.id, taken)
            assert caught.value.what == "token"
        assert await database.read(select_instances, cipher) == [shop, other]

    async def test_unknown_instance_is_false(self, database: Database, cipher: TokenCipher) -> None:
        assert await database.write(update_instance_token, cipher, 404, "new") is False


class TestWebsocketConfig:
    async def test_config_that_was_never_set_is_none(
        self, database: Database, cipher: TokenCipher, account: Account
    ) -> None:
        instance = await add(database, cipher, account, "shop")
        assert await database.read(select_websocket_config, instance.id) is None

    async def test_upsert_replaces_the_config(
        self, database: Database, cipher: TokenCipher, account: Account
    ) -> None:
        instance = await add(database, cipher, account, "shop")
        for config in (CONFIG, DISABLED, WebsocketConfig(True, CONFIG.events[::-1])):
            assert await database.write(upsert_websocket_config, instance.id, config) is True
            assert await database.read(select_websocket_config, instance.id) == config
            [loaded] = await database.read(select_instances, cipher)
            assert loaded.websocket == config
        assert await count_rows(database, WebsocketConfigRow) == 1

    async def test_config_belongs_to_one_instance(
        self, database: Database, cipher: TokenCipher, account: Account
    ) -> None:
        first = await add(database, cipher, account, "first", websocket=CONFIG)
        second = await add(database, cipher, account, "second", websocket=CONFIG)
        await database.write(upsert_websocket_config, second.id, DISABLED)
        assert await database.read(select_websocket_config, first.id) == CONFIG

    async def test_deleted_instance_is_false(
        self, database: Database, cipher: TokenCipher, account: Account
    ) -> None:
        instance = await add(database, cipher, account, "shop")
        await database.write(delete_instance, instance.id)
        assert await database.write(upsert_websocket_config, instance.id, CONFIG) is False
        assert await count_rows(database, WebsocketConfigRow) == 0

    async def test_malformed_events_are_a_store_error(
        self, database: Database, cipher: TokenCipher, account: Account
    ) -> None:
        instance = await add(database, cipher, account, "shop", websocket=CONFIG)

        def damage(peewee_database: peewee.Database) -> None:
            with peewee_database.connection_context():
                WebsocketConfigRow.update(events="{").execute(peewee_database)

        await database.write(damage)
        with pytest.raises(StoreError, match="the events of a WebSocket configuration are damaged"):
            await database.read(select_websocket_config, instance.id)


class TestSettings:
    async def test_settings_are_replaced_as_a_whole(
        self, database: Database, cipher: TokenCipher, account: Account
    ) -> None:
        first = await add(database, cipher, account, "first", websocket=CONFIG)
        second = await add(database, cipher, account, "second")
        settings = InstanceSettings(True, "'\"; 電話 \0", True, True, True, False, True)
        assert await database.write(update_instance_settings, first.id, settings) is True
        changed = dataclasses.replace(first, settings=settings)
        assert await database.read(select_instances, cipher) == [changed, second]
        assert await database.write(update_instance_settings, first.id, DEFAULTS) is True
        assert await database.read(select_instances, cipher) == [first, second]

    async def test_deleted_instance_is_false(
        self, database: Database, cipher: TokenCipher, account: Account
    ) -> None:
        instance = await add(database, cipher, account, "shop")
        await database.write(delete_instance, instance.id)
        assert await database.write(update_instance_settings, instance.id, DEFAULTS) is False


async def test_ping_succeeds(database: Database) -> None:
    await database.read(ping)


async def test_two_databases_in_one_process_are_independent(
    database: Database, account: Account, tmp_path: Path
) -> None:
    async with open_database(f"sqlite:///{tmp_path}/other.db") as other:
        made = await other.write(insert_account, "only here", "hash")
        assert await other.read(select_accounts) == [made]
        assert await database.read(select_accounts) == [account]


class TestUpdateInstanceSeals:
    NEW_KEY = b"n" * 32

    @pytest.fixture
    def both(self, cipher: TokenCipher) -> TokenCipher:
        return TokenCipher(self.NEW_KEY, bytes(range(32)))

    async def test_tokens_are_resealed_once_in_batches(
        self, database: Database, cipher: TokenCipher, both: TokenCipher, account: Account
    ) -> None:
        a, b, c = [await add(database, cipher, account, name) for name in "abc"]
        d = await add(database, both, account, "d")

        async def seal(after: int) -> Resealed | None:
            return await database.write(update_instance_seals, both, after, 2)

        assert await seal(0) == Resealed(b.id, examined=2, resealed=2)
        assert await database.read(select_instances, both) == [a, b, c, d]
        assert await seal(b.id) == Resealed(d.id, examined=2, resealed=1)
        assert await seal(d.id) is None
        assert await seal(0) == Resealed(b.id, examined=2, resealed=0)
        assert await database.read(select_instances, TokenCipher(self.NEW_KEY)) == [a, b, c, d]

    async def test_failed_batch_is_rolled_back(
        self, database: Database, cipher: TokenCipher, both: TokenCipher, account: Account
    ) -> None:
        made = await add(database, cipher, account, "a")
        await add(database, TokenCipher(b"x" * 32), account, "b")
        with pytest.raises(KeyFileError, match=r"^instance b \(id 2\): "):
            await database.write(update_instance_seals, both, 0, 2)
        await database.write(delete_instance, 2)
        assert await database.read(select_instances, cipher) == [made]
