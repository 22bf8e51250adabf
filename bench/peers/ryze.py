"""Ryze itself: ``ryze serve`` with token, event filter, envelope and heartbeat on."""

import json
import sys
import urllib.request
from importlib.metadata import version
from pathlib import Path

from bench.events import INSTANCE, INSTANCE_DATA, event_template
from bench.peers.base import Peer

__all__ = ["ACCOUNT_TOKEN", "ManyInstances", "Ryze"]

ACCOUNT_TOKEN = "bench-account-token"

# Event filter of the instance; the bench publishes events of the first type.
_EVENTS = ["message.exchange", "message.status", "call.update"]

_TITLES = {"websocket": "Ryze", "http": "Ryze (HTTP)", "ndjson": "Ryze (NDJSON)"}


class Ryze(Peer):
    """The real server, with one instance.

    Args:
        producer: "websocket", "http" or "ndjson"; see `bench.load_generator.producers`.
    """

    def __init__(self, producer: str = "websocket") -> None:
        is_http = producer != "websocket"
        self.name = f"ryze-{producer}" if is_http else "ryze"
        self.title = _TITLES[producer]
        self.producer = producer
        self.subscribe_path = f"/ws/{INSTANCE}"
        self.publish_path = (
            f"/api/events/publish/{INSTANCE}" if is_http else f"/ws/{INSTANCE}/publish"
        )
        self.headers = {"token": INSTANCE_DATA["token"]}
        self.environment = {
            "RYZE_ACCOUNT_TOKEN": ACCOUNT_TOKEN,
            "RYZE_BASE_URL": INSTANCE_DATA["baseUrl"],
            # No rate limits: thousands of clients connect from one address, with one token.
            "RYZE_GLOBAL_RATE_LIMIT": "",
            "RYZE_CREATE_RATE_LIMIT": "",
        }

    def version(self) -> str:
        """See `Peer`."""
        return f"ryze {version('ryze')}, trio {version('trio')}"

    def command(self, port: int, scratch: Path) -> list[str]:
        """See `Peer`."""
        arguments = ["serve", "--port", str(port), "--data-dir", str(scratch / "data")]
        return [sys.executable, "-m", "ryze", *arguments]

    def prepare(self, port: int) -> None:
        """Create the instance, with its WebSocket enabled."""
        create_instance(port, INSTANCE, INSTANCE_DATA["token"])

    def event_template(self, size: int) -> str:
        """See `Peer`; Ryze adds the envelope itself."""
        return event_template(size).decode()


class ManyInstances(Ryze):
    """The real server, with connections spread over many instances."""

    def __init__(self, instances: int) -> None:
        super().__init__()
        self.name = f"ryze-{instances}"
        self.title = f"Ryze, {instances:,} instances"
        self.instances = instances
        self.subscribe_path = f"/ws/{INSTANCE}-%d"
        # The account token is valid for all instances.
        self.headers = {"token": ACCOUNT_TOKEN}

    def prepare(self, port: int) -> None:
        """Create the instances, each with its WebSocket enabled."""
        super().prepare(port)
        for number in range(self.instances):
            create_instance(port, f"{INSTANCE}-{number}", f"bench-token-{number:010d}")


def create_instance(port: int, name: str, token: str) -> None:
    """Create an instance with its WebSocket enabled."""
    body = {
        "name": name,
        "token": token,
        "websocketEnabled": True,
        "websocketEvents": _EVENTS,
    }
    request = urllib.request.Request(
        f"http://127.0.0.1:{port}/api/instance/new",
        json.dumps(body).encode(),
        {"Content-Type": "application/json", "token": ACCOUNT_TOKEN},
    )
    with urllib.request.urlopen(request, timeout=10) as response:
        response.read()
