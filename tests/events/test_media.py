"""``media.base64`` is removed, replaced or added, and no other byte changes."""

import json
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings

from ryze.events.decoding import decode_event
from ryze.events.media import with_base64, with_base64_omitted, without_base64
from tests.strategies import json_objects, json_texts, media_objects

FIXTURES = sorted((Path(__file__).parent.parent / "fixtures/events").glob("*.json"))


@pytest.mark.parametrize(
    ("data", "expected"),
    [
        ("{}", "{}"),
        ('{"media":{"base64":"x"}}', '{"media":{}}'),
        ('{"media":{"a":1,"base64":"x"}}', '{"media":{"a":1}}'),
        ('{"media":{"base64":"x","a":1}}', '{"media":{"a":1}}'),
        ('{"media":{"a":1,"base64":"x","b":2}}', '{"media":{"a":1,"b":2}}'),
        ('{"message":{"media":{"base64":"x"}}}', '{"message":{"media":{}}}'),
        (
            '{"message":{"media":{"base64":"x"}},"media":{"base64":"y"}}',
            '{"message":{"media":{}},"media":{}}',
        ),
        ('{ "media" : { "base64" : "x" , "a" : 1 } }', '{ "media" : { "a" : 1 } }'),
        ('{ "media" : { "a" : 1 , "base64" : "x" } }', '{ "media" : { "a" : 1 } }'),
        ('{"media":{"base64":null}}', '{"media":{}}'),
        ('{"media":{"base64":{"base64":["]}",{}]}}}', '{"media":{}}'),
        ('{"media":{"base64":1,"base64":2}}', '{"media":{}}'),
        ('{"media":{"a":1,"base64":1,"base64":2}}', '{"media":{"a":1}}'),
        ('{"media":{"base64":1,"a":1,"base64":2}}', '{"media":{"a":1}}'),
        ('{"media":{"base64":1},"media":{"base64":2}}', '{"media":{},"media":{}}'),
        (r'{"media":{"b\u0061se64":"x"}}', '{"media":{}}'),
        (r'{"m\u0065dia":{"\u0062\u0061\u0073\u0065\u0036\u0034":1}}', r'{"m\u0065dia":{}}'),
        (r'{"media":{"a":"\"\\","base64":"\\"}}', r'{"media":{"a":"\"\\"}}'),
    ],
)
def test_member_is_removed_with_its_comma(data: str, expected: str) -> None:
    assert without_base64(data.encode()).decode() == expected


@pytest.mark.parametrize(
    "data",
    [
        '{"base64":"x"}',
        '{"message":{"base64":"x"}}',
        '{"media":"base64"}',
        '{"media":["base64"]}',
        '{"media":[{"base64":"x"}]}',
        '{"media":{"Base64":"x","base64 ":1}}',
        '{"media":{"thumbnail":{"base64":"x"}}}',
        '{"message":{"media":null},"x":{"media":{"base64":"x"}}}',
        r'{"media":{"text":"{\"base64\":1}"}}',
        '{"message":{"message":{"media":{"base64":"x"}}}}',
    ],
)
def test_same_name_elsewhere_is_kept(data: str) -> None:
    assert without_base64(data.encode()) == data.encode()


def _pairs(value: Any) -> Any:
    """Parse, keeping duplicate names and their order."""
    return json.loads(value, object_pairs_hook=_Members)


class _Members(list[tuple[str, Any]]):
    pass


def _expected(data: _Members) -> _Members:
    def without(media: Any) -> Any:
        if not isinstance(media, _Members):
            return media
        return _Members(pair for pair in media if pair[0] != "base64")

    def in_message(message: Any) -> Any:
        if not isinstance(message, _Members):
            return message
        return _Members((k, without(v) if k == "media" else v) for k, v in message)

    return _Members(
        (k, without(v) if k == "media" else in_message(v) if k == "message" else v) for k, v in data
    )


@given(json_texts(media_objects))
@settings(deadline=None, max_examples=500)
def test_only_the_member_is_removed_from_media_objects(data: bytes) -> None:
    result = without_base64(data)
    assert _pairs(result) == _expected(_pairs(data))
    assert without_base64(result) == result
    _check_bytes(data, result)


@given(json_texts(json_objects))
def test_any_other_object_is_kept(data: bytes) -> None:
    assert _pairs(without_base64(data)) == _expected(_pairs(data))


def _check_bytes(data: bytes, result: bytes) -> None:
    """Check that the result is the input with some bytes removed."""
    rest = iter(data)
    assert all(byte in rest for byte in result)
    if _expected(_pairs(data)) == _pairs(data):
        assert result == data


@pytest.mark.parametrize("brackets", [(b"[", b"]"), (b'{"a":', b"}")])
def test_deep_nesting_is_skipped(brackets: tuple[bytes, bytes]) -> None:
    deep = brackets[0] * 100_000 + b"1" + brackets[1] * 100_000
    data = b'{"a":%b,"media":{"b":%b,"base64":%b}}' % (deep, deep, deep)
    assert without_base64(data) == b'{"a":%b,"media":{"b":%b}}' % (deep, deep)


