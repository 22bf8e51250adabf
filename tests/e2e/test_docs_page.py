"""The page at /docs in a real browser that can reach no other host."""

from collections.abc import Iterator
from pathlib import Path

import pytest

from ryze.api.application import BLUEPRINTS
from ryze.api.openapi.document import openapi

from .devtools import Page, chromium
from .harness import Server


@pytest.fixture
def page(tmp_path: Path) -> Iterator[Page]:
    folder = tmp_path / "chromium"
    folder.mkdir()
    with chromium(folder) as page:
        yield page


def open_docs(page: Page, server: Server) -> None:
    page.open(f"{server.url}/docs")
    wait_for(page, ".opblock")
    wait_for(page, ".btn.authorize")


def wait_for(page: Page, selector: str) -> None:
    page.wait(f"document.querySelector({selector!r}) !== null")


def click(page: Page, selector: str) -> None:
    wait_for(page, selector)
    page.run(f"document.querySelector({selector!r}).click()")


def type_into(page: Page, selector: str, text: str) -> None:
    """Type as a keyboard does: React ignores a value that is set by a script."""
    wait_for(page, selector)
    page.run(f"document.querySelector({selector!r}).focus()")
    page.command("Input.insertText", text=text)


def authorize(page: Page, token: str) -> None:
    click(page, ".btn.authorize")
    type_into(page, ".auth-container input[type=text]", token)
    click(page, ".auth-container .btn.authorize[type=submit]")
    click(page, ".auth-container .btn-done")


def execute(page: Page, operation: str) -> int:
    """Send the request of an operation; the status of the response.

    The button exists before the form is ready: pressed too early, it sends nothing.
    """
    block = f"[id^=operations-][id$=-{operation}]"
    click(page, f"{block} .opblock-summary-control")
    wait_for(page, f"{block} .execute")
    loading, inputs = f"{block} .opblock-loading-animation", f"{block} textarea"
    page.wait(f"document.querySelector({loading!r}) === null")
    page.wait(f"[...document.querySelectorAll({inputs!r})].every(input => input.value)")
    click(page, f"{block} .execute")
    status = f"{block} .live-responses-table .response .response-col_status"
    return int(page.wait(f"document.querySelector({status!r})?.innerText").split()[0])


def test_page_loads_from_this_server_only_without_errors(server: Server, page: Page) -> None:
    open_docs(page, server)
    shown = "[...document.querySelectorAll('[data-path]')].map(e => e.dataset.path)"
    assert set(page.run(shown)) == openapi(BLUEPRINTS)["paths"].keys()
    assert page.errors() == []
    assert len(page.requested_urls()) >= 6
    for url in page.requested_urls():
        assert url.startswith((f"{server.url}/", "data:"))


def test_requests_can_be_sent_with_a_token(server: Server, page: Page) -> None:
    open_docs(page, server)
    authorize(page, server.account_token)
    assert execute(page, "newInstance") == 201
    assert execute(page, "setWebsocket") == 200
    assert execute(page, "publish") == 202
    status, body = server.request("GET", "/api/events/getWebsocket/demo")
    assert (status, body["websocket"]["enabled"]) == (200, True)
    assert page.errors() == []


def test_token_is_required_and_not_stored(server: Server, page: Page) -> None:
    open_docs(page, server)
    assert execute(page, "listInstances") == 401
    authorize(page, server.account_token)
    assert server.account_token not in page.run("JSON.stringify({...localStorage})")
    assert page.run("document.cookie") == ""
