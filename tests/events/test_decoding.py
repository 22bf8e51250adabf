"""Decoding of events: valid ones keep every byte of `data`, others have a reason."""

import json
from contextlib import suppress
from pathlib import Path

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from ryze.errors import InvalidEvent
from ryze.events.decoding import decode_event, decode_events
from ryze.events.event import EVENT_TYPES, Event, instance_data
from tests.strategies import event_types, json_objects, json_texts

FIXTURES = sorted((Path(__file__).parent.parent / "fixtures/events").glob("*.json"))

INVALID = {
    "nothing": b"",
    "white space": b" \n",
    "not JSON": b"hello",
    "not an object": b"1",
    "null": b"null",
    "a string": b'"message.exchange"',
    "no event": b'{"data":{}}',
    "no data": b'{"event":"call.update"}',
    "unknown event": b'{"event":"call.updated","data":{}}',
    "event in capitals": b'{"event":"CALL.UPDATE","data":{}}',
    "event with a space": b'{"event":"call.update ","data":{}}',
    "event is null": b'{"event":null,"data":{}}',
    "event is a list": b'{"event":["call.update"],"data":{}}',
    "data is null": b'{"event":"call.update","data":null}',
    "data is a list": b'{"event":"call.update","data":[]}',
    "data is a string": b'{"event":"call.update","data":"{}"}',
    "data is a number": b'{"event":"call.update","data":1}',
    "the last data counts": b'{"event":"call.update","data":{},"data":1}',
    "unfinished": b'{"event":"call.update","data":{}',
    "data unfinished": b'{"event":"call.update","data":{"a":1}',
    "two documents": b'{"event":"call.update","data":{}}{"event":"call.update","data":{}}',
    "something behind": b'{"event":"call.update","data":{}}x',
    "trailing comma": b'{"event":"call.update","data":{"a":1,}}',
    "single quotes": b"{'event':'call.update','data':{}}",
    "comment": b'{"event":"call.update","data":{/**/}}',
    "byte order mark": b'\xef\xbb\xbf{"event":"call.update","data":{}}',
    "UTF-16": '{"event":"call.update","data":{}}'.encode("utf-16"),
    "not UTF-8 in a value": b'{"event":"call.update","data":{"a":"\xff"}}',
    "not UTF-8 in a name": b'{"event":"call.update","data":{"\xc3":1}}',
    "not UTF-8 elsewhere": b'{"event":"call.update","data":{},"x":"\xe9"}',
    "a surrogate in UTF-8": b'{"event":"call.update","data":{"a":"\xed\xa0\x80"}}',
    "overlong UTF-8": b'{"event":"call.update","data":{"a":"\xc0\xaf"}}',
    "line break in a string": b'{"event":"call.update","data":{"a":"\n"}}',
    "NUL in a string": b'{"event":"call.update","data":{"a":"\x00"}}',
    "bad escape": rb'{"event":"call.update","data":{"a":"\x"}}',
    "short escape": rb'{"event":"call.update","data":{"a":"\u12"}}',
    "NaN": b'{"event":"call.update","data":{"a":NaN}}',
    "leading zero": b'{"event":"call.update","data":{"a":01}}',
    "number without end": b'{"event":"call.update","data":{"a":1.}}',
    "name without quotes": b'{"event":"call.update","data":{a:1}}',
}


@pytest.mark.parametrize("what", INVALID)
def test_invalid_event_has_a_reason(what: str) -> None:
    for decode in (decode_event, decode_events):
        with pytest.raises(InvalidEvent) as refusal:
            decode(INVALID[what])
        assert str(refusal.value)
    if INVALID[what].strip():
        with pytest.raises(InvalidEvent):
            decode_events(b'[{"event":"call.update","data":{}},' + INVALID[what] + b"]")


@pytest.mark.parametrize("body", [b"[", b"[]]", b"[1]", b"[null]", b"[[]]", b'[{"event":"x"}]'])
def test_array_is_decoded_completely_or_not_at_all(body: bytes) -> None:
    with pytest.raises(InvalidEvent):
        decode_events(body)


def test_one_event_or_an_array_is_decoded() -> None:
    one = b'{"event":"call.update","data":{}}'
    two = b' {"data" : {"a":1} , "event" : "group.flow", "more": [1]} '
    assert decode_events(one) == [Event("call.update", b"{}")]
    assert decode_events(b" \r\n\t[" + one + b"," + two + b"]") == [
        Event("call.update", b"{}"),
        Event("group.flow", b'{"a":1}'),
    ]
    assert decode_events(b"[]") == []
    with pytest.raises(InvalidEvent):
        decode_event(b"[" + one + b"]")


