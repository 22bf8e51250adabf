"""Opening the database file, and running query functions in threads.

peewee is synchronous, so a query runs in a worker thread: up to four reads at a time, and
one write, because SQLite has one writer anyway and a queue in Trio is fairer than its lock.
This module is where the errors of peewee and SQLite become ours, once.

The file is in WAL mode: readers and the writer do not wait for each other, and a CLI command
can work beside a running server. Every connection is opened with ``mode=rw``: a file that
has gone is an error, never a new and empty database.
"""

import contextlib
import fcntl
import os
import sqlite3
import threading
from collections import Counter
from collections.abc import AsyncIterator, Callable, Iterator
from functools import partial
from pathlib import Path
from typing import Concatenate, ParamSpec, TypeVar

import peewee
import trio
from playhouse.migrations import Runner

from ryze.errors import SettingsError, StartError, StoreError
from ryze.masking import mask_url_password

__all__ = ["MIGRATIONS", "Database", "DatabaseInUse", "open_database"]

_P = ParamSpec("_P")
_T = TypeVar("_T")

#: Where the migrations are.
MIGRATIONS = Path(__file__).with_name("migrations")
_FOREIGN = (peewee.PeeweeException, sqlite3.Error)  # fetching rows raises SQLite's own
_READERS = 4
_SCHEME = "sqlite:///"


class DatabaseInUse(StartError):
    """The database is held by one that needs it for itself: a server, or a key rotation.

    Args:
        path: the database.
    """

    def __init__(self, path: Path) -> None:
        super().__init__(f"another ryze serve uses {path} (or ryze key rotate, until it is done)")
        self.path = path


class Database:
    """An open database: runs query functions, and notices changes by others.

    Made by ``open_database``; works until that context ends.
    """

    def __init__(self, path: Path, pool: peewee.SqliteDatabase, changes: "_Changes") -> None:
        self._path = path
        # Gives each thread its own connection, for the length of one query function.
        self._pool = pool
        # Used by data_version only, one caller at a time.
        self._changes = changes
        self._readers = trio.CapacityLimiter(_READERS)
        self._writer = trio.CapacityLimiter(1)
        self._watcher = trio.CapacityLimiter(1)
        # How often it could not be read or written; what a query finds wrong does not count.
        self.errors = Counter(read=0, write=0)
        # Held while a thread counts one.
        self._counting = threading.Lock()

    def __repr__(self) -> str:
        return (
            f"<Database {self._path}: {self._readers.borrowed_tokens} reading, "
            f"{self._writer.statistics().tasks_waiting} waiting to write>"
        )

    async def read(
        self,
        query: Callable[Concatenate[peewee.Database, _P], _T],
        /,
        *args: _P.args,
        **kwargs: _P.kwargs,
    ) -> _T:
        """Run a query function that only reads.

        Cancelled while it waits for its turn, it does nothing; once begun, it finishes.

        Raises:
            StoreError: the database cannot be read.
        """
        work = partial(query, self._pool, *args, **kwargs)
        return await self._in_thread("read", self._readers, work)

    async def write(
        self,
        query: Callable[Concatenate[peewee.Database, _P], _T],
        /,
        *args: _P.args,
        **kwargs: _P.kwargs,
    ) -> _T:
        """Run a query function that writes, after those that came before.

        Cancelled while it waits for its turn, it does nothing; once begun, it finishes and
        returns its result, and the cancellation is felt at the caller's next checkpoint.
        So the caller always knows whether the change has landed.

        Raises:
            StoreError: the database cannot be written.
        """
        work = partial(query, self._pool, *args, **kwargs)
        return await self._in_thread("write", self._writer, work)

    async def data_version(self) -> int:
        """Return a number that is another one after any change to the database.

        Whoever made the change, another process (the CLI) or we ourselves: our writes have
        connections of their own, so this one sees them as foreign. It costs no more than a
        glance into shared memory, so it can be asked every second.

        Raises:
            StoreError: the database cannot be read. The number after that is a new one.
        """
        return await self._in_thread("read", self._watcher, self._changes.count)

    async def _in_thread(
        self, verb: str, limiter: trio.CapacityLimiter, work: Callable[[], _T]
    ) -> _T:
        def run() -> _T:
            with self._store_errors(verb):
                return work()

        return await trio.to_thread.run_sync(run, limiter=limiter)

    @contextlib.contextmanager
    def _store_errors(self, verb: str) -> Iterator[None]:
        try:
            yield
        except (*_FOREIGN, OSError) as error:
            with self._counting:
                self.errors[verb] += 1
            raise StoreError(f"cannot {verb} the database: {_first_cause(error)}") from error


@contextlib.asynccontextmanager
async def open_database(
    url: str,
    *,
    busy_timeout_seconds: float = 5.0,
    exclusive: bool = False,
    must_exist: bool = False,
) -> AsyncIterator[Database]:
    """Open the database at ``sqlite:///path``, making and migrating it as needed.

    Args:
        url: ``sqlite:///relative`` or ``sqlite:////absolute``.
        busy_timeout_seconds: how long a write waits for another process's write.
        exclusive: for servers: hold ``<path>.lock``, so that there is one at a time.
        must_exist: do not make one; for commands that make no sense on an empty database.

    Raises:
        SettingsError: the URL is of another kind.
        DatabaseInUse: somebody else has it exclusively.
        StartError: the database cannot be opened, or was made by a newer ryze.
    """
    path = _path(url)
    if must_exist and not path.exists():
        raise StartError(f"there is no database {path}")
    with contextlib.ExitStack() as stack:
        # Everything that may wait for the disk is in the thread. Closing is not: it frees
        # descriptors, and at most copies the last pages of the log back into the file.
        yield await trio.to_thread.run_sync(_open, stack, path, busy_timeout_seconds, exclusive)


