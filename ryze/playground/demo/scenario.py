"""Scenario of the demo: starts the server, then the participants, and ends them in reverse."""

import tempfile
from collections.abc import Sequence
from functools import partial
from pathlib import Path
from typing import Any

import trio
from rich.console import Console

from ryze.events.decoding import decode_event
from ryze.hub.hub import Hub
from ryze.playground.demo.dashboard import Dashboard
from ryze.playground.demo.display import introduction, show
from ryze.playground.demo.environment import (
    Environment,
    Instance,
    Plan,
    create_instance,
    run_server,
)
from ryze.playground.demo.event_summary import describe_event
from ryze.playground.demo.producers import OwnEvents, run_producer
from ryze.playground.demo.subscribers import DemoSubscriber

__all__ = ["run_demo"]

# Poll interval of the hub's statistics.
_POLL_SECONDS = 0.05
# At the end: time for the last events to be published, and to be delivered.
_PUBLISH_SECONDS = 0.2
_DELIVERY_SECONDS = 2.0
# Polls until a foreign subscriber is counted: one of ours that is connecting looks the same.
_EXTERNAL_POLLS = 10

# Instances by name, with their settings: all event types, and two of them.
_INSTANCES: list[tuple[str, dict[str, Any]]] = [
    ("shop", {"websocketMediaBase64": True}),
    ("office", {"websocketEvents": ["message.exchange", "call.update"]}),
]


async def run_demo(plan: Plan, dashboard: Dashboard, console: Console, stop: trio.Event) -> None:
    """Run the demo until its time is over or `stop` is set.

    Leaves nothing behind, also if cancelled.

    Args:
        plan: timing and load.
        dashboard: records what happens.
        console: shows the dashboard.
        stop: ends the demo early.

    Raises:
        RyzeError: the server cannot start, or has failed.
    """
    with tempfile.TemporaryDirectory(prefix="ryze-demo-") as directory:
        async with run_server(Path(directory)) as server:
            shop, office = [
                await create_instance(server, name, **settings) for name, settings in _INSTANCES
            ]
            environment = Environment(plan, server, dashboard)
            await _run_participants(environment, shop, office, console, stop)
    console.print(dashboard.summary())


async def _run_participants(
    environment: Environment, shop: Instance, office: Instance, console: Console, stop: trio.Event
) -> None:
    dashboard, plan, own_events = environment.dashboard, environment.plan, OwnEvents()
    subscribers = [
        DemoSubscriber(
            environment, "crm", shop, on_frame=partial(_show_event, dashboard, own_events)
        ),
        DemoSubscriber(environment, "archive", shop),
        DemoSubscriber(environment, "slow", shop, is_slow=True),
        DemoSubscriber(environment, "helpdesk", office),
    ]
    dashboard.rows = [subscriber.row for subscriber in subscribers]
    lines = introduction(environment.server, plan.seconds)
    for line in lines:
        console.print(line, soft_wrap=True)
    async with trio.open_nursery() as nursery:
        nursery.start_soon(_update_dashboard, environment.server.hub, dashboard, subscribers)
        # One after the other, so that each can identify its outbox in the hub.
        for subscriber in subscribers:
            await nursery.start(subscriber.run)
        dashboard.note(f"{len(subscribers)} subscribers connected, 2 producers started")
        dashboard.note("helpdesk receives 2 of the 6 event types, the others all of them")
        nursery.start_soon(show, dashboard, console, len(lines))
        async with trio.open_nursery() as producers:
            producers.start_soon(run_producer, environment, shop, plan.rate, 1, own_events)
            producers.start_soon(run_producer, environment, office, plan.rate / 10, 2)
            with trio.move_on_after(plan.seconds):
                await stop.wait()
            producers.cancel_scope.cancel()
        await _wait_delivered(environment.server.hub)
        nursery.cancel_scope.cancel()


def _show_event(dashboard: Dashboard, own_events: OwnEvents, frame: str | bytes) -> None:
    """Show a frame of the first subscriber; those of one subscriber represent all."""
    event = decode_event(frame if isinstance(frame, bytes) else frame.encode())
    if own_events.is_own(event):
        dashboard.show_event(event)
    else:
        dashboard.note(f"external event: {event.type}  {describe_event(event)}", "bold magenta")


async def _update_dashboard(
    hub: Hub, dashboard: Dashboard, subscribers: Sequence[DemoSubscriber]
) -> None:
    """Keep time and counts of the dashboard up to date."""
    started = trio.current_time()
    polls = 0
    while True:
        # The displayed time stops at the end of the demo, not after the drain.
        dashboard.advance(min(trio.current_time() - started, dashboard.seconds))
        for each in subscribers:
            each.row.pending = each.outbox.pending if each.outbox else 0
        own = sum(each.outbox is not None and not each.outbox.disconnect for each in subscribers)
        external = hub.statistics().subscribers - own
        polls = polls + 1 if external != dashboard.external_subscribers else 0
        if polls >= _EXTERNAL_POLLS:
            dashboard.set_external_subscribers(external)
        await trio.sleep(_POLL_SECONDS)


async def _wait_delivered(hub: Hub) -> None:
    """Wait until all published events have reached the subscribers that read."""
    with trio.move_on_after(_DELIVERY_SECONDS):
        await trio.sleep(_PUBLISH_SECONDS)
        while hub.statistics().pending:  # noqa: ASYNC110 - the hub has no such signal
            await trio.sleep(_POLL_SECONDS)
