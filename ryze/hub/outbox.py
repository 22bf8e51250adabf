"""The outbox of one connection: 256 slots, then the slow consumer is evicted.

Theory. A message is *pending* from the moment it is accepted for this connection until the
operating system has taken its last byte. The rules (ARCHITECTURE.md, "Outbox"):

- Nothing pending: an offer is written straight to the transport, all messages of a flush in one
  system call. No queue, no task.
- Bytes that the transport does not take are queued in a memory channel of 256 slots, and a writer
  task empties it with coalesced writes. The writer lives only as long as something is queued.
- A message leaves the count with its last byte, not when the writer takes it up: messages in
  flight would silently double the bound.
- An offer that finds 256 pending (or the bound in bytes reached) is an overflow: the connection
  is closed as a slow consumer at once, and no task waits for it.
- Control messages (heartbeat, reply, close) take the same way and never stand inside another
  message. At most one heartbeat and one reply wait; a newer reply replaces the older.

The outbox knows bytes: the encoding of its view makes the messages and the close. Everything but
the writer is plain functions: between two awaits an outbox is consistent, and with a transport
that takes exactly k bytes the overflowing message can be computed on paper
(tests/hub/test_outbox.py has the model in ten lines).
"""

from collections import deque
from collections.abc import Callable, Iterator, Sequence
from contextlib import suppress
from dataclasses import dataclass
from typing import NamedTuple

import trio

from ryze.disconnects import CONNECTION_LOST, INTERNAL_ERROR, SLOW_CONSUMER, Disconnect
from ryze.hub.batch import Messages
from ryze.hub.transport import Transport
from ryze.hub.view import View

__all__ = ["Outbox", "OutboxLimits"]

# One write of the writer carries about this many bytes: enough that system calls do not count,
# little enough that a reply to a ping need not wait long behind it.
_COALESCED_BYTES = 65536

# The in-flight queue of a connection that keeps up: shared by all of them, never changed.
_NOTHING: deque[tuple[int, bool]] = deque(maxlen=0)
_NO_BYTES = memoryview(b"")


@dataclass(frozen=True, slots=True)
class OutboxLimits:
    """Bounds of what may be pending for one connection.

    Args:
        messages: an offer that finds this many pending is an overflow.
        bytes: likewise for their bytes, whether shared with other connections or not.
    """

    messages: int = 256
    bytes: int = 64 * 1024 * 1024


