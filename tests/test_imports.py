"""Imports point one way (ARCHITECTURE.md, "The house")."""

import ast
from collections.abc import Iterator
from pathlib import Path

import pytest

import ryze

FOLDER = Path(ryze.__file__).parent
MODULES = sorted(FOLDER.rglob("*.py"))

# What stands on nothing, or on little; and who may import what. Those who are not listed put the
# rest together: they may import everything but the commands and the demo.
_GROUND = {"errors", "media", "records", "tally"}
_ALLOWED = {
    "errors": set(),
    "media": set(),
    "records": set(),
    "tally": set(),
    "scheduler": {"tally"},
    "groups": set(),
    "log": set(),
    "surrogates": set(),
    "events": {"errors", "media", "surrogates"},
    "settings": {"errors"},
    "gateway": {"events", "surrogates", *_GROUND},
    "store": {"errors", "records"},
    "registry": {"gateway", "store", *_GROUND},
    "api": {
        *("registry", "gateway", "events", "log", "scheduler", "settings", "store", "__version__"),
        *_GROUND,
    },
    "client": {"errors", "groups"},
    "traffic": {"events"},
    "simulate": {"client", "groups", "traffic"},
}
# Who alone may import these.
_ENTRANCES = {"cli": {"__main__"}, "demo": {"cli"}}


def house_of(module: Path) -> str:
    """The module or package at the top of ``ryze/`` that a file belongs to."""
    return module.relative_to(FOLDER).parts[0].removesuffix(".py")


def imported_houses(module: Path) -> Iterator[str]:
    for node in ast.walk(ast.parse(module.read_text())):
        match node:
            case ast.ImportFrom(module="ryze", names=names):
                yield from (alias.name for alias in names if alias.name != "__version__")
            case ast.ImportFrom(module=str(name)) if name.startswith("ryze."):
                yield name.split(".")[1]
            case ast.ImportFrom(level=level):
                assert level == 0, "imports name the whole way"
            case ast.Import(names=names):
                yield from (a.name.split(".")[1] for a in names if a.name.startswith("ryze."))


@pytest.mark.parametrize("module", MODULES, ids=lambda path: str(path.relative_to(FOLDER)))
def test_imports_point_one_way(module: Path) -> None:
    house = house_of(module)
    for imported in set(imported_houses(module)) - {house}:
        assert house in _ENTRANCES.get(imported, {house}), f"{house} imports {imported}"
        assert imported in _ALLOWED.get(house, {imported}), f"{house} imports {imported}"


def test_what_the_rules_name_is_there() -> None:
    assert {*_ALLOWED, *_ENTRANCES} <= {house_of(module) for module in MODULES}
