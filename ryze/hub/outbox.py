"""One client's outbox: 256 slots between what is published and what its socket takes.

Theory. A message is *pending* from the moment it is accepted for this client until the
operating system has taken its last byte. The rules (ARCHITECTURE.md, "Outbox"):

- Nothing pending: an offer is written straight to the transport, all frames of a flush in one
  system call. Nothing waits, no task runs.
- What the transport does not take waits in a memory channel of 256 slots, and a writer task
  drains it with coalesced writes. The writer lives only as long as something is waiting.
- A message leaves the count when its last byte is written, not when the writer takes it up:
  else the writer's hand would silently double the bound.
- An offer that finds 256 pending (or the bound in bytes reached) is an overflow: this client
  is closed as a slow consumer, there and then, and nobody waits for it.
- Control frames take the same way and never stand inside another frame. At most one pong
  waits, the newest, and at most one ping.

Everything but the writer is plain functions: between two awaits an outbox is consistent, and
with a transport that takes exactly k bytes the overflowing message can be computed on paper
(tests/gateway/test_outbox.py has the model in ten lines).
"""

from collections import deque
from collections.abc import Callable, Iterator, Sequence
from contextlib import suppress
from dataclasses import dataclass
from typing import NamedTuple

import trio

from ryze.disconnects import CONNECTION_LOST, INTERNAL_ERROR, SLOW_CONSUMER, Disconnect
from ryze.server.transport import Transport
from ryze.websocket.server_frames import Frames, close_frame, ping_frame, pong_frame

__all__ = ["Outbox", "OutboxLimits"]

# One write of the writer carries about this much: enough that system calls do not count,
# little enough that a pong need not wait long behind it.
_COALESCED_BYTES = 65536

# What is in the hand of a client that keeps up: one for all of them, never changed.
_NOTHING: deque[tuple[int, bool]] = deque(maxlen=0)
_NO_BYTES = memoryview(b"")


@dataclass(frozen=True, slots=True)
class OutboxLimits:
    """How much may be pending for one client.

    Args:
        messages: an offer that finds this many pending is an overflow.
        bytes: likewise for the bytes of their frames, shared or not.
    """

    messages: int = 256
    bytes: int = 64 * 1024 * 1024


