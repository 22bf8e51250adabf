"""In a real browser: a page works on an allowed origin, and on no other."""

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from .browser import Site, open_browser
from .conftest import StartServer
from .harness import E2E_FOLDER, Server

EVENT = {"event": "call.update", "data": {"callId": "1"}}

FAILED = {"failed": "TypeError"}


@pytest.fixture
def sites() -> Iterator[tuple[Site, Site]]:
    """Two sites that differ only in their origin."""
    both = Site(E2E_FOLDER / "web_page.html"), Site(E2E_FOLDER / "web_page.html")
    yield both
    for site in both:
        site.close()


@pytest.fixture
def server(start_server: StartServer, sites: tuple[Site, Site]) -> Server:
    return start_server(allowed_origins=sites[0].origin)


def configuration(server: Server) -> Any:
    return server.request("GET", "/api/events/getWebsocket/shop")[1]["websocket"]


def test_page_on_an_allowed_origin_configures_connects_and_receives(
    server: Server, sites: tuple[Site, Site], tmp_path: Path
) -> None:
    token = server.create_instance("shop", websocketEnabled=False)
    (profile := tmp_path / "browser").mkdir()
    with open_browser(sites[0].url(url=server.url, token=token), profile):
        server.wait_connected(1)
        assert server.publish("shop", EVENT) == 1
        result = sites[0].result()
    websocket = {"enabled": True, "events": ["call.update"], "mediaBase64": False}
    assert configuration(server) == websocket
    for name in ("configured", "read"):
        assert (result[name]["status"], result[name]["limit"]) == (200, "100")
        assert result[name]["body"]["websocket"] == websocket
    assert result["refused"]["status"] == 401
    assert result["refused"]["body"]["error"] == {"message": "Invalid token"}
    assert result["withCookies"] == FAILED
    instance_data = {"baseUrl": server.url, "instance": "shop", "token": token}
    assert result["socket"]["received"] == {**EVENT, "instanceData": instance_data}


def test_page_on_another_origin_is_refused(
    server: Server, sites: tuple[Site, Site], tmp_path: Path
) -> None:
    token = server.create_instance("shop", websocketEvents=["label.update"])
    before = configuration(server)
    (profile := tmp_path / "browser").mkdir()
    with open_browser(sites[1].url(url=server.url, token=token), profile):
        result = sites[1].result()
    for name in ("configured", "read", "refused", "withCookies"):
        assert result[name] == FAILED
    # Browsers do not tell a page the reason.
    assert result["socket"] == {"closed": 1006}
    [refused] = server.logged("refused")
    assert (refused["status"], refused["reason"]) == (403, "origin_not_allowed")
    assert configuration(server) == before
    assert server.logged("connected") == []
