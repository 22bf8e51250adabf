"""Opening the database file, and running query functions in worker threads.

peewee is synchronous, so a query runs in a worker thread: up to four reads at a time, and one
write, because SQLite has one writer anyway and a queue in Trio is fairer than its lock. Errors of
peewee and SQLite are translated to ours here and nowhere else.

The file is in WAL mode: readers and the writer do not block each other, and a CLI command can
use the database of a running server. Every connection is opened with ``mode=rw``: a missing file
is an error, never a new and empty database.
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

#: Directory of the migrations.
MIGRATIONS = Path(__file__).with_name("migrations")
# peewee does not translate errors raised while fetching rows, so sqlite3's are here too.
_DRIVER_ERRORS = (peewee.PeeweeException, sqlite3.Error)
_MAX_READERS = 4
_SCHEME = "sqlite:///"


class DatabaseInUse(StartError):
    """Another process has opened the database exclusively: a server, or a key rotation.

    Args:
        path: the database file.
    """

    def __init__(self, path: Path) -> None:
        super().__init__(f"another ryze serve uses {path} (or ryze key rotate, until it is done)")
        self.path = path


class Database:
    """An open database: runs query functions, and detects changes by other processes.

    Use `open_database`; valid until that context ends.
    """

    def __init__(self, path: Path, pool: peewee.SqliteDatabase, changes: "_ChangeCounter") -> None:
        self._path = path
        # A connection per thread, open for the duration of one query function.
        self._pool = pool
        # For data_version(), one caller at a time.
        self._changes = changes
        self._readers = trio.CapacityLimiter(_MAX_READERS)
        self._writer = trio.CapacityLimiter(1)
        self._watcher = trio.CapacityLimiter(1)
        # Failed reads and writes, for metrics; errors of ours that a query raises are not counted.
        self.errors = Counter(read=0, write=0)
        # Held while a worker thread increments a counter.
        self._errors_lock = threading.Lock()

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

        Cancellation: while queued, nothing is run; once started, the query finishes.

        Raises:
            StoreError: the database cannot be read.
        """
        work = partial(query, self._pool, *args, **kwargs)
        return await self._run_in_thread("read", self._readers, work)

    async def write(
        self,
        query: Callable[Concatenate[peewee.Database, _P], _T],
        /,
        *args: _P.args,
        **kwargs: _P.kwargs,
    ) -> _T:
        """Run a query function that writes; writes run one at a time, in order.

        Cancellation: while queued, nothing is run; once started, the query finishes and its
        result is returned, and the caller is cancelled at its next checkpoint. So the caller
        always knows whether the change was committed.

        Raises:
            StoreError: the database cannot be written.
        """
        work = partial(query, self._pool, *args, **kwargs)
        return await self._run_in_thread("write", self._writer, work)

    async def data_version(self) -> int:
        """Return a number that differs after any change to the database.

        Changes by this process count too: they are made on other connections than the one that
        is read here. Cheap enough to poll every second: SQLite reads shared memory only.

        Raises:
            StoreError: the database cannot be read. The next number is a new one.
        """
        return await self._run_in_thread("read", self._watcher, self._changes.count)

    async def _run_in_thread(
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
        except (*_DRIVER_ERRORS, OSError) as error:
            with self._errors_lock:
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
    """Open the database at ``sqlite:///path``; create and migrate it as needed.

    Args:
        url: ``sqlite:///relative`` or ``sqlite:////absolute``.
        busy_timeout_seconds: how long a write waits for the write of another process.
        exclusive: lock ``<path>.lock``, so that one server uses the database at a time.
        must_exist: do not create it; for commands that make no sense on an empty database.

    Raises:
        SettingsError: the URL has another scheme, or no path.
        DatabaseInUse: another process has opened it exclusively.
        StartError: the database cannot be opened, or was made by a newer ryze.
    """
    path = _path(url)
    if must_exist and not path.exists():
        raise StartError(f"there is no database {path}")
    with contextlib.ExitStack() as stack:
        # Opening waits for the disk, so it runs in a thread. Closing does not: it frees
        # descriptors, and at most copies the last pages of the WAL into the file.
        yield await trio.to_thread.run_sync(_open, stack, path, busy_timeout_seconds, exclusive)


def _path(url: str) -> Path:
    name = url.removeprefix(_SCHEME)
    if name in ("", url, ":memory:"):  # with :memory: each connection has a database of its own
        raise SettingsError("RYZE_DATABASE_URL", mask_url_password(url), f"{_SCHEME}<path>")
    return Path(name).absolute()


def _open(
    stack: contextlib.ExitStack, path: Path, busy_timeout_seconds: float, exclusive: bool
) -> Database:
    try:
        _prepare_file(path)
        if exclusive:
            stack.enter_context(_exclusive_lock(path))
        pool = _connection_pool(path, busy_timeout_seconds)
        _migrate(pool, path)
        watcher = _connection_pool(path, busy_timeout_seconds, thread_safe=False)
        return Database(path, pool, stack.enter_context(_ChangeCounter(path, watcher)))
    except OSError as error:
        reason = f"{error.filename}: {error.strerror}"
        raise StartError(f"cannot open the database {path}: {reason}") from error
    except _DRIVER_ERRORS as error:
        raise StartError(f"cannot open the database {path}: {error}") from error


def _prepare_file(path: Path) -> None:
    """Create the file if it is missing, readable by its owner only, and check permissions."""
    path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
    with contextlib.suppress(FileExistsError):
        # O_EXCL: an existing file is not opened, since closing it would drop the POSIX locks of
        # this process's other connections (sqlite.org/howtocorrupt.html, section 2.2).
        os.close(os.open(path, os.O_CREAT | os.O_EXCL | os.O_RDWR | os.O_CLOEXEC, 0o600))
    for needed in (path.parent, path):
        # Else SQLite opens it read-only, and the first write fails long after the start.
        if not os.access(needed, os.W_OK, effective_ids=True):
            raise StartError(f"cannot open the database {path}: no permission to write {needed}")


@contextlib.contextmanager
def _exclusive_lock(path: Path) -> Iterator[None]:
    """Hold the lock file of a database for the duration of the context.

    Raises:
        DatabaseInUse: another process holds it.
    """
    # The kernel releases the lock when the process ends, however it ends. The file is kept:
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


def _connection_pool(
    path: Path, busy_timeout_seconds: float, *, thread_safe: bool = True
) -> peewee.SqliteDatabase:
    return peewee.SqliteDatabase(
        f"{path.as_uri()}?mode=rw",
        uri=True,
        pragmas={"foreign_keys": 1, "synchronous": "NORMAL"},
        timeout=busy_timeout_seconds,
        # Transactions take the write lock at their start: no deadlock between two that read first.
        lock_type="IMMEDIATE",
        autoconnect=False,
        thread_safe=thread_safe,
        check_same_thread=thread_safe,
    )


def _migrate(database: peewee.SqliteDatabase, path: Path) -> None:
    """Set WAL mode, which is stored in the file, and run the migrations that are missing."""
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
        # One transaction: all or nothing, and one process at a time; a second process waits for
        # the lock and then finds nothing to do. Rebuilding a table must not cascade; foreign keys
        # can be switched off outside of a transaction only, for this connection.
        database.pragma("foreign_keys", 0)
        with database.atomic():
            runner.up()


class _ChangeCounter:
    """Counts the calls of `count` that found the file changed.

    ``PRAGMA data_version`` is only comparable with itself on the same connection. When that is
    lost (an error, or the file was replaced), it is reopened and the loss counts as a change,
    since it may have hidden one.
    """

    def __init__(self, path: Path, database: peewee.SqliteDatabase) -> None:
        self._path = path
        # One connection, open between calls, which come from different threads.
        self._database = database
        # Device, inode and data_version at the last call; None before the first, or after an error.
        self._last: tuple[int, int, int] | None = None
        self._count = 0

    def __enter__(self) -> "_ChangeCounter":
        self.count()
        return self

    def __exit__(self, *_: object) -> None:
        self._database.close()

    def count(self) -> int:
        try:
            current = self._read_version()
        except (*_DRIVER_ERRORS, OSError):
            self._last = None
            self._database.close()
            raise
        if current != self._last:
            self._last = current
            self._count += 1
        return self._count

    def _read_version(self) -> tuple[int, int, int]:
        status = os.stat(self._path)
        file = status.st_dev, status.st_ino
        if self._last is not None and self._last[:2] != file:
            self._database.close()
        self._database.connect(reuse_if_open=True)
        return *file, int(self._database.pragma("data_version"))


def _first_cause(error: BaseException) -> BaseException:
    """Return the first error of a chain: a full disk, and not the rollback that failed then."""
    while isinstance(error.__context__, (*_DRIVER_ERRORS, OSError)):
        error = error.__context__
    return error
