"""The ``__all__`` of every module lists exactly its public names."""

import ast
from collections.abc import Iterator
from pathlib import Path

import pytest

import ryze

FOLDER = Path(ryze.__file__).parent
# Migrations and `__main__` are run, not imported.
MODULES = sorted(
    path
    for path in FOLDER.rglob("*.py")
    if path.name[0] not in "0123456789" and path.stem != "__main__"
)


def _defined_names(node: ast.stmt) -> Iterator[str]:
    """The names that a statement defines in its module."""
    match node:
        case ast.ClassDef(name=name):
            yield name
        case ast.FunctionDef() | ast.AsyncFunctionDef():
            yield node.name
        case ast.Assign(targets=targets):
            for target in targets:
                yield from (n.id for n in ast.walk(target) if isinstance(n, ast.Name))
        case ast.AnnAssign(target=ast.Name(id=name)):
            yield name
        case ast.If():
            for inner in [*node.body, *node.orelse]:
                yield from _defined_names(inner)


def _is_registered(node: ast.stmt) -> bool:
    """Does a decorator register it with an object, such as a route handler or a command?"""
    decorators = getattr(node, "decorator_list", [])
    return any(_registers(decorator) for decorator in decorators)


def _registers(decorator: ast.expr) -> bool:
    match decorator:
        case ast.Call(func=ast.Attribute(value=ast.Name(id=owner))):
            return owner not in ("contextlib", "functools", "dataclasses")
    return False


def _listed(tree: ast.Module) -> list[str]:
    for node in tree.body:
        match node:
            case ast.Assign(targets=[ast.Name(id="__all__")], value=value):
                return list(ast.literal_eval(value))
    return []


def _imported(tree: ast.Module) -> set[str]:
    return {
        alias.asname or alias.name
        for node in tree.body
        if isinstance(node, ast.ImportFrom)
        for alias in node.names
    }


@pytest.mark.parametrize("module", MODULES, ids=lambda path: str(path.relative_to(FOLDER)))
def test_public_names_are_listed(module: Path) -> None:
    tree = ast.parse(module.read_text())
    listed = _listed(tree)
    defined = {name: node for node in tree.body for name in _defined_names(node) if name[0] != "_"}
    public = {name for name, node in defined.items() if not _is_registered(node)}
    assert len(listed) == len(set(listed))
    # A package also lists the names that it re-exports.
    imported = _imported(tree) if module.stem == "__init__" else set()
    assert public <= set(listed) <= defined.keys() | imported | {"__version__"}
