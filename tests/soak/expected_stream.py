"""What the clients of one instance receive: one stream, judged once, compared with ever after.

Every event is numbered by its publisher. A frame that nobody has had yet is judged when it is
appended:

- it is exactly the frame that the script has for that event, under a configuration that may
  have been in force;
- the events of each publisher come in order, and each one that is left out was left out by a
  configuration that may have been in force;
- configurations never go back: what follows an event stands under its configuration or a later
  one.

For each judgement the earliest configuration possible is assumed, so that nothing right is ever
called wrong; events sent after a configuration was answered have no choice at all.
"""

from bisect import bisect_right
from collections import deque
from collections.abc import Mapping

from tests.soak.config_timeline import Timeline
from tests.soak.workload import Script, passes

__all__ = ["Ledger", "Violation"]


class Violation(Exception):
    """A client has received what it must not, or not received what it must."""


class _Source:
    """One publisher, as far as its events are known to have come out."""

    def __init__(self) -> None:
        # The first number not yet accounted for, and the first not yet sent.
        self.next = self.sent = 0
        # The floor of the timeline when each number from `next` to `sent` was sent.
        self.floors: deque[int] = deque()
        # The configuration of the event before `next`, or an earlier one.
        self.config = 0
        # Numbers that may yet come out.
        self.awaited: deque[int] = deque()


class Ledger:
    """The stream of one instance.

    Args:
        script: says what its events look like.
        timeline: its configurations.
    """

    def __init__(self, script: Script, timeline: Timeline) -> None:
        self.script = script
        self.timeline = timeline
        self._sources: list[_Source] = []
        # The configuration of the last frame, or an earlier one.
        self._config = 0
        # The stream from the offset `start` on; and of each frame in it where it ends, and whose
        # event it is. Cut off at the front by `forget`.
        self.start = 0
        self._stream = bytearray()
        self._ends: list[int] = []
        self._events: list[tuple[int, int]] = []
        # Frames ever.
        self.frames = 0

    @property
    def end(self) -> int:
        """The offset at which the next frame will begin."""
        return self.start + len(self._stream)

    # Publishing

    def add_publisher(self) -> int:
        """A new publisher's number."""
        self._sources.append(_Source())
        return len(self._sources) - 1

    def send(self, publisher: int, count: int) -> list[bytes]:
        """The next events of a publisher, which may come out from now on."""
        source, timeline = self._sources[publisher], self.timeline
        numbers = range(source.sent, source.sent + count)
        source.sent += count
        source.floors.extend([timeline.floor] * count)
        possible = timeline.possible
        for number in numbers:
            if any(passes(config, number) for config in possible):
                source.awaited.append(number)
        return [self.script.published(publisher, number) for number in numbers]

    @property
    def awaited(self) -> int:
        """Events that may yet come out."""
        return sum(len(source.awaited) for source in self._sources)

    def write_off(self) -> None:
        """Wait no more for what has not come out; it is judged all the same."""
        for source in self._sources:
            source.awaited.clear()

    @property
    def sent(self) -> dict[int, int]:
        """By publisher: its first event that is not sent yet."""
        return {publisher: source.sent for publisher, source in enumerate(self._sources)}

    # Receiving

    def append(self, frame: bytes, payload: bytes) -> None:
        """A frame that nobody has had yet.

        Raises:
            Violation: it should not have come, or not now.
        """
        numbers = self.script.numbers(payload)
        if numbers is None or numbers[0] >= len(self._sources):
            raise Violation(f"an event that nobody has published: {payload[:80]!r}")
        publisher, number = numbers
        source = self._sources[publisher]
        name = f"event {number} of publisher {publisher}"
        if number < source.next:
            raise Violation(f"{name} comes twice, or late: {source.next} should be next")
        if number >= source.sent:
            raise Violation(f"{name} has not been published")
        self._pass_over(publisher, number)
        source.config = self._config = self._config_of(publisher, number, frame)
        source.floors.popleft()
        source.next = number + 1
        while source.awaited and source.awaited[0] <= number:
            source.awaited.popleft()
        self._stream += frame
        self._ends.append(self.end)
        self._events.append(numbers)
        self.frames += 1

    def check_complete(self) -> None:
        """Has all come out that must have?

        Raises:
            Violation: no.
        """
        for publisher, source in enumerate(self._sources):
            self._pass_over(publisher, source.sent)

    def _pass_over(self, publisher: int, until: int) -> None:
        """The events of a publisher up to `until` have not come: was that right?"""
        source = self._sources[publisher]
        while source.next < until:
            since = max(source.floors[0], source.config)
            config = self.timeline.first_passing(source.next, since, passing=False)
            if config is None:
                raise Violation(f"event {source.next} of publisher {publisher} is missing")
            source.config = config
            source.next += 1
            source.floors.popleft()

    def _config_of(self, publisher: int, number: int, frame: bytes) -> int:
        """The first configuration under which this event comes out as this frame."""
        source = self._sources[publisher]
        since = max(source.floors[0], source.config, self._config)
        config = self.timeline.first_passing(number, since)
        while config is not None:
            media = self.timeline.configs[config].media_base64
            if frame == self.script.frame(publisher, number, media=media):
                return config
            config = self.timeline.first_passing(number, config + 1)
        name = f"event {number} of publisher {publisher}"
        for media in (True, False):
            if frame == self.script.frame(publisher, number, media=media):
                raise Violation(
                    f"{name} comes {'with' if media else 'without'} media, against"
                    f" {self.timeline.configs[since:]}"
                )
        raise Violation(f"{name} has been altered: {frame[:80]!r}")

    # Comparing

    def has_at(self, offset: int, data: bytes | memoryview) -> bool:
        """Is this what stands there?"""
        return self._stream.startswith(data, offset - self.start)

    def find(self, frame: bytes, since: int) -> int | None:
        """Where this frame stands, at or behind the offset `since`."""
        place = self._stream.find(frame, since - self.start)
        return None if place < 0 else self.start + place

    def begun(self, offset: int) -> bytes:
        """The part before `offset` of the frame that `offset` is inside of."""
        index = bisect_right(self._ends, offset)
        begin = self._ends[index - 1] if index else self.start
        return bytes(self._stream[begin - self.start : offset - self.start])

    def owed(self, since: int, until: int, sent: Mapping[int, int]) -> tuple[int, int] | None:
        """The first event between two offsets that was not sent yet when `sent` was taken."""
        first, last = bisect_right(self._ends, since), bisect_right(self._ends, until)
        for publisher, number in self._events[first:last]:
            if number >= sent.get(publisher, 0):
                return publisher, number
        return None

    def forget(self, offset: int) -> None:
        """Nobody will ask for anything before `offset` any more."""
        count = bisect_right(self._ends, offset)
        if count:
            end = self._ends[count - 1]
            del self._stream[: end - self.start], self._ends[:count], self._events[:count]
            self.start = end
