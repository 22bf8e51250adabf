"""The judge is judged: what is right is never called wrong, and each kind of fault is seen."""

import pytest

from ryze.records import DISABLED, WebsocketConfig
from tests.soak.config_timeline import Timeline
from tests.soak.expected_stream import Ledger, Violation
from tests.soak.workload import Script, event_type

EVERYTHING = WebsocketConfig(enabled=True, media_base64=True)
SLIM = WebsocketConfig(enabled=True)
# Of the first six events, this lets pass number 1 only.
NARROW = WebsocketConfig(True, (event_type(1),), True)


@pytest.fixture
def ledger() -> Ledger:
    ledger = Ledger(Script("http://test", "demo", "token"), Timeline(EVERYTHING))
    ledger.add_publisher()
    ledger.add_publisher()
    return ledger


def receive(
    ledger: Ledger, *numbers: int, publisher: int = 0, media: bool = True, altered: bytes = b""
) -> None:
    for number in numbers:
        frame = ledger.script.frame(publisher, number, media=media)
        payload = frame[4 if len(frame) < 65536 else 10 :]
        ledger.append(frame + altered, payload)


def change(ledger: Ledger, config: WebsocketConfig) -> None:
    ledger.timeline.ask(config)
    ledger.timeline.answered()


class TestOrder:
    def test_all_in_order_is_right(self, ledger: Ledger) -> None:
        ledger.send(0, 3)
        ledger.send(1, 2)
        receive(ledger, 0, 1)
        receive(ledger, 0, 1, publisher=1)
        receive(ledger, 2)
        ledger.check_complete()
        assert ledger.frames == 5

    def test_one_that_is_left_out(self, ledger: Ledger) -> None:
        ledger.send(0, 3)
        receive(ledger, 0)
        with pytest.raises(Violation, match="event 1 of publisher 0 is missing"):
            receive(ledger, 2)

    def test_the_last_one_is_left_out(self, ledger: Ledger) -> None:
        ledger.send(0, 2)
        receive(ledger, 0)
        with pytest.raises(Violation, match="event 1 of publisher 0 is missing"):
            ledger.check_complete()

    def test_one_that_comes_twice(self, ledger: Ledger) -> None:
        ledger.send(0, 2)
        receive(ledger, 0)
        with pytest.raises(Violation, match="twice, or late"):
            receive(ledger, 0)

    def test_one_that_nobody_has_published(self, ledger: Ledger) -> None:
        with pytest.raises(Violation, match="has not been published"):
            receive(ledger, 0)
        with pytest.raises(Violation, match="nobody has published"):
            receive(ledger, 0, publisher=2)

    def test_one_byte_too_many(self, ledger: Ledger) -> None:
        ledger.send(0, 1)
        with pytest.raises(Violation, match="altered"):
            receive(ledger, 0, altered=b" ")


class TestConfiguration:
    def test_what_is_filtered_out_may_be_missing_and_nothing_else(self, ledger: Ledger) -> None:
        change(ledger, NARROW)
        ledger.send(0, 6)
        receive(ledger, 1)
        ledger.check_complete()
        ledger.send(0, 6)
        with pytest.raises(Violation, match="missing"):
            ledger.check_complete()

    def test_what_is_filtered_out_must_not_come(self, ledger: Ledger) -> None:
        change(ledger, NARROW)
        ledger.send(0, 1)
        with pytest.raises(Violation, match="with media"):
            receive(ledger, 0)

    def test_nothing_comes_while_it_is_off(self, ledger: Ledger) -> None:
        change(ledger, DISABLED)
        ledger.send(0, 2)
        ledger.check_complete()
        assert ledger.awaited == 0
        with pytest.raises(Violation, match="twice, or late"):
            receive(ledger, 0)

    def test_media_goes_where_it_is_not_wanted(self, ledger: Ledger) -> None:
        change(ledger, SLIM)
        ledger.send(0, 1)
        receive(ledger, 0, media=False)

    @pytest.mark.parametrize("media", [True, False])
    def test_media_that_is_wrong(self, ledger: Ledger, media: bool) -> None:
        if media:
            change(ledger, SLIM)
        ledger.send(0, 1)
        with pytest.raises(Violation, match="with media" if media else "without media"):
            receive(ledger, 0, media=media)

    @pytest.mark.parametrize("media", [True, False])
    def test_between_request_and_answer_both_are_right(self, ledger: Ledger, media: bool) -> None:
        ledger.timeline.ask(SLIM)
        ledger.send(0, 1)
        ledger.timeline.answered()
        receive(ledger, 0, media=media)

    def test_there_is_no_way_back(self, ledger: Ledger) -> None:
        ledger.timeline.ask(SLIM)
        ledger.send(0, 1)
        ledger.send(1, 1)
        receive(ledger, 0, media=False)
        with pytest.raises(Violation, match="with media"):
            receive(ledger, 0, publisher=1)

    def test_one_that_was_filtered_out_tells_of_the_configuration_too(self, ledger: Ledger) -> None:
        ledger.timeline.ask(NARROW)
        ledger.send(0, 3)
        receive(ledger, 1)
        # 0 was left out, so the new one was in force by then; so 2 must be left out as well.
        with pytest.raises(Violation, match="with media"):
            receive(ledger, 2)

    def test_what_may_come_is_awaited(self, ledger: Ledger) -> None:
        ledger.timeline.ask(NARROW)
        ledger.send(0, 6)
        assert ledger.awaited == 6
        ledger.timeline.answered()
        ledger.send(0, 6)
        assert ledger.awaited == 7
        receive(ledger, *range(6))
        assert ledger.awaited == 1
        ledger.write_off()
        assert ledger.awaited == 0
        receive(ledger, 7)


class TestComparing:
    def test_what_stands_where(self, ledger: Ledger) -> None:
        ledger.send(0, 2)
        receive(ledger, 0, 1)
        frames = [ledger.script.frame(0, number, media=True) for number in range(2)]
        assert ledger.has_at(0, b"".join(frames))
        assert not ledger.has_at(0, b"".join([*frames, b"x"]))
        assert not ledger.has_at(1, frames[0])
        assert ledger.find(frames[1], 0) == len(frames[0])
        assert ledger.find(frames[0], 1) is None
        assert ledger.begun(len(frames[0]) + 5) == frames[1][:5]
        assert ledger.begun(len(frames[0])) == b""

    def test_what_is_forgotten_changes_no_place(self, ledger: Ledger) -> None:
        ledger.send(0, 3)
        receive(ledger, 0, 1)
        end = ledger.end
        first = len(ledger.script.frame(0, 0, media=True))
        ledger.forget(first + 1)
        assert ledger.start == first
        assert ledger.end == end
        receive(ledger, 2)
        assert ledger.find(ledger.script.frame(0, 1, media=True), first) == first
        assert ledger.begun(end + 1) == ledger.script.frame(0, 2, media=True)[:1]
        ledger.forget(ledger.end)
        assert ledger.start == ledger.end

    def test_what_is_owed_to_who_came_in_between(self, ledger: Ledger) -> None:
        ledger.send(0, 2)
        sent = ledger.sent
        ledger.send(0, 1)
        receive(ledger, 0, 1)
        before = ledger.end
        receive(ledger, 2)
        assert ledger.owed(0, before, sent) is None
        assert ledger.owed(0, ledger.end, sent) == (0, 2)
        assert ledger.owed(ledger.end, ledger.end, sent) is None
