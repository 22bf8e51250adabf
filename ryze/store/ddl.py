"""The tables as SQL: what the migrations leave behind in an empty database."""

import tempfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import peewee
from playhouse.migrations import Runner

from ryze.store.database import MIGRATIONS

__all__ = ["ddl"]

# Those of the migrations' own record come and go with peewee's version.
_OURS = "name NOT LIKE 'sqlite_%' AND tbl_name NOT LIKE 'schema_migration%' AND sql IS NOT NULL"


def ddl() -> str:
    """The statements that make the tables and indexes of the newest migration."""
    with tempfile.TemporaryDirectory() as folder:
        database = peewee.SqliteDatabase(str(Path(folder, "empty.db")), autoconnect=False)
        with database.connection_context():
            Runner(database, str(MIGRATIONS)).up()
            execute: Callable[..., Any] = database.execute_sql
            rows = list(execute(f"SELECT sql FROM sqlite_master WHERE {_OURS}"))
    return "".join(f"{statement};\n" for (statement,) in rows)
