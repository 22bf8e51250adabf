"""``ryze demo`` without a terminal: what the README promises, told in lines."""

import subprocess
from pathlib import Path

from .harness import CAP, RYZE, environ


def test_the_sleepy_listener_is_dropped(tmp_path: Path) -> None:
    # The drop comes after some 17 of the 30 seconds, as what may wait below the server is bounded;
    # the rest is for machines with other work.
    done = subprocess.run(
        [RYZE, "demo", "--seconds", "30"],
        env=environ(TMPDIR=str(tmp_path)),
        capture_output=True,
        text=True,
        stdin=subprocess.DEVNULL,
        timeout=CAP,
    )
    assert (done.returncode, done.stderr) == (0, ""), done.stdout
    assert "  slow is evicted: an event found 256 pending" in done.stdout
    assert "missed (evicted: 4008 slow consumer)\n" in done.stdout
    assert "\x1b" not in done.stdout
    assert list(tmp_path.iterdir()) == []
