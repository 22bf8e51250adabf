"""Server frames, as wsproto reads them."""

import pytest
from hypothesis import given
from hypothesis import strategies as st
from wsproto.connection import Connection, ConnectionType
from wsproto.events import CloseConnection, Event, Ping, Pong, TextMessage
from wsproto.extensions import Extension, PerMessageDeflate

from ryze.disconnects import ALL, Disconnect
from ryze.hub.batch import Messages
from ryze.websocket.server_frames import (
    close_frame,
    deflated_text_frame,
    ping_frame,
    pong_frame,
    text_frame,
)

LENGTHS = [0, 1, 125, 126, 127, 65535, 65536, 70000]


def received(data: bytes, *, deflate: bool = False) -> list[Event]:
    """Events of a wsproto client that receives `data`."""
    extensions: list[Extension] = []
    if deflate:
        extension = PerMessageDeflate()
        extension.finalize(
            "permessage-deflate; server_no_context_takeover; client_no_context_takeover"
        )
        extensions.append(extension)
    client = Connection(ConnectionType.CLIENT, extensions)
    client.receive_data(data)
    return list(client.events())


@pytest.mark.parametrize("length", LENGTHS)
def test_a_text_frame_is_one_whole_message(length: int) -> None:
    assert received(text_frame(b"x" * length)) == [TextMessage("x" * length)]


@pytest.mark.parametrize(
    ("length", "header"),
    [
        (0, b"\x81\x00"),
        (125, b"\x81\x7d"),
        (126, b"\x81\x7e\x00\x7e"),
        (65535, b"\x81\x7e\xff\xff"),
        (65536, b"\x81\x7f\x00\x00\x00\x00\x00\x01\x00\x00"),
    ],
)
def test_the_length_has_its_shortest_form(length: int, header: bytes) -> None:
    frame = text_frame(b"x" * length)
    assert frame[: len(header)] == header
    assert len(frame) == len(header) + length


@pytest.mark.parametrize("length", [1, *LENGTHS])
def test_a_deflated_frame_inflates_to_the_same_message(length: int) -> None:
    data = deflated_text_frame(b"x" * length) * 2
    assert received(data, deflate=True) == [TextMessage("x" * length)] * 2


@given(st.lists(st.text(max_size=300), max_size=5))
def test_frames_of_one_batch_arrive_in_order(texts: list[str]) -> None:
    messages = Messages([text_frame(text.encode()) for text in texts])
    assert messages.joined == b"".join(messages.parts)
    assert received(messages.joined) == [TextMessage(text) for text in texts]
    deflated = b"".join(deflated_text_frame(text.encode()) for text in texts)
    assert received(deflated, deflate=True) == [TextMessage(text) for text in texts]


def test_pings_are_empty_and_pongs_carry_their_payload() -> None:
    longest = bytes(range(125))
    assert received(ping_frame() + pong_frame(b"") + pong_frame(longest)) == [
        Ping(b""),
        Pong(b""),
        Pong(longest),
    ]


@pytest.mark.parametrize("why", [why for why in ALL if why.code is not None])
def test_a_close_frame_carries_code_and_reason(why: Disconnect) -> None:
    (close,) = received(close_frame(why))
    assert isinstance(close, CloseConnection)
    assert (close.code, close.reason) == (why.code, why.reason)
