"""``ryze simulate``: pace, back-pressure, failures without a traceback."""

import io
import itertools
import re
from datetime import UTC, datetime
from functools import partial
from random import Random
from typing import Any

import pytest
import trio
from click.testing import CliRunner, Result
from rich.console import Console
from trio.testing import MockClock

import ryze.playground.simulate
from ryze.cli import cli
from ryze.client import ConnectionEnded, ConnectionOutcome
from ryze.events.decoding import decode_event
from ryze.playground.simulate import (
    RateMeter,
    format_summary,
    publish_events,
    send_at_rate,
    simulate,
)
from ryze.playground.traffic import TimedEvent, Traffic
from tests.conftest import ACCOUNT_TOKEN, Server


def traffic(count: int | None, seed: int = 1) -> list[TimedEvent]:
    events = Traffic(Random(seed), datetime(2026, 4, 28, tzinfo=UTC)).events()
    return list(itertools.islice(events, count))


def evenly_spaced(count: int) -> list[TimedEvent]:
    return [TimedEvent(1.0, "call.update", {"n": n}) for n in range(count)]


# --- The meter ---


def test_rate_is_that_of_the_last_3_seconds() -> None:
    meter = RateMeter()
    rates = []
    for second in range(10):
        rates.append(meter.rate(float(second)))
        meter.count += 10 if second < 5 else 0
    assert rates == [0, 10, 10, 10, 10, 10, pytest.approx(20 / 3), pytest.approx(10 / 3), 0, 0]
    assert meter.count == 50


# --- The pace ---


class Sender:
    """Records events and their times; the n-th takes `busy_seconds[n]`."""

    def __init__(self, *busy_seconds: float) -> None:
        self._busy = dict(enumerate(busy_seconds))
        self.sent: list[tuple[float, TimedEvent]] = []
        self._started = trio.current_time()

    @property
    def times(self) -> list[float]:
        return [round(at, 6) for at, _ in self.sent]

    async def __call__(self, event: TimedEvent) -> None:
        self.sent.append((trio.current_time() - self._started, event))
        await trio.sleep(self._busy.get(len(self.sent) - 1, 0))


async def test_events_go_out_in_order_at_the_rate(autojump_clock: MockClock) -> None:
    sender, events = Sender(), traffic(500)
    await send_at_rate(events, 20, sender)
    assert [event for _, event in sender.sent] == events
    assert sender.times[-1] == pytest.approx(25, abs=0.01)


async def test_a_delay_below_a_second_is_caught_up(autojump_clock: MockClock) -> None:
    sender = Sender(0.5)
    await send_at_rate(evenly_spaced(10), 10, sender)
    assert sender.times == pytest.approx([0.1, 0.6, 0.6, 0.6, 0.6, 0.6, 0.7, 0.8, 0.9, 1.0])


async def test_of_a_longer_delay_only_the_last_second_is_caught_up(
    autojump_clock: MockClock,
) -> None:
    sender = Sender(100)
    await send_at_rate(evenly_spaced(50), 10, sender)
    at_once = [at for at in sender.times if at == 100.1]
    assert len(at_once) == 11
    assert sender.times[-1] == pytest.approx(100.1 + 3.8)


async def test_pauses_below_the_timer_resolution_are_accumulated(autojump_clock: MockClock) -> None:
    sender = Sender()
    await send_at_rate(evenly_spaced(5000), 10_000, sender)
    assert sender.times[-1] == pytest.approx(0.5, abs=0.003)
    assert len(set(sender.times)) < 500


# --- Real servers ---


async def test_events_are_delivered_byte_for_byte(server: Server, demo: str) -> None:
    meter, events = RateMeter(), traffic(300)
    await server.configure(enabled=True, mediaBase64=True)
    client = await server.connect()
    async with trio.open_nursery() as nursery:
        url = server.settings.base_url
        publish = partial(publish_events, rate=1e6, meter=meter)
        nursery.start_soon(publish, url, "demo", demo, events)
        for event in events:
            decoded = decode_event((await client.text()).encode())
            assert (decoded.type, decoded.data) == (
                event.event_name,
                decode_event(event.encode()).data,
            )
    assert meter.count == 300


@pytest.mark.parametrize(
    ("instance", "token", "outcome"),
    [
        ("demo", "wrong", ConnectionOutcome(401, "Invalid token")),
        ("nobody", ACCOUNT_TOKEN, ConnectionOutcome(404, "Instance not found")),
    ],
)
async def test_a_refusal_has_the_reason_of_the_server(
    server: Server, demo: str, instance: str, token: str, outcome: ConnectionOutcome
) -> None:
    with pytest.raises(ConnectionEnded) as caught:
        await publish_events(
            server.settings.base_url, instance, token, evenly_spaced(1), rate=1, meter=RateMeter()
        )
    assert caught.value.outcome == outcome


