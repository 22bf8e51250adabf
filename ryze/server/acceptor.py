"""Taking connections from the open port, as long as there are descriptors for them.

Every connection is a descriptor, and a process may have only so many (RLIMIT_NOFILE). Once all
are in use nothing works any more: no connection can be accepted and no database opened. So the
last few are never given away:

    0 ............ connections ............ mark ... kept ... limit

A new descriptor has the lowest number that is free (POSIX, "File Descriptor Allocation"), so the
number of the newest connection tells how full the table is. From the mark on nobody is taken
until there is room again. Who comes meanwhile waits in the kernel's queue; those who are
connected notice nothing; and who holds a descriptor and says nothing is asked to leave.
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

# For the database (five connections with up to three files each) and what libraries open.
_KEPT = 32

# Between two looks whether there is room: a look costs two system calls.
_PAUSE_SECONDS = 0.1

# Who hovers at the limit crosses it many times a second; that is still one thing to say.
_SILENCE_SECONDS = 60

# What accept(2) fails with when the system is short of something, which passes.
_EXHAUSTED = (errno.EMFILE, errno.ENFILE, errno.ENOBUFS, errno.ENOMEM)

_log = structlog.get_logger("ryze.http")


class Acceptor:
    """Accepts connections and has each served in a task of its own.

    Args:
        serve: serves a connection to its end; its stream is closed afterwards.
        make_room: called again and again while there is no room for more.
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
        self._mark = _mark(self._limit)
        # When a shortage may be logged again, on Trio's clock.
        self._silent_until = -math.inf

    async def accept(
        self,
        listeners: Sequence[trio.SocketListener],
        connections: trio.Nursery,
        *,
        task_status: trio.TaskStatus[None] = trio.TASK_STATUS_IGNORED,
    ) -> NoReturn:
        """Accept until cancelled; connections that are there stay.

        Args:
            listeners: the open port; the caller closes them.
            connections: owns the tasks that serve.
            task_status: started once connections are accepted.

        Raises:
            OSError: accepting is impossible, and that will not pass.
        """
        async with trio.open_nursery() as nursery:
            for listener in listeners:
                nursery.start_soon(self._accept_from, listener, connections)
            task_status.started()
        raise AssertionError("it ends only by an exception")

    async def _accept_from(
        self, listener: trio.SocketListener, connections: trio.Nursery
    ) -> NoReturn:
        while True:
            try:
                stream = await listener.accept()
            except OSError as error:
                if error.errno not in _EXHAUSTED:
                    raise
                await self._wait_for_room(listener, str(error))
                continue
            number = stream.socket.fileno()
            connections.start_soon(self._serve_and_close, stream)
            if number >= self._mark:
                await self._wait_for_room(listener, "too many connections")

    async def _serve_and_close(self, stream: trio.SocketStream) -> None:
        try:
            await self._serve(stream)
        finally:
            stream.socket.close()

    async def _wait_for_room(self, listener: trio.SocketListener, reason: str) -> None:
        """Wait until one more descriptor can be had for a connection."""
        now = trio.current_time()
        if is_news := now >= self._silent_until:
            self._silent_until = now + _SILENCE_SECONDS
            _log.warning("accepts nobody", reason=reason, descriptors=self._limit)
        is_room = False
        while not is_room:
            self._make_room()
            # First of all: what is short may be nothing that the look below can see.
            await trio.sleep(_PAUSE_SECONDS)
            is_room = self._is_room(listener)
        if is_news:
            _log.info("accepts again", seconds=round(trio.current_time() - now, 1))

    def _is_room(self, listener: trio.SocketListener) -> bool:
        try:
            number = os.dup(listener.socket.fileno())
        except OSError:
            return False
        os.close(number)
        return number < self._mark


def allow_all_descriptors() -> None:
    """Raise our limit of descriptors to the highest that we may have.

    The usual 1024 is there for programs that use select(2), which can do no more.
    """
    _, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (hard, hard))


def _mark(limit: int) -> float:
    if limit == resource.RLIM_INFINITY:
        return math.inf
    # A quarter at most: with few descriptors there are few connections, but there are some.
    return limit - min(_KEPT, limit // 4)
