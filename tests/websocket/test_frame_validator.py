"""The frame validator: any split of the bytes, the byte at which it fails, and bounded memory.

The clauses of RFC 6455 and RFC 7692 are tested one by one in tests/conformance.
"""

import tracemalloc
import zlib
from collections.abc import Iterable

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from wsproto.connection import Connection, ConnectionType
from wsproto.events import CloseConnection, Ping, Pong
from wsproto.extensions import PerMessageDeflate

from ryze.disconnects import INVALID_UTF8, MESSAGE_TOO_BIG, PROTOCOL_ERROR, Disconnect
from ryze.websocket.client_frames import BINARY, CLOSE, CONTINUATION, PING, PONG, TEXT, FrameError
from ryze.websocket.frame_validator import FrameValidator
from tests.fakes import client_frame

RSV1 = 4


class Result:
    """The control frames that a validator yields, and the byte at which it fails."""

    def __init__(
        self, pieces: Iterable[bytes], *, compression: bool = False, max_bytes: int = 65536
    ) -> None:
        validator = FrameValidator(max_bytes, compression=compression)
        self.controls: list[tuple[int, bytes]] = []
        self.why: Disconnect | None = None
        self.failed_at: int | None = None
        position = 0
        for piece in pieces:
            position += len(piece)
            try:
                self.controls += validator.receive_data(piece)
            except FrameError as error:
                self.why, self.failed_at = error.disconnect, position
                return


def byte_by_byte(data: bytes) -> list[bytes]:
    return [data[i : i + 1] for i in range(len(data))]


def deflated(payload: bytes) -> bytes:
    compressor = zlib.compressobj(wbits=-15)
    data = compressor.compress(payload) + compressor.flush(zlib.Z_SYNC_FLUSH)
    return data.removesuffix(b"\x00\x00\xff\xff")


@pytest.mark.parametrize("length", [0, 1, 125, 126, 127, 65535, 65536])
@pytest.mark.parametrize("opcode", [TEXT, BINARY])
def test_messages_of_any_length_are_skipped(opcode: int, length: int) -> None:
    data = client_frame(opcode, b"x" * length) + client_frame(PING, b"behind it")
    assert Result([data]).controls == [(PING, b"behind it")]
    splits = [data[:1], data[1:3], data[3:9], data[9:11], data[11:15], data[15:]]
    assert Result(splits).controls == [(PING, b"behind it")]


@pytest.mark.parametrize(
    ("data", "failed_at", "why"),
    [
        (client_frame(TEXT, b"x", rsv=4), 2, PROTOCOL_ERROR),
        (client_frame(CONTINUATION, b"x"), 2, PROTOCOL_ERROR),
        (b"\x81\x02hi", 2, PROTOCOL_ERROR),
        (client_frame(PING, bytes(126)), 2, PROTOCOL_ERROR),
        (b"\x81\xfe\x00\x7dxxxx", 4, PROTOCOL_ERROR),
        (client_frame(BINARY, bytes(65537)), 10, MESSAGE_TOO_BIG),
        (client_frame(TEXT, b"ab\xffcd"), 9, INVALID_UTF8),
        (client_frame(TEXT, b"ab\xed\xa0\x80cd"), 10, INVALID_UTF8),
        (client_frame(TEXT, b"ab\xed\x9f\xbf\xed\xff"), 13, INVALID_UTF8),
        (client_frame(TEXT, b"ab\xc3"), 9, INVALID_UTF8),
    ],
)
def test_validation_fails_at_the_first_invalid_byte(
    data: bytes, failed_at: int, why: Disconnect
) -> None:
    before = client_frame(PING, b"1") + client_frame(TEXT, b"fine")
    result = Result(byte_by_byte(before + data))
    assert (result.failed_at, result.why) == (len(before) + failed_at, why)
    assert result.controls == [(PING, b"1")]


@pytest.mark.parametrize("sizes", [[65536], [65535, 1], [0, 30000, 30000, 5536]])
@pytest.mark.parametrize("compression", [False, True])
def test_a_message_of_the_maximum_size_passes_and_one_byte_more_fails(
    sizes: list[int], compression: bool
) -> None:
    for more, why in ((0, None), (1, MESSAGE_TOO_BIG)):
        frames = [
            client_frame(CONTINUATION if index else TEXT, b"x" * size, fin=False)
            for index, size in enumerate(sizes)
        ]
        data = b"".join(frames) + client_frame(CONTINUATION, b"x" * more)
        assert Result([data], compression=compression).why is why
        if compression:
            body = deflated(b"x" * (sum(sizes) + more))
            assert Result([client_frame(TEXT, body, rsv=RSV1)], compression=True).why is why


@pytest.mark.parametrize("opcode", [TEXT, BINARY])
def test_a_compression_bomb_is_not_inflated(opcode: int) -> None:
    """100 MB in 100 kB, whole and in pieces."""
    bomb = client_frame(opcode, deflated(bytes(10**8)), rsv=RSV1)
    for pieces in ([bomb], [bomb[i : i + 4096] for i in range(0, len(bomb), 4096)]):
        tracemalloc.start()
        assert Result(pieces, compression=True).why is MESSAGE_TOO_BIG
        _, peak = tracemalloc.get_traced_memory()
        tracemalloc.stop()
        # The frame itself is copied when it is unmasked.
        assert peak < 4 * len(bomb) + 500_000


