"""nginx and Caddy as processes, with the configuration files of docs/deploy.

Only ports, certificates and log files are replaced. Each replacement must find its text, so that a
change of a file cannot go untested.
"""

import os
import socket
import subprocess
from contextlib import ExitStack
from pathlib import Path
from urllib.parse import urlsplit

import trustme

from ..ports import free_ports
from .harness import E2E_FOLDER, clean_environ, require_tool, wait_until

DEPLOY = E2E_FOLDER.parent.parent / "docs" / "deploy"

NGINX_MAIN = """
daemon off;
{user}
pid {run_dir}/nginx.pid;
error_log stderr;
events {{ worker_connections 256; }}
http {{
    client_body_temp_path {run_dir}/body;
    proxy_temp_path {run_dir}/proxy;
    fastcgi_temp_path {run_dir}/fastcgi;
    uwsgi_temp_path {run_dir}/uwsgi;
    scgi_temp_path {run_dir}/scgi;
    include {run_dir}/ryze.conf;
}}
"""


class Proxy:
    """A running proxy; its `url` is https, on every address of this machine."""

    def __init__(self, run_dir: Path, certificate: trustme.LeafCert) -> None:
        self._run_dir = run_dir
        run_dir.mkdir()
        certificate.private_key_pem.write_to_path(run_dir / "privkey.pem")
        for blob in certificate.cert_chain_pems:
            blob.write_to_path(run_dir / "fullchain.pem", append=True)
        self._stack = ExitStack()
        self.plain_port, self.port = free_ports(2)
        self.url = f"https://localhost:{self.port}"

    @property
    def logs(self) -> str:
        """Its log files and output."""
        return "".join(path.read_text() for path in sorted(self._run_dir.glob("*.log")))

    def _start(self, *command: str) -> None:
        output = self._stack.enter_context((self._run_dir / "output.log").open("wb"))
        homes = {"XDG_DATA_HOME": str(self._run_dir), "XDG_CONFIG_HOME": str(self._run_dir)}
        self._process = subprocess.Popen(
            command,
            env=clean_environ(**homes),
            stdin=subprocess.DEVNULL,
            stdout=output,
            stderr=output,
        )
        self._stack.callback(self._terminate)
        wait_until(self._is_listening, "the proxy listens")

    def close(self) -> None:
        self._stack.close()

    def _is_listening(self) -> bool:
        assert self._process.poll() is None, self.logs
        with socket.socket() as probe:
            return probe.connect_ex(("127.0.0.1", self.port)) == 0

    def _terminate(self) -> None:
        self._process.terminate()
        self._process.wait()


class Nginx(Proxy):
    """Debian's nginx with docs/deploy/nginx.conf."""

    def __init__(
        self,
        run_dir: Path,
        certificate: trustme.LeafCert,
        upstream: str,
        *,
        read_timeout: str = "90s",
    ) -> None:
        program = require_tool("nginx")
        super().__init__(run_dir, certificate)
        config = replaced(
            (DEPLOY / "nginx.conf").read_text(),
            {
                "listen 80;": f"listen {self.plain_port};",
                "listen [::]:80;": f"listen [::]:{self.plain_port};",
                "listen 443 ssl;": f"listen {self.port} ssl;",
                "listen [::]:443 ssl;": f"listen [::]:{self.port} ssl;",
                "server_name events.example.com;": "server_name localhost;",
                "server 127.0.0.1:8080;": f"server {urlsplit(upstream).netloc};",
                "/etc/ssl/ryze/": f"{run_dir}/",
                "/var/log/nginx/": f"{run_dir}/",
                "proxy_read_timeout 90s;": f"proxy_read_timeout {read_timeout};",
            },
        )
        (run_dir / "ryze.conf").write_text(config)
        main = NGINX_MAIN.format(run_dir=run_dir, user="user root;" * (os.geteuid() == 0))
        (run_dir / "nginx.conf").write_text(main)
        self._start(program, "-e", "stderr", "-p", str(run_dir), "-c", str(run_dir / "nginx.conf"))


class Caddy(Proxy):
    """Debian's caddy with docs/deploy/Caddyfile."""

    def __init__(self, run_dir: Path, certificate: trustme.LeafCert, upstream: str) -> None:
        program = require_tool("caddy")
        super().__init__(run_dir, certificate)
        # No certificates from an authority, and no admin port.
        options = f"\tadmin off\n\thttp_port {self.plain_port}\n\tauto_https disable_certs\n"
        tls = f"\ttls {run_dir}/fullchain.pem {run_dir}/privkey.pem\n"
        config = replaced(
            (DEPLOY / "Caddyfile").read_text(),
            {
                "\n{\n": f"\n{{\n{options}",
                "\nevents.example.com {\n": f"\nhttps://localhost:{self.port} {{\n{tls}",
                "127.0.0.1:8080": urlsplit(upstream).netloc,
            },
        )
        (run_dir / "Caddyfile").write_text(config)
        file = str(run_dir / "Caddyfile")
        self._start(program, "run", "--adapter", "caddyfile", "--config", file)


def replaced(text: str, replacements: dict[str, str]) -> str:
    for old, new in replacements.items():
        assert old in text, f"{old!r} not found"
        text = text.replace(old, new)
    return text
