"""The message reader: as strict as wsproto, for any split of the bytes."""

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from wsproto.connection import Connection, ConnectionType
from wsproto.events import BytesMessage, CloseConnection, Ping, Pong, TextMessage

from ryze.disconnects import INVALID_UTF8, MESSAGE_TOO_BIG, PROTOCOL_ERROR, Disconnect
from ryze.websocket.client_frames import BINARY, CLOSE, PING, PONG, TEXT, FrameError, check_close
from ryze.websocket.message_reader import MessageReader
from tests.fakes import client_frame

CONTINUATION = 0


def read(data: bytes, *, max_bytes: int = 10**6, step: int = 10**9) -> list[tuple[int, bytes]]:
    reader, messages = MessageReader(max_bytes), list[tuple[int, bytes]]()
    for start in range(0, len(data), step):
        messages += reader.receive_data(data[start : start + step])
    return messages


@pytest.mark.parametrize("step", [1, 3, 10**9])
@pytest.mark.parametrize("length", [0, 1, 125, 126, 65535, 65536])
def test_messages_of_any_length_are_read(length: int, step: int) -> None:
    if length > 1000 and step < 10:
        step *= 1000
    payload = bytes(range(256)) * (length // 256) + bytes(length % 256)
    data = client_frame(TEXT, payload) + client_frame(BINARY, payload)
    assert read(data, step=step) == [(TEXT, payload), (BINARY, payload)]


def test_fragments_are_assembled_and_control_frames_come_between() -> None:
    data = (
        client_frame(TEXT, b"a", fin=False)
        + client_frame(PING, b"1")
        + client_frame(CONTINUATION, b"", fin=False)
        + client_frame(PONG)
        + client_frame(CONTINUATION, b"b")
        + client_frame(TEXT, b"c")
    )
    expected = [(PING, b"1"), (PONG, b""), (TEXT, b"ab"), (TEXT, b"c")]
    assert read(data) == read(data, step=1) == expected


BROKEN = {
    "not masked": (b"\x81\x02hi", PROTOCOL_ERROR),
    "reserved bit": (client_frame(TEXT, b"x", rsv=4), PROTOCOL_ERROR),
    "reserved opcode": (client_frame(3), PROTOCOL_ERROR),
    "reserved control opcode": (client_frame(15), PROTOCOL_ERROR),
    "continuation without a message": (client_frame(CONTINUATION, b"x"), PROTOCOL_ERROR),
    "text inside a text": (
        client_frame(TEXT, b"x", fin=False) + client_frame(TEXT, b"y"),
        PROTOCOL_ERROR,
    ),
    "ping in fragments": (client_frame(PING, fin=False), PROTOCOL_ERROR),
    "long ping": (client_frame(PING, bytes(126)), PROTOCOL_ERROR),
    "16 bits for 125": (b"\x81\xfe\x00\x7d" + bytes(129), PROTOCOL_ERROR),
    "64 bits for 65535": (b"\x82\xff" + (65535).to_bytes(8, "big") + bytes(70000), PROTOCOL_ERROR),
    "64 bits with the first bit set": (b"\x82\xff" + b"\xff" * 8, PROTOCOL_ERROR),
    "too big": (client_frame(TEXT, bytes(1001)), MESSAGE_TOO_BIG),
    "too big in fragments": (
        client_frame(TEXT, bytes(999), fin=False) + client_frame(CONTINUATION, bytes(2)),
        MESSAGE_TOO_BIG,
    ),
}


@pytest.mark.parametrize("step", [1, 10**9])
@pytest.mark.parametrize("case", BROKEN)
def test_a_protocol_error_raises_its_disconnect(case: str, step: int) -> None:
    data, why = BROKEN[case]
    with pytest.raises(FrameError) as error:
        read(client_frame(TEXT, b"before") + data, max_bytes=1000, step=step)
    assert error.value.disconnect is why


def test_a_message_of_the_maximum_size_passes() -> None:
    whole = client_frame(TEXT, bytes(1000))
    parts = client_frame(TEXT, bytes(999), fin=False) + client_frame(CONTINUATION, b"x")
    assert len(read((whole + parts) * 3, max_bytes=1000)) == 6


def test_a_message_that_is_too_big_is_refused_by_its_header() -> None:
    with pytest.raises(FrameError):
        read(client_frame(TEXT, bytes(1001))[:4], max_bytes=1000)


frames = st.lists(
    st.tuples(
        st.sampled_from([CONTINUATION, TEXT, BINARY, PING, PONG, TEXT, BINARY, 3]),
        st.one_of(st.binary(max_size=140), st.text(max_size=20).map(str.encode)),
        st.sampled_from([True, True, False]),
        st.sampled_from([0, 0, 0, 0, 0, 1]),
    ),
    max_size=12,
)


@given(frames, st.lists(st.integers(1, 60), min_size=1, max_size=30))
@settings(deadline=None, max_examples=300)
def test_the_reader_agrees_with_wsproto(
    sent: list[tuple[int, bytes, bool, int]], steps: list[int]
) -> None:
    """Except for the UTF-8 of texts, which the decoder of events checks."""
    data = b"".join(client_frame(op, body, fin=fin, rsv=rsv) for op, body, fin, rsv in sent)
    reader, ours, position = MessageReader(10**6), list[tuple[int, bytes]](), 0
    why: Disconnect | None = None
    try:
        while position < len(data):
            step = steps[position % len(steps)]
            ours += reader.receive_data(data[position : position + step])
            position += step
    except FrameError as error:
        why = error.disconnect
    theirs, failed = _by_wsproto(data)
    if failed is not None and failed.code == 1007:
        return
    assert (why is not None) == (failed is not None)
    assert ours[: len(theirs)] == theirs


def _by_wsproto(data: bytes) -> tuple[list[tuple[int, bytes]], CloseConnection | None]:
    server = Connection(ConnectionType.SERVER)
    server.receive_data(data)
    messages: list[tuple[int, bytes]] = []
    whole = bytearray()
    for event in server.events():
        match event:
            case TextMessage() | BytesMessage():
                part = event.data
                whole += part.encode() if isinstance(part, str) else part
                if event.message_finished:
                    opcode = TEXT if isinstance(event, TextMessage) else BINARY
                    messages.append((opcode, bytes(whole)))
                    whole.clear()
            case Ping():
                messages.append((PING, bytes(event.payload)))
            case Pong():
                messages.append((PONG, bytes(event.payload)))
            case CloseConnection():
                return messages, event
    return messages, None


@pytest.mark.parametrize(
    "payload", [b"", b"\x03\xe8", b"\x03\xe8bye", b"\x0b\xb8", b"\x13\x87", b"\x03\xf4"]
)
def test_valid_close_payloads_pass(payload: bytes) -> None:
    check_close(payload)


@pytest.mark.parametrize(
    ("payload", "why"),
    [
        (b"\x03", PROTOCOL_ERROR),
        (b"\x03\xe7", PROTOCOL_ERROR),
        (b"\x03\xed", PROTOCOL_ERROR),
        (b"\x03\xee", PROTOCOL_ERROR),
        (b"\x03\xf7", PROTOCOL_ERROR),
        (b"\x0b\xb7", PROTOCOL_ERROR),
        (b"\x13\x88", PROTOCOL_ERROR),
        (b"\x03\xe8\xff", INVALID_UTF8),
    ],
)
def test_invalid_close_payloads_raise_their_disconnect(payload: bytes, why: Disconnect) -> None:
    with pytest.raises(FrameError) as error:
        check_close(payload)
    assert error.value.disconnect is why
    assert (CLOSE, payload) in read(client_frame(CLOSE, payload))
