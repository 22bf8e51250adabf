"""The steps of a key rotation: each file operation and each SQL statement.

`report_steps` reports every step just before it runs. As a program, this module kills a rotation
(SIGKILL) before its first step, its second, and so on:

    python -m tests.store.steps DIRECTORY TARGET

writes a copy of the directory per step to TARGET, named by number, as the killed rotation left it.
It forks, so it needs a process without threads.
"""

import contextlib
import os
import shutil
import signal
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any
from unittest.mock import patch

import peewee
import trio

from ryze.store import Rotation, key_file, open_database, rotate_key
from ryze.store import key_rotation as rotation

# Small, so that a few instances make several batches.
BATCH = 2


class _CallReporter:
    """Wraps an object, and reports each method call before it is made."""

    def __init__(self, real: Any, before: Callable[[str, tuple[Any, ...]], None]) -> None:
        self._real = real
        self._before = before

    def __getattr__(self, name: str) -> Any:
        found = getattr(self._real, name)
        if not callable(found):
            return found

        def call(*args: Any, **kwargs: Any) -> Any:
            self._before(name, args)
            return found(*args, **kwargs)

        return call


@contextlib.contextmanager
def report_steps(before: Callable[[str], None]) -> Iterator[None]:
    """Call `before` with ``os.replace``, ``UPDATE ...`` and so on; batches are small."""

    def before_os(name: str, _args: tuple[Any, ...]) -> None:
        before(f"os.{name}")

    def before_sql(name: str, args: tuple[Any, ...]) -> None:
        if name == "execute":
            before(args[0])

    real_cursor = peewee.SqliteDatabase.cursor

    def cursor(database: peewee.SqliteDatabase, *args: Any, **kwargs: Any) -> Any:
        return _CallReporter(real_cursor(database, *args, **kwargs), before_sql)

    with (
        patch.object(key_file, "os", _CallReporter(os, before_os)),
        patch.object(peewee.SqliteDatabase, "cursor", cursor),
        patch.object(rotation, "_BATCH", BATCH),
    ):
        yield


async def rotate(
    directory: Path, before: Callable[[str], None] = lambda _step: None, configured: str = ""
) -> Rotation:
    async with open_database(f"sqlite:///{directory}/ryze.db", exclusive=True) as database:
        with report_steps(before):
            return await rotate_key(database, configured, directory)


def _rotate_and_die(directory: Path, at: int) -> None:
    """Rotate and end this process: killed at a step, or with 0 if the rotation completes."""
    steps = 0

    def before(_step: str) -> None:
        nonlocal steps
        steps += 1
        if steps == at:
            os.kill(os.getpid(), signal.SIGKILL)

    trio.run(rotate, directory, before)
    os._exit(0)


def _rotate_in_child(directory: Path, at: int) -> bool:
    """Rotate in a child process; True if it was killed at the step, False if it completed."""
    child = os.fork()
    if not child:
        try:
            _rotate_and_die(directory, at)
        finally:
            os._exit(1)
    status = os.waitstatus_to_exitcode(os.waitpid(child, 0)[1])
    if status not in (0, -signal.SIGKILL):
        raise SystemExit(f"the rotation to be killed at step {at} ended with {status}")
    return status != 0


def main(directory: Path, target: Path) -> None:
    at = 1
    while True:
        copy = target / str(at)
        shutil.copytree(directory, copy)
        if not _rotate_in_child(copy, at):
            return
        at += 1


if __name__ == "__main__":
    main(*map(Path, sys.argv[1:]))
