"""The healthy clients: one epoll loop for all of them, inside of one task.

A task for each would cost more than the server takes to serve it.
"""

import select
import socket
from contextlib import suppress

import trio

from bench.websocket_client import CLOSE, client_frame
from tests.clients import RawClient
from tests.soak.findings import Findings
from tests.soak.ledger import Violation
from tests.soak.listener import Listener
from tests.soak.stage import Stage

__all__ = ["Crowd", "Member"]

_CHUNK_BYTES = 262144

# Loops between two cuts at the front of the ledgers.
_LOOPS_PER_CUT = 64


class Member:
    """A client in the crowd.

    Args:
        client: after its 101; its connection is taken over.
        listener: judges what comes.
        stage: whose events those are.
    """

    def __init__(self, client: RawClient, listener: Listener, stage: Stage) -> None:
        stream = client.stream
        assert isinstance(stream, trio.SocketStream)
        self.socket = socket.socket(fileno=stream.socket.detach())
        self.socket.setblocking(False)
        self.listener = listener
        self.stage = stage
        # The close codes with which it may end now; another end is a fault.
        self.may_end_with: frozenset[int] = frozenset()
        # Its connection is closed.
        self.ended = trio.Event()

    def leave(self) -> None:
        """Begin to close; ended when the server has answered and closed the connection."""
        self.may_end_with = frozenset({1000})
        with suppress(OSError):
            self.socket.send(client_frame((1000).to_bytes(2, "big"), CLOSE))


class Crowd:
    """All of them."""

    def __init__(self, findings: Findings) -> None:
        self._findings = findings
        self._epoll = select.epoll()
        self._members: dict[int, Member] = {}
        self._buffer = bytearray(_CHUNK_BYTES)
        # Bytes received, of events and all else.
        self.received = 0

    def __len__(self) -> int:
        return len(self._members)

    def add(self, client: RawClient, listener: Listener, stage: Stage) -> Member:
        """A client that has just got its 101."""
        early = client.take_buffer()
        member = Member(client, listener, stage)
        stage.healthy.add(listener)
        self._members[member.socket.fileno()] = member
        self._epoll.register(member.socket, select.EPOLLIN)
        if early:
            self._judge(member, early)
        return member

    def remove(self, member: Member) -> None:
        """Close its connection, without farewell if there was none; again does nothing."""
        if self._members.pop(member.socket.fileno(), None) is None:
            return
        member.socket.close()
        member.stage.healthy.discard(member.listener)
        member.stage.listeners.discard(member.listener)
        member.ended.set()

    async def run(self) -> None:
        """Receive, for ever."""
        loops = 0
        while True:
            await trio.lowlevel.wait_readable(self._epoll.fileno())
            ready = [self._members[fd] for fd, _ in self._epoll.poll(0)]
            for member in ready:
                self._receive(member)
            self._find_lost()
            loops += 1
            for stage in {member.stage for member in ready}:
                stage.has_progressed(cut=loops % _LOOPS_PER_CUT == 0)

    def _receive(self, member: Member) -> None:
        try:
            size = member.socket.recv_into(self._buffer)
        except BlockingIOError:
            return
        except OSError:
            size = 0
        if size:
            self.received += size
            self._judge(member, memoryview(self._buffer)[:size])
        else:
            self._end(member)

    def _judge(self, member: Member, data: bytes | memoryview) -> None:
        try:
            answer = member.listener.receive(data)
        except Violation as violation:
            self._findings.add(f"a client of {member.stage.name}", str(violation))
            self.remove(member)
            return
        if answer:
            with suppress(OSError):
                member.socket.send(answer)

    def _end(self, member: Member) -> None:
        code = member.listener.close_code
        if code not in member.may_end_with:
            allowed = sorted(member.may_end_with) or "no end at all"
            self._findings.add(
                f"a client of {member.stage.name}", f"ended with {code}, expected {allowed}"
            )
        self.remove(member)

    def _find_lost(self) -> None:
        """Newcomers whose first event somebody has put into the ledger by now."""
        for member in list(self._members.values()):
            if member.listener.is_lost:
                self._judge(member, b"")
