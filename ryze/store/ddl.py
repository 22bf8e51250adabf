"""The schema as SQL: the result of all migrations on an empty database."""

import tempfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import peewee
from playhouse.migrations import Runner

from ryze.store.database import MIGRATIONS

__all__ = ["ddl"]

# Without the tables that peewee records applied migrations in: they vary with its version.
_OWN_OBJECTS = (
    "name NOT LIKE 'sqlite_%' AND tbl_name NOT LIKE 'schema_migration%' AND sql IS NOT NULL"
)


def ddl() -> str:
    """Return the statements that create all tables and indexes."""
    with tempfile.TemporaryDirectory() as folder:
        database = peewee.SqliteDatabase(str(Path(folder, "empty.db")), autoconnect=False)
        with database.connection_context():
            Runner(database, str(MIGRATIONS)).up()
            execute: Callable[..., Any] = database.execute_sql
            rows = list(execute(f"SELECT sql FROM sqlite_master WHERE {_OWN_OBJECTS}"))
    return "".join(f"{statement};\n" for (statement,) in rows)
