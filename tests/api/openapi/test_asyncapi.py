from typing import Any

import jsonschema
import pytest

from ryze import disconnects
from ryze.api.openapi.asyncapi import asyncapi
from ryze.api.openapi.close_codes import CLOSE_CODES, as_table
from ryze.events.event import EVENT_TYPES

DOCUMENT = asyncapi()
MESSAGES = DOCUMENT["components"]["messages"]


def test_both_channels_have_messages_of_all_six_types() -> None:
    addresses = {channel["address"]: channel for channel in DOCUMENT["channels"].values()}
    assert addresses.keys() == {"/ws/{instance}", "/ws/{instance}/publish"}
    for channel in addresses.values():
        names = [reference["$ref"].rpartition("/")[2] for reference in channel["messages"].values()]
        assert [MESSAGES[name]["name"] for name in names] == list(EVENT_TYPES)


def test_close_codes_are_all_that_the_server_sends() -> None:
    sent = {(end.code, end.reason) for end in disconnects.ALL if end.code is not None}
    assert {(row["code"], row["reason"]) for row in CLOSE_CODES} == sent
    for channel in DOCUMENT["channels"].values():
        assert channel["x-close-codes"] == CLOSE_CODES


def test_advice_follows_the_ranges_of_close_codes() -> None:
    for row in CLOSE_CODES:
        assert isinstance(row["code"], int)
        if row["code"] >= 4000:
            assert (row["client"] == "Stop.") == (row["code"] >= 4500)


def test_description_contains_the_table_of_close_codes() -> None:
    assert as_table() in DOCUMENT["info"]["description"]
    assert "| 4008 | `slow consumer` | " in as_table()
    assert "``" not in as_table()


@pytest.mark.parametrize("name", MESSAGES)
def test_examples_of_messages_are_valid(name: str) -> None:
    message: dict[str, Any] = MESSAGES[name]
    assert message["examples"]
    for example in message["examples"]:
        schema = {**message["payload"], "components": DOCUMENT["components"]}
        jsonschema.validate(example["payload"], schema, cls=jsonschema.Draft7Validator)


def test_only_delivered_events_have_instance_data() -> None:
    for name, message in MESSAGES.items():
        members = message["payload"]["properties"]
        assert ("instanceData" in members) == name.endswith("Delivered")
