import contextlib
import os
import shutil
import sqlite3
import sys
import tempfile
import threading
from collections.abc import Iterator
from pathlib import Path

import peewee
import pytest
import trio
import trio.testing

from ryze.errors import SettingsError, StartError, StoreError
from ryze.store import (
    Account,
    Database,
    TokenCipher,
    hash_token,
    insert_account,
    open_database,
    ping,
    select_accounts,
    select_instances,
)

GARBAGE = b"this is not a database" * 1000


@contextlib.contextmanager
def foreign_connection(path: Path, statement: str) -> Iterator[sqlite3.Connection]:
    """Open the connection of another program, and run a statement on it."""
    with contextlib.closing(sqlite3.connect(path, isolation_level=None)) as connection:
        connection.execute(statement)
        yield connection


def checkpoint_wal(path: Path) -> None:
    """Copy the WAL into the database file, so that the file alone has all data."""
    with contextlib.closing(sqlite3.connect(path)) as connection:
        connection.execute("PRAGMA wal_checkpoint(TRUNCATE)")


def replace_content(path: Path, content: bytes) -> bytes:
    """Overwrite the file in place; return its former content."""
    before = path.read_bytes() if path.exists() else b""
    path.write_bytes(content)
    return before


def move(path: Path, target: Path) -> Path:
    return path.rename(target)


