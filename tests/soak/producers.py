"""Producers: over a WebSocket or HTTP, at a fixed rate or as fast as the subscribers keep up."""

import json
from typing import Protocol

import trio

from bench.websocket_client import CLOSE, PING, PONG, client_frame, parse_frames
from tests.clients import RawClient
from tests.soak.expected_stream import Violation
from tests.soak.instance import Instance
from tests.soak.server import send_request
from tests.soak.violations import TIMEOUT_SECONDS, Violations

__all__ = ["EventSender", "HttpSender", "Producer", "WebSocketSender"]

# Events per batch, and the pause between two batches.
_BATCH_EVENTS = 60
_TICK_SECONDS = 0.01


class EventSender(Protocol):
    """A connection over which events are published."""

    async def publish(self, events: list[bytes]) -> None:
        """Send all of them, in order."""

    async def wait_published(self) -> None:
        """Wait until the server has published everything that was sent."""

    async def aclose(self) -> None:
        """Close the connection."""


class WebSocketSender:
    """One text frame per event. Create it with `open`; `run` must run as long as it is used."""

    def __init__(self, client: RawClient) -> None:
        self.stream = client.stream
        self._received = client.take_buffer()
        self._send_lock = trio.Lock()
        self._pong = trio.Event()
        # From the server's close frame; 0 until it comes.
        self.close_code = 0

    @classmethod
    async def open(cls, instance: Instance) -> "WebSocketSender":
        """Open a producer's WebSocket."""
        path = f"/ws/{instance.name}/publish"
        client, response = await instance.server.upgrade(path, instance.token)
        assert response.status == 101, response
        return cls(client)

    async def publish(self, events: list[bytes]) -> None:
        """See `EventSender`."""
        await self._send(b"".join([client_frame(event) for event in events]))

    async def wait_published(self) -> None:
        """See `EventSender`: the server replies to a ping after publishing all before it."""
        self._pong = trio.Event()
        await self._send(client_frame(b"published?", PING))
        await self._pong.wait()

    async def run(self) -> None:
        """Read until the server closes the connection."""
        while True:
            end = 0
            for frame in parse_frames(self._received):
                end = frame.end
                await self._handle(frame.opcode, frame.payload)
            self._received = self._received[end:]
            try:
                data = bytes(await self.stream.receive_some(4096))
            except (trio.BrokenResourceError, trio.ClosedResourceError):
                return
            if not data:
                return
            self._received += data

    async def aclose(self) -> None:
        """See `EventSender`."""
        await trio.aclose_forcefully(self.stream)

    async def _handle(self, opcode: int, payload: bytes) -> None:
        if opcode == PING:
            await self._send(client_frame(payload, PONG))
        elif opcode == PONG:
            self._pong.set()
        elif opcode == CLOSE:
            self.close_code = int.from_bytes(payload[:2], "big")
            await self._send(client_frame(payload[:2], CLOSE))

    async def _send(self, data: bytes) -> None:
        async with self._send_lock:
            await self.stream.send_all(data)


class HttpSender:
    """One POST per batch: a single event, or an array."""

    def __init__(self, client: RawClient, instance: Instance) -> None:
        self._client = client
        self._instance = instance

    @classmethod
    async def open(cls, instance: Instance) -> "HttpSender":
        """Open a connection that is kept alive."""
        return cls(await instance.server.open(), instance)

    async def publish(self, events: list[bytes]) -> None:
        """See `EventSender`."""
        body = events[0] if len(events) == 1 else b"[%b]" % b",".join(events)
        path = f"/api/events/publish/{self._instance.name}"
        response = await send_request(self._client, "POST", path, body, token=self._instance.token)
        expected = {"success": True, "message": "Event published", "published": len(events)}
        got = dict(response.json)
        clients = got.pop("clients", None)
        if response.status != 202 or got != expected or not isinstance(clients, int):
            raise Violation(f"publishing {len(events)} events: {json.dumps(response.json)}")

    async def wait_published(self) -> None:
        """See `EventSender`: a response comes after its events are published."""

    async def aclose(self) -> None:
        """See `EventSender`."""
        await trio.aclose_forcefully(self._client.stream)


class Producer:
    """Publishes the events of one producer number of an instance.

    Args:
        sender: its connection.
        instance: its instance.
        violations: records what goes wrong.
    """

    def __init__(self, sender: EventSender, instance: Instance, violations: Violations) -> None:
        self.sender = sender
        self.instance = instance
        self._violations = violations
        self._number = instance.expected.add_producer()
        # Events per second; None: as many as the subscribers keep up with.
        self._rate: float | None = None
        self.sent = 0
        # Token bucket of `_rate`: events that may be sent, and when that was computed.
        self._credit = 0.0
        self._credit_at = 0.0
        # When `Instance.room` ran out; None while there is room.
        self._blocked_since: float | None = None

    def limit_rate(self, rate: float) -> None:
        """Publish at most `rate` events per second from now on."""
        self._rate = rate
        self._credit_at, self._credit = trio.current_time(), 0.0

    async def run(self) -> None:
        """Publish until cancelled; a batch that is in flight then is completed."""
        while True:
            count = min(self._due(), self.instance.room, _BATCH_EVENTS)
            if count > 0:
                with trio.CancelScope(shield=True):
                    await self.publish(count)
            self._check_blocked()
            await self._pause()

    async def publish(self, count: int) -> None:
        """Publish the next `count` events now."""
        events = self.instance.expected.send(self._number, count)
        self.sent += count
        self._credit -= count
        with self._violations.recording(f"producer {self._number} of {self.instance.name}"):
            await self.sender.publish(events)

    def _due(self) -> int:
        if self._rate is None:
            return _BATCH_EVENTS
        now = trio.current_time()
        # After a pause at most one second's worth of events is made up for.
        self._credit += self._rate * (now - self._credit_at)
        self._credit = min(self._credit, max(self._rate, 1))
        self._credit_at = now
        return int(self._credit)

    async def _pause(self) -> None:
        with trio.move_on_after(_TICK_SECONDS):
            if self._rate is None and self.instance.room <= 0:
                await self.instance.wait_progress()
            elif self._rate is not None:
                await trio.sleep_forever()
        await trio.lowlevel.checkpoint()

    def _check_blocked(self) -> None:
        """Record a violation when there was no room for so long that pending events are lost."""
        now = trio.current_time()
        if self.instance.room > 0:
            self._blocked_since = None
        elif self._blocked_since is None:
            self._blocked_since = now
        elif now > self._blocked_since + TIMEOUT_SECONDS:
            pending = self.instance.expected.pending
            self._violations.add(self.instance.name, f"{pending} pending events were not received")
            self.instance.expected.write_off_pending()
            self._blocked_since = None
