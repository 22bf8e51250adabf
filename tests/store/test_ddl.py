"""The schema as SQL."""

import sqlite3
from pathlib import Path

from ryze.store import open_database
from ryze.store.ddl import ddl


def tables(database: sqlite3.Connection) -> set[str]:
    rows = database.execute(
        "SELECT sql FROM sqlite_master WHERE sql NOT NULL AND tbl_name NOT LIKE '%migration%'"
        " AND name NOT LIKE 'sqlite_%'"
    )
    return {sql for (sql,) in rows}


async def test_statements_create_the_tables_of_a_server(url: str, path: Path) -> None:
    async with open_database(url):
        pass
    made = sqlite3.connect(":memory:")
    made.executescript(ddl())
    opened = sqlite3.connect(path)
    try:
        assert tables(made) == tables(opened) != set()
    finally:
        made.close()
        opened.close()
