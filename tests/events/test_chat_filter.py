"""Events of ignored chats are recognised, and no others."""

import json
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given

from ryze.events.chat_filter import ignored_chats, is_of_chat
from ryze.events.decoding import decode_event
from ryze.events.event import EVENT_TYPES, Event
from ryze.records import InstanceSettings
from tests.strategies import chat_objects, json_texts

FIXTURES = sorted((Path(__file__).parent.parent / "fixtures/events").glob("*.json"))

GROUPS = InstanceSettings(ignore_group_messages=True)
STATUS = InstanceSettings(ignore_status=True)
BOTH = InstanceSettings(ignore_group_messages=True, ignore_status=True)

GROUP_JID = "120363000000000001@g.us"
STATUS_JID = "status@broadcast"


def is_ignored(settings: InstanceSettings, data: Any, type: Any = "message.exchange") -> bool:
    return is_of_chat(Event(type, json.dumps(data).encode()), ignored_chats(settings))


@pytest.mark.parametrize("path", FIXTURES, ids=lambda path: path.stem)
def test_only_the_fixtures_of_a_group_and_a_status_are_ignored(path: Path) -> None:
    event = decode_event(path.read_bytes())
    endings = {
        name: ignored_chats(settings)
        for name, settings in (("groups", GROUPS), ("status", STATUS), ("both", BOTH))
    }
    ignoring = {name for name, ends in endings.items() if is_of_chat(event, ends)}
    expected = {
        "message.exchange.catalog.group": {"groups", "both"},
        "message.exchange.live.status": {"status", "both"},
    }
    assert ignoring == expected.get(path.stem, set())


def test_defaults_ignore_no_chat() -> None:
    assert ignored_chats(InstanceSettings()) == ()


@pytest.mark.parametrize("type", EVENT_TYPES)
@pytest.mark.parametrize("wrap", [lambda chat: {"chat": chat}, lambda c: {"message": {"chat": c}}])
@pytest.mark.parametrize("jid", [GROUP_JID, STATUS_JID])
def test_messages_and_their_receipts_belong_to_a_chat(type: str, wrap: Any, jid: str) -> None:
    of_chat = type in ("message.exchange", "message.status")
    data = wrap({"name": "x", "jid": jid, "type": "private"})
    assert is_ignored(BOTH, data, type) is of_chat
    assert is_ignored(GROUPS, data, type) is (of_chat and jid == GROUP_JID)
    assert is_ignored(STATUS, data, type) is (of_chat and jid == STATUS_JID)


@pytest.mark.parametrize(
    "jid",
    [
        *("", "g.us", "@g.us.example", "1@G.US", "@g.us ", "1@s.whatsapp.net", "1@lid"),
        *("1@broadcast", "status", "status@broadcast.example", "1@newsletter"),
        *(None, True, 1, 1.5, 10**40, ["1@g.us"], {"jid": "1@g.us"}),
    ],
    ids=repr,
)
def test_other_jids_are_not_ignored(jid: object) -> None:
    assert not is_ignored(BOTH, {"chat": {"jid": jid}})
    assert not is_ignored(BOTH, {"message": {"chat": {"jid": jid}}})


@pytest.mark.parametrize(
    "data",
    [
        {"sender": {"jid": GROUP_JID}},
        {"recipient": GROUP_JID},
        {"jid": GROUP_JID},
        {"groupJid": GROUP_JID},
        {"chat": {"type": "group"}},
        {"chat": GROUP_JID},
        {"Chat": {"jid": GROUP_JID}},
        {"message": {"jid": GROUP_JID}},
        {"message": {"content": {"text": GROUP_JID}}},
        {"message": {"message": {"chat": {"jid": GROUP_JID}}}},
        {"message": {"context": {"chat": {"jid": GROUP_JID}}}},
        {"chat": {"jid": "1@s.whatsapp.net", "lid": GROUP_JID}},
    ],
    ids=json.dumps,
)
def test_jid_of_another_member_is_not_that_of_the_chat(data: Any) -> None:
    assert not is_ignored(BOTH, data)


@pytest.mark.parametrize("odd", [None, True, 1, 1.5, "text"], ids=repr)
def test_other_type_in_one_place_does_not_hide_the_other_place(odd: object) -> None:
    chat = {"jid": GROUP_JID}
    assert is_ignored(GROUPS, {"chat": odd, "message": {"chat": chat}})
    assert is_ignored(GROUPS, {"chat": chat, "message": odd})
    assert is_ignored(GROUPS, {"chat": chat, "message": {"chat": odd}})


def test_unknown_shape_is_not_ignored() -> None:
    for odd in ([], [{"jid": GROUP_JID}]):
        assert not is_ignored(GROUPS, {"chat": odd, "message": {"chat": {"jid": GROUP_JID}}})


def test_escapes_do_not_hide_a_group() -> None:
    data = rb'{"ch\u0061t":{"j\u0069d":"1\u0040g\u002eus"}}'
    assert is_of_chat(Event("message.exchange", data), ignored_chats(GROUPS))


def test_deep_nesting_is_not_ignored() -> None:
    """The decoder's recursion limit must not become an error of the producer."""
    deep = '{"a":' * 100_000 + "1" + "}" * 100_000
    event = Event("message.exchange", f'{{"x":{deep}}}'.encode())
    assert not is_of_chat(event, ignored_chats(GROUPS))


@given(json_texts(chat_objects))
def test_result_equals_that_of_a_full_decoding(data: bytes) -> None:
    whole = json.loads(data)
    places = [whole, whole.get("message")]
    chats = [place.get("chat") for place in places if isinstance(place, dict)]
    jids = [chat.get("jid") for chat in chats if isinstance(chat, dict)]
    is_group = any(isinstance(jid, str) and jid.endswith("@g.us") for jid in jids)
    event = Event("message.exchange", data)
    assert is_of_chat(event, ignored_chats(GROUPS)) is is_group
    assert is_of_chat(event, ignored_chats(STATUS)) is ("status@broadcast" in jids)


def test_unpaired_surrogate_does_not_hide_a_chat() -> None:
    """JavaScript writes one for a string that was cut inside an emoji."""
    text = {"text": "cut \ud83d", "chat": {"jid": GROUP_JID, "name": "\udc00"}}
    assert is_ignored(GROUPS, text)
    assert not is_ignored(STATUS, text)
