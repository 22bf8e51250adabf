"""A shell whose commands run in the background of a test."""

import os
import signal
import subprocess
from pathlib import Path
from types import TracebackType

from .harness import TIMEOUT_SECONDS, clean_environ


class Terminal:
    """Runs a script until the end of the ``with`` block.

    Args:
        script: its last command may run for ever.
        directory: for the file with its output.
        variables: environment variables, besides ours.
    """

    def __init__(self, script: str, directory: Path, **variables: str) -> None:
        self._output = directory / f"terminal-{os.urandom(4).hex()}"
        with self._output.open("wb") as output:
            self._process = subprocess.Popen(
                ["bash", "-c", script],
                env=clean_environ(**variables),
                # Kept open: wscat ends when its standard input does.
                stdin=subprocess.PIPE,
                stdout=output,
                stderr=subprocess.STDOUT,
                # One process group, so that the children of the shell end with it.
                start_new_session=True,
            )

    def printed_lines(self, text: str) -> list[str]:
        """The complete lines so far that contain `text`."""
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
            self._process.wait(TIMEOUT_SECONDS)
