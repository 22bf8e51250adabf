"""Imports point one way (ARCHITECTURE.md, "The house"), lazy imports included."""

import ast
from collections.abc import Iterator
from graphlib import TopologicalSorter
from pathlib import Path

import pytest

import ryze

FOLDER = Path(ryze.__file__).parent
MODULES = {
    ".".join(path.relative_to(FOLDER.parent).with_suffix("").parts).removesuffix(".__init__"): path
    for path in sorted(FOLDER.rglob("*.py"))
}

# The rooms that each room may import. A room is a package or a module directly in ryze/; the
# values that have no room of their own may be imported everywhere.
VALUES = {"__version__", "changes", "disconnects", "errors", "exception_groups", "masking"}
VALUES |= {"records"}
ALLOWED = {
    "__version__": set(),
    "disconnects": set(),
    "errors": set(),
    "exception_groups": set(),
    "masking": set(),
    "records": set(),
    "changes": {"records"},
    "telemetry": VALUES,
    "http_head": {"errors"},
    "signals": set(),
    "settings": {"errors", "masking"},
    "store": {"errors", "masking", "records"},
    "instances": {"store", *VALUES},
    "events": {"errors", "records"},
    "hub": {"events", "telemetry", *VALUES},
    "publishing": {"hub", "events", *VALUES},
    "ingest": {"events", *VALUES},
    "websocket": {"publishing", "hub", "events", "http_head", "telemetry", *VALUES},
    "access": {"websocket", "hub", "http_head", "instances", "store", *VALUES},
    "api": {
        *("access", "ingest", "publishing", "events", "instances", "store"),
        *("settings", "telemetry", *VALUES),
    },
    "server": {"access", "websocket", "hub", "http_head", "settings", "telemetry", *VALUES},
    "client": VALUES,
    "first_start": {"settings", "store", *VALUES},
    "app": {
        *("server", "api", "access", "publishing", "websocket", "hub", "instances", "store"),
        *("first_start", "settings", "signals", "telemetry", *VALUES),
    },
    "playground": {
        *("app", "client", "events", "first_start", "hub", "settings", "signals", "telemetry"),
        *VALUES,
    },
    "cli": {
        *("app", "client", "events", "playground", "settings", "signals", "store"),
        *VALUES,
    },
    "__main__": {"cli"},
}


def room_of(module: str) -> str:
    """The package or module directly in ``ryze/`` that a module belongs to."""
    return module.split(".")[1] if "." in module else "__version__"


def imported_modules(module: str) -> Iterator[str]:
    """The modules of ours that a module imports, anywhere in its code."""
    for node in ast.walk(ast.parse(MODULES[module].read_text())):
        match node:
            case ast.ImportFrom(level=level) if level:
                raise AssertionError(f"{module}: imports name the whole way")
            case ast.ImportFrom(module=str(source), names=names) if source.split(".")[0] == "ryze":
                for alias in names:
                    name = f"{source}.{alias.name}"
                    yield name if name in MODULES else source
            case ast.Import(names=names):
                yield from (each.name for each in names if each.name in MODULES)


IMPORTS = {module: set(imported_modules(module)) - {module} for module in MODULES}


@pytest.mark.parametrize("module", MODULES)
def test_rooms_import_only_allowed_rooms(module: str) -> None:
    if module == "ryze":
        return
    room = room_of(module)
    imported = {room_of(each) for each in IMPORTS[module]} - {room}
    assert imported <= ALLOWED[room], f"{room} imports {imported - ALLOWED[room]}"


def test_every_room_has_its_rule() -> None:
    rooms = {room_of(module) for module in MODULES}
    assert set(ALLOWED) == rooms


def test_every_rule_is_used() -> None:
    for room, allowed in ALLOWED.items():
        modules = [module for module in MODULES if room_of(module) == room]
        used = {room_of(each) for module in modules for each in IMPORTS[module]}
        assert allowed - VALUES <= used, f"{room} does not import {allowed - VALUES - used}"


def test_rooms_form_no_circle() -> None:
    TopologicalSorter(ALLOWED).prepare()


def test_modules_form_no_circle() -> None:
    TopologicalSorter(IMPORTS).prepare()


def test_only_publishing_publishes_to_the_hub() -> None:
    intake = {"publish_now", "publish_when_ready", "wait_for_room"}
    users = {
        room_of(module)
        for module, path in MODULES.items()
        for node in ast.walk(ast.parse(path.read_text()))
        if isinstance(node, ast.Attribute) and node.attr in intake
    }
    assert users == {"hub", "publishing"}
