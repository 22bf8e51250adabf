"""Accept connections while there are file descriptors for them.

Every connection is a file descriptor, and a process may have a limited number (RLIMIT_NOFILE).
With all of them in use nothing works: no connection can be accepted and no database opened. So
the last few are reserved:

    0 ............ connections ............ high-water mark ... reserve ... limit

A new descriptor has the lowest free number (POSIX, "File Descriptor Allocation"), so the number of
the newest connection tells how full the table is. From the high-water mark on, accepting pauses
until there is room. New connections wait in the kernel's queue meanwhile, established ones are not
affected, and connections without a request are evicted.
"""

import errno
import math
import os
import resource
from collections.abc import Awaitable, Callable, Sequence
from typing import NoReturn

import structlog
import trio

__all__ = ["Acceptor", "allow_all_descriptors"]

# For the database (five connections with up to three files each) and for libraries.
_RESERVED = 32

# Between two checks for room; a check costs two system calls.
_PAUSE_SECONDS = 0.1

# Log at most once a minute while descriptors run short.
_LOG_INTERVAL_SECONDS = 60

# Errors of accept(2) when the system is short of something; they pass.
_SHORTAGES = {
    number: errno.errorcode[number].lower()
    for number in (errno.EMFILE, errno.ENFILE, errno.ENOBUFS, errno.ENOMEM)
}

_log = structlog.get_logger("ryze.http")


class Acceptor:
    """Accepts connections and serves each in a task of its own.

    Args:
        serve: serves a connection until it ends; its stream is closed afterwards.
        make_room: called repeatedly while there is no room for more connections.
    """

    def __init__(
        self,
        serve: Callable[[trio.SocketStream], Awaitable[None]],
        make_room: Callable[[], None],
    ) -> None:
        self._serve = serve
        self._make_room = make_room
        self._limit = resource.getrlimit(resource.RLIMIT_NOFILE)[0]
        # The first descriptor that is too high for a connection.
        self._high_water_mark = _high_water_mark(self._limit)
        # When a shortage may be logged again, on Trio's clock.
        self._next_log = -math.inf

    async def accept(
        self,
        listeners: Sequence[trio.SocketListener],
        connections: trio.Nursery,
        *,
        task_status: trio.TaskStatus[None] = trio.TASK_STATUS_IGNORED,
    ) -> NoReturn:
        """Accept until cancelled; open connections are not affected by that.

        Args:
            listeners: of the port; the caller closes them.
            connections: owns the tasks that serve.
            task_status: started once connections are accepted.

        Raises:
            OSError: accepting fails, and the error does not pass.
        """
        async with trio.open_nursery() as nursery:
            for listener in listeners:
                nursery.start_soon(self._accept_from, listener, connections)
            task_status.started()
        raise AssertionError("the nursery ends only by an exception")

    async def _accept_from(
        self, listener: trio.SocketListener, connections: trio.Nursery
    ) -> NoReturn:
        while True:
            try:
                stream = await listener.accept()
            except OSError as error:
                reason = _SHORTAGES.get(error.errno or 0)
                if reason is None:
                    raise
                await self._wait_for_room(listener, reason)
                continue
            number = stream.socket.fileno()
            connections.start_soon(self._serve_and_close, stream)
            if number >= self._high_water_mark:
                await self._wait_for_room(listener, "reserve_reached")

    async def _serve_and_close(self, stream: trio.SocketStream) -> None:
        try:
            await self._serve(stream)
        finally:
            stream.socket.close()

    async def _wait_for_room(self, listener: trio.SocketListener, reason: str) -> None:
        """Wait until one more descriptor is free for a connection."""
        now = trio.current_time()
        if is_logged := now >= self._next_log:
            self._next_log = now + _LOG_INTERVAL_SECONDS
            _log.warning("accepting paused", reason=reason, descriptors=self._limit)
        has_room = False
        while not has_room:
            self._make_room()
            # Before the first check: it sees descriptors only, not what else may be short.
            await trio.sleep(_PAUSE_SECONDS)
            has_room = self._has_room(listener)
        if is_logged:
            _log.info("accepting resumed", seconds=round(trio.current_time() - now, 1))

    def _has_room(self, listener: trio.SocketListener) -> bool:
        try:
            number = os.dup(listener.socket.fileno())
        except OSError:
            return False
        os.close(number)
        return number < self._high_water_mark


def allow_all_descriptors() -> None:
    """Raise our limit of file descriptors to the hard limit.

    The usual soft limit of 1024 is there for programs that use select(2), which can do no more.
    """
    _, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (hard, hard))


def _high_water_mark(limit: int) -> float:
    if limit == resource.RLIM_INFINITY:
        return math.inf
    # A quarter at most: with few descriptors there are few connections, but there are some.
    return limit - min(_RESERVED, limit // 4)
