"""`Peer`: the interface of a server under test."""

from abc import ABC, abstractmethod
from collections.abc import Mapping
from pathlib import Path

from bench.events import relayed_template

__all__ = ["PROGRAMS", "Peer", "first_line"]

PROGRAMS = Path(__file__).parent / "programs"


class Peer(ABC):
    """A server under test: how to start it, and how to connect to it.

    Attributes:
        name: on the command line.
        title: in tables and plots.
        producer: "websocket", "http" or "ndjson"; see `bench.load_generator.producers`.
        publish_path, subscribe_path: paths of its URLs; "%d" stands for an instance's number.
        instances: number of instances over which its connections are spread.
        headers: request headers of subscribers and producers.
        has_accept: its 101 has a valid ``Sec-WebSocket-Accept``.
        environment: variables for the process.
    """

    name: str
    title: str
    producer = "websocket"
    publish_path = "/publish"
    subscribe_path = "/subscribe"
    instances = 1
    headers: Mapping[str, str] = {}
    has_accept = True
    environment: Mapping[str, str] = {}

    def install_hint(self) -> str | None:
        """Return one line that says what to install, or None if the peer can be started."""
        return None

    def version(self) -> str:
        """Return the versions of the libraries that are measured."""
        return ""

    @abstractmethod
    def command(self, port: int, scratch: Path) -> list[str]:
        """Return the server's command line; compile it first if it needs that.

        Args:
            port: to listen on, at 127.0.0.1.
            scratch: an empty directory for whatever it writes.

        Raises:
            MeasurementError: it cannot be compiled.
        """

    def prepare(self, port: int) -> None:  # noqa: B027 - most peers need nothing
        """Set the server up, once it accepts connections."""

    def event_template(self, size: int) -> str:
        """Return an event of `size` bytes as its producer sends it, "%010d" for the number."""
        return relayed_template(size).decode()


def first_line(text: str) -> str:
    """Return the first line that is not blank."""
    return next((line.strip() for line in text.splitlines() if line.strip()), "")
