"""Simulated phone: its contacts and activities.

Each activity (chatting, calling, posting stories) is a script of its own.
"""

from collections.abc import Iterator
from datetime import datetime
from random import Random
from typing import Any

from ryze.playground.traffic.contacts import CONTACTS, GROUPS, LABELS, PHRASES, Chat, Person
from ryze.playground.traffic.conversations import Conversations
from ryze.playground.traffic.media import Media
from ryze.playground.traffic.messages import Messages
from ryze.playground.traffic.timeline import Script, TimedEvent, Timeline

__all__ = ["Traffic"]


class Traffic:
    """Events of a simulated phone.

    Args:
        random: random source; the same seed gives the same events.
        start: time of the first event, for the timestamps in the data.
        media_bytes: approximate size of an image, before base64.
    """

    def __init__(self, random: Random, start: datetime, *, media_bytes: int = 2000) -> None:
        self._timeline = Timeline(random, start)
        _Phone(self._timeline, random, Media(random, media_bytes)).start()

    def events(self) -> Iterator[TimedEvent]:
        """Yield all events, without end."""
        return self._timeline.events()


class _Phone:
    """Phone with its contacts and the scripts of its activities."""

    def __init__(self, timeline: Timeline, random: Random, media: Media) -> None:
        self._timeline = timeline
        self._random = random
        self._owner = Person("Ryze", self._number("5511"))
        contacts = random.sample(CONTACTS, 8)
        self._contacts = [
            Chat([person], person.jid, person.name, PHRASES[language])
            for name, prefix, language in contacts
            for person in [Person(name, self._number(prefix))]
        ]
        self._groups = [self._make_group(name) for name in random.sample(GROUPS, 3)]
        self._messages = Messages(timeline, random, self._owner)
        self._conversations = Conversations(timeline, random, media, self._messages, self._owner)

    def start(self) -> None:
        """Start all activities of this phone."""
        scripts = (
            self._connections(),
            self._private_chats(),
            self._group_chats(),
            self._stories(),
            self._calls(),
            self._group_changes(),
            self._labels(),
        )
        for script in scripts:
            self._timeline.start_script(script)

    def _number(self, prefix: str) -> str:
        return f"{prefix}{self._random.randrange(10**8, 10**9)}"

    def _make_group(self, name: str) -> Chat:
        chats = self._random.sample(self._contacts, 4)
        phrases = tuple(text for chat in chats for text in chat.phrases)
        jid = f"120363{self._random.randrange(10**12):012}@g.us"
        return Chat([chat.members[0] for chat in chats], jid, name, phrases)

    # Activities: endless scripts. Their pauses have an upper bound, so that every event type
    # comes soon, whatever the seed.

    def _connections(self) -> Script:
        yield from self._change_state("qr_ready", "connecting", "connected")
        while True:
            yield self._random.uniform(120, 240)
            yield from self._change_state("disconnected", "connecting", "connected")

    def _private_chats(self) -> Script:
        while True:
            yield self._random.uniform(1, 12)
            self._timeline.start_script(
                self._conversations.converse(self._random.choice(self._contacts))
            )

    def _group_chats(self) -> Script:
        while True:
            yield self._random.uniform(10, 40)
            self._timeline.start_script(
                self._conversations.converse(self._random.choice(self._groups))
            )

    def _stories(self) -> Script:
        while True:
            yield self._random.uniform(15, 60)
            chat = self._random.choice(self._contacts)
            content = {"type": "text", "content": self._random.choice(chat.phrases)}
            status = {"jid": "status@broadcast", "type": "private", "name": "Status"}
            self._messages.send_live_to(status, chat.members[0], **content)

    def _calls(self) -> Script:
        while True:
            yield self._random.uniform(20, 60)
            call = {
                "callId": self._timeline.new_id("C"),
                "from": self._random.choice(self._contacts).jid,
                "isVideo": self._random.random() < 0.3,
            }
            self._emit_call(call, "offer")
            yield self._random.uniform(2, 12)
            accepted = self._random.random() < 0.6
            self._emit_call(call, "accept" if accepted else "reject")
            if accepted:
                yield self._random.uniform(5, 90)
                self._emit_call(call, "terminate")

    def _group_changes(self) -> Script:
        while True:
            yield self._random.uniform(20, 60)
            group = self._random.choice(self._groups)
            change = {
                "type": self._random.choice(["added", "removed", "promoted", "demoted"]),
                "groupJid": group.jid,
                "groupName": group.name,
                "participants": [self._random.choice(group.members).as_json()],
                "timestamp": self._timeline.utc(),
            }
            self._timeline.emit("group.flow", change)

    def _labels(self) -> Script:
        while True:
            yield self._random.uniform(20, 60)
            number = self._random.randrange(len(LABELS))
            label = {
                "type": "edit",
                "labelId": str(number + 1),
                "name": LABELS[number],
                "color": self._random.randrange(20),
                "deleted": self._random.random() < 0.1,
            }
            self._timeline.emit("label.update", label)

    def _change_state(self, *states: str) -> Script:
        for state in states:
            change = {"state": state, "timestamp": self._timeline.utc()}
            self._timeline.emit("instance.state", change)
            yield self._random.uniform(0.3, 1.5)

    def _emit_call(self, call: dict[str, Any], kind: str) -> None:
        data = {
            "callId": call["callId"],
            "type": kind,
            "from": call["from"],
            "isVideo": call["isVideo"],
            "timestamp": self._timeline.utc(),
        }
        self._timeline.emit("call.update", data)
