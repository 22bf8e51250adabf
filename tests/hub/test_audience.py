"""The audience: what its policy lets pass, and the envelope that its subscribers receive."""

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
    Client,
    change_settings,
    configure,
    number,
    numbers,
    publish,
)

MEDIA = b'{"message":{"media":{"mimeType":"image/png","base64":"QUJD"}}}'


WITHOUT_MEDIA = b'{"message":{"media":{"mimeType":"image/png"}}}'


async def test_a_frame_has_the_three_keys_in_their_order(hub: Hub, flushing: trio.Nursery) -> None:
    client = Client(flushing)
    with hub.subscribed(make_instance(7), client.outbox):
        assert await publish(hub, 7, [Event("label.update", b'{"id" : "\xc3\xa9"}')]) == 1
    assert client.documents == [
        b'{"event":"label.update","data":{"id" : "\xc3\xa9"},"instanceData":'
        b'{"baseUrl":"http://ryze.test","instance":"shop","token":"token-7"}}'
    ]


async def test_filtered_events_are_not_encoded_either(hub: Hub, nursery: trio.Nursery) -> None:
    config = WebsocketConfig(True, ("call.update",))
    with hub.subscribed(make_instance(1, config), Client(nursery).outbox):
        assert hub.has_subscribers(1)
        assert hub.publish(1, number(0, type="group.flow")) is None
        assert hub.publish(1, number(0)) is not None


@pytest.mark.parametrize("type", EVENT_TYPES)
async def test_an_empty_filter_means_all_events(
    hub: Hub, flushing: trio.Nursery, type: Any
) -> None:
    client = Client(flushing)
    with hub.subscribed(make_instance(1), client.outbox):
        await publish(hub, 1, [number(1, type=type)])
    assert numbers(client) == [1]


async def test_an_instance_without_configuration_gets_nothing(
    hub: Hub, nursery: trio.Nursery
) -> None:
    with hub.subscribed(make_instance(1, None), Client(nursery).outbox):
        assert hub.publish(1, number(0)) is None


async def test_the_configuration_at_the_moment_of_publish_counts(
    hub: Hub, flushing: trio.Nursery
) -> None:
    client = Client(flushing)
    with hub.subscribed(make_instance(1), client.outbox):
        hub.publish(1, Event("message.exchange", MEDIA))
        configure(hub, 1, WebsocketConfig(True, ("call.update", "message.exchange")))
        hub.publish(1, Event("message.exchange", MEDIA))
        hub.publish(1, number(3))
        hub.publish(1, number(4, type="group.flow"))
        configure(hub, 1, WebsocketConfig(False))
        hub.publish(1, number(5))
        await hub.wait_flushed()
        configure(hub, 1, EVERYTHING)
        await publish(hub, 1, [number(6)])
    with_media, without_media, *others = client.documents
    assert MEDIA in with_media
    assert WITHOUT_MEDIA in without_media
    assert numbers_of(others) == [3, 6]


def numbers_of(documents: list[bytes]) -> list[int]:
    return [msgspec.json.decode(document)["data"]["n"] for document in documents]


GROUP = Event("message.exchange", b'{"chat":{"jid":"1@g.us"},"n":1}')


PRIVATE = Event("message.exchange", b'{"chat":{"jid":"1@s.whatsapp.net"},"n":2}')


async def test_ignored_chats_are_those_at_the_moment_of_publish(
    hub: Hub, flushing: trio.Nursery
) -> None:
    client = Client(flushing)
    ignoring = InstanceSettings(ignore_group_messages=True)
    with hub.subscribed(replace(make_instance(1), settings=ignoring), client.outbox):
        assert hub.publish(1, GROUP) is None
        assert await publish(hub, 1, [PRIVATE, GROUP]) == 0
        change_settings(hub, 1, InstanceSettings())
        assert await publish(hub, 1, [GROUP]) == 1
        change_settings(hub, 1, ignoring)
        assert await publish(hub, 1, [GROUP, PRIVATE]) == 1
        assert hub.publish_now(1, deque([GROUP, PRIVATE, GROUP]))
    assert numbers(client) == [2, 1, 2, 2]


async def test_a_frame_over_the_limit_goes_without_its_media(nursery: trio.Nursery) -> None:
    event = Event("message.exchange", MEDIA)
    client, exact = Client(nursery), Hub("http://ryze.test")
    with exact.subscribed(make_instance(1), client.outbox):
        exact.publish_now(1, deque([event]))
    size = len(client.documents[0])
    for limit, is_whole in ((0, True), (size, True), (size - 1, False), (1, False)):
        hub, client = Hub("http://ryze.test", limit), Client(nursery)
        with hub.subscribed(make_instance(1), client.outbox):
            hub.publish_now(1, deque([event, number(1)]))
            media = client.data[0]["message"]["media"]
            assert media.pop("mimeType") == "image/png"
            assert media == ({"base64": "QUJD"} if is_whole else {"base64Omitted": "too_large"})
            # What has no media goes as it is, however large.
            assert client.data[1]["n"] == 1


async def test_who_wants_no_media_is_not_told_that_it_was_too_large(nursery: trio.Nursery) -> None:
    hub, client = Hub("http://ryze.test", 1), Client(nursery)
    with hub.subscribed(make_instance(1, WebsocketConfig(True)), client.outbox):
        hub.publish_now(1, deque([Event("message.exchange", MEDIA)]))
    assert WITHOUT_MEDIA in client.documents[0]


async def test_large_media_is_left_out_in_a_thread(
    flushing: trio.Nursery, monkeypatch: pytest.MonkeyPatch
) -> None:
    hub, client = Hub("http://ryze.test", 10_000), Client(flushing)
    flushing.start_soon(hub.run)
    threads = set()

    def omit(data: bytes) -> bytes:
        threads.add(threading.current_thread())
        return with_base64_omitted(data)

    monkeypatch.setattr(ryze.events.event, "with_base64_omitted", omit)
    heavy = MEDIA.replace(b"QUJD", b"QUJD" * 10_000)
    with hub.subscribed(make_instance(1), client.outbox):
        await publish(hub, 1, [number(0), Event("message.exchange", heavy), number(2)])
    assert [data.get("n") for data in client.data] == [0, None, 2]
    assert client.data[1]["message"]["media"]["base64Omitted"] == "too_large"
    assert threading.main_thread() not in threads
    assert len(threads) == 1
