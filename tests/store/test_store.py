"""The public names and the imports of the store."""

import ast
from pathlib import Path

import pytest

import ryze.store

FOLDER = Path(ryze.store.__file__).parent
MODULES = sorted(FOLDER.rglob("*.py"))


def test_exported_names_exist_and_are_unique() -> None:
    assert sorted(ryze.store.__all__) == sorted(set(ryze.store.__all__))
    for name in ryze.store.__all__:
        assert getattr(ryze.store, name) is not None


def test_all_query_functions_are_exported() -> None:
    from ryze.store import queries

    assert set(queries.__all__) <= set(ryze.store.__all__)


@pytest.mark.parametrize("module", MODULES, ids=lambda path: path.name)
def test_store_imports_only_errors_masking_and_records(module: Path) -> None:
    for node in ast.walk(ast.parse(module.read_text())):
        if isinstance(node, ast.ImportFrom) and (node.module or "").startswith("ryze"):
            assert node.module in (
                "ryze.errors",
                "ryze.masking",
                "ryze.records",
            ) or node.module.startswith("ryze.store.")
