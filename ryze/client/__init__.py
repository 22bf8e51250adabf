"""The client's side of the wire: what ``ryze listen`` and ``ryze publish`` do.

server      where a server is, and what a token may look like
words       what others say and what went wrong, in one line for people
decisions   what the end of a connection means, and how long to wait: plain code
connecting  `open_connection`: one WebSocket, opened, kept alive, closed
listening   `listen`: one connection after the other
requests    `request` and `publish`: plain HTTP, synchronous

Imports go upwards in this list.
"""

from ryze.client.http import RequestFailed, publish, request
from ryze.client.reconnect import (
    Backoff,
    ConnectionEnded,
    ConnectionOutcome,
    ListenRefused,
    decide_reconnect,
)
from ryze.client.server_address import BadToken, BadUrl, Server
from ryze.client.subscription import listen
from ryze.client.websocket import open_connection

__all__ = [
    "Backoff",
    "BadToken",
    "BadUrl",
    "ConnectionEnded",
    "ConnectionOutcome",
    "ListenRefused",
    "RequestFailed",
    "Server",
    "decide_reconnect",
    "listen",
    "open_connection",
    "publish",
    "request",
]
