"""Migrations: together they create the schema of the models."""

from collections.abc import Iterator
from pathlib import Path

import peewee
import pytest
from playhouse.migrations import Runner
from playhouse.schema_diff import diff_models

import ryze.store
from ryze.store import open_database
from ryze.store.models import MODELS

MIGRATIONS = Path(ryze.store.__file__).with_name("migrations")


def connect(path: Path) -> peewee.SqliteDatabase:
    return peewee.SqliteDatabase(path, pragmas={"foreign_keys": 1}, autoconnect=False)


def tables_and_indexes(database: peewee.SqliteDatabase) -> dict[str, str]:
    found = database.execute_sql("SELECT name, sql FROM sqlite_master WHERE sql IS NOT NULL")
    return {
        name: sql for name, sql in found if not name.startswith(("schema_migration", "sqlite_"))
    }


@pytest.fixture
def empty(tmp_path: Path) -> Iterator[peewee.SqliteDatabase]:
    with (database := connect(tmp_path / "empty.db")).connection_context():
        yield database


def test_migrations_create_the_tables_of_the_models(empty: peewee.SqliteDatabase) -> None:
    Runner(empty, str(MIGRATIONS)).up()
    difference = diff_models(empty, MODELS)
    assert not difference, str(difference)


def test_migrations_create_the_types_and_constraints_of_the_models(
    empty: peewee.SqliteDatabase, tmp_path: Path
) -> None:
    Runner(empty, str(MIGRATIONS)).up()
    with (wanted := connect(tmp_path / "wanted.db")).connection_context():
        with wanted.bind_ctx(MODELS):
            wanted.create_tables(MODELS)
        assert tables_and_indexes(empty) == tables_and_indexes(wanted)


def test_migrations_can_be_reverted_and_applied_again(empty: peewee.SqliteDatabase) -> None:
    runner = Runner(empty, str(MIGRATIONS))
    names = runner.up()
    made = tables_and_indexes(empty)
    assert runner.down(target=names[0]) == names[::-1]
    assert tables_and_indexes(empty) == {}
    assert runner.up() == names
    assert tables_and_indexes(empty) == made


async def test_opening_runs_migrations_once_and_records_them(url: str, path: Path) -> None:
    for _ in range(2):
        async with open_database(url):
            pass
    with (database := connect(path)).connection_context():
        status = Runner(database, str(MIGRATIONS)).status()
        assert [migration.name for migration in status] == ["0001_initial"]
        assert all(migration.applied for migration in status)
        assert not diff_models(database, MODELS)


def test_migration_numbers_are_unique_and_contiguous() -> None:
    numbers = [
        migration.idx for migration in Runner(connect(Path("unused")), str(MIGRATIONS)).migrations()
    ]
    assert numbers == list(range(1, len(numbers) + 1))
