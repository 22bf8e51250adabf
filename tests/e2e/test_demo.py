"""``ryze demo`` without a terminal."""

import subprocess
from pathlib import Path

from .harness import RYZE, TIMEOUT_SECONDS, clean_environ


def test_slow_consumer_of_the_demo_is_evicted(tmp_path: Path) -> None:
    # The eviction comes after some 17 of the 45 seconds, as socket buffers are bounded; the rest is
    # for machines with other work.
    done = subprocess.run(
        [RYZE, "demo", "--seconds", "45"],
        env=clean_environ(TMPDIR=str(tmp_path)),
        capture_output=True,
        text=True,
        stdin=subprocess.DEVNULL,
        timeout=TIMEOUT_SECONDS,
    )
    assert (done.returncode, done.stderr) == (0, ""), done.stdout
    assert "256 pending" in done.stdout
    assert "4008 slow consumer" in done.stdout
    assert "\x1b" not in done.stdout
    assert list(tmp_path.iterdir()) == []
