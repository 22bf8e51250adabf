"""A terminal in which a command goes on while the test does something else."""

import os
import signal
import subprocess
from pathlib import Path
from types import TracebackType

from .harness import CAP, environ


class Terminal:
    """Runs a script, as if pasted, until the end of the ``with`` block.

    Args:
        script: its last command may go on for ever.
        directory: where its output is kept.
        variables: its environment, besides ours.
    """

    def __init__(self, script: str, directory: Path, **variables: str) -> None:
        self._output = directory / f"terminal-{os.urandom(4).hex()}"
        with self._output.open("wb") as output:
            self._process = subprocess.Popen(
                ["bash", "-c", script],
                env=environ(**variables),
                # Kept open: at its end wscat would leave.
                stdin=subprocess.PIPE,
                stdout=output,
                stderr=subprocess.STDOUT,
                # One group, so that what the shell has started ends with it.
                start_new_session=True,
            )

    def printed(self, text: str) -> list[str]:
        """The lines so far, complete ones, that contain `text`."""
        lines = self._output.read_text().splitlines(keepends=True)
        return [line for line in lines if text in line and line.endswith("\n")]

    def __enter__(self) -> "Terminal":
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        os.killpg(self._process.pid, signal.SIGKILL)
        with self._process:
            self._process.wait(CAP)
