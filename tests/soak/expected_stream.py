"""The stream that all subscribers of one instance must receive: checked once, then compared.

Each producer numbers its events. A frame that no subscriber has received yet is checked when it is
appended:

- it is exactly the frame that the workload has for that event, under a configuration that may
  have been in force;
- the events of each producer come in order, and each missing one was filtered out by a
  configuration that may have been in force;
- configurations never go back: an event that follows another stands under its configuration or a
  later one.

Each check assumes the earliest possible configuration, so that a correct stream is never called a
violation; for events sent after a configuration was confirmed only one is possible.
"""

from bisect import bisect_right
from collections import deque
from collections.abc import Mapping

from tests.soak.config_timeline import ConfigTimeline
from tests.soak.workload import Workload, passes

__all__ = ["ExpectedStream", "Violation"]


class Violation(Exception):
    """A subscriber received what it must not, or did not receive what it must."""


class _Source:
    """The events of one producer, by number."""

    def __init__(self) -> None:
        # The first number neither received nor filtered out, and the first not sent.
        self.next = self.sent = 0
        # The floor of the timeline when each number from `next` to `sent` was sent.
        self.floors: deque[int] = deque()
        # Index of the configuration of the event before `next`, or of an earlier one.
        self.config = 0
        # Numbers that may still be received.
        self.pending: deque[int] = deque()


class ExpectedStream:
    """The stream of one instance. Offsets are in bytes, from its beginning.

    Args:
        workload: of the instance.
        timeline: its configurations.
    """

    def __init__(self, workload: Workload, timeline: ConfigTimeline) -> None:
        self.workload = workload
        self.timeline = timeline
        self._sources: list[_Source] = []
        # Index of the configuration of the last frame, or of an earlier one.
        self._config = 0
        # The stream from the offset `start`; and of each frame in it the offset of its end, and
        # its producer and number. `forget` cuts them at the front.
        self.start = 0
        self._stream = bytearray()
        self._ends: list[int] = []
        self._events: list[tuple[int, int]] = []
        # Frames appended so far.
        self.frames = 0

    @property
    def end(self) -> int:
        """The offset at which the next frame will begin."""
        return self.start + len(self._stream)

    # Publishing

    def add_producer(self) -> int:
        """Add a producer; its number."""
        self._sources.append(_Source())
        return len(self._sources) - 1

    def send(self, producer: int, count: int) -> list[bytes]:
        """The next events of a producer, which may be received from now on."""
        source, timeline = self._sources[producer], self.timeline
        numbers = range(source.sent, source.sent + count)
        source.sent += count
        source.floors.extend([timeline.floor] * count)
        possible = timeline.possible
        for number in numbers:
            if any(passes(config, number) for config in possible):
                source.pending.append(number)
        return [self.workload.published(producer, number) for number in numbers]

    @property
    def pending(self) -> int:
        """The number of events that may still be received."""
        return sum(len(source.pending) for source in self._sources)

    def write_off_pending(self) -> None:
        """Wait no longer for pending events; they are checked if they come."""
        for source in self._sources:
            source.pending.clear()

    @property
    def sent(self) -> dict[int, int]:
        """By producer: the number of its first event that is not sent yet."""
        return {producer: source.sent for producer, source in enumerate(self._sources)}

    # Receiving

    def append(self, frame: bytes, payload: bytes) -> None:
        """Check a frame that no subscriber has received yet, and append it.

        Raises:
            Violation: it should not have come, or not now.
        """
        numbers = self.workload.numbers(payload)
        if numbers is None or numbers[0] >= len(self._sources):
            raise Violation(f"an event of an unknown producer: {payload[:80]!r}")
        producer, number = numbers
        source = self._sources[producer]
        name = f"event {number} of producer {producer}"
        if number < source.next:
            raise Violation(f"{name} is a duplicate or late: expected {source.next}")
        if number >= source.sent:
            raise Violation(f"{name} has not been published")
        self._pass_over(producer, number)
        source.config = self._config = self._config_of(producer, number, frame)
        source.floors.popleft()
        source.next = number + 1
        while source.pending and source.pending[0] <= number:
            source.pending.popleft()
        self._stream += frame
        self._ends.append(self.end)
        self._events.append(numbers)
        self.frames += 1

    def check_complete(self) -> None:
        """Check that every event sent was received or filtered out.

        Raises:
            Violation: an event is missing.
        """
        for producer, source in enumerate(self._sources):
            self._pass_over(producer, source.sent)

    def _pass_over(self, producer: int, until: int) -> None:
        """Check that a filter explains why the producer's events up to `until` were not received.

        Raises:
            Violation: an event is missing.
        """
        source = self._sources[producer]
        while source.next < until:
            since = max(source.floors[0], source.config)
            config = self.timeline.first_passing(source.next, since, passing=False)
            if config is None:
                raise Violation(f"event {source.next} of producer {producer} is missing")
            source.config = config
            source.next += 1
            source.floors.popleft()

    def _config_of(self, producer: int, number: int, frame: bytes) -> int:
        """Index of the first possible configuration under which this event has this frame."""
        source = self._sources[producer]
        since = max(source.floors[0], source.config, self._config)
        config = self.timeline.first_passing(number, since)
        while config is not None:
            media = self.timeline.configs[config].media_base64
            if frame == self.workload.frame(producer, number, media=media):
                return config
            config = self.timeline.first_passing(number, config + 1)
        name = f"event {number} of producer {producer}"
        for media in (True, False):
            if frame == self.workload.frame(producer, number, media=media):
                raise Violation(
                    f"{name} received {'with' if media else 'without'} media, which none of"
                    f" {self.timeline.configs[since:]} allows"
                )
        raise Violation(f"{name} has been altered: {frame[:80]!r}")

    # Comparing

    def has_at(self, offset: int, data: bytes | memoryview) -> bool:
        """Does the stream have `data` at `offset`?"""
        return self._stream.startswith(data, offset - self.start)

    def find(self, frame: bytes, since: int) -> int | None:
        """The offset of this frame, at or after the offset `since`."""
        place = self._stream.find(frame, since - self.start)
        return None if place < 0 else self.start + place

    def partial_frame(self, offset: int) -> bytes:
        """The part before `offset` of the frame that `offset` is inside of."""
        index = bisect_right(self._ends, offset)
        begin = self._ends[index - 1] if index else self.start
        return bytes(self._stream[begin - self.start : offset - self.start])

    def first_unsent(
        self, since: int, until: int, sent: Mapping[int, int]
    ) -> tuple[int, int] | None:
        """The first event between two offsets that was not sent yet when `sent` was taken."""
        first, last = bisect_right(self._ends, since), bisect_right(self._ends, until)
        for producer, number in self._events[first:last]:
            if number >= sent.get(producer, 0):
                return producer, number
        return None

    def forget(self, offset: int) -> None:
        """Drop the frames that end at or before `offset`."""
        count = bisect_right(self._ends, offset)
        if count:
            end = self._ends[count - 1]
            del self._stream[: end - self.start], self._ends[:count], self._events[:count]
            self.start = end
