"""Subscription to the events of an instance, reconnecting with `Backoff`."""

import random
from collections.abc import Awaitable, Callable
from dataclasses import replace

import trio
import trio_websocket

from ryze.client.reconnect import Backoff, ConnectionEnded, ConnectionOutcome
from ryze.client.server_address import ServerAddress
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
    """Receive the events of an instance; reconnect when the connection is lost.

    Returns after `count` frames, or after close code 1000. Events published while there is no
    connection are not received. If cancelled, performs the closing handshake, for at most 1 s.

    Args:
        url: of the server, e.g. ``http://127.0.0.1:8080``.
        instance: name of the instance.
        token: TokenInstance or TokenAccount.
        on_frame: called with the text of each frame. Its exceptions end the subscription.
        on_status: called with a line of text for each connection and each end of one.
        count: number of frames to receive; None for no limit.
        uniform: random source of the backoff.
        sleep: waits for the backoff.

    Raises:
        ListenRefused: reconnecting cannot help.
        BadUrl: `url` is not an ``http://`` or ``https://`` URL.
        BadToken: `token` cannot be sent in a header.
    """
    subscription = _Subscription(url, instance, token, on_frame, on_status, count)
    backoff = Backoff(uniform)
    while (outcome := await subscription.receive_until_end()) is not None:
        pause = backoff.pause_after(outcome)
        if pause is None:
            on_status(f"closed by the server: {outcome}")
            return
        on_status(f"{outcome}; reconnecting in {pause:.1f} s")
        await sleep(pause)


class _Subscription:
    """One connection after the other, until `count` frames have been received."""

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
        # Frames still to receive; None for no limit.
        self._remaining = count

    async def receive_until_end(self) -> ConnectionOutcome | None:
        """Open one connection and receive until it ends; None after `count` frames."""
        since = None
        try:
            async with open_connection(self._url, self._path, self._token) as connection:
                since = trio.current_time()
                self._on_status(f"connected to {ServerAddress.parse(self._url)}")
                await self._receive(connection)
        except ConnectionEnded as error:
            lasted = 0.0 if since is None else trio.current_time() - since
            return replace(error.outcome, lasted_seconds=lasted)
        return None

    async def _receive(self, connection: trio_websocket.WebSocketConnection) -> None:
        while self._remaining is None or self._remaining > 0:
            message = await connection.get_message()
            text = message if isinstance(message, str) else message.decode(errors="replace")
            self._on_frame(text)
            if self._remaining is not None:
                self._remaining -= 1
