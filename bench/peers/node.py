"""Node with the ``ws`` package."""

import os
import shutil
import subprocess
from pathlib import Path

from bench.peers.base import PROGRAMS, Peer

__all__ = ["NodeWs"]

_INSTALL = f"npm install --no-save --no-package-lock --prefix {Path('bench/peers/programs')} ws"


class NodeWs(Peer):
    """``ws``, whose socket buffer takes the place of the queue: it counts bytes."""

    name = "node-ws"
    title = "Node ws"

    def install_hint(self) -> str | None:
        """See `Peer`."""
        if shutil.which("node") is None:
            return "Node is not installed: apt-get install nodejs npm"
        return None if self.version() else f"ws is not installed: {_INSTALL}"

    def version(self) -> str:
        """See `Peer`."""
        script = "console.log('ws ' + require('ws/package.json').version + ', ' + process.version)"
        done = subprocess.run(
            ["node", "-e", script],
            cwd=PROGRAMS,
            env=os.environ,
            capture_output=True,
            text=True,
            check=False,
        )
        return done.stdout.strip()

    def command(self, port: int, scratch: Path) -> list[str]:
        """See `Peer`."""
        return ["node", str(PROGRAMS / "ws_hub.js"), str(port)]