class Outbox:
    """What is on its way to one client.

    Args:
        transport: takes the bytes.
        limits: when the client is a slow consumer.
        start_writer: called when there is something to wait for; must run `write` in a task
            that the connection owns.
        on_close: called once, when the outbox takes no more messages, whatever the reason.
        compressed: this client has negotiated permessage-deflate.
    """

    __slots__ = (
        "_farewell",
        "_hand",
        "_hand_bytes",
        "_hand_offset",
        "_limits",
        "_on_close",
        "_ping",
        "_pong",
        "_start_writer",
        "_transport",
        "_waiting",
        "_writing",
        "compressed",
        "discarded",
        "disconnect",
        "pending",
        "pending_bytes",
    )

    def __init__(
        self,
        transport: Transport,
        limits: OutboxLimits,
        *,
        start_writer: Callable[[], None],
        on_close: Callable[[], None],
        compressed: bool = False,
    ) -> None:
        self._transport = transport
        self._limits = limits
        self._start_writer = start_writer
        self._on_close = on_close
        self.compressed = compressed
        # Why this client gets no more messages; set once, by close().
        self.disconnect: Disconnect | None = None
        # Messages, and bytes of their frames, of which the last byte is not yet written:
        # those in the channel and those in the writer's hand.
        self.pending = 0
        self.pending_bytes = 0
        # Messages that were pending and will never be sent.
        self.discarded = 0
        # Messages that wait for the writer; made when the client first lags.
        self._waiting: _Queue | None = None
        # True from starting the writer until nothing is left: then nobody else may send.
        self._writing = False
        # The frames that are being written: (size, is it a message), their bytes from the first
        # one not yet taken, and how many bytes of the first frame have been.
        self._hand = _NOTHING
        self._hand_bytes = _NO_BYTES
        self._hand_offset = 0
        # The control frames that wait, at most one of each kind; the farewell is the close frame.
        self._pong: bytes | None = None
        self._ping: bytes | None = None
        self._farewell: bytes | None = None

    def __repr__(self) -> str:
        state = self.disconnect.reason if self.disconnect else "open"
        return f"<Outbox {state}, {self.pending} pending, {self.pending_bytes} bytes>"

    @property
    def is_empty(self) -> bool:
        """Everything has been taken by the operating system, the close frame included."""
        return not (self.pending or self._hand or self._farewell)

    def offer(self, frames: Frames) -> bool:
        """Accept messages for this client, each as if it came alone; never blocks.

        Returns:
            False when this client takes no more: it has overflowed just now, or is closed.
        """
        if self.disconnect is not None:
            return False
        if self._writing:
            return self._queue(frames.parts)
        data = frames.joined
        try:
            taken = self._transport.send_nowait(data)
        except OSError:
            self._lost()
            return False
        return taken == len(data) or self._lag(frames.parts, taken)

    def send_handshake(self, response: bytes) -> None:
        """The 101, which goes out before anything else."""
        if not self._send_control(response):
            self._hold([response], 0, are_messages=False)

    def ping(self) -> None:
        """Ask the client for a sign of life."""
        if self.disconnect is None and not self._send_control(ping_frame()):
            self._ping = ping_frame()

    def pong(self, payload: bytes) -> None:
        """Answer a client's ping; a newer answer takes the place of one that still waits."""
        frame = pong_frame(payload)
        if self.disconnect is None and not self._send_control(frame):
            self._pong = frame

    def close(self, disconnect: Disconnect) -> None:
        """Take no more messages; the close frame follows what must still go out.

        That is everything pending where the disconnect says so, else the rest of a frame that
        is half-way out. The first reason counts, later calls do nothing.
        """
        if self.disconnect is not None:
            return
        self.disconnect = disconnect
        self._ping = self._pong = None
        try:
            if not disconnect.drains:
                self._discard()
            if disconnect.code is not None:
                frame = close_frame(disconnect)
                if not self._send_control(frame):
                    self._farewell = frame
        finally:
            self._on_close()

    def close_abruptly(self) -> None:
        """After a bug: a close frame if that is possible without waiting, and no more.

        Never raises: the bug may show again, and must not end the caller as well.
        """
        if self.disconnect is None:
            with suppress(Exception):
                half_way_out = self._half_way_out()
                self.close(CONNECTION_LOST)
                if not half_way_out:
                    self._send_nowait(close_frame(INTERNAL_ERROR))

    def release(self) -> None:
        """Forget the connection, which is over."""
        self._start_writer = self._on_close = _nobody

    async def write(self) -> None:
        """The writer: give the transport what waits, until nothing does.

        Cancelling it leaves the count true, but a frame may be half-way out: the connection
        must end then, and nobody else may send.
        """
        try:
            while self._take_in_hand():
                if not self._advance(self._send_nowait(self._hand_bytes)):
                    await self._transport.wait_writable()
        except OSError:
            self._lost()
        # Not in a `finally`: who sends after a cancelled writer sends into a frame.
        self._writing = False

    # Sending without waiting

    def _send_nowait(self, data: bytes | memoryview) -> int:
        try:
            return self._transport.send_nowait(data)
        except OSError:
            self._lost()
            return 0

    def _send_control(self, frame: bytes) -> bool:
        """Send a control frame, or begin to; False if all of it has to wait."""
        if self._writing:
            return False
        taken = self._send_nowait(frame)
        if taken < len(frame):
            self._wake_writer()
            if not (taken or self._transport.committed):
                return False
            self._hold([frame], taken, are_messages=False)
        return True

    def _wake_writer(self) -> None:
        self._writing = True
        self._start_writer()

    def _lost(self) -> None:
        """The peer is gone: nothing can be sent any more, not even what is half-way out."""
        self.close(CONNECTION_LOST)
        self._farewell = None
        self._hand = _NOTHING
        self._discard()

    # What waits

    def _lag(self, parts: Sequence[bytes], taken: int) -> bool:
        """The transport took `taken` bytes of `parts`, not all: the rest becomes pending."""
        first = 0
        while taken >= len(parts[first]):
            taken -= len(parts[first])
            first += 1
        begun = first
        reach = taken + self._transport.committed
        while reach > 0:
            reach -= len(parts[begun])
            begun += 1
        held = parts[first:begun]
        self._hold(held, taken, are_messages=True)
        self._wake_writer()
        # More than one can be committed: the last of them too counts as if it came alone.
        if self._is_full(len(held) - 1, sum(map(len, held[:-1]))):
            self.close(SLOW_CONSUMER)
            return False
        return self._queue(parts[begun:])

    def _queue(self, parts: Sequence[bytes]) -> bool:
        if self._waiting is None:
            self._waiting = _Queue(*trio.open_memory_channel[bytes](self._limits.messages))
        for frame in parts:
            if self._is_full(self.pending, self.pending_bytes):
                self.close(SLOW_CONSUMER)
                return False
            # Never full: what the channel holds is a part of what is pending.
            self._waiting.send.send_nowait(frame)
            self.pending += 1
            self.pending_bytes += len(frame)
        return True

    def _is_full(self, pending: int, pending_bytes: int) -> bool:
        """Is an offer that finds so much pending an overflow?"""
        return pending >= self._limits.messages or pending_bytes >= self._limits.bytes

    def _take_waiting(self) -> Iterator[bytes]:
        """Take the messages out of the channel, one after the other."""
        while self._waiting is not None:
            try:
                yield self._waiting.receive.receive_nowait()
            except trio.WouldBlock:
                return

    # What is being written

    def _half_way_out(self) -> bool:
        return self._hand_offset > 0 or self._transport.committed > 0

    def _hold(self, frames: Sequence[bytes], offset: int, *, are_messages: bool) -> None:
        """Take `frames` in hand, of which the first `offset` bytes are out already.

        Messages that come here straight from an offer become pending by it.
        """
        self._hand = deque((len(frame), are_messages) for frame in frames)
        self._hand_bytes = memoryview(b"".join(frames))[offset:]
        self._hand_offset = offset
        if are_messages:
            self.pending += len(frames)
            self.pending_bytes += sum(map(len, frames))

    def _take_in_hand(self) -> bool:
        """Have something in hand to write; False: nothing is left."""
        if self._hand:
            return True
        frames = [frame for frame in (self._pong, self._ping) if frame is not None]
        self._pong = self._ping = None
        self._hand = deque((len(frame), False) for frame in frames)
        size = 0
        for frame in self._take_waiting():
            frames.append(frame)
            self._hand.append((len(frame), True))
            size += len(frame)
            if size >= _COALESCED_BYTES:
                break
        if not frames and self._farewell is not None:
            frames, self._farewell = [self._farewell], None
            self._hand.append((len(frames[0]), False))
        self._hand_bytes = memoryview(b"".join(frames))
        return bool(frames)

    def _advance(self, taken: int) -> bool:
        """The transport took `taken` bytes of what is in hand; True if that was all of it."""
        self._hand_bytes = self._hand_bytes[taken:]
        self._hand_offset += taken
        while self._hand and self._hand_offset >= self._hand[0][0]:
            size, is_message = self._hand.popleft()
            self._hand_offset -= size
            if is_message:
                self.pending -= 1
                self.pending_bytes -= size
        return not self._hand

    def _discard(self) -> None:
        """Forget every pending message but what is half-way out."""
        for _ in self._take_waiting():
            pass
        kept: deque[tuple[int, bool]] = deque()
        reach = self._hand_offset + self._transport.committed
        end = 0
        while end < reach and self._hand:
            kept.append(self._hand.popleft())
            end += kept[-1][0]
        # A copy, so that the rest of the bytes is given back.
        self._hand_bytes = memoryview(bytes(self._hand_bytes[: max(0, end - self._hand_offset)]))
        self._hand = kept
        messages = [size for size, is_message in kept if is_message]
        self.discarded += self.pending - len(messages)
        self.pending, self.pending_bytes = len(messages), sum(messages)


def _nobody() -> None:
    """Who is told of an outbox whose connection is over."""


class _Queue(NamedTuple):
    send: trio.MemorySendChannel[bytes]
    receive: trio.MemoryReceiveChannel[bytes]
