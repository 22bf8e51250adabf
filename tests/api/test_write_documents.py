"""The folder ``schema/`` is what the code makes of it, and each file is what it claims to be."""

import json
import sqlite3
from pathlib import Path
from typing import Any

import jsonschema
import openapi_spec_validator
import pytest
from jsonschema.validators import validator_for

from ryze.api.write_documents import files

ROOT = Path(__file__).parents[2]
FOLDER = ROOT / "schema"
MADE = files()
ASYNCAPI = ROOT / "tests/e2e/node_modules/@asyncapi/specs/schemas/3.0.0.json"


def document(path: str) -> Any:
    return json.loads(MADE[path])


@pytest.mark.parametrize("path", MADE)
def test_no_file_is_stale(path: str) -> None:
    assert (FOLDER / path).read_text() == MADE[path], "run `nox -s schema`"


def test_no_file_is_left_over() -> None:
    there = {str(file.relative_to(FOLDER)) for file in FOLDER.rglob("*") if file.is_file()}
    assert there == MADE.keys()


def test_openapi_is_one() -> None:
    assert document("openapi.json")["openapi"].startswith("3.1.")
    openapi_spec_validator.validate(document("openapi.json"))


def test_asyncapi_is_one() -> None:
    if not ASYNCAPI.exists():
        pytest.skip("@asyncapi/specs is not installed (.ci/run installs it)")
    schema = json.loads(ASYNCAPI.read_text())
    validator_for(schema)(schema).validate(document("asyncapi.json"))


@pytest.mark.parametrize("path", [path for path in MADE if path.startswith("events/")])
def test_an_event_schema_is_one(path: str) -> None:
    schema = document(path)
    assert schema["$schema"] == "https://json-schema.org/draft/2020-12/schema"
    assert path == f"events/{schema['$id']}"
    jsonschema.Draft202012Validator.check_schema(schema)


def test_the_sql_makes_the_tables() -> None:
    with sqlite3.connect(":memory:") as database:
        database.executescript(MADE["database.sql"])
        names = {name for (name,) in database.execute("SELECT tbl_name FROM sqlite_master")}
    database.close()
    assert {"accounts", "instances", "websocket_configs"} <= names