class TestOpenDatabase:
    async def test_creates_a_private_directory_and_file(self, tmp_path: Path) -> None:
        path = tmp_path / "some where" / "data?#%20" / "ryze.db"
        async with open_database(f"sqlite:///{path}") as database:
            assert await database.read(select_accounts) == []
            assert path.stat().st_mode & 0o777 == 0o600
        assert path.parent.stat().st_mode & 0o777 == 0o700

    async def test_relative_path_is_resolved_when_opened(
        self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.chdir(tmp_path)
        async with open_database("sqlite:///data/ryze.db") as database:
            monkeypatch.chdir("/")
            await database.read(ping)
        assert (tmp_path / "data" / "ryze.db").exists()

    async def test_data_persists_after_reopening(self, url: str, cipher: TokenCipher) -> None:
        async with open_database(url) as database:
            account = await database.write(insert_account, "main", "hash")
        async with open_database(url) as database:
            assert await database.read(select_accounts) == [account]

    async def test_connections_have_the_expected_pragmas(self, database: Database) -> None:
        def pragmas(peewee_database: peewee.SqliteDatabase) -> list[object]:
            names = ("journal_mode", "foreign_keys", "synchronous", "busy_timeout")
            with peewee_database.connection_context():
                return [peewee_database.pragma(name) for name in names]

        assert await database.read(pragmas) == ["wal", 1, 1, 50]  # synchronous 1 is NORMAL

    @pytest.mark.parametrize(
        ("url", "shown"),
        [
            ("postgresql://ryze:secret@db/ryze", "postgresql://ryze:***@db/ryze"),
            ("postgresql://ryze:se@c/r:e@t@db/ryze", "postgresql://ryze:***@db/ryze"),
            ("postgresql://:secret@db/ryze", "postgresql://:***@db/ryze"),
            ("postgresql://ryze@db/ryze", "postgresql://ryze@db/ryze"),
            (
                "postgresql:///ryze?user=u&password=secret&a=b",
                "postgresql:///ryze?user=u&password=***&a=b",
            ),
            ("ryze:secret@db", "ryze:***@db"),
            ("sqlite://ryze.db", "sqlite://ryze.db"),
            ("sqlite:///", "sqlite:///"),
            ("sqlite:///:memory:", "sqlite:///:memory:"),
            ("ryze.db", "ryze.db"),
            ("", ""),
        ],
    )
    async def test_unsupported_url_is_rejected_with_its_password_masked(
        self, url: str, shown: str
    ) -> None:
        with pytest.raises(SettingsError) as caught:
            async with open_database(url):
                pytest.fail("opened")
        error = caught.value
        assert (error.key, error.value) == ("RYZE_DATABASE_URL", shown)
        assert error.expected == "sqlite:///<path>"
        assert "secret" not in str(error)

    async def test_file_that_is_not_a_database_is_a_start_error(self, url: str, path: Path) -> None:
        replace_content(path, GARBAGE)
        with pytest.raises(StartError, match=rf"^cannot open the database {path}: file is not a d"):
            async with open_database(url):
                pytest.fail("opened")
        assert replace_content(path, b"") == GARBAGE

    async def test_directory_instead_of_the_file_is_a_start_error(
        self, url: str, path: Path
    ) -> None:
        os.mkdir(path)
        with pytest.raises(StartError, match=rf"^cannot open the database {path}: unable to open"):
            async with open_database(url):
                pytest.fail("opened")

    async def test_must_exist_does_not_create_the_database(self, url: str, path: Path) -> None:
        with pytest.raises(StartError, match=rf"^there is no database {path}$"):
            async with open_database(url, must_exist=True):
                pytest.fail("opened")
        assert os.listdir(path.parent) == []
        async with open_database(url):
            pass
        async with open_database(url, must_exist=True) as database:
            await database.read(ping)

    async def test_directory_that_cannot_be_created_is_a_start_error(self, tmp_path: Path) -> None:
        (tmp_path / "file").touch()
        with pytest.raises(
            StartError, match=r"^cannot open the database .*: .*/file: File exists$"
        ):
            async with open_database(f"sqlite:///{tmp_path}/file/ryze.db"):
                pytest.fail("opened")

    async def test_directory_without_write_permission_is_a_start_error(
        self, read_only_database: Path
    ) -> None:
        with pytest.raises(StartError, match=r": no permission to write .*[^.]{3}$"):
            async with open_database(f"sqlite:///{read_only_database}"):
                pytest.fail("opened")

    async def test_locked_database_is_a_start_error(self, url: str, path: Path) -> None:
        with (
            foreign_connection(path, "BEGIN EXCLUSIVE"),
            pytest.raises(StartError, match="database is locked"),
        ):
            async with open_database(url, busy_timeout_seconds=0.01):
                pytest.fail("opened")

    async def test_database_of_a_newer_version_is_rejected(self, url: str, path: Path) -> None:
        async with open_database(url):
            pass
        with foreign_connection(
            path, "INSERT INTO schema_migration VALUES (2, '0002_next', '2030-01-01')"
        ):
            pass
        with pytest.raises(StartError, match=r"made by a newer ryze \(it has 0002_next\)"):
            async with open_database(url):
                pytest.fail("opened")

    async def test_concurrent_opens_migrate_once(self, url: str) -> None:
        opened = []

        async def open_and_look() -> None:
            async with open_database(url, busy_timeout_seconds=30) as database:
                opened.append(await database.read(select_accounts))

        async with trio.open_nursery() as nursery:
            for _ in range(8):
                nursery.start_soon(open_and_look)
        assert opened == [[]] * 8


@pytest.fixture
def read_only_database() -> Iterator[Path]:
    """A database in a directory without write permission, as an ordinary user."""
    # Not in tmp_path: an ordinary user cannot access it.
    directory = Path(tempfile.mkdtemp(prefix="ryze-test-"))
    path = directory / "ryze.db"
    path.touch()
    directory.chmod(0o555)
    root = os.geteuid() == 0
    if root:
        os.seteuid(65534)
    try:
        yield path
    finally:
        if root:
            os.seteuid(0)
        directory.chmod(0o755)
        shutil.rmtree(directory)


class TestExclusive:
    async def test_second_exclusive_open_is_rejected(self, url: str, path: Path) -> None:
        async with open_database(url, exclusive=True):
            with pytest.raises(StartError, match=rf"^another ryze serve uses {path} \(or "):
                async with open_database(url, exclusive=True):
                    pytest.fail("opened")

    async def test_commands_can_use_the_database_of_a_server(self, url: str) -> None:
        async with open_database(url, exclusive=True) as server, open_database(url) as command:
            account = await command.write(insert_account, "main", "hash")
            assert await server.read(select_accounts) == [account]

    async def test_lock_is_released_at_the_end(self, url: str) -> None:
        for _ in range(2):
            async with open_database(url, exclusive=True) as database:
                await database.read(ping)

    async def test_lock_is_released_after_a_failed_start(self, url: str, path: Path) -> None:
        replace_content(path, GARBAGE)
        with pytest.raises(StartError, match="not a database"):
            async with open_database(url, exclusive=True):
                pytest.fail("opened")
        os.unlink(path)
        async with open_database(url, exclusive=True) as database:
            await database.read(ping)


class TestFailures:
    async def test_corrupted_file_is_a_store_error_until_it_is_restored(
        self, database: Database, account: Account, cipher: TokenCipher, path: Path
    ) -> None:
        checkpoint_wal(path)
        good = replace_content(path, GARBAGE)
        for query in (ping, select_accounts):
            with pytest.raises(StoreError, match="cannot read the database: file is not a") as read:
                await database.read(query)
            assert isinstance(read.value.__cause__, peewee.DatabaseError)
        with pytest.raises(StoreError, match="cannot read the database"):
            await database.read(select_instances, cipher)
        with pytest.raises(StoreError, match="cannot write the database: file is not a database"):
            await database.write(insert_account, "another", "another hash")
        replace_content(path, good)
        assert await database.read(select_accounts) == [account]
        await database.write(insert_account, "another", "another hash")

    async def test_error_while_fetching_rows_is_a_store_error(
        self, database: Database, account: Account, path: Path
    ) -> None:
        """peewee does not translate errors raised between two rows."""

        def fail_while_fetching(peewee_database: peewee.Database) -> list[tuple[object, ...]]:
            with peewee_database.connection_context():
                statement = "SELECT name, json(name) FROM accounts"
                return peewee_database.execute_sql(statement).fetchall()

        with pytest.raises(StoreError, match="malformed JSON"):
            await database.read(fail_while_fetching)

    async def test_deleted_file_is_an_error_and_not_recreated(
        self, database: Database, account: Account, path: Path
    ) -> None:
        checkpoint_wal(path)
        away = move(path, path.with_name("away.db"))
        with pytest.raises(StoreError, match="unable to open database file"):
            await database.read(select_accounts)
        with pytest.raises(StoreError, match="No such file"):
            await database.data_version()
        assert path.name not in os.listdir(path.parent)
        move(away, path)
        assert await database.read(select_accounts) == [account]

    async def test_locked_database_can_be_read_but_not_written(
        self, database: Database, account: Account, path: Path
    ) -> None:
        with foreign_connection(path, "BEGIN EXCLUSIVE"):
            assert await database.read(select_accounts) == [account]
            with pytest.raises(StoreError, match="cannot write the database: database is locked"):
                await database.write(insert_account, "another", "another hash")
        await database.write(insert_account, "another", "another hash")

    async def test_failed_write_is_rolled_back(self, database: Database, account: Account) -> None:
        def insert_and_fail(peewee_database: peewee.Database) -> None:
            with peewee_database.connection_context(), peewee_database.atomic():
                insert_account(peewee_database, "another", "another hash")
                raise ValueError("a bug")

        with pytest.raises(ValueError, match="a bug"):
            await database.write(insert_and_fail)
        assert await database.read(select_accounts) == [account]


class TestConcurrency:
    async def test_write_cancelled_while_running_is_committed(self, database: Database) -> None:
        started, finish = trio.Event(), threading.Event()

        def slow_insert(peewee_database: peewee.Database) -> Account:
            trio.from_thread.run_sync(started.set)
            finish.wait()
            return insert_account(peewee_database, "main", "hash")

        results = []
        async with trio.open_nursery() as nursery:

            @nursery.start_soon
            async def _() -> None:
                results.append(await database.write(slow_insert))
                await trio.lowlevel.checkpoint_if_cancelled()
                pytest.fail("not cancelled")

            await started.wait()
            nursery.cancel_scope.cancel()
            finish.set()
        assert await database.read(select_accounts) == results
        assert len(results) == 1

    async def test_write_cancelled_while_queued_does_nothing(self, database: Database) -> None:
        started, finish = trio.Event(), threading.Event()

        def occupy(peewee_database: peewee.Database) -> None:
            trio.from_thread.run_sync(started.set)
            finish.wait()

        async with trio.open_nursery() as nursery:
            nursery.start_soon(database.write, occupy)
            await started.wait()
            with trio.CancelScope() as scope:
                nursery.start_soon(cancel_once_all_wait, scope)
                await database.write(insert_account, "main", "hash")
            assert scope.cancelled_caught
            finish.set()
        assert await database.read(select_accounts) == []

    async def test_at_most_four_reads_and_one_write_run_at_a_time(self, database: Database) -> None:
        running: dict[str, int] = {"read": 0, "write": 0}
        finish = threading.Event()

        def occupy(_: peewee.Database, kind: str) -> None:
            trio.from_thread.run_sync(lambda: running.update({kind: running[kind] + 1}))
            finish.wait()

        async with trio.open_nursery() as nursery:
            for _ in range(6):
                nursery.start_soon(database.read, occupy, "read")
                nursery.start_soon(database.write, occupy, "write")
            with trio.fail_after(10):
                while running != {"read": 4, "write": 1}:
                    await trio.lowlevel.checkpoint()
            await trio.testing.wait_all_tasks_blocked()
            assert running == {"read": 4, "write": 1}
            assert repr(database).endswith("ryze.db: 4 reading, 5 waiting to write>")
            finish.set()

    async def test_writes_from_many_tasks_are_all_committed(self, database: Database) -> None:
        async with trio.open_nursery() as nursery:
            for number in range(20):
                nursery.start_soon(database.write, insert_account, f"a{number}", f"h{number}")
        assert len(await database.read(select_accounts)) == 20


async def cancel_once_all_wait(scope: trio.CancelScope) -> None:
    await trio.testing.wait_all_tasks_blocked()
    scope.cancel()


class TestDataVersion:
    async def test_reads_do_not_change_it(self, database: Database, account: Account) -> None:
        before = await database.data_version()
        await database.read(select_accounts)
        assert await database.data_version() == before

    async def test_own_writes_change_it(self, database: Database) -> None:
        before = await database.data_version()
        await database.write(insert_account, "main", "hash")
        assert await database.data_version() != before

    async def test_writes_of_another_database_object_change_it(
        self, database: Database, url: str
    ) -> None:
        before = await database.data_version()
        async with open_database(url) as other:
            assert await database.data_version() == before
            made = await other.write(insert_account, "main", "hash")
        assert await database.data_version() != before
        assert await database.read(select_accounts) == [made]

    async def test_writes_of_another_process_change_it(self, database: Database, url: str) -> None:
        before = await database.data_version()
        program = (
            "import sys, trio, ryze.store as store\n"
            "async def main():\n"
            "    async with store.open_database(sys.argv[1]) as database:\n"
            "        await database.write(store.insert_account, 'cli', sys.argv[2])\n"
            "trio.run(main)\n"
        )
        await trio.run_process([sys.executable, "-c", program, url, hash_token("x")])
        assert await database.data_version() != before
        assert [account.name for account in await database.read(select_accounts)] == ["cli"]

    async def test_concurrent_calls_return_the_same_number(self, database: Database) -> None:
        versions = []

        async def ask() -> None:
            versions.append(await database.data_version())

        async with trio.open_nursery() as nursery:
            for _ in range(20):
                nursery.start_soon(ask)
        assert len(set(versions)) == 1

    async def test_replaced_file_is_a_change_and_is_watched_afterwards(
        self, database: Database, account: Account, url: str, path: Path
    ) -> None:
        checkpoint_wal(path)
        backup = path.with_name("backup.db")
        shutil.copy(path, backup)
        before = await database.data_version()
        move(backup, path)
        replaced = await database.data_version()
        assert replaced != before
        async with open_database(url) as other:
            await other.write(insert_account, "another", "another hash")
        assert await database.data_version() != replaced

    async def test_number_after_a_failure_is_a_new_one(
        self, database: Database, path: Path
    ) -> None:
        before = await database.data_version()
        away = move(path, path.with_name("away.db"))
        with pytest.raises(StoreError):
            await database.data_version()
        move(away, path)
        assert await database.data_version() != before
