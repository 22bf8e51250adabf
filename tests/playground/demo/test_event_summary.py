"""Summaries of events, whatever their data is."""

import json
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ryze.events.decoding import decode_event
from ryze.events.event import EVENT_TYPES, Event
from ryze.playground.demo.event_summary import describe_event

FIXTURES = Path(__file__).parents[2] / "fixtures" / "events"


@pytest.mark.parametrize(
    ("fixture", "summary"),
    [
        ("call.update", "offer from 5511999990001"),
        ("group.flow", "Família 👨‍👩‍👧‍👦: João Silva promoted"),
        ("instance.state", "qr_ready"),
        ("label.update", "edit Pago"),
        ("message.status", "2 messages read"),
        ("message.exchange.catalog.edit", "João Silva: [edit] corrigido"),
        (
            "message.exchange.catalog.group",
            "João Silva in Família 👨‍👩‍👧‍👦: مرحبا بالجميع — שלום — 皆さん",
        ),
        ("message.exchange.catalog.image", "João Silva: [image] foto"),
        ("message.exchange.catalog.location", "João Silva: [location] São Paulo"),
        ("message.exchange.catalog.revoke", "to João Silva: [revoke] "),
        ("message.exchange.catalog.text", "João Silva: Olá! Tudo bem? 😀"),
        ("message.exchange.live.button", "João Silva: [button] order:confirm:8841"),
        ("message.exchange.live.status", "João Silva in Status: story"),
        ("message.exchange.live.text", "João Silva: oi"),
        ("message.exchange.live.voice", "João Silva: [audio] "),
    ],
)
def test_summaries_of_the_fixtures(fixture: str, summary: str) -> None:
    assert describe_event(decode_event((FIXTURES / f"{fixture}.json").read_bytes())) == summary


names = st.sampled_from(
    ["message", "chat", "sender", "participants", "type", "from", "content", "media", "messageIds"]
)
values = st.recursive(
    st.none() | st.integers() | st.text(),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(names, inner, max_size=4),
)


@given(st.sampled_from(EVENT_TYPES), st.dictionaries(names, values))
def test_arbitrary_data_has_a_summary(name: Any, data: dict[str, Any]) -> None:
    assert isinstance(describe_event(Event(name, json.dumps(data).encode())), str)
