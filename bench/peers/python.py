"""Peers in Python: one program each, run by the interpreter of the bench."""

import sys
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path

from bench.peers.base import PROGRAMS, Peer

__all__ = ["PYTHON_PEERS", "PythonPeer"]


class PythonPeer(Peer):
    """A Python program in ``programs/``.

    Args:
        name: on the command line; the program is ``<name>_hub.py``.
        title: in tables and plots.
        packages: distributions that it needs, the measured one first.
    """

    def __init__(self, name: str, title: str, *packages: str) -> None:
        self.name = name
        self.title = title
        self._packages = packages

    def install_hint(self) -> str | None:
        """See `Peer`."""
        missing = [package for package in self._packages if _version(package) is None]
        return f"not installed: pip install {' '.join(missing)}" if missing else None

    def version(self) -> str:
        """See `Peer`."""
        return ", ".join(f"{package} {_version(package)}" for package in self._packages)

    def command(self, port: int, scratch: Path) -> list[str]:
        """See `Peer`."""
        program = PROGRAMS / f"{self.name.replace('-', '_')}_hub.py"
        return [sys.executable, str(program), str(port)]


def _version(package: str) -> str | None:
    try:
        return version(package)
    except PackageNotFoundError:
        return None


PYTHON_PEERS = (
    PythonPeer("websockets", "websockets broadcast()", "websockets"),
    PythonPeer("fastapi", "FastAPI + uvicorn", "fastapi", "uvicorn", "uvloop", "websockets"),
    PythonPeer("aiohttp", "aiohttp", "aiohttp"),
    PythonPeer("picows", "picows", "picows", "uvloop"),
    PythonPeer("quart-trio", "Quart-Trio, Hypercorn", "quart-trio", "hypercorn"),
    PythonPeer("trio-websocket", "trio-websocket", "trio-websocket"),
)
