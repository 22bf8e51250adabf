"""What the bench needs to know of a server."""

from abc import ABC, abstractmethod
from collections.abc import Mapping
from pathlib import Path

from bench.events import relayed_template

__all__ = ["PROGRAMS", "Peer", "first_line"]

PROGRAMS = Path(__file__).parent / "programs"


class Peer(ABC):
    """A server under test. Subclasses say how to start it.

    Attributes:
        name: on the command line.
        title: in tables and plots.
        publisher: "websocket", "http" or "ndjson"; see `bench.publishers`.
        publish_path, subscribe_path: where.
        instances: its connections are spread over so many; "%d" in the path is the number of one.
        headers: of subscribers and publishers.
        bare: it only looks like a WebSocket server; its 101 fits no key.
        environment: variables for the process.
    """

    name: str
    title: str
    publisher = "websocket"
    publish_path = "/publish"
    subscribe_path = "/subscribe"
    instances = 1
    headers: Mapping[str, str] = {}
    bare = False
    environment: Mapping[str, str] = {}

    def is_available(self) -> str | None:
        """None if it can be started here, else one line that says what to install."""
        return None

    def version(self) -> str:
        """Of what is measured, not of our program around it."""
        return ""

    @abstractmethod
    def command(self, port: int, scratch: Path) -> list[str]:
        """The command line of the server; builds it first where it must be built.

        Args:
            port: where it must listen, on 127.0.0.1.
            scratch: an empty directory for whatever it writes.

        Raises:
            Trouble: it cannot be built.
        """

    def prepare(self, port: int) -> None:  # noqa: B027 - most need nothing
        """What remains to be done once it accepts connections."""

    def template(self, size: int) -> str:
        """An event of `size` bytes as its publisher sends it, "%010d" for the number."""
        return relayed_template(size).decode()


def first_line(text: str) -> str:
    """The first line that says something."""
    return next((line.strip() for line in text.splitlines() if line.strip()), "")