def _path(url: str) -> Path:
    name = url.removeprefix(_SCHEME)
    if name in ("", url, ":memory:"):  # each of our connections would have a memory of its own
        raise SettingsError("RYZE_DATABASE_URL", mask_url_password(url), f"{_SCHEME}<path>")
    return Path(name).absolute()


def _open(
    stack: contextlib.ExitStack, path: Path, busy_timeout_seconds: float, exclusive: bool
) -> Database:
    try:
        _prepare(path)
        if exclusive:
            stack.enter_context(_exclusive_lock(path))
        pool = _connections(path, busy_timeout_seconds)
        _migrate(pool, path)
        watcher = _connections(path, busy_timeout_seconds, thread_safe=False)
        return Database(path, pool, stack.enter_context(_Changes(path, watcher)))
    except OSError as error:
        reason = f"{error.filename}: {error.strerror}"
        raise StartError(f"cannot open the database {path}: {reason}") from error
    except _FOREIGN as error:
        raise StartError(f"cannot open the database {path}: {error}") from error


def _prepare(path: Path) -> None:
    """See that there is a file to open, ours alone if we make it."""
    path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
    with contextlib.suppress(FileExistsError):
        # Never opens a file that exists: closing it again would drop the locks that other
        # connections of this process have on it (POSIX; sqlite.org/howtocorrupt.html, 2.2).
        os.close(os.open(path, os.O_CREAT | os.O_EXCL | os.O_RDWR | os.O_CLOEXEC, 0o600))
    for needed in (path.parent, path):
        # SQLite would open it read-only, and the first write would fail in the night.
        if not os.access(needed, os.W_OK, effective_ids=True):
            raise StartError(f"cannot open the database {path}: no permission to write {needed}")


@contextlib.contextmanager
def _exclusive_lock(path: Path) -> Iterator[None]:
    """While inside, no other process has the database exclusively: two servers cannot share one.

    Raises:
        DatabaseInUse: somebody else is inside.
    """
    # The kernel drops the lock with the process, however that ends; the file stays, because
    # removing it would let two servers lock two files of the same name.
    lock = path.with_name(path.name + ".lock")
    descriptor = os.open(lock, os.O_CREAT | os.O_RDWR | os.O_CLOEXEC, 0o600)
    try:
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            raise DatabaseInUse(path) from None
        yield
    finally:
        os.close(descriptor)


def _connections(
    path: Path, busy_timeout_seconds: float, *, thread_safe: bool = True
) -> peewee.SqliteDatabase:
    return peewee.SqliteDatabase(
        f"{path.as_uri()}?mode=rw",
        uri=True,
        pragmas={"foreign_keys": 1, "synchronous": "NORMAL"},
        timeout=busy_timeout_seconds,
        # A transaction takes the write lock at once: no deadlock between two that read first.
        lock_type="IMMEDIATE",
        autoconnect=False,
        thread_safe=thread_safe,
        check_same_thread=thread_safe,
    )


def _migrate(database: peewee.SqliteDatabase, path: Path) -> None:
    """Bring the tables up to date; WAL mode stays with the file and is set here once."""
    runner = Runner(database, str(MIGRATIONS))
    with database.connection_context():
        database.pragma("journal_mode", "wal")
        status = runner.status()
        unknown = [migration.name for migration in status if migration.path is None]
        if unknown:
            raise StartError(
                f"the database {path} was made by a newer ryze (it has {', '.join(unknown)}): "
                "install that version, or restore a backup from before"
            )
        if all(migration.applied for migration in status):
            return
        # All or nothing, and one process at a time: a second one waits for the lock and then
        # finds nothing to do. Rebuilding a table must not cascade, and the switch for that
        # works only outside of the transaction; it goes with this connection.
        database.pragma("foreign_keys", 0)
        with database.atomic():
            runner.up()


class _Changes:
    """Counts the changes to the file as far as they were looked at.

    ``PRAGMA data_version`` means something only on one connection, compared with itself. When
    that is lost (an error, or the file was replaced by another), it is opened anew and the
    loss counts as a change: it may have hidden one.
    """

    def __init__(self, path: Path, database: peewee.SqliteDatabase) -> None:
        self._path = path
        # Its connection stays open between calls, whatever thread they come from.
        self._database = database
        # Device, inode and data_version of the last look; None: never, or it failed.
        self._last: tuple[int, int, int] | None = None
        self._count = 0

    def __enter__(self) -> "_Changes":
        self.count()
        return self

    def __exit__(self, *_: object) -> None:
        self._database.close()

    def count(self) -> int:
        try:
            current = self._look()
        except (*_FOREIGN, OSError):
            self._last = None
            self._database.close()
            raise
        if current != self._last:
            self._last = current
            self._count += 1
        return self._count

    def _look(self) -> tuple[int, int, int]:
        status = os.stat(self._path)
        file = status.st_dev, status.st_ino
        if self._last is not None and self._last[:2] != file:
            self._database.close()
        self._database.connect(reuse_if_open=True)
        return *file, int(self._database.pragma("data_version"))


def _first_cause(error: BaseException) -> BaseException:
    """What went wrong first: a full disk, say, and not that there was nothing to roll back."""
    while isinstance(error.__context__, (*_FOREIGN, OSError)):
        error = error.__context__
    return error