def test_large_strings_of_escapes_do_not_backtrack() -> None:
    """A regular expression that can backtrack would need a hundred times the memory."""
    text = rb"\/" * 500_000
    data = b'{"media":{"caption":"%b","base64":"%b"}}' % (text, text)
    assert without_base64(data) == b'{"media":{"caption":"%b"}}' % text


@pytest.mark.parametrize("path", FIXTURES, ids=lambda path: path.stem)
def test_only_the_member_is_removed_from_real_events(path: Path) -> None:
    data = decode_event(path.read_bytes()).data
    result = without_base64(data)
    assert b'"base64"' not in result
    assert _pairs(result) == _expected(_pairs(data))
    if b'"base64"' not in data:
        assert result == data
    else:
        kept = [line for line in data.splitlines() if b'"base64"' not in line]
        assert [line.rstrip(b",") for line in result.splitlines()] == [
            line.rstrip(b",") for line in kept
        ]


def test_some_fixtures_have_base64() -> None:
    assert any(b'"base64"' in path.read_bytes() for path in FIXTURES)


@pytest.mark.parametrize(
    "data", [b'{"base64"', b"{base64:1}", b'{"media":{"base64":[}', b'{"media":{"base64":[1,']
)
def test_unchecked_input_is_an_error_and_no_endless_loop(data: bytes) -> None:
    with pytest.raises((ValueError, IndexError)):
        without_base64(data)


# --- Too large for a frame ---


@pytest.mark.parametrize(
    ("data", "expected"),
    [
        ("{}", "{}"),
        ('{"base64":"x"}', '{"base64":"x"}'),
        ('{"media":{"base64":"x"}}', '{"media":{MARK}}'),
        (
            '{ "media" : { "a":1 , "base64" : "x" , "b":2 } }',
            '{ "media" : { "a":1 , MARK , "b":2 } }',
        ),
        ('{"message":{"media":{"base64":"x","a":1}}}', '{"message":{"media":{MARK,"a":1}}}'),
        (
            '{"media":{"base64":"y"},"message":{"media":{"base64":"x"}}}',
            '{"media":{MARK},"message":{"media":{MARK}}}',
        ),
        (r'{"media":{"b\u0061se64":"x"}}', '{"media":{MARK}}'),
    ],
)
def test_omitted_member_is_replaced(data: str, expected: str) -> None:
    marked = expected.replace("MARK", '"base64Omitted":"too_large"')
    assert with_base64_omitted(data.encode()).decode() == marked


@given(json_texts())
@settings(deadline=None)
def test_only_the_member_is_replaced(data: bytes) -> None:
    omitted = with_base64_omitted(data)
    assert with_base64_omitted(omitted) == omitted
    assert json.loads(without_base64(omitted)) == json.loads(omitted)
    if omitted != data:
        assert b'"base64Omitted":"too_large"' in omitted
    else:
        assert without_base64(data) == data


# --- A file that comes with its event ---


@pytest.mark.parametrize(
    ("data", "expected"),
    [
        ('{"media":{}}', '{"media":{"base64":"QQ=="}}'),
        ('{"media":{ \n}}', '{"media":{ \n"base64":"QQ=="}}'),
        ('{"a":1,"media":{ "a":1 }}', '{"a":1,"media":{ "base64":"QQ==","a":1 }}'),
        (
            '{"message":{"media":{}},"media":{}}',
            '{"message":{"media":{"base64":"QQ=="}},"media":{}}',
        ),
        (
            '{"message":{"media":null},"media":{}}',
            '{"message":{"media":null},"media":{"base64":"QQ=="}}',
        ),
        ('{"media":{},"media":{}}', '{"media":{},"media":{"base64":"QQ=="}}'),
        ('{"media":{},"media":1}', '{"media":{"base64":"QQ=="},"media":1}'),
    ],
)
def test_file_is_put_into_the_media_object(data: str, expected: str) -> None:
    assert with_base64(data.encode(), b"QQ==") == expected.encode()


@pytest.mark.parametrize(
    "data",
    [
        "{}",
        '{"media":null}',
        '{"media":[]}',
        '{"message":{"x":{"media":{}}}}',
        '{"media":{"base64":null}}',
        '{"message":{"media":{}},"media":{"base64":""}}',
    ],
)
def test_media_object_without_base64_is_required(data: str) -> None:
    assert with_base64(data.encode(), b"QQ==") is None


@given(json_texts())
@settings(deadline=None)
def test_adding_and_removing_a_file_restores_the_data(data: bytes) -> None:
    full = with_base64(data, b"QQ==")
    if full is not None:
        assert without_base64(full) == data
        assert len(full) - len(data) in (len('"base64":"QQ=="'), len('"base64":"QQ==",'))