class Outbox:
    """Bytes on their way to one connection.

    Args:
        transport: takes the bytes.
        limits: when the peer is a slow consumer.
        view: how messages and the close are written.
        start_writer: called when bytes have to wait; must run `write` in a task that the
            connection owns.
        on_close: called once, when the outbox takes no more messages, whatever the reason.
    """

    __slots__ = (
        "_close_bytes",
        "_heartbeat",
        "_in_flight",
        "_in_flight_bytes",
        "_in_flight_offset",
        "_is_writing",
        "_limits",
        "_on_close",
        "_queue",
        "_reply",
        "_start_writer",
        "_transport",
        "discarded",
        "disconnect",
        "pending",
        "pending_bytes",
        "view",
    )

    def __init__(
        self,
        transport: Transport,
        limits: OutboxLimits,
        view: View,
        *,
        start_writer: Callable[[], None],
        on_close: Callable[[], None],
    ) -> None:
        self._transport = transport
        self._limits = limits
        self._start_writer = start_writer
        self._on_close = on_close
        self.view = view
        # Why no more messages are accepted; set once, by close().
        self.disconnect: Disconnect | None = None
        # Messages, and their bytes, whose last byte is not yet written: queued or in flight.
        self.pending = 0
        self.pending_bytes = 0
        # Messages that were pending and will never be sent.
        self.discarded = 0
        # Messages that wait for the writer; made when the peer first lags.
        self._queue: _Queue | None = None
        # True from starting the writer until nothing is left; nothing else may send meanwhile.
        self._is_writing = False
        # Being written: (size, is it a message) of each, their bytes from the first one not yet
        # taken, and how many bytes of the first have been taken.
        self._in_flight = _NOTHING
        self._in_flight_bytes = _NO_BYTES
        self._in_flight_offset = 0
        # Control messages that wait, at most one of each kind; the close goes out last.
        self._reply: bytes | None = None
        self._heartbeat: bytes | None = None
        self._close_bytes: bytes | None = None

    def __repr__(self) -> str:
        state = self.disconnect.reason if self.disconnect else "open"
        return f"<Outbox {state}, {self.pending} pending, {self.pending_bytes} bytes>"

    @property
    def is_empty(self) -> bool:
        """Everything has been taken by the operating system, the close included."""
        return not (self.pending or self._in_flight or self._close_bytes)

    def offer(self, messages: Messages) -> bool:
        """Accept messages, each as if it came alone; never blocks.

        Returns:
            False when no more are accepted: it has overflowed just now, or is closed.
        """
        if self.disconnect is not None:
            return False
        if self._is_writing:
            return self._enqueue(messages.parts)
        data = messages.joined
        try:
            taken = self._transport.send_nowait(data)
        except OSError:
            self._end_lost_connection()
            return False
        return taken == len(data) or self._enqueue_rest(messages.parts, taken)

    def send_handshake(self, response: bytes) -> None:
        """Send the response to the handshake, which goes out before anything else."""
        if not self._send_control(response):
            self._put_in_flight([response], 0, are_messages=False)

    def send_heartbeat(self, data: bytes) -> None:
        """Send a heartbeat; at most one waits."""
        if self.disconnect is None and not self._send_control(data):
            self._heartbeat = data

    def send_reply(self, data: bytes) -> None:
        """Reply to the peer's heartbeat; replaces a reply that still waits."""
        if self.disconnect is None and not self._send_control(data):
            self._reply = data

    def close(self, disconnect: Disconnect) -> None:
        """Accept no more messages; the close follows the bytes that must still go out.

        That is everything pending where the disconnect says so, else the rest of a message that is
        partly written. The first reason counts, later calls do nothing.
        """
        if self.disconnect is not None:
            return
        self.disconnect = disconnect
        self._heartbeat = self._reply = None
        try:
            if not disconnect.sends_pending:
                self._discard()
            if disconnect.code is not None:
                data = self.view.encoding.encode_close(disconnect)
                if not self._send_control(data):
                    self._close_bytes = data
        finally:
            self._on_close()

    def close_after_bug(self) -> None:
        """End the connection after a bug: send a close if that needs no wait, and no more.

        Never raises: the bug may show again, and must not end the caller as well.
        """
        if self.disconnect is None:
            with suppress(Exception):
                is_partly_written = self._is_partly_written()
                self.close(CONNECTION_LOST)
                if not is_partly_written:
                    self._send_nowait(self.view.encoding.encode_close(INTERNAL_ERROR))

    def release(self) -> None:
        """Drop the references to the connection, which is over."""
        self._start_writer = self._on_close = _do_nothing

    async def write(self) -> None:
        """Run the writer: give the transport what is queued, until nothing is.

        Cancelling it leaves the counts true, but a message may be partly written: the connection
        must end then, and nothing else may send.
        """
        try:
            while self._take_up():
                if not self._advance(self._send_nowait(self._in_flight_bytes)):
                    await self._transport.wait_writable()
        except OSError:
            self._end_lost_connection()
        # Not in a `finally`: a send after a cancelled writer would go into a message.
        self._is_writing = False

    # Sending without waiting

    def _send_nowait(self, data: bytes | memoryview) -> int:
        try:
            return self._transport.send_nowait(data)
        except OSError:
            self._end_lost_connection()
            return 0

    def _send_control(self, data: bytes) -> bool:
        """Send a control message, or begin to; False if all of it has to wait."""
        if self._is_writing:
            return False
        taken = self._send_nowait(data)
        if taken < len(data):
            self._wake_writer()
            if not (taken or self._transport.committed):
                return False
            self._put_in_flight([data], taken, are_messages=False)
        return True

    def _wake_writer(self) -> None:
        self._is_writing = True
        self._start_writer()

    def _end_lost_connection(self) -> None:
        """Close and discard everything, even a message that is partly written."""
        self.close(CONNECTION_LOST)
        self._close_bytes = None
        self._in_flight = _NOTHING
        self._discard()

    # The queue

    def _enqueue_rest(self, parts: Sequence[bytes], taken: int) -> bool:
        """Enqueue what the transport has not taken of `parts`: all but the first `taken` bytes."""
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
        self._put_in_flight(held, taken, are_messages=True)
        self._wake_writer()
        # More than one can be committed: the last of them too counts as if it came alone.
        if self._is_full(len(held) - 1, sum(map(len, held[:-1]))):
            return self._evict_slow_consumer()
        return self._enqueue(parts[begun:])

    def _enqueue(self, parts: Sequence[bytes]) -> bool:
        if self._queue is None:
            self._queue = _Queue(*trio.open_memory_channel[bytes](self._limits.messages))
        for message in parts:
            if self._is_full(self.pending, self.pending_bytes):
                return self._evict_slow_consumer()
            # Never full: the channel holds a part of what is pending.
            self._queue.send.send_nowait(message)
            self.pending += 1
            self.pending_bytes += len(message)
        return True

    def _is_full(self, pending: int, pending_bytes: int) -> bool:
        """Is an offer that finds this much pending an overflow?"""
        return pending >= self._limits.messages or pending_bytes >= self._limits.bytes

    def _evict_slow_consumer(self) -> bool:
        """Close after an overflow; False: the offer is not accepted."""
        self.close(SLOW_CONSUMER)
        return False

    def _dequeue(self) -> Iterator[bytes]:
        """Take the messages out of the channel, one after the other."""
        while self._queue is not None:
            try:
                yield self._queue.receive.receive_nowait()
            except trio.WouldBlock:
                return

    # In flight

    def _is_partly_written(self) -> bool:
        return self._in_flight_offset > 0 or self._transport.committed > 0

    def _put_in_flight(self, parts: Sequence[bytes], offset: int, *, are_messages: bool) -> None:
        """Put `parts` in flight, of which the first `offset` bytes are written already.

        Messages that come here straight from an offer become pending by it.
        """
        self._in_flight = deque((len(part), are_messages) for part in parts)
        self._in_flight_bytes = memoryview(b"".join(parts))[offset:]
        self._in_flight_offset = offset
        if are_messages:
            self.pending += len(parts)
            self.pending_bytes += sum(map(len, parts))

    def _take_up(self) -> bool:
        """Make sure that something is in flight; False: nothing is left to write."""
        if self._in_flight:
            return True
        parts = [control for control in (self._reply, self._heartbeat) if control is not None]
        self._reply = self._heartbeat = None
        self._in_flight = deque((len(part), False) for part in parts)
        size = 0
        for message in self._dequeue():
            parts.append(message)
            self._in_flight.append((len(message), True))
            size += len(message)
            if size >= _COALESCED_BYTES:
                break
        if not parts and self._close_bytes is not None:
            parts, self._close_bytes = [self._close_bytes], None
            self._in_flight.append((len(parts[0]), False))
        self._in_flight_bytes = memoryview(b"".join(parts))
        return bool(parts)

    def _advance(self, taken: int) -> bool:
        """Count `taken` bytes in flight as written; True if that was all of them."""
        self._in_flight_bytes = self._in_flight_bytes[taken:]
        self._in_flight_offset += taken
        while self._in_flight and self._in_flight_offset >= self._in_flight[0][0]:
            size, is_message = self._in_flight.popleft()
            self._in_flight_offset -= size
            if is_message:
                self.pending -= 1
                self.pending_bytes -= size
        return not self._in_flight

    def _discard(self) -> None:
        """Discard every pending message but one that is partly written."""
        for _ in self._dequeue():
            pass
        kept: deque[tuple[int, bool]] = deque()
        reach = self._in_flight_offset + self._transport.committed
        end = 0
        while end < reach and self._in_flight:
            kept.append(self._in_flight.popleft())
            end += kept[-1][0]
        # A copy, so that the memory of the other bytes is freed.
        rest = self._in_flight_bytes[: max(0, end - self._in_flight_offset)]
        self._in_flight_bytes = memoryview(bytes(rest))
        self._in_flight = kept
        messages = [size for size, is_message in kept if is_message]
        self.discarded += self.pending - len(messages)
        self.pending, self.pending_bytes = len(messages), sum(messages)


def _do_nothing() -> None:
    """Replace the callbacks of an outbox whose connection is over."""


class _Queue(NamedTuple):
    send: trio.MemorySendChannel[bytes]
    receive: trio.MemoryReceiveChannel[bytes]
