"""The folder ``schema/`` matches the code, and each file is valid in its format."""

import json
import sqlite3
from pathlib import Path
from typing import Any

import jsonschema
import openapi_spec_validator
import pytest
from jsonschema.validators import validator_for

from ryze.api.write_documents import render_documents

ROOT = Path(__file__).parents[2]
FOLDER = ROOT / "schema"
RENDERED = render_documents()
ASYNCAPI = ROOT / "tests/e2e/node_modules/@asyncapi/specs/schemas/3.0.0.json"


def document(path: str) -> Any:
    return json.loads(RENDERED[path])


@pytest.mark.parametrize("path", RENDERED)
def test_no_file_is_stale(path: str) -> None:
    assert (FOLDER / path).read_text() == RENDERED[path], "run `nox -s schema`"


def test_no_other_file_is_there() -> None:
    there = {str(file.relative_to(FOLDER)) for file in FOLDER.rglob("*") if file.is_file()}
    assert there == RENDERED.keys()


def test_openapi_document_is_valid() -> None:
    assert document("openapi.json")["openapi"].startswith("3.1.")
    openapi_spec_validator.validate(document("openapi.json"))


def test_asyncapi_document_is_valid() -> None:
    if not ASYNCAPI.exists():
        pytest.skip("@asyncapi/specs is not installed (.ci/run installs it)")
    schema = json.loads(ASYNCAPI.read_text())
    validator_for(schema)(schema).validate(document("asyncapi.json"))


@pytest.mark.parametrize("path", [path for path in RENDERED if path.startswith("events/")])
def test_event_schemas_are_valid(path: str) -> None:
    schema = document(path)
    assert schema["$schema"] == "https://json-schema.org/draft/2020-12/schema"
    assert path == f"events/{schema['$id']}"
    jsonschema.Draft202012Validator.check_schema(schema)


def test_sql_creates_the_tables() -> None:
    with sqlite3.connect(":memory:") as database:
        database.executescript(RENDERED["database.sql"])
        names = {name for (name,) in database.execute("SELECT tbl_name FROM sqlite_master")}
    database.close()
    assert {"accounts", "instances", "websocket_configs"} <= names