def test_no_memory_is_kept_of_messages() -> None:
    """Of endless empty fragments, nor of blocks that inflate to nothing."""
    validator = FrameValidator(65536, compression=True)
    empty = client_frame(CONTINUATION, fin=False) * 100
    nothing = client_frame(CONTINUATION, b"\x00\x00\x00\xff\xff", fin=False) * 100
    list(validator.receive_data(client_frame(TEXT, fin=False, rsv=RSV1)))
    list(validator.receive_data(empty + nothing))
    tracemalloc.start()
    for _ in range(50):
        assert list(validator.receive_data(empty + nothing)) == []
    now, _ = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert now < 20_000


# --- Compared with wsproto ---

_bodies = st.one_of(st.binary(max_size=140), st.text(max_size=20).map(str.encode))
_frames = st.lists(
    st.tuples(
        st.sampled_from([CONTINUATION, TEXT, BINARY, PING, PONG, CONTINUATION, TEXT, 3]),
        _bodies,
        st.sampled_from([True, True, False]),
        st.sampled_from([0, 0, 0, 0, 0, 1]),
    ),
    max_size=12,
)
_steps = st.lists(st.integers(1, 60), min_size=1, max_size=30)


def cut(data: bytes, steps: list[int]) -> list[bytes]:
    pieces: list[bytes] = []
    while data:
        step = steps[len(pieces) % len(steps)]
        pieces.append(data[:step])
        data = data[step:]
    return pieces


def by_wsproto(data: bytes, *extensions: PerMessageDeflate) -> tuple[list[object], int | None]:
    server = Connection(ConnectionType.SERVER, list(extensions))
    server.receive_data(data)
    controls: list[object] = []
    for event in server.events():
        match event:
            case Ping():
                controls.append((PING, bytes(event.payload)))
            case Pong():
                controls.append((PONG, bytes(event.payload)))
            case CloseConnection():
                return controls, event.code
    return controls, None


@given(_frames, _steps)
@settings(deadline=None, max_examples=200)
def test_the_validator_agrees_with_wsproto(
    sent: list[tuple[int, bytes, bool, int]], steps: list[int]
) -> None:
    data = b"".join(client_frame(op, body, fin=fin, rsv=rsv) for op, body, fin, rsv in sent)
    result = Result(cut(data, steps))
    controls, code = by_wsproto(data)
    assert result.controls == controls
    assert (result.why and result.why.code) == code


_messages = st.lists(
    st.tuples(
        st.sampled_from([TEXT, BINARY]),
        st.one_of(_bodies, st.integers(0, 2000).map(bytes)),
        st.booleans(),
        st.integers(1, 50),
    ),
    max_size=6,
)


@given(_messages, _steps, st.booleans())
@settings(deadline=None, max_examples=100)
def test_the_validator_agrees_with_wsproto_on_compressed_messages(
    messages: list[tuple[int, bytes, bool, int]], steps: list[int], pings: bool
) -> None:
    """wsproto gets no pings between fragments: after one it takes the rest as uncompressed."""
    data = reference = b""
    for opcode, payload, compressed, size in messages:
        body = deflated(payload) if compressed else payload
        pieces = [body[i : i + size] for i in range(0, len(body), size)] or [b""]
        frames = [
            client_frame(
                CONTINUATION if i else opcode,
                piece,
                fin=i == len(pieces) - 1,
                rsv=0 if i else RSV1 * compressed,
            )
            for i, piece in enumerate(pieces)
        ]
        data += (client_frame(PING) if pings else b"").join(frames)
        reference += b"".join(frames)
    deflate = PerMessageDeflate(client_no_context_takeover=True)
    deflate.finalize("permessage-deflate; client_no_context_takeover")
    result = Result(cut(data, steps), compression=True, max_bytes=10**6)
    assert (result.why and result.why.code) == by_wsproto(reference, deflate)[1]


@given(st.binary(max_size=300), _steps, st.booleans())
@settings(deadline=None, max_examples=200)
def test_any_split_of_any_bytes_gives_the_same_result(
    data: bytes, steps: list[int], compression: bool
) -> None:
    """Control frames or an error, which comes exactly at the first invalid byte."""
    whole = Result([data], compression=compression)
    split = Result(cut(data, steps), compression=compression)
    exact = Result(byte_by_byte(data), compression=compression)
    assert whole.controls == split.controls == exact.controls
    assert whole.why is split.why is exact.why
    if exact.failed_at is not None:
        assert Result([data[: exact.failed_at - 1]], compression=compression).why is None


def test_a_close_frame_is_yielded_unchecked() -> None:
    assert Result([client_frame(CLOSE, b"\x03")]).controls == [(CLOSE, b"\x03")]
