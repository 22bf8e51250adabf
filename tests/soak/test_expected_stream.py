"""`ExpectedStream` accepts every correct stream, and reports each kind of violation."""

import pytest

from ryze.records import DISABLED, WebsocketConfig
from tests.soak.config_timeline import ConfigTimeline
from tests.soak.expected_stream import ExpectedStream, Violation
from tests.soak.workload import Workload, event_type

EVERYTHING = WebsocketConfig(enabled=True, media_base64=True)
NO_MEDIA = WebsocketConfig(enabled=True)
# Of the first six events only number 1 passes.
ONE_TYPE = WebsocketConfig(True, (event_type(1),), True)


@pytest.fixture
def stream() -> ExpectedStream:
    """A stream with two producers."""
    stream = ExpectedStream(Workload("http://test", "demo", "token"), ConfigTimeline(EVERYTHING))
    stream.add_producer()
    stream.add_producer()
    return stream


def receive(
    stream: ExpectedStream,
    *numbers: int,
    producer: int = 0,
    media: bool = True,
    appended: bytes = b"",
) -> None:
    for number in numbers:
        frame = stream.workload.frame(producer, number, media=media)
        payload = frame[4 if len(frame) < 65536 else 10 :]
        stream.append(frame + appended, payload)


def change(stream: ExpectedStream, config: WebsocketConfig) -> None:
    stream.timeline.request(config)
    stream.timeline.confirm()


class TestOrder:
    def test_correct_stream_is_complete(self, stream: ExpectedStream) -> None:
        stream.send(0, 3)
        stream.send(1, 2)
        receive(stream, 0, 1)
        receive(stream, 0, 1, producer=1)
        receive(stream, 2)
        stream.check_complete()
        assert stream.frames == 5

    def test_missing_event(self, stream: ExpectedStream) -> None:
        stream.send(0, 3)
        receive(stream, 0)
        with pytest.raises(Violation, match="event 1 of producer 0 is missing"):
            receive(stream, 2)

    def test_missing_last_event(self, stream: ExpectedStream) -> None:
        stream.send(0, 2)
        receive(stream, 0)
        with pytest.raises(Violation, match="event 1 of producer 0 is missing"):
            stream.check_complete()

    def test_duplicate_event(self, stream: ExpectedStream) -> None:
        stream.send(0, 2)
        receive(stream, 0)
        with pytest.raises(Violation, match="duplicate or late"):
            receive(stream, 0)

    def test_unpublished_event(self, stream: ExpectedStream) -> None:
        with pytest.raises(Violation, match="has not been published"):
            receive(stream, 0)
        with pytest.raises(Violation, match="unknown producer"):
            receive(stream, 0, producer=2)

    def test_appended_byte(self, stream: ExpectedStream) -> None:
        stream.send(0, 1)
        with pytest.raises(Violation, match="altered"):
            receive(stream, 0, appended=b" ")


class TestConfiguration:
    def test_only_filtered_events_may_be_missing(self, stream: ExpectedStream) -> None:
        change(stream, ONE_TYPE)
        stream.send(0, 6)
        receive(stream, 1)
        stream.check_complete()
        stream.send(0, 6)
        with pytest.raises(Violation, match="missing"):
            stream.check_complete()

    def test_filtered_event_must_not_be_received(self, stream: ExpectedStream) -> None:
        change(stream, ONE_TYPE)
        stream.send(0, 1)
        with pytest.raises(Violation, match="with media"):
            receive(stream, 0)

    def test_no_event_while_disabled(self, stream: ExpectedStream) -> None:
        change(stream, DISABLED)
        stream.send(0, 2)
        stream.check_complete()
        assert stream.pending == 0
        with pytest.raises(Violation, match="duplicate or late"):
            receive(stream, 0)

    def test_media_removed_as_configured(self, stream: ExpectedStream) -> None:
        change(stream, NO_MEDIA)
        stream.send(0, 1)
        receive(stream, 0, media=False)

    @pytest.mark.parametrize("media", [True, False])
    def test_media_not_as_configured(self, stream: ExpectedStream, media: bool) -> None:
        if media:
            change(stream, NO_MEDIA)
        stream.send(0, 1)
        with pytest.raises(Violation, match="with media" if media else "without media"):
            receive(stream, 0, media=media)

    @pytest.mark.parametrize("media", [True, False])
    def test_both_configurations_allowed_before_the_response(
        self, stream: ExpectedStream, media: bool
    ) -> None:
        stream.timeline.request(NO_MEDIA)
        stream.send(0, 1)
        stream.timeline.confirm()
        receive(stream, 0, media=media)

    def test_configuration_never_goes_back(self, stream: ExpectedStream) -> None:
        stream.timeline.request(NO_MEDIA)
        stream.send(0, 1)
        stream.send(1, 1)
        receive(stream, 0, media=False)
        with pytest.raises(Violation, match="with media"):
            receive(stream, 0, producer=1)

    def test_filtered_event_fixes_the_configuration(self, stream: ExpectedStream) -> None:
        stream.timeline.request(ONE_TYPE)
        stream.send(0, 3)
        receive(stream, 1)
        # 0 was filtered out, so the new configuration was in force by then: it filters 2 as well.
        with pytest.raises(Violation, match="with media"):
            receive(stream, 2)

    def test_pending_counts_events_that_may_be_received(self, stream: ExpectedStream) -> None:
        stream.timeline.request(ONE_TYPE)
        stream.send(0, 6)
        assert stream.pending == 6
        stream.timeline.confirm()
        stream.send(0, 6)
        assert stream.pending == 7
        receive(stream, *range(6))
        assert stream.pending == 1
        stream.write_off_pending()
        assert stream.pending == 0
        receive(stream, 7)


class TestOffsets:
    def test_find_and_compare_at_an_offset(self, stream: ExpectedStream) -> None:
        stream.send(0, 2)
        receive(stream, 0, 1)
        frames = [stream.workload.frame(0, number, media=True) for number in range(2)]
        assert stream.has_at(0, b"".join(frames))
        assert not stream.has_at(0, b"".join([*frames, b"x"]))
        assert not stream.has_at(1, frames[0])
        assert stream.find(frames[1], 0) == len(frames[0])
        assert stream.find(frames[0], 1) is None
        assert stream.partial_frame(len(frames[0]) + 5) == frames[1][:5]
        assert stream.partial_frame(len(frames[0])) == b""

    def test_forget_keeps_offsets(self, stream: ExpectedStream) -> None:
        stream.send(0, 3)
        receive(stream, 0, 1)
        end = stream.end
        first = len(stream.workload.frame(0, 0, media=True))
        stream.forget(first + 1)
        assert stream.start == first
        assert stream.end == end
        receive(stream, 2)
        assert stream.find(stream.workload.frame(0, 1, media=True), first) == first
        assert stream.partial_frame(end + 1) == stream.workload.frame(0, 2, media=True)[:1]
        stream.forget(stream.end)
        assert stream.start == stream.end

    def test_first_event_unsent_at_the_101(self, stream: ExpectedStream) -> None:
        stream.send(0, 2)
        sent = stream.sent
        stream.send(0, 1)
        receive(stream, 0, 1)
        before = stream.end
        receive(stream, 2)
        assert stream.first_unsent(0, before, sent) is None
        assert stream.first_unsent(0, stream.end, sent) == (0, 2)
        assert stream.first_unsent(stream.end, stream.end, sent) is None
