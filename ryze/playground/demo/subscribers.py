"""Subscribers of the demo: WebSocket clients that reconnect; the slow one follows the plan."""

from collections.abc import Callable

import trio
from trio_websocket import WebSocketConnection

from ryze.client import ConnectionEnded, open_connection
from ryze.hub.outbox import Outbox
from ryze.playground.demo.dashboard import PENDING_LIMIT, SubscriberRow
from ryze.playground.demo.environment import Environment, Instance

__all__ = ["DemoSubscriber"]

# Poll interval of the paused subscriber: short enough to resume before 256 are pending.
_POLL_SECONDS = 0.01
# TCP window of the slow subscriber. The operating system may let it grow to tens of MB: the demo
# would be over before anything is pending in the server.
_SLOW_WINDOW_BYTES = 128 * 1024


class DemoSubscriber:
    """WebSocket client that reconnects whenever its connection ends.

    Args:
        environment: of the demo.
        name: shown on the dashboard.
        instance: instance to subscribe to.
        on_frame: called with each frame.
        is_slow: stops reading twice, as planned.
    """

    def __init__(
        self,
        environment: Environment,
        name: str,
        instance: Instance,
        *,
        on_frame: Callable[[str | bytes], None] | None = None,
        is_slow: bool = False,
    ) -> None:
        self._environment = environment
        self._instance = instance
        self._on_frame = on_frame
        # Whether it will still stop reading; False after the eviction.
        self._is_slow = is_slow
        self.row = SubscriberRow(name, instance.name)
        # Its outbox in the hub; None until it is connected for the first time.
        self.outbox: Outbox | None = None

    async def run(self, *, task_status: trio.TaskStatus[None] = trio.TASK_STATUS_IGNORED) -> None:
        """Receive until cancelled; started once connected for the first time."""
        while True:
            try:
                await self._subscribe(task_status)
            except ConnectionEnded as error:
                self._note(f"received the reason: {error}")
            await trio.sleep(self._environment.plan.reconnect_seconds)
            task_status = trio.TASK_STATUS_IGNORED

    async def _subscribe(self, task_status: trio.TaskStatus[None]) -> None:
        server, plan = self._environment.server, self._environment.plan
        others = set(server.hub.outboxes())
        path = ("ws", self._instance.name)
        window = _SLOW_WINDOW_BYTES if self._is_slow else None
        async with open_connection(
            server.url, path, self._instance.token, window_bytes=window
        ) as connection:
            if self.outbox is not None:
                self._note("reconnected and receives new events; those missed are lost", "green")
            self.outbox = next(each for each in server.hub.outboxes() if each not in others)
            self._set_state("reading", "green")
            task_status.started()
            if self._is_slow:
                await self._read_for(plan.first_pause_seconds, connection)
                await self._pause_until_half_full(self.outbox)
                await self._read_for(plan.second_pause_seconds, connection)
                await self._pause_until_evicted(self.outbox)
            await self._read(connection)

    async def _read_for(self, seconds: float, connection: WebSocketConnection) -> None:
        with trio.move_on_after(seconds):
            await self._read(connection)

    async def _read(self, connection: WebSocketConnection) -> None:
        while True:
            frame = await connection.get_message()
            self.row.meter.count += 1
            if self._on_frame is not None:
                self._on_frame(frame)

    async def _pause_until_half_full(self, outbox: Outbox) -> None:
        self._set_state("not reading", "yellow")
        self._note("stops reading: its events are pending in the server", "yellow")
        half = PENDING_LIMIT // 2
        while outbox.pending < half and not outbox.disconnect:  # noqa: ASYNC110 - as below
            await trio.sleep(_POLL_SECONDS)
        self._set_state("reading", "green")
        # A burst between two polls may have evicted it already.
        if outbox.disconnect is None:
            self._note(f"reads again with {outbox.pending} pending: no event is lost", "green")

    async def _pause_until_evicted(self, outbox: Outbox) -> None:
        self._is_slow = False
        self._set_state("not reading", "yellow")
        self._note("stops reading for good", "yellow")
        while outbox.disconnect is None:  # noqa: ASYNC110 - it signals its connection only
            await trio.sleep(_POLL_SECONDS)
        self.row.ended = f"{outbox.disconnect.code} {outbox.disconnect.reason}"
        self._set_state(f"evicted ({outbox.disconnect.code})", "bold red")
        self._note(
            f"is evicted: an event found {PENDING_LIMIT} pending; no one else is affected",
            "bold red",
        )
        await trio.sleep(self._environment.plan.detection_seconds)

    def _set_state(self, state: str, style: str) -> None:
        self.row.state, self.row.style = state, style

    def _note(self, text: str, style: str = "") -> None:
        self._environment.dashboard.note(f"{self.row.name} {text}", style)
