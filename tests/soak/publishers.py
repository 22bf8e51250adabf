"""Those who publish: over a socket or by HTTP, at a rate or as fast as the clients take it."""

import json
from typing import Protocol

import trio

from bench.websocket_client import CLOSE, PING, PONG, client_frame, parse_frames
from tests.clients import RawClient
from tests.soak.findings import PATIENCE_SECONDS, Findings
from tests.soak.ledger import Violation
from tests.soak.server import ask
from tests.soak.stage import Stage

__all__ = ["HttpOutlet", "Outlet", "Producer", "SocketOutlet"]

# Events in one piece, and how long between two pieces.
_MOST = 60
_TICK_SECONDS = 0.01


class Outlet(Protocol):
    """A way in."""

    async def publish(self, events: list[bytes]) -> None:
        """Hand in all of them, in order."""

    async def fence(self) -> None:
        """Wait until the server has taken in all that was published."""

    async def aclose(self) -> None:
        """Close the connection."""


class SocketOutlet:
    """One text frame an event; made by `open`, and `run` must run as long as it is used."""

    def __init__(self, client: RawClient) -> None:
        self.stream = client.stream
        self._received = client.take_buffer()
        self._sending = trio.Lock()
        self._pong = trio.Event()
        # From the server's close frame; 0 while there is none.
        self.close_code = 0

    @classmethod
    async def open(cls, stage: Stage) -> "SocketOutlet":
        """A publisher's WebSocket."""
        client, answer = await stage.server.upgrade(f"/ws/{stage.name}/publish", stage.token)
        assert answer.status == 101, answer
        return cls(client)

    async def publish(self, events: list[bytes]) -> None:
        """See `Outlet`."""
        await self._send(b"".join([client_frame(event) for event in events]))

    async def fence(self) -> None:
        """See `Outlet`: a ping is answered when all before it has been published."""
        self._pong = trio.Event()
        await self._send(client_frame(b"fence", PING))
        await self._pong.wait()

    async def run(self) -> None:
        """Read what the server says, until it closes."""
        while True:
            end = 0
            for frame in parse_frames(self._received):
                end = frame.end
                await self._hear(frame.opcode, frame.payload)
            self._received = self._received[end:]
            try:
                data = bytes(await self.stream.receive_some(4096))
            except (trio.BrokenResourceError, trio.ClosedResourceError):
                return
            if not data:
                return
            self._received += data

    async def aclose(self) -> None:
        """See `Outlet`."""
        await trio.aclose_forcefully(self.stream)

    async def _hear(self, opcode: int, payload: bytes) -> None:
        if opcode == PING:
            await self._send(client_frame(payload, PONG))
        elif opcode == PONG:
            self._pong.set()
        elif opcode == CLOSE:
            self.close_code = int.from_bytes(payload[:2], "big")
            await self._send(client_frame(payload[:2], CLOSE))

    async def _send(self, data: bytes) -> None:
        async with self._sending:
            await self.stream.send_all(data)


class HttpOutlet:
    """One POST with an array, or with a single event."""

    def __init__(self, client: RawClient, stage: Stage) -> None:
        self._client = client
        self._stage = stage

    @classmethod
    async def open(cls, stage: Stage) -> "HttpOutlet":
        """A connection that is kept."""
        return cls(await stage.server.open(), stage)

    async def publish(self, events: list[bytes]) -> None:
        """See `Outlet`."""
        body = events[0] if len(events) == 1 else b"[%b]" % b",".join(events)
        path = f"/api/events/publish/{self._stage.name}"
        answer = await ask(self._client, "POST", path, body, token=self._stage.token)
        told = {"success": True, "message": "Event published", "published": len(events)}
        given = dict(answer.json)
        clients = given.pop("clients", None)
        if answer.status != 202 or given != told or not isinstance(clients, int):
            raise Violation(f"publishing {len(events)} events: {json.dumps(answer.json)}")

    async def fence(self) -> None:
        """See `Outlet`: every answer is such a fence."""

    async def aclose(self) -> None:
        """See `Outlet`."""
        await trio.aclose_forcefully(self._client.stream)


class Producer:
    """Publishes the events of one number of a stage.

    Args:
        outlet: the way in.
        stage: whose events they are.
        findings: gets what goes wrong.
    """

    def __init__(self, outlet: Outlet, stage: Stage, findings: Findings) -> None:
        self.outlet = outlet
        self.stage = stage
        self._findings = findings
        self._number = stage.ledger.add_publisher()
        # Events a second; None: as many as the clients take.
        self._rate: float | None = None
        self.sent = 0
        # What may be sent by the rate, and when that was reckoned.
        self._credit = 0.0
        self._reckoned_at = 0.0
        # Since when there has been no room.
        self._stuck_since: float | None = None

    def slow_down(self, rate: float) -> None:
        """From now on, so many events a second."""
        self._rate = rate
        self._reckoned_at, self._credit = trio.current_time(), 0.0

    async def run(self) -> None:
        """Publish until cancelled; a piece that is under way then is still sent."""
        while True:
            count = min(self._due(), self.stage.room, _MOST)
            if count > 0:
                with trio.CancelScope(shield=True):
                    await self.publish(count)
            self._watch_room()
            await self._pause()

    async def publish(self, count: int) -> None:
        """Publish the next events now."""
        events = self.stage.ledger.send(self._number, count)
        self.sent += count
        self._credit -= count
        with self._findings.watching(f"publisher {self._number} of {self.stage.name}"):
            await self.outlet.publish(events)

    def _due(self) -> int:
        if self._rate is None:
            return _MOST
        now = trio.current_time()
        # Who could not publish for a while does not make up for more than a second of it.
        self._credit += self._rate * (now - self._reckoned_at)
        self._credit = min(self._credit, max(self._rate, 1))
        self._reckoned_at = now
        return int(self._credit)

    async def _pause(self) -> None:
        with trio.move_on_after(_TICK_SECONDS):
            if self._rate is None and self.stage.room <= 0:
                await self.stage.progress()
            elif self._rate is not None:
                await trio.sleep_forever()
        await trio.lowlevel.checkpoint()

    def _watch_room(self) -> None:
        """Without room for very long, what is awaited will not come."""
        now = trio.current_time()
        if self.stage.room > 0:
            self._stuck_since = None
        elif self._stuck_since is None:
            self._stuck_since = now
        elif now > self._stuck_since + PATIENCE_SECONDS:
            awaited = self.stage.ledger.awaited
            self._findings.add(self.stage.name, f"{awaited} events have not come out")
            self.stage.ledger.write_off()
            self._stuck_since = None
