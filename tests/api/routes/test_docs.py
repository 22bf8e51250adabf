"""The documents and the page, as a server sends them."""

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
async def test_no_token_is_needed_and_requests_are_counted(
    server: Server, path: str, token: str | None
) -> None:
    response = await server.request("GET", path, token=token)
    assert response.status == 200
    assert response.rate_limit == (100, 99)


async def test_requests_over_the_rate_limit_are_a_429(start_server: StartServer) -> None:
    server = await start_server(global_rate_limit=limits.parse("1/minute"))
    assert (await server.request("GET", "/docs", token=None)).status == 200
    response = await server.request("GET", "/docs", token=None)
    assert response.error == (429, "Rate limit exceeded. Try again later.")


@pytest.mark.parametrize("name", ["openapi.json", "asyncapi.json"])
async def test_documents_match_the_schema_folder(
    server: Server, name: str, pytestconfig: pytest.Config
) -> None:
    response = await server.request("GET", f"/{name}")
    assert response.headers["content-type"] == "application/json"
    assert response.json == json.loads((pytestconfig.rootpath / "schema" / name).read_text())


async def test_concurrent_first_requests_get_the_same_document(server: Server) -> None:
    responses = []

    async def read() -> None:
        responses.append(await server.request("GET", "/openapi.json"))

    async with trio.open_nursery() as nursery:
        for _ in range(4):
            nursery.start_soon(read)
    assert len({response.body for response in responses}) == 1


async def test_page_loads_files_of_this_server_only(server: Server) -> None:
    response = await server.request("GET", "/docs")
    assert response.headers["content-type"] == "text/html; charset=utf-8"
    page = _Addresses()
    page.feed(response.body.decode())
    assert not page.has_script_of_its_own
    for address in page.found:
        # Relative to the page: no scheme, no host, not from the root.
        assert re.fullmatch(r"[a-z][a-z./-]*", address)
        assert (await server.request("GET", f"/{address}")).status == 200
    loaded = {address.removeprefix("docs/") for address in page.found if "docs/" in address}
    assert loaded == FILES.keys()


@pytest.mark.parametrize("path", ["/docs", "/docs/start.js"])
async def test_policy_allows_this_server_only(server: Server, path: str) -> None:
    response = await server.request("GET", path)
    policy = dict(
        rule.split(" ", 1) for rule in response.headers["content-security-policy"].split("; ")
    )
    assert policy["default-src"] == "'none'"
    assert policy["script-src"] == policy["style-src"] == policy["connect-src"] == "'self'"
    assert response.headers["x-content-type-options"] == "nosniff"


@pytest.mark.parametrize(
    "part", ["nowhere.js", "index.html", "..", "%2e%2e%2fdocs.py", "start.js/"]
)
async def test_other_files_are_a_404(server: Server, part: str) -> None:
    assert (await server.request("GET", f"/docs/{part}")).error == (404, "Not found")


def test_start_does_not_import_quart_schema() -> None:
    script = "import sys, ryze.app; print('quart_schema' in sys.modules)"
    done = subprocess.run(
        [sys.executable, "-c", script], capture_output=True, text=True, check=True
    )
    assert done.stdout == "False\n"
