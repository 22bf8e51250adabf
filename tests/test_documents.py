"""Links, paths, commands, nox sessions and variables in the Markdown documents exist."""

import ast
import re
import tomllib
from collections.abc import Iterator
from pathlib import Path

import pytest

from ryze.cli import cli
from ryze.settings import all_settings

ROOT = Path(__file__).parent.parent
DOCUMENTS = sorted(
    [*ROOT.glob("*.md"), *(ROOT / "docs").rglob("*.md"), *(ROOT / "bench").glob("*.md")]
)
CONTRIBUTING = (ROOT / "CONTRIBUTING.md").read_text()

# Of the commands that connect to a server.
CLIENT_VARIABLES = {"RYZE_URL", "RYZE_TOKEN"}

each_document = pytest.mark.parametrize(
    "document", DOCUMENTS, ids=lambda path: str(path.relative_to(ROOT))
)


def anchors(document: Path) -> set[str]:
    """The fragments of a document's headings, as GitHub makes them."""
    headings = re.findall(r"^#+ (.*)$", document.read_text(), re.MULTILINE)
    return {re.sub(r"[^\w\- ]", "", heading.lower()).replace(" ", "-") for heading in headings}


def nox_sessions() -> Iterator[str]:
    """The names that ``nox -l`` lists, read from the source, as the tests do not install nox."""
    for node in ast.parse((ROOT / "noxfile.py").read_text()).body:
        if isinstance(node, ast.FunctionDef) and node.decorator_list:
            (decorator,) = node.decorator_list
            keywords = decorator.keywords if isinstance(decorator, ast.Call) else []
            pythons = [ast.literal_eval(each.value) for each in keywords if each.arg == "python"]
            suffixes = [f"-{python}" for python in pythons[0]] if pythons else [""]
            yield from (node.name + suffix for suffix in suffixes)


@each_document
def test_relative_links_lead_to_a_file_and_a_heading(document: Path) -> None:
    for link in re.findall(r"\]\(([^()\s]+)\)", document.read_text()):
        if "://" in link:
            continue
        path, _, fragment = link.partition("#")
        target = document.parent / path if path else document
        assert target.exists(), link
        if fragment:
            assert fragment in anchors(target), link


@each_document
def test_commands_exist(document: Path) -> None:
    commands = re.findall(r"(?:^|`|/)ryze ([a-z]+)", document.read_text(), re.MULTILINE)
    assert set(commands) <= cli.commands.keys()


@each_document
def test_nox_sessions_exist(document: Path) -> None:
    named = re.findall(r"\bnox -s ([\w.-]+(?: [\w.-]+)*)", document.read_text())
    sessions = {session for names in named for session in names.partition(" -- ")[0].split()}
    assert sessions <= set(nox_sessions())


@each_document
def test_variables_are_settings(document: Path) -> None:
    named = set(re.findall(r"\bRYZE_[A-Z_]+", document.read_text()))
    assert named <= {setting.variable for setting in all_settings()} | CLIENT_VARIABLES


@pytest.mark.parametrize(
    "path",
    sorted(set(re.findall(r"(?<![\w/.-])(?:ryze|tests|docs|bench)/[\w/.]*\w", CONTRIBUTING))),
)
def test_paths_of_the_contributing_guide_exist(path: str) -> None:
    assert (ROOT / path).exists()


def test_extras_of_the_contributing_guide_exist() -> None:
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
    listed = re.findall(r"'\.\[(.*?)\]'", CONTRIBUTING)
    assert listed
    for extras in listed:
        assert set(extras.split(",")) <= project["optional-dependencies"].keys()
