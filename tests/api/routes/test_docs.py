"""The documents and the page, as a server gives them."""

import json
import re
import subprocess
import sys
from html.parser import HTMLParser

import limits
import pytest
import trio

from ryze.api.docs_page import FILES
from tests.conftest import Server, StartServer

PATHS = ["/openapi.json", "/asyncapi.json", "/docs", *(f"/docs/{file}" for file in FILES)]


class _Addresses(HTMLParser):
    def __init__(self) -> None:
        super().__init__()
        self.found: list[str] = []
        self.has_script_of_its_own = False

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        given = dict(attrs)
        self.found += [address for name in ("href", "src") if (address := given.get(name))]
        self.has_script_of_its_own |= tag == "script" and "src" not in given


@pytest.mark.parametrize("path", PATHS)
@pytest.mark.parametrize("token", [None, "wrong", "account-token"])
async def test_no_token_is_needed_but_requests_are_counted(
    server: Server, path: str, token: str | None
) -> None:
    answer = await server.request("GET", path, token=token)
    assert answer.status == 200
    assert answer.rate_limit == (100, 99)


async def test_a_reader_who_comes_too_often_is_told_so(start_server: StartServer) -> None:
    server = await start_server(global_rate_limit=limits.parse("1/minute"))
    assert (await server.request("GET", "/docs", token=None)).status == 200
    answer = await server.request("GET", "/docs", token=None)
    assert answer.error == (429, "Rate limit exceeded. Try again later.")


@pytest.mark.parametrize("name", ["openapi.json", "asyncapi.json"])
async def test_documents_are_those_of_the_folder(
    server: Server, name: str, pytestconfig: pytest.Config
) -> None:
    answer = await server.request("GET", f"/{name}")
    assert answer.headers["content-type"] == "application/json"
    assert answer.json == json.loads((pytestconfig.rootpath / "schema" / name).read_text())


async def test_many_first_readers_get_the_same(server: Server) -> None:
    answers = []

    async def read() -> None:
        answers.append(await server.request("GET", "/openapi.json"))

    async with trio.open_nursery() as nursery:
        for _ in range(4):
            nursery.start_soon(read)
    assert len({answer.body for answer in answers}) == 1


async def test_the_page_loads_parts_that_are_there_and_nothing_else(server: Server) -> None:
    answer = await server.request("GET", "/docs")
    assert answer.headers["content-type"] == "text/html; charset=utf-8"
    page = _Addresses()
    page.feed(answer.body.decode())
    assert not page.has_script_of_its_own
    for address in page.found:
        # Relative to the page: no scheme, no host, not from the root.
        assert re.fullmatch(r"[a-z][a-z./-]*", address)
        assert (await server.request("GET", f"/{address}")).status == 200
    loaded = {address.removeprefix("docs/") for address in page.found if "docs/" in address}
    assert loaded == FILES.keys()


@pytest.mark.parametrize("path", ["/docs", "/docs/start.js"])
async def test_the_page_may_talk_to_its_server_alone(server: Server, path: str) -> None:
    answer = await server.request("GET", path)
    policy = dict(
        rule.split(" ", 1) for rule in answer.headers["content-security-policy"].split("; ")
    )
    assert policy["default-src"] == "'none'"
    assert policy["script-src"] == policy["style-src"] == policy["connect-src"] == "'self'"
    assert answer.headers["x-content-type-options"] == "nosniff"


@pytest.mark.parametrize(
    "part", ["nowhere.js", "index.html", "..", "%2e%2e%2fdocs.py", "start.js/"]
)
async def test_no_other_file_is_given_out(server: Server, part: str) -> None:
    assert (await server.request("GET", f"/docs/{part}")).error == (404, "Not found")


def test_start_does_not_import_quart_schema() -> None:
    script = "import sys, ryze.app; print('quart_schema' in sys.modules)"
    done = subprocess.run(
        [sys.executable, "-c", script], capture_output=True, text=True, check=True
    )
    assert done.stdout == "False\n"
