"""The registry: memory agrees with the database, and followers with memory."""

import contextlib
import sqlite3
from collections.abc import AsyncIterator, Callable, MutableMapping
from dataclasses import replace
from pathlib import Path
from typing import Any

import msgspec
import pytest
import trio
from trio.testing import MockClock, wait_all_tasks_blocked
from wsproto.events import TextMessage

from ryze.access.authentication import Principal, authenticate
from ryze.changes import (
    AccountTokenRevoked,
    Change,
    InstanceDeleted,
    InstanceTokenChanged,
    SettingsChanged,
    WebsocketConfigured,
)
from ryze.errors import AlreadyExists, StoreError
from ryze.hub.hub import Hub
from ryze.instances.registry import Registry
from ryze.records import DISABLED, Instance, InstanceSettings, WebsocketConfig
from ryze.store import (
    Database,
    TokenCipher,
    delete_instance,
    hash_token,
    insert_account,
    open_database,
    update_account_token,
)
from tests.conftest import ACCOUNT_TOKEN, Server, until

CIPHER = TokenCipher(bytes(32))
ENABLED = WebsocketConfig(enabled=True)


@pytest.fixture
async def database(tmp_path: Path) -> AsyncIterator[Database]:
    async with open_database(f"sqlite:///{tmp_path / 'ryze.db'}") as database:
        await database.write(insert_account, "main", hash_token("main-token"))
        yield database


async def load(database: Database) -> Registry:
    registry = await Registry.load(database, CIPHER)
    registry.add_follower(Hub("http://test").follow)
    return registry


async def create(registry: Registry, name: str = "demo", token: str = "demo-token") -> Any:
    return await registry.create_instance(1, name, token, InstanceSettings(), ENABLED)


class TestLookups:
    async def test_tokens_are_found_by_their_hash(self, database: Database) -> None:
        registry = await load(database)
        demo = await create(registry)
        assert authenticate(registry, "main-token") == Principal(1, None, hash_token("main-token"))
        assert authenticate(registry, "demo-token") == Principal(1, demo, hash_token("demo-token"))
        for wrong in ("", "main-toke", hash_token("main-token"), "\ud800"):
            assert authenticate(registry, wrong) is None

    async def test_an_account_token_reaches_all_instances_and_an_instance_token_one(
        self, database: Database
    ) -> None:
        registry = await load(database)
        await create(registry)
        account, instance = (authenticate(registry, each) for each in ("main-token", "demo-token"))
        assert account is not None
        assert instance is not None
        assert account.may_use("demo")
        assert account.may_use("nobody")
        assert instance.may_use("demo")
        assert not instance.may_use("nobody")

    async def test_instances_are_found_by_account_and_name(self, database: Database) -> None:
        registry = await load(database)
        demo = await create(registry)
        assert registry.find(1, "demo") == demo
        assert registry.find(2, "demo") is None
        assert registry.find(1, "Demo") is None
        assert registry.instances(1) == [demo]
        assert registry.instances(2) == []
        assert repr(registry) == "<Registry 1 accounts, 1 instances>"


