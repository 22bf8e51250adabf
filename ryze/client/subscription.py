"""`listen` stays connected: it comes back whenever a connection is lost, as `Backoff` says."""

import random
from collections.abc import Awaitable, Callable
from dataclasses import replace

import trio
import trio_websocket

from ryze.client.reconnect import Backoff, ConnectionEnded, ConnectionOutcome
from ryze.client.server_address import Server
from ryze.client.websocket import open_connection

__all__ = ["listen"]


async def listen(
    url: str,
    instance: str,
    token: str,
    *,
    on_frame: Callable[[str], None],
    on_status: Callable[[str], None],
    count: int | None = None,
    uniform: Callable[[float, float], float] = random.uniform,
    sleep: Callable[[float], Awaitable[None]] = trio.sleep,
) -> None:
    """Receive the events of an instance, coming back whenever the connection is lost.

    Returns after `count` frames, or when the server closes in the ordinary way (1000). What is
    published while there is no connection is not received. Cancelled, it says goodbye to the
    server, for a second at most.

    Args:
        url: the server, e.g. ``http://127.0.0.1:8080``.
        instance: whose events.
        token: a TokenInstance or TokenAccount.
        on_frame: called with the text of each frame. What it raises ends the listening.
        on_status: called with a line for people, at each connection and each end of one.
        count: how many frames to receive; None for no end.
        uniform: the dice for the pauses.
        sleep: waits for the pauses.

    Raises:
        ListenRefused: there is no use in trying again.
        BadUrl: `url` is not one.
        BadToken: `token` cannot be sent.
    """
    listener = _Listener(url, instance, token, on_frame, on_status, count)
    pauses = Backoff(uniform)
    while (ended := await listener.run()) is not None:
        pause = pauses.pause_after(ended)
        if pause is None:
            on_status(f"the server ended it: {ended}")
            return
        on_status(f"{ended}; trying again in {pause:.1f} s")
        await sleep(pause)


class _Listener:
    """One connection after the other; `run` is one of them, from attempt to end."""

    def __init__(
        self,
        url: str,
        instance: str,
        token: str,
        on_frame: Callable[[str], None],
        on_status: Callable[[str], None],
        count: int | None,
    ) -> None:
        self._url = url
        self._path = ("ws", instance)
        self._token = token
        self._on_frame = on_frame
        self._on_status = on_status
        # How many frames are still wanted; None for no end.
        self._left = count

    async def run(self) -> ConnectionOutcome | None:
        """Connect and receive until the end; None when there were enough frames."""
        since = None
        try:
            async with open_connection(self._url, self._path, self._token) as connection:
                since = trio.current_time()
                self._on_status(f"connected to {Server.at(self._url)}")
                await self._receive(connection)
        except ConnectionEnded as end:
            lasted = 0.0 if since is None else trio.current_time() - since
            return replace(end.outcome, lasted_seconds=lasted)
        return None

    async def _receive(self, connection: trio_websocket.WebSocketConnection) -> None:
        while self._left is None or self._left > 0:
            message = await connection.get_message()
            text = message if isinstance(message, str) else message.decode(errors="replace")
            self._on_frame(text)
            if self._left is not None:
                self._left -= 1
