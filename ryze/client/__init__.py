"""Python client of a server: behind ``ryze listen``, ``publish``, ``simulate`` and ``demo``.

server_address  `ServerAddress`: URL of a server; validation of tokens
error_text      one-line error messages for a terminal
reconnect       `Backoff`, `decide_reconnect`: whether and when to reconnect; no I/O
websocket       `open_connection`: one WebSocket: open, keep alive, close
subscription    `listen`: receive events, reconnecting
http            `request` and `publish`: plain HTTP, synchronous

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
from ryze.client.server_address import BadToken, BadUrl, ServerAddress
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
    "ServerAddress",
    "decide_reconnect",
    "listen",
    "open_connection",
    "publish",
    "request",
]
