"""The audience: which events its policy lets pass, and the envelopes that subscribers receive."""

import threading
from collections import deque
from dataclasses import replace
from typing import Any

import msgspec
import pytest
import trio

import ryze.events.event
from ryze.events.event import EVENT_TYPES, Event
from ryze.events.media import with_base64_omitted
from ryze.hub.hub import Hub
from ryze.records import InstanceSettings, WebsocketConfig
from tests.fakes import EVERYTHING, make_instance
from tests.hub.harness import (
    FakeSubscriber,
    change_settings,
    configure,
    numbered_event,
    publish,
    received_numbers,
)

MEDIA = b'{"message":{"media":{"mimeType":"image/png","base64":"QUJD"}}}'
WITHOUT_MEDIA = b'{"message":{"media":{"mimeType":"image/png"}}}'

GROUP = Event("message.exchange", b'{"chat":{"jid":"1@g.us"},"n":1}')
PRIVATE = Event("message.exchange", b'{"chat":{"jid":"1@s.whatsapp.net"},"n":2}')


async def test_an_envelope_has_three_keys_in_order(hub: Hub, nursery: trio.Nursery) -> None:
    subscriber = FakeSubscriber(nursery)
    with hub.subscribed(make_instance(7), subscriber.outbox):
        assert await publish(hub, 7, [Event("label.update", b'{"id" : "\xc3\xa9"}')]) == 1
    assert subscriber.documents == [
        b'{"event":"label.update","data":{"id" : "\xc3\xa9"},"instanceData":'
        b'{"baseUrl":"http://ryze.test","instance":"shop","token":"token-7"}}'
    ]


# --- Filter ---


async def test_filtered_events_are_not_encoded(idle_hub: Hub, nursery: trio.Nursery) -> None:
    config = WebsocketConfig(True, ("call.update",))
    with idle_hub.subscribed(make_instance(1, config), FakeSubscriber(nursery).outbox):
        assert idle_hub.has_subscribers(1)
        assert idle_hub.publish(1, numbered_event(0, type="group.flow")) is None
        assert idle_hub.publish(1, numbered_event(0)) is not None


@pytest.mark.parametrize("type", EVENT_TYPES)
async def test_an_empty_filter_passes_all_events(
    hub: Hub, nursery: trio.Nursery, type: Any
) -> None:
    subscriber = FakeSubscriber(nursery)
    with hub.subscribed(make_instance(1), subscriber.outbox):
        await publish(hub, 1, [numbered_event(1, type=type)])
    assert received_numbers(subscriber) == [1]


async def test_without_a_configuration_no_event_passes(
    idle_hub: Hub, nursery: trio.Nursery
) -> None:
    with idle_hub.subscribed(make_instance(1, None), FakeSubscriber(nursery).outbox):
        assert idle_hub.publish(1, numbered_event(0)) is None


async def test_the_configuration_at_the_time_of_publishing_applies(
    hub: Hub, nursery: trio.Nursery
) -> None:
    subscriber = FakeSubscriber(nursery)
    with hub.subscribed(make_instance(1), subscriber.outbox):
        hub.publish(1, Event("message.exchange", MEDIA))
        configure(hub, 1, WebsocketConfig(True, ("call.update", "message.exchange")))
        hub.publish(1, Event("message.exchange", MEDIA))
        hub.publish(1, numbered_event(3))
        hub.publish(1, numbered_event(4, type="group.flow"))
        configure(hub, 1, WebsocketConfig(False))
        hub.publish(1, numbered_event(5))
        await hub.wait_flushed()
        configure(hub, 1, EVERYTHING)
        await publish(hub, 1, [numbered_event(6)])
    with_media, without_media, *others = subscriber.documents
    assert MEDIA in with_media
    assert WITHOUT_MEDIA in without_media
    assert [msgspec.json.decode(document)["data"]["n"] for document in others] == [3, 6]


async def test_the_ignored_chats_at_the_time_of_publishing_apply(
    hub: Hub, nursery: trio.Nursery
) -> None:
    subscriber = FakeSubscriber(nursery)
    ignoring = InstanceSettings(ignore_group_messages=True)
    with hub.subscribed(replace(make_instance(1), settings=ignoring), subscriber.outbox):
        assert hub.publish(1, GROUP) is None
        assert await publish(hub, 1, [PRIVATE, GROUP]) == 0
        change_settings(hub, 1, InstanceSettings())
        assert await publish(hub, 1, [GROUP]) == 1
        change_settings(hub, 1, ignoring)
        assert await publish(hub, 1, [GROUP, PRIVATE]) == 1
        assert hub.publish_now(1, deque([GROUP, PRIVATE, GROUP]))
    assert received_numbers(subscriber) == [2, 1, 2, 2]


# --- Media ---


async def test_an_envelope_over_the_limit_is_sent_without_its_media(nursery: trio.Nursery) -> None:
    event = Event("message.exchange", MEDIA)
    subscriber, unlimited = FakeSubscriber(nursery), Hub("http://ryze.test")
    with unlimited.subscribed(make_instance(1), subscriber.outbox):
        unlimited.publish_now(1, deque([event]))
    size = len(subscriber.documents[0])
    for limit, is_whole in ((0, True), (size, True), (size - 1, False), (1, False)):
        hub, subscriber = Hub("http://ryze.test", limit), FakeSubscriber(nursery)
        with hub.subscribed(make_instance(1), subscriber.outbox):
            hub.publish_now(1, deque([event, numbered_event(1)]))
            media = subscriber.data[0]["message"]["media"]
            assert media.pop("mimeType") == "image/png"
            assert media == ({"base64": "QUJD"} if is_whole else {"base64Omitted": "too_large"})
            # An event without media is sent whole, however large.
            assert subscriber.data[1]["n"] == 1


async def test_with_media_disabled_an_envelope_over_the_limit_has_no_omission_mark(
    nursery: trio.Nursery,
) -> None:
    hub, subscriber = Hub("http://ryze.test", 1), FakeSubscriber(nursery)
    with hub.subscribed(make_instance(1, WebsocketConfig(True)), subscriber.outbox):
        hub.publish_now(1, deque([Event("message.exchange", MEDIA)]))
    assert WITHOUT_MEDIA in subscriber.documents[0]


async def test_large_media_is_removed_in_a_thread(
    nursery: trio.Nursery, monkeypatch: pytest.MonkeyPatch
) -> None:
    hub, subscriber = Hub("http://ryze.test", 10_000), FakeSubscriber(nursery)
    nursery.start_soon(hub.run)
    threads = set()

    def omit(data: bytes) -> bytes:
        threads.add(threading.current_thread())
        return with_base64_omitted(data)

    monkeypatch.setattr(ryze.events.event, "with_base64_omitted", omit)
    heavy = MEDIA.replace(b"QUJD", b"QUJD" * 10_000)
    events = [numbered_event(0), Event("message.exchange", heavy), numbered_event(2)]
    with hub.subscribed(make_instance(1), subscriber.outbox):
        await publish(hub, 1, events)
    assert [data.get("n") for data in subscriber.data] == [0, None, 2]
    assert subscriber.data[1]["message"]["media"]["base64Omitted"] == "too_large"
    assert threading.main_thread() not in threads
    assert len(threads) == 1
