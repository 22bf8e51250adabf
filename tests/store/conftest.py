"""Fixtures: a real SQLite file per test, opened as the server opens it."""

from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from ryze.store import Account, Database, TokenCipher, hash_token, insert_account, open_database


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "ryze.db"


@pytest.fixture
def url(path: Path) -> str:
    return f"sqlite:///{path}"


@pytest.fixture
async def database(url: str) -> AsyncIterator[Database]:
    async with open_database(url, busy_timeout_seconds=0.05) as database:
        yield database


@pytest.fixture
def cipher() -> TokenCipher:
    return TokenCipher(bytes(range(32)))


@pytest.fixture
async def account(database: Database) -> Account:
    return await database.write(insert_account, "main", hash_token("account token"))
