"""The listeners: WebSocket clients that come back; the sleepy one has a plan."""

from collections.abc import Callable

import trio
from trio_websocket import WebSocketConnection

from ryze.client import ConnectionEnded, open_connection
from ryze.hub.outbox import Outbox
from ryze.playground.demo.dashboard import LIMIT, Row
from ryze.playground.demo.environment import Instance, Stage

__all__ = ["Listener"]

# Between two looks of the sleepy listener: soon enough to wake up before 256 are pending.
_DOZE_SECONDS = 0.01
# What may be sent to the sleepy listener before it reads. Left to itself it may grow to tens
# of MB, and the demo would be over before anything waits in the server.
_SLEEPY_WINDOW_BYTES = 128 * 1024


class Listener:
    """A WebSocket client; it comes back whenever its connection ends.

    Args:
        stage: see there.
        name: what it is called on the board.
        instance: whose events it gets.
        on_frame: called with each frame.
        is_sleepy: it stops reading twice, as planned.
    """

    def __init__(
        self,
        stage: Stage,
        name: str,
        instance: Instance,
        *,
        on_frame: Callable[[str | bytes], None] | None = None,
        is_sleepy: bool = False,
    ) -> None:
        self._stage = stage
        self._instance = instance
        self._on_frame = on_frame
        # Whether it will still stop reading; not any more after it has been dropped.
        self._is_sleepy = is_sleepy
        self.row = Row(name, instance.name)
        # Its place in the hub; None until it is connected for the first time.
        self.outbox: Outbox | None = None

    async def run(self, *, task_status: trio.TaskStatus[None] = trio.TASK_STATUS_IGNORED) -> None:
        """Listen for ever; started when connected for the first time."""
        while True:
            try:
                await self._listen(task_status)
            except ConnectionEnded as error:
                self._note(f"learns why: {error}")
            await trio.sleep(self._stage.plan.return_seconds)
            task_status = trio.TASK_STATUS_IGNORED

    async def _listen(self, task_status: trio.TaskStatus[None]) -> None:
        server = self._stage.server
        others = set(server.hub.outboxes())
        path = ("ws", self._instance.name)
        window = _SLEEPY_WINDOW_BYTES if self._is_sleepy else None
        async with open_connection(
            server.url, path, self._instance.token, window_bytes=window
        ) as connection:
            if self.outbox is not None:
                self._note("comes back, and reads on: what it missed is gone", "green")
            self.outbox = next(each for each in server.hub.outboxes() if each not in others)
            self._is("listening", "green")
            task_status.started()
            if self._is_sleepy:
                await self._read_for(self._stage.plan.nod_seconds, connection)
                await self._nod(self.outbox)
                await self._read_for(self._stage.plan.sleep_seconds, connection)
                await self._sleep(self.outbox)
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

    async def _nod(self, outbox: Outbox) -> None:
        """Read nothing until half of what may wait does."""
        self._is("not reading", "yellow")
        self._note("nods off: what comes for it waits", "yellow")
        while outbox.pending < LIMIT // 2 and not outbox.disconnect:  # noqa: ASYNC110 - as below
            await trio.sleep(_DOZE_SECONDS)
        self._is("listening", "green")
        # A burst can be faster than any eye that opens now and then.
        if outbox.disconnect is None:
            self._note(f"wakes up with {outbox.pending} pending, and loses none of them", "green")

    async def _sleep(self, outbox: Outbox) -> None:
        """Read nothing until the server has had enough, and a moment longer."""
        self._is_sleepy = False
        self._is("not reading", "yellow")
        self._note("falls asleep, and reads nothing from now on", "yellow")
        while outbox.disconnect is None:  # noqa: ASYNC110 - it tells its connection only
            await trio.sleep(_DOZE_SECONDS)
        self.row.ended = f"{outbox.disconnect.code} {outbox.disconnect.reason}"
        self._is(f"dropped ({outbox.disconnect.code})", "bold red")
        self._note(
            f"is dropped by the event after {LIMIT} pending ones; nobody else notices", "bold red"
        )
        await trio.sleep(self._stage.plan.wake_seconds)

    def _is(self, state: str, style: str) -> None:
        self.row.state, self.row.style = state, style

    def _note(self, text: str, style: str = "") -> None:
        self._stage.board.note(f"{self.row.name} {text}", style)
