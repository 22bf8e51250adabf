"""ARCHITECTURE.md names everything that is there."""

import ast
import re
import tomllib
from pathlib import Path

import pytest

ROOT = Path(__file__).parent.parent
# Packages whose docstring lists their modules.
LISTED = ("access", "api", "client", "events", "hub", "ingest", "instances", "server", "store")
ROOMS = [ROOT / "ryze" / name for name in (*LISTED, "telemetry", "websocket")]
TEXT = (ROOT / "ARCHITECTURE.md").read_text()


def test_house_list_matches_the_folder() -> None:
    _, _, house = TEXT.partition("\nryze/\n")
    listed = re.findall(r"^  (\w+(?:/|\.py)) ", house.partition("```")[0], re.MULTILINE)
    modules = [path.name for path in (ROOT / "ryze").glob("[!_]*.py")]
    packages = [path.parent.name + "/" for path in (ROOT / "ryze").glob("*/__init__.py")]
    assert sorted(listed) == sorted(modules + packages)


def test_dependency_table_matches_the_project() -> None:
    _, _, table = TEXT.partition("\n### Dependencies\n")
    rows = re.findall(r"^\| ([a-z][a-z0-9, -]*) \|", table.partition("\n#")[0], re.MULTILINE)
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
    needed = [re.split(r"[^\w-]", line)[0] for line in project["dependencies"]]
    assert sorted(name for row in rows for name in row.split(", ")) == sorted(needed)


@pytest.mark.parametrize("room", ROOMS, ids=lambda path: path.name)
def test_docstring_of_a_room_lists_its_modules(room: Path) -> None:
    docstring = ast.get_docstring(ast.parse((room / "__init__.py").read_text())) or ""
    modules = {path.stem for path in room.glob("[!_]*.py")}
    packages = {path.parent.name + "/" for path in room.glob("*/__init__.py")}
    listed = set(re.findall(r"^ {0,4}(\w+/?) {2,}", docstring, re.MULTILINE))
    assert listed >= modules | packages - {"migrations/"}
    assert listed <= modules | packages
