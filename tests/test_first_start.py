"""The account token of the settings: created, replaced, or refused at a start."""

from collections.abc import MutableMapping
from dataclasses import replace
from typing import Any

import pytest
import trio

import ryze.app
from ryze.errors import StartError
from ryze.settings import Settings
from ryze.store import (
    hash_token,
    insert_account,
    open_database,
    select_accounts,
    update_account_token,
)
from tests.conftest import ACCOUNT_TOKEN, Server, StartServer

LIST = "/api/instance/list"


async def stop(server: Server) -> None:
    server.stop.set()
    await server.finished.wait()


class TestAccountToken:
    async def accounts(self, server: Server) -> dict[str, str]:
        accounts = await server.services.database.read(select_accounts)
        return {account.name: account.token_hash for account in accounts}

    async def test_configured_token_is_that_of_the_first_account(self, server: Server) -> None:
        assert await self.accounts(server) == {"default": hash_token(ACCOUNT_TOKEN)}
        assert ACCOUNT_TOKEN not in str(server.announced)

    async def test_changed_token_replaces_the_former_one(
        self, server: Server, start_server: Any
    ) -> None:
        await server.create()
        await stop(server)
        again = await start_server(account_token="another-token")
        assert await self.accounts(again) == {"default": hash_token("another-token")}
        assert (await again.request("GET", LIST)).status == 401
        listed = await again.request("GET", LIST, token="another-token")
        assert listed.json["message"] == "1 Instance found"

    async def test_configured_token_replaces_a_rotated_one(
        self, server: Server, start_server: Any, logs: list[MutableMapping[str, Any]]
    ) -> None:
        rotated = hash_token("rotated-token")
        await server.services.database.write(update_account_token, 1, rotated)
        await stop(server)
        assert "account token replaced" not in [line["event"] for line in logs]
        again = await start_server()
        assert await self.accounts(again) == {"default": hash_token(ACCOUNT_TOKEN)}
        assert "account token replaced" in [line["event"] for line in logs]

    async def test_unchanged_token_changes_nothing(self, server: Server, start_server: Any) -> None:
        before = await self.accounts(server)
        await stop(server)
        assert await self.accounts(await start_server()) == before

    async def test_token_of_another_account_changes_nothing(
        self, server: Server, start_server: Any
    ) -> None:
        await server.services.database.write(insert_account, "b", hash_token("b-token"))
        before = await self.accounts(server)
        await stop(server)
        assert await self.accounts(await start_server(account_token="b-token")) == before

    async def test_account_default_is_created_beside_others(
        self, settings: Settings, start_server: StartServer
    ) -> None:
        async with open_database(settings.database_url) as database:
            await database.write(insert_account, "b", hash_token("b-token"))
        server = await start_server()
        assert (await self.accounts(server)).keys() == {"b", "default"}
        await stop(server)
        # Without a configured token, existing accounts suffice.
        again = await start_server(account_token="")
        assert len(await self.accounts(again)) == 2

    async def test_token_of_an_instance_is_a_start_error(
        self, server: Server, settings: Settings
    ) -> None:
        token = await server.create()
        await stop(server)
        with pytest.raises(StartError, match="RYZE_ACCOUNT_TOKEN is the token of an instance"):
            await ryze.app.serve(replace(settings, account_token=token), trio.Event())
