"""Each subscriber receives the events that its instance's configuration allows, in order."""

import json
from contextlib import ExitStack
from typing import Any

from .clients import AiohttpClient, Client, WebsocketsClient, connect_arguments
from .harness import Server

Event = dict[str, Any]

NARROW = {"websocketEvents": ["message.exchange", "call.update"], "websocketMediaBase64": True}
WIDE = {"websocketEvents": [], "websocketMediaBase64": False}
LAST: Event = {"event": "call.update", "data": {"last": True}}


def events_of(instance: str) -> list[Event]:
    """Ten of each shape: all types, `message.exchange` with media at both possible places."""
    media = {"mimetype": "image/png", "base64": "QUJD" * 50, "size": 150}
    shapes: list[Event] = [
        {"event": "message.exchange", "data": {"message": {"media": media, "type": "image"}}},
        {"event": "message.exchange", "data": {"media": media}},
        {"event": "message.exchange", "data": {"text": 'base64 "quoted" \u00e9\U0001f600'}},
        {"event": "message.status", "data": {"status": "read"}},
        {"event": "call.update", "data": {"isVideo": False}},
        {"event": "group.flow", "data": {"participants": []}},
        {"event": "instance.state", "data": {"state": "open"}},
        {"event": "label.update", "data": {"deleted": True}},
    ]
    return [
        {"event": shape["event"], "data": {"of": instance, "number": number, **shape["data"]}}
        for number, shape in enumerate(shapes * 10)
    ]


def compact(value: object) -> str:
    return json.dumps(value, separators=(",", ":"), ensure_ascii=False)


def without_base64(data: Any) -> Any:
    if not isinstance(data, dict):
        return data
    return {key: without_base64(value) for key, value in data.items() if key != "base64"}


def expected_frames(events: list[Event], config: dict[str, Any], instance_data: Event) -> list[str]:
    wanted = config["websocketEvents"] or {event["event"] for event in events}
    return [
        compact(
            {
                **(event if config["websocketMediaBase64"] else without_base64(event)),
                **instance_data,
            }
        )
        for event in events
        if event["event"] in wanted
    ]


def test_two_instances_three_clients_each(server: Server) -> None:
    configs = {"narrow": NARROW, "wide": WIDE}
    tokens = {name: server.create_instance(name, **config) for name, config in configs.items()}
    with ExitStack() as stack:
        clients = {name: three_clients(server, name, tokens[name], stack) for name in configs}
        server.wait_connected(6)
        publish_alternately(server, {name: [*events_of(name), LAST] for name in configs})
        for name, config in configs.items():
            about = {"baseUrl": server.url, "instance": name, "token": tokens[name]}
            expected = expected_frames([*events_of(name), LAST], config, {"instanceData": about})
            for client in clients[name]:
                assert [client.receive() for _ in expected] == expected


def three_clients(server: Server, name: str, token: str, stack: ExitStack) -> list[Client]:
    in_header = connect_arguments(server.url, name, token)
    in_query = connect_arguments(server.url, name, token, in_query=True)
    of_account = connect_arguments(server.url, name, server.account_token)
    clients: list[Client] = [
        WebsocketsClient(*in_header),
        AiohttpClient(*in_query),
        WebsocketsClient(*of_account),
    ]
    for client in clients:
        stack.callback(client.close)
    return clients


def publish_alternately(server: Server, events: dict[str, list[Event]]) -> None:
    """Publish single events and arrays of seven in turn, alternating between the instances."""
    position, size = 0, 1
    while any(position < len(each) for each in events.values()):
        for name, each in events.items():
            part = each[position : position + size]
            server.publish(name, compact(part if size > 1 else part[0]).encode())
        position, size = position + size, 8 - size
