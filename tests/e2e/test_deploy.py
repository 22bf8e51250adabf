"""The other files of docs/deploy: environment file and systemd unit."""

import subprocess
from pathlib import Path

from ryze.settings import Settings

from .harness import RYZE, TIMEOUT_SECONDS, clean_environ, require_tool
from .proxies import DEPLOY, replaced


def test_environment_file_has_valid_settings() -> None:
    lines = (DEPLOY / "ryze.env").read_text().splitlines()
    variables = dict(line.split("=", 1) for line in lines if line and not line.startswith("#"))
    settings = Settings.from_environ(variables)
    assert settings.base_url == "https://events.example.com"
    assert [str(network) for network in settings.trusted_proxies] == ["127.0.0.1/32", "::1/128"]
    assert set(variables) <= {f"RYZE_{name.upper()}" for name in vars(settings)}


def test_proxy_timeouts_and_body_limits_fit_the_defaults() -> None:
    defaults = Settings()
    nginx, caddy = (DEPLOY / "nginx.conf").read_text(), (DEPLOY / "Caddyfile").read_text()
    assert "keepalive_timeout 60s;" in nginx
    assert "keepalive 60s" in caddy
    assert defaults.keep_alive_seconds > 60
    assert "proxy_read_timeout 90s;" in nginx
    assert 2 * defaults.ping_interval_seconds < 90
    assert "client_max_body_size 0;" in nginx
    assert "max_size" not in caddy


def test_systemd_accepts_the_unit(tmp_path: Path) -> None:
    program = require_tool("systemd-analyze")
    unit = (DEPLOY / "ryze.service").read_text()
    assert "TimeoutStopSec=20\n" in unit
    assert Settings().drain_seconds < 20
    # systemd-analyze checks that the program exists.
    (tmp_path / "ryze.service").write_text(replaced(unit, {"/opt/ryze/bin/ryze": RYZE}))
    done = subprocess.run(
        [program, "verify", str(tmp_path / "ryze.service")],
        env=clean_environ(),
        capture_output=True,
        text=True,
        timeout=TIMEOUT_SECONDS,
    )
    # It may report other units of the system as well.
    assert "ryze.service" not in done.stderr, done.stderr