@pytest.mark.parametrize("depth", [100_000, 1_000_000])
@pytest.mark.parametrize("brackets", [(b"[", b"]"), (b'{"a":', b"}")])
def test_deep_nesting_is_refused(depth: int, brackets: tuple[bytes, bytes]) -> None:
    opening, closing = brackets
    deep = opening * depth + b"1" + closing * depth
    for body in (deep, opening * depth, b'{"event":"call.update","data":{"a":' + deep + b"}}"):
        with pytest.raises(InvalidEvent):
            decode_events(body)


@given(event_types, json_texts(json_objects))
def test_data_is_kept_byte_for_byte(type: str, data: bytes) -> None:
    body = b'{"event":"%b" , "data": %b }' % (type.encode(), data)
    event = decode_event(body)
    assert event == Event(type, data)  # type: ignore[arg-type]
    tail = instance_data("https://ryze.test", 'n"ame', "t\u00e9")
    envelope = event.envelope(tail)
    assert list(msgspec.json.decode(envelope)) == ["event", "data", "instanceData"]
    assert envelope == b'{"event":"%b","data":%b,"instanceData":%b}' % (type.encode(), data, tail)
    envelope.decode()


# --- Unpaired surrogates, which msgspec refuses ---

SURROGATES = [
    rb"\ud83d",
    rb"\uDC00",
    rb"cut \ud83d",
    rb"\ud83dx",
    rb"\udc00\ud83d",
    rb"\ud83d\ud83d\ude00",
    rb"\ud83d\ude00",
    rb"\\\ud83d",
    rb"\ud83d \\ud83d",
    rb"\ud83d /~ /^ \/",
    b"\\ud83d \xf0\x9f\x98\x80",
]


@pytest.mark.parametrize("text", SURROGATES)
def test_unpaired_surrogate_is_kept(text: bytes) -> None:
    for data in (b'{"a":"%b"}', b'{"%b":1}', b'[]"%b"'):
        body = b'{"x":"%b","event":"call.update","data":%b}' % (text, data % text)
        many = b"[%b,%b]" % (body, body)
        if data[:1] == b"[":
            for decode in (decode_event, decode_events):
                with pytest.raises(InvalidEvent):
                    decode(body)
            continue
        event = Event("call.update", data % text)
        assert decode_event(body) == event
        assert decode_events(many) == [event, event]
        assert json.loads(event.envelope(b"{}"))["data"] == json.loads(event.data)


def test_media_is_removed_beside_an_unpaired_surrogate() -> None:
    data = rb'{"t":"\ud83d","media":{"base64":"QUJD","\udc00":1}}'
    event = decode_event(b'{"event":"call.update","data":%b}' % data)
    assert event.without_media() == rb'{"t":"\ud83d","media":{"\udc00":1}}'


@pytest.mark.parametrize(
    ("body", "message"),
    [
        (rb'{"event":"call.update","data":{"a":"\ud83d"}', "truncated|malformed"),
        (rb'{"event":"call.update","data":{"a":"\ud83d\x"}}', "escape"),
        (rb'{"event":"call.update","data":{"a":"\ud83"}}', "escape"),
        (rb'{"event":"call.update","data":{"a":\ud83d}}', "malformed"),
        (rb'{"event":"call.update","data":["\ud83d"]}', "must be an object"),
        (rb'{"event":"call\ud83d","data":{}}', r"Invalid enum value 'call\\ud83d'"),
        (b'{"event":"call.update","data":{"a":"\\ud83d\xff"}}', "utf-8"),
        (
            rb'{"event":"call.update","data":{"a":"\ud83d /~ /^ /` /| /< /@ /$ /!"}}',
            "truncated|escape|surrogate",
        ),
    ],
)
def test_other_faults_beside_a_surrogate_are_refused(body: bytes, message: str) -> None:
    for decode, many in ((decode_event, body), (decode_events, b"[%b]" % body)):
        with pytest.raises(InvalidEvent, match=message):
            decode(many)


@given(st.lists(st.one_of(st.text(max_size=4), st.sampled_from(["\ud83d", "\udc00", "\\", "/~"]))))
def test_any_javascript_string_is_accepted(parts: list[str]) -> None:
    """JSON.stringify writes an unpaired surrogate as an escape."""
    text = json.dumps("".join(parts), ensure_ascii=False)
    data = b'{"a":%b}' % text.encode("utf-8", "backslashreplace")
    assert decode_event(b'{"event":"call.update","data":%b}' % data).data == data


@given(st.binary(max_size=60))
def test_arbitrary_bytes_are_an_event_or_invalid(body: bytes) -> None:
    with suppress(InvalidEvent):
        decode_events(body)


@pytest.mark.parametrize("path", FIXTURES, ids=lambda path: path.stem)
def test_real_events_are_decoded(path: Path) -> None:
    body = path.read_bytes()
    event = decode_event(body)
    assert event.type in EVENT_TYPES
    assert event.data in body
    assert json.loads(event.data) == json.loads(body)["data"]


def test_fixtures_have_all_six_types() -> None:
    assert {decode_event(path.read_bytes()).type for path in FIXTURES} == set(EVENT_TYPES)
