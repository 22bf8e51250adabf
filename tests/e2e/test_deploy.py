"""The other files of docs/deploy: settings that are there, and a unit that systemd takes."""

import subprocess
from pathlib import Path

from ryze.settings import Settings

from .harness import CAP, RYZE, environ, tool
from .proxies import DEPLOY, replaced


def test_the_settings_are_settings() -> None:
    lines = (DEPLOY / "ryze.env").read_text().splitlines()
    variables = dict(line.split("=", 1) for line in lines if line and not line.startswith("#"))
    settings = Settings.from_environ(variables)
    assert settings.base_url == "https://events.example.com"
    assert [str(network) for network in settings.trusted_proxies] == ["127.0.0.1/32", "::1/128"]
    assert set(variables) <= {f"RYZE_{name.upper()}" for name in vars(settings)}


def test_the_proxies_wait_for_our_heartbeat_close_first_and_take_any_stream() -> None:
    defaults = Settings()
    nginx, caddy = (DEPLOY / "nginx.conf").read_text(), (DEPLOY / "Caddyfile").read_text()
    assert "keepalive_timeout 60s;" in nginx
    assert "keepalive 60s" in caddy
    assert defaults.keep_alive_seconds > 60
    assert "proxy_read_timeout 90s;" in nginx
    assert 2 * defaults.ping_interval_seconds < 90
    assert "client_max_body_size 0;" in nginx
    assert "max_size" not in caddy


def test_systemd_takes_the_unit(tmp_path: Path) -> None:
    program = tool("systemd-analyze")
    unit = (DEPLOY / "ryze.service").read_text()
    assert "TimeoutStopSec=20\n" in unit
    assert Settings().drain_seconds < 20
    # Only a program that is there is well.
    (tmp_path / "ryze.service").write_text(replaced(unit, {"/opt/ryze/bin/ryze": RYZE}))
    done = subprocess.run(
        [program, "verify", str(tmp_path / "ryze.service")],
        env=environ(),
        capture_output=True,
        text=True,
        timeout=CAP,
    )
    # Of units of the system it may complain as well.
    assert "ryze.service" not in done.stderr, done.stderr