async def test_a_close_is_detected_during_a_long_pause(server: Server, demo: str) -> None:
    meter = RateMeter()
    far_apart = [TimedEvent(0.0, "call.update", {}), TimedEvent(1e9, "call.update", {})]
    async with trio.open_nursery() as nursery:

        async def stop_after_the_first() -> None:
            while not meter.count:
                await trio.lowlevel.checkpoint()
            server.stop.set()

        nursery.start_soon(stop_after_the_first)
        with pytest.raises(ConnectionEnded) as caught, trio.fail_after(20):
            await publish_events(
                server.settings.base_url, "demo", demo, far_apart, rate=1e-6, meter=meter
            )
    assert caught.value.outcome == ConnectionOutcome(1012, "restarting")


async def test_a_server_lost_before_it_confirms_the_close_is_an_error(
    server: Server, demo: str, nursery: trio.Nursery
) -> None:
    """The connection is lost between the last event and the confirmation of our close."""

    def then_abort_the_server() -> Any:
        yield from evenly_spaced(2)
        server.cancel_scope.cancel()

    with pytest.raises(ConnectionEnded), trio.fail_after(20):
        await publish_events(
            server.settings.base_url,
            "demo",
            demo,
            then_abort_the_server(),
            rate=1e6,
            meter=RateMeter(),
        )


@pytest.mark.parametrize("terminal", [True, False])
async def test_progress_is_shown_on_terminals_only_and_the_summary_always(
    server: Server, demo: str, terminal: bool
) -> None:
    output = io.StringIO()
    console = Console(file=output, force_terminal=terminal, width=100)
    await simulate(
        server.settings.base_url, "demo", demo, rate=1e6, count=30, seed=1, console=console
    )
    text = re.sub(r"\x1b\[[?0-9;]*[a-zA-Z]", "", output.getvalue())
    lines = text.splitlines()
    assert lines[-1].startswith("30 events published to demo in ")
    assert ("of 30 events to demo" in text) is terminal
    assert terminal or len(lines) == 1


async def test_summary_is_printed_after_an_interruption(server: Server, demo: str) -> None:
    output = io.StringIO()
    run = partial(simulate, rate=1e6, count=None, seed=None, console=Console(file=output))
    client = await server.connect()
    async with trio.open_nursery() as nursery:
        nursery.start_soon(run, server.settings.base_url, "demo", demo)
        await client.text()
        nursery.cancel_scope.cancel()
    assert " published to demo in " in output.getvalue()


async def test_no_summary_without_events(server: Server) -> None:
    output = io.StringIO()
    run = partial(simulate, rate=1, count=None, seed=None, console=Console(file=output))
    with pytest.raises(ConnectionEnded, match="Instance not found"):
        await run(server.settings.base_url, "nobody", ACCOUNT_TOKEN)
    assert output.getvalue() == ""


def test_summary_is_one_line() -> None:
    assert format_summary(1, "shop", 0.5) == "1 event published to shop in 0.5 s (2/s)"
    assert (
        format_summary(12_345, "shop", 10) == "12,345 events published to shop in 10.0 s (1,234/s)"
    )
    assert format_summary(2, "shop", 0) == "2 events published to shop in 0.0 s (0/s)"


# --- The command ---


@pytest.fixture
def simulated(monkeypatch: pytest.MonkeyPatch) -> list[Any]:
    """Replace `simulate` by one that records its arguments."""
    calls: list[Any] = []

    async def record(*arguments: Any, console: Console, **options: Any) -> None:
        await trio.lowlevel.checkpoint()
        assert console.stderr
        calls.append((arguments, options))

    monkeypatch.setattr(ryze.playground.simulate, "simulate", record)
    return calls


def run(*arguments: str) -> Result:
    variables = {"RYZE_TOKEN": "secret", "RYZE_URL": "http://127.0.0.1:1"}
    return CliRunner().invoke(cli, ["simulate", *arguments], env=variables)


@pytest.mark.parametrize(("text", "rate"), [("20", 20.0), ("0.5/s", 0.5), ("1e3", 1000.0)])
def test_command_passes_rate_count_and_seed(simulated: list[Any], text: str, rate: float) -> None:
    assert run("shop", "--rate", text, "--count", "5", "--seed", "7").exit_code == 0
    expected = {"rate": rate, "count": 5, "seed": 7}
    assert simulated == [(("http://127.0.0.1:1", "shop", "secret"), expected)]


def test_command_has_no_limit_by_default(simulated: list[Any]) -> None:
    assert run("shop").exit_code == 0
    assert simulated[0][1] == {"rate": 10.0, "count": None, "seed": None}


@pytest.mark.parametrize("rate", ["0", "-1", "fast", "inf", "nan", "5/min"])
def test_invalid_rate_is_exit_code_2(simulated: list[Any], rate: str) -> None:
    result = run("shop", "--rate", rate)
    assert result.exit_code == 2
    assert "expected a number of events per second" in result.stderr
    assert simulated == []


def test_unreachable_server_is_reported_in_one_line() -> None:
    result = run("shop")
    assert result.exit_code == 1
    assert result.stderr == "Error: cannot reach http://127.0.0.1:1: Connection refused\n"
