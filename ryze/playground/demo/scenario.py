"""The course of the minute: starts the server, then the actors, and ends them in reverse."""

import tempfile
from collections.abc import Sequence
from functools import partial
from pathlib import Path
from typing import Any

import trio
from rich.console import Console

from ryze.events.decoding import decode_event
from ryze.hub.hub import Hub
from ryze.playground.demo.dashboard import Board
from ryze.playground.demo.display import invitation, show
from ryze.playground.demo.environment import Instance, Plan, Stage, create_instance, serving
from ryze.playground.demo.event_summary import describe
from ryze.playground.demo.producers import Arrivals, run_phone
from ryze.playground.demo.subscribers import Listener

__all__ = ["demo"]

# Between two looks at the hub.
_LOOK_SECONDS = 0.05
# In the end: how long the last events may take to be published, and to reach everybody.
_LAST_SECONDS = 0.2
_SETTLE_SECONDS = 2.0
# A guest that is seen so often in a row is one, and not one of ours that is just connecting.
_LOOKS_AT_A_GUEST = 10


async def demo(plan: Plan, board: Board, console: Console, stop: trio.Event) -> None:
    """Run the demo until its time is over or `stop` is set.

    Cancelled, it leaves nothing behind either.

    Args:
        plan: see there.
        board: is filled with what happens.
        console: where it is shown.
        stop: ends it before its time.

    Raises:
        RyzeError: it cannot start, or the server has failed.
    """
    with tempfile.TemporaryDirectory(prefix="ryze-demo-") as directory:
        async with serving(Path(directory)) as server:
            shop, office = [await create_instance(server, name, **how) for name, how in _INSTANCES]
            stage = Stage(plan, server, board)
            await _play(stage, shop, office, console, stop)
    console.print(board.summary())


# What is created, and how: everything, and a part of it.
_INSTANCES: list[tuple[str, dict[str, Any]]] = [
    ("shop", {"websocketMediaBase64": True}),
    ("office", {"websocketEvents": ["message.exchange", "call.update"]}),
]


async def _play(
    stage: Stage, shop: Instance, office: Instance, console: Console, stop: trio.Event
) -> None:
    board, plan, arrivals = stage.board, stage.plan, Arrivals()
    listeners = [
        Listener(stage, "crm", shop, on_frame=partial(_look_at, board, arrivals)),
        Listener(stage, "archive", shop),
        Listener(stage, "sleepy", shop, is_sleepy=True),
        Listener(stage, "helpdesk", office),
    ]
    board.rows = [listener.row for listener in listeners]
    above = invitation(stage.server, plan.seconds)
    for line in above:
        console.print(line, soft_wrap=True)
    async with trio.open_nursery() as nursery:
        nursery.start_soon(_watch_hub, stage.server.hub, board, listeners)
        # One after the other: so each can tell which of the hub's outboxes is its own.
        for listener in listeners:
            await nursery.start(listener.run)
        board.note(f"{len(listeners)} listeners are connected, 2 phones are switched on")
        board.note("helpdesk gets two of the six types of events, the others get all")
        nursery.start_soon(show, board, console, len(above))
        async with trio.open_nursery() as phones:
            phones.start_soon(run_phone, stage, shop, plan.rate, 1, arrivals)
            phones.start_soon(run_phone, stage, office, plan.rate / 10, 2)
            with trio.move_on_after(plan.seconds):
                await stop.wait()
            phones.cancel_scope.cancel()
        await _settle(stage.server.hub)
        nursery.cancel_scope.cancel()


def _look_at(board: Board, arrivals: Arrivals, frame: str | bytes) -> None:
    """One listener's frames are what is shown of the events."""
    event = decode_event(frame if isinstance(frame, bytes) else frame.encode())
    if arrivals.is_ours(event):
        board.take(event)
    else:
        board.note(f"from outside: {event.type}  {describe(event)}", "bold magenta")


async def _watch_hub(hub: Hub, board: Board, listeners: Sequence[Listener]) -> None:
    """Keep the board's time and its numbers up to date."""
    started = trio.current_time()
    looks = 0
    while True:
        # The clock stops where the show does: what comes then is seeing everybody off.
        board.tick(min(trio.current_time() - started, board.seconds))
        for listener in listeners:
            listener.row.pending = listener.outbox.pending if listener.outbox else 0
        ours = sum(each.outbox is not None and not each.outbox.disconnect for each in listeners)
        guests = hub.statistics().subscribers - ours
        looks = looks + 1 if guests != board.guests else 0
        if looks >= _LOOKS_AT_A_GUEST:
            board.count_guests(guests)
        await trio.sleep(_LOOK_SECONDS)


async def _settle(hub: Hub) -> None:
    """Wait until what has been published is with those who read."""
    with trio.move_on_after(_SETTLE_SECONDS):
        await trio.sleep(_LAST_SECONDS)
        while hub.statistics().pending:  # noqa: ASYNC110 - the hub tells nobody
            await trio.sleep(_LOOK_SECONDS)
