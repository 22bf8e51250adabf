"""nginx with the nchan module, which needs a configuration and no program."""

import shutil
import subprocess
from pathlib import Path

from bench.peers.base import PROGRAMS, Peer

__all__ = ["Nchan"]

_MODULE = Path("/usr/lib/nginx/modules/ngx_nchan_module.so")


class Nchan(Peer):
    """nchan: keeps the last 256 messages per channel, not per client, and drops older ones."""

    name = "nchan"
    title = "nginx + nchan"

    def install_hint(self) -> str | None:
        """See `Peer`."""
        if shutil.which("nginx") and _MODULE.exists():
            return None
        return "nginx with nchan is not installed: apt-get install nginx libnginx-mod-nchan"

    def version(self) -> str:
        """See `Peer`."""
        query = ["dpkg-query", "-Wf${Package} ${Version} ", "nginx", "libnginx-mod-nchan"]
        done = subprocess.run(query, capture_output=True, text=True, check=False)
        return done.stdout.strip()

    def command(self, port: int, scratch: Path) -> list[str]:
        """See `Peer`."""
        template = (PROGRAMS / "nchan.conf").read_text()
        configuration = scratch / "nginx.conf"
        configuration.write_text(
            template.replace("@MODULE@", str(_MODULE))
            .replace("@SCRATCH@", str(scratch))
            .replace("@PORT@", str(port))
        )
        return ["nginx", "-p", str(scratch), "-c", str(configuration)]