class TestChanges:
    async def test_a_new_registry_loads_all_changes(self, database: Database) -> None:
        first = await load(database)
        for number in range(3):
            await create(first, f"i{number}", f"token-{number}")
        await first.configure_websocket(first.instances(1)[1], DISABLED)
        await first.delete_instance(first.instances(1)[0])
        await first.change_settings(first.instances(1)[0], {"ignore_status": True})
        second = await load(database)
        assert second.instances(1) == first.instances(1)
        assert [instance.websocket for instance in second.instances(1)] == [DISABLED, ENABLED]
        assert authenticate(second, "token-0") is None
        assert authenticate(second, "token-2") == authenticate(first, "token-2")

    async def test_a_failed_change_changes_nothing(
        self, database: Database, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        registry = await load(database)
        demo = await create(registry)
        with pytest.raises(AlreadyExists):
            await create(registry)

        async def fail(*_: object) -> None:
            raise StoreError("disk I/O error")

        with monkeypatch.context() as patch:
            patch.setattr(database, "write", fail)
            for change in (
                create(registry, "other", "other-token"),
                registry.configure_websocket(demo, DISABLED),
                registry.change_settings(demo, {"ignore_status": True}),
                registry.delete_instance(demo),
                registry.change_token(demo, "new-token"),
            ):
                with pytest.raises(StoreError):
                    await change
        assert registry.instances(1) == [demo]
        assert registry.find(1, "demo") == demo
        assert authenticate(registry, "new-token") is None
        assert await registry.configure_websocket(demo, DISABLED)

    async def test_a_deleted_instance_cannot_be_changed(self, database: Database) -> None:
        registry = await load(database)
        demo = await create(registry)
        assert await registry.delete_instance(demo)
        assert not await registry.delete_instance(demo)
        assert not await registry.configure_websocket(demo, ENABLED)
        assert await registry.change_settings(demo, {"ignore_status": True}) is None
        assert await registry.change_token(demo, "new-token") is None
        again = await create(registry)
        assert again.id != demo.id
        # A request that holds the deleted one does not change the new one of the same name.
        assert not await registry.configure_websocket(demo, DISABLED)
        assert not await registry.delete_instance(demo)
        assert registry.find(1, "demo") == again

    async def test_a_changed_token_replaces_the_old_one(self, database: Database) -> None:
        registry = await load(database)
        demo, other = await create(registry), await create(registry, "other", "other-token")
        for taken in ("demo-token", "other-token", "main-token"):
            with pytest.raises(AlreadyExists):
                await registry.change_token(demo, taken)
        renewed = await registry.change_token(demo, "new-token")
        assert renewed is not None
        assert authenticate(registry, "demo-token") is None
        assert authenticate(registry, "new-token") == Principal(1, renewed, hash_token("new-token"))
        assert registry.find(1, "demo") == renewed
        assert registry.instances(1) == [renewed, other]
        assert (await load(database)).instances(1) == [renewed, other]

    async def test_a_request_with_an_outdated_instance_changes_the_current_one(
        self, database: Database
    ) -> None:
        registry = await load(database)
        demo = await create(registry)
        await registry.change_token(demo, "second-token")
        assert await registry.configure_websocket(demo, DISABLED)
        third = await registry.change_token(demo, "third-token")
        assert third is not None
        assert third.websocket == DISABLED
        assert authenticate(registry, "second-token") is None
        assert await registry.delete_instance(demo)
        assert authenticate(registry, "third-token") is None
        assert repr(registry) == "<Registry 1 accounts, 0 instances>"

    async def test_concurrent_token_changes_leave_the_token_of_the_database(
        self, database: Database
    ) -> None:
        registry = await load(database)
        demo = await create(registry)
        async with trio.open_nursery() as nursery:
            for number in range(10):
                nursery.start_soon(registry.change_token, demo, f"token-{number}")
        tokens = [f"token-{number}" for number in range(10)]
        valid = [token for token in tokens if authenticate(registry, token)]
        assert len(valid) == 1
        [stored] = (await load(database)).instances(1)
        assert [stored.token] == valid
        assert registry.instances(1) == [stored]

    async def test_an_instance_deleted_behind_the_registry_cannot_be_changed(
        self, database: Database
    ) -> None:
        registry = await load(database)
        demo = await create(registry)
        await database.write(delete_instance, demo.id)
        assert not await registry.configure_websocket(demo, DISABLED)
        assert await registry.change_settings(demo, {"ignore_status": True}) is None
        assert not await registry.delete_instance(demo)

    async def test_concurrent_changes_leave_the_configuration_of_the_database(
        self, database: Database
    ) -> None:
        registry = await load(database)
        demo = await create(registry)
        configs = [WebsocketConfig(True, (name,)) for name in ("call.update", "group.flow")]
        async with trio.open_nursery() as nursery:
            for _ in range(10):
                for config in configs:
                    nursery.start_soon(registry.configure_websocket, demo, config)
        known = registry.find(1, "demo")
        assert known is not None
        assert known.websocket == await registry.websocket_config(demo)

    async def test_concurrent_changes_of_different_settings_are_all_kept(
        self, database: Database
    ) -> None:
        registry = await load(database)
        demo = await create(registry)
        names = [field.name for field in msgspec.structs.fields(InstanceSettings)]
        names.remove("call_reject_message")
        async with trio.open_nursery() as nursery:
            for name in names:
                change = {name: not getattr(demo.settings, name)}
                nursery.start_soon(registry.change_settings, demo, change)
            nursery.start_soon(registry.configure_websocket, demo, DISABLED)
        known = registry.find(1, "demo")
        assert known is not None
        assert known.settings == InstanceSettings(True, "", True, True, True, False, True)
        assert known.websocket == DISABLED
        assert (await load(database)).find(1, "demo") == known

    async def test_a_change_cancelled_while_it_writes_still_reaches_memory(
        self, database: Database, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        registry = await load(database)
        demo = await create(registry)
        write = database.write
        with trio.CancelScope() as scope:

            async def write_cancelled(*args: Any) -> Any:
                task = write(*args)
                scope.cancel()
                with trio.CancelScope(shield=True):
                    return await task

            monkeypatch.setattr(database, "write", write_cancelled)
            await registry.configure_websocket(demo, DISABLED)
            known = registry.find(1, "demo")
            assert known is not None
            assert known.websocket == DISABLED


@contextlib.asynccontextmanager
async def another_process(server: Server) -> AsyncIterator[Database]:
    async with open_database(server.settings.database_url) as database:
        yield database


LIST = "/api/instance/list"


class TestWatch:
    async def test_a_rotated_account_token_is_refused(
        self, server: Server, mock_clock: MockClock
    ) -> None:
        async with another_process(server) as database:
            await database.write(update_account_token, 1, hash_token("new-token"))
        assert (await server.request("GET", LIST)).status == 200
        await pass_one_interval(mock_clock)
        await until(lambda: authenticate(server.services.registry, ACCOUNT_TOKEN) is None)
        assert (await server.request("GET", LIST)).error == (401, "Invalid token")
        assert (await server.request("GET", LIST, token="new-token")).status == 200

    async def test_a_rotated_account_token_ends_only_the_connections_it_opened(
        self, server: Server, demo: str, mock_clock: MockClock
    ) -> None:
        await server.create("other")
        revoked = [await server.connect(), await server.connect("other")]
        revoked.append(await server.connect("demo/publish"))
        instance_token = {"token": demo}
        subscriber = await server.connect(headers=instance_token)
        producer = await server.connect("demo/publish", instance_token)
        async with another_process(server) as database:
            await database.write(update_account_token, 1, hash_token("new-token"))
        await pass_one_interval(mock_clock)
        for socket in revoked:
            assert await socket.closed() == (4501, "token revoked")
        await producer.send(TextMessage('{"event": "call.update", "data": {"n": 1}}'))
        assert (await subscriber.document())["instanceData"]["token"] == demo
        refused = await server.try_to_connect()
        assert refused.error == (401, "Invalid token")
        await server.connect(headers={"token": "new-token"})

    async def test_another_account_keeps_its_connections(
        self, server: Server, demo: str, mock_clock: MockClock
    ) -> None:
        socket = await server.connect()
        async with another_process(server) as database:
            second = await database.write(insert_account, "second", hash_token("second"))
            await pass_one_interval(mock_clock)
            await until(lambda: authenticate(server.services.registry, "second") is not None)
            await database.write(update_account_token, second.id, hash_token("new-token"))
        await pass_one_interval(mock_clock)
        await until(lambda: authenticate(server.services.registry, "new-token") is not None)
        assert await socket.is_silent()

    async def test_a_new_account_is_loaded(self, server: Server, mock_clock: MockClock) -> None:
        await pass_one_interval(mock_clock)
        async with another_process(server) as database:
            await database.write(insert_account, "new", hash_token("new-token"))
        await pass_one_interval(mock_clock)
        await until(lambda: authenticate(server.services.registry, "new-token") is not None)
        assert (await server.request("GET", LIST, token="new-token")).status == 200

    async def test_a_change_before_the_first_check_is_noticed(
        self, database: Database, mock_clock: MockClock, nursery: trio.Nursery
    ) -> None:
        registry = await load(database)
        await database.write(update_account_token, 1, hash_token("new-token"))
        nursery.start_soon(registry.watch)
        await pass_one_interval(mock_clock)
        await until(lambda: authenticate(registry, "new-token") is not None)
        assert authenticate(registry, "main-token") is None

    async def test_a_failing_database_is_logged_once_and_still_watched(
        self,
        server: Server,
        mock_clock: MockClock,
        monkeypatch: pytest.MonkeyPatch,
        logs: list[MutableMapping[str, Any]],
    ) -> None:
        calls = 0

        async def fail() -> int:
            nonlocal calls
            calls += 1
            raise StoreError("disk I/O error")

        def warnings() -> int:
            return [line["event"] for line in logs].count("accounts not watched")

        with monkeypatch.context() as patch:
            patch.setattr(server.services.database, "data_version", fail)
            for number in range(1, 4):
                await pass_one_interval(mock_clock)
                assert calls == number
        assert warnings() == 1
        async with another_process(server) as database:
            await database.write(update_account_token, 1, hash_token("new-token"))
        await pass_one_interval(mock_clock)
        await until(lambda: authenticate(server.services.registry, "new-token") is not None)


async def pass_one_interval(clock: MockClock) -> None:
    await wait_all_tasks_blocked()
    clock.jump(0.5)
    await wait_all_tasks_blocked()


def checkpoint_wal(path: Path) -> None:
    """Move the write-ahead log into the database file."""
    with contextlib.closing(sqlite3.connect(path)) as connection:
        connection.execute("PRAGMA wal_checkpoint(TRUNCATE)")


class Recorder:
    """A follower that records each change, and what the registry knows when it is called."""

    def __init__(self, registry: Registry) -> None:
        self._registry = registry
        self.changes: list[Change] = []
        self.instances: list[list[Instance]] = []
        registry.add_follower(self._follow)

    def _follow(self, change: Change) -> None:
        self.changes.append(change)
        self.instances.append(self._registry.instances(1))


class StepChecker(trio.abc.Instrument):
    """Checks a condition after each step of each task, between two awaits."""

    def __init__(self, check: Callable[[], bool]) -> None:
        self._check = check
        self.results: set[bool] = set()

    def after_task_step(self, task: trio.lowlevel.Task) -> None:
        self.results.add(self._check())


class TestFollowers:
    async def test_each_change_is_announced_once_after_memory_has_it(
        self, database: Database
    ) -> None:
        registry = await load(database)
        demo = await create(registry)
        recorder = Recorder(registry)
        await registry.configure_websocket(demo, DISABLED)
        await registry.change_settings(demo, {"ignore_status": True})
        renewed = await registry.change_token(demo, "new-token")
        assert renewed is not None
        await registry.delete_instance(demo)
        settings = msgspec.structs.replace(demo.settings, ignore_status=True)
        configured = replace(demo, websocket=DISABLED)
        changed = replace(configured, settings=settings)
        assert renewed == replace(changed, token="new-token", token_hash=hash_token("new-token"))
        assert recorder.changes == [
            WebsocketConfigured(configured),
            SettingsChanged(changed),
            InstanceTokenChanged(renewed, hash_token("demo-token")),
            InstanceDeleted(renewed),
        ]
        assert recorder.instances == [[configured], [changed], [renewed], []]

    async def test_a_revoked_account_token_is_announced_once_after_memory_has_it(
        self, database: Database, mock_clock: MockClock, nursery: trio.Nursery
    ) -> None:
        registry = await load(database)
        recorder = Recorder(registry)
        accounts: list[Any] = []
        registry.add_follower(
            lambda _: accounts.append(
                [authenticate(registry, token) for token in ("main-token", "new-token")]
            )
        )
        nursery.start_soon(registry.watch)
        await pass_one_interval(mock_clock)
        await database.write(update_account_token, 1, hash_token("new-token"))
        await pass_one_interval(mock_clock)
        await until(lambda: bool(recorder.changes))
        await pass_one_interval(mock_clock)
        assert recorder.changes == [AccountTokenRevoked(hash_token("main-token"))]
        assert accounts == [[None, Principal(1, None, hash_token("new-token"))]]

    async def test_memory_and_followers_change_in_one_step(self, database: Database) -> None:
        """No task, between any two awaits, sees one without the other."""
        registry = await load(database)
        demo = await create(registry)
        recorder = Recorder(registry)

        def agree() -> bool:
            changes = recorder.changes
            known = registry.find(1, "demo")
            return (
                (known is None or known.websocket == DISABLED) == (len(changes) >= 1)
                and (known is None or known.settings.ignore_status) == (len(changes) >= 2)
                and (authenticate(registry, "demo-token") is None) == (len(changes) >= 3)
                and (known is None) == (len(changes) == 4)
            )

        checker = StepChecker(agree)
        trio.lowlevel.add_instrument(checker)
        await registry.configure_websocket(demo, DISABLED)
        await registry.change_settings(demo, {"ignore_status": True})
        await registry.change_token(demo, "new-token")
        await registry.delete_instance(demo)
        trio.lowlevel.remove_instrument(checker)
        assert len(recorder.changes) == 4
        assert checker.results == {True}

    async def test_followers_are_called_in_the_order_of_adding(self, database: Database) -> None:
        registry = await load(database)
        demo = await create(registry)
        called: list[str] = []
        for name in ("first", "second", "third"):
            registry.add_follower(lambda _, name=name: called.append(name))
        await registry.configure_websocket(demo, DISABLED)
        assert called == ["first", "second", "third"]

    async def test_a_refused_change_is_not_announced(
        self, database: Database, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        registry = await load(database)
        demo = await create(registry)
        await create(registry, "other", "other-token")
        recorder = Recorder(registry)
        with pytest.raises(AlreadyExists):
            await registry.change_token(demo, "other-token")

        async def fail(*_: object) -> None:
            raise StoreError("disk I/O error")

        with monkeypatch.context() as patch:
            patch.setattr(database, "write", fail)
            for change in (
                registry.configure_websocket(demo, DISABLED),
                registry.change_settings(demo, {"ignore_status": True}),
                registry.change_token(demo, "new-token"),
                registry.delete_instance(demo),
            ):
                with pytest.raises(StoreError):
                    await change
        await database.write(delete_instance, demo.id)
        assert not await registry.configure_websocket(demo, DISABLED)
        assert await registry.change_settings(demo, {"ignore_status": True}) is None
        assert await registry.change_token(demo, "new-token") is None
        assert not await registry.delete_instance(demo)
        assert recorder.changes == []


class TestBrokenDatabase:
    @pytest.mark.parametrize("fault", ["removed", "overwritten"])
    async def test_the_server_stays_up_and_recovers(
        self, server: Server, demo: str, fault: str
    ) -> None:
        socket = await server.connect()
        path = server.database_path
        checkpoint_wal(path)
        intact = path.read_bytes()
        moved = path.with_name("moved.db")
        if fault == "removed":
            path.rename(moved)
        else:
            path.write_bytes(b"this is not a database" * 1000)
        failed = (500, "Failed to get instance")
        get = "/api/events/getWebsocket/demo"
        assert (await server.configure(enabled=True)).error == failed
        new = await server.request("POST", "/api/instance/new", json={"name": "other"})
        assert new.error == failed
        assert (await server.request("DELETE", "/api/instance/delete/demo")).error == failed
        assert (await server.request("GET", get)).error == (
            500,
            "Failed to get websocket configuration",
        )
        health = await server.request("GET", "/health", token=None)
        assert (health.status, health.json["checks"]["database"]) == (503, "failed")
        # Tokens, lists, upgrades and events need memory only.
        assert (await server.request("GET", LIST)).json["message"] == "1 Instance found"
        another = await server.connect()
        assert (await server.publish({"n": 1})).json["clients"] == 2
        assert [await socket.data(), await another.data()] == [{"n": 1}] * 2
        if fault == "removed":
            moved.rename(path)
        else:
            path.write_bytes(intact)
        assert (await server.configure(enabled=True, events=["call.update"])).status == 200
        response = await server.request("GET", get)
        assert response.json["websocket"]["events"] == ["call.update"]
        assert (await server.request("GET", "/health")).status == 200
