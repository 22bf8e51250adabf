"""Phones: their contacts, and the habits of their days.

Every habit (chatting, calling, posting stories) is a script of its own.
"""

from collections.abc import Iterator
from datetime import datetime
from random import Random
from typing import Any

from ryze.playground.traffic.contacts import GROUPS, LABELS, PEOPLE, WORDS, Chat, Person
from ryze.playground.traffic.conversations import Conversations
from ryze.playground.traffic.media import Media
from ryze.playground.traffic.messages import Messages
from ryze.playground.traffic.timeline import Script, TimedEvent, Timeline

__all__ = ["Traffic"]


class Traffic:
    """The events of one or more simulated phones.

    Args:
        random: all dice; the same seed gives the same events.
        start: the moment of the first event, for the timestamps in the data.
        phones: how many.
        media_bytes: about the size of a picture, before base64.
    """

    def __init__(
        self, random: Random, start: datetime, *, phones: int = 1, media_bytes: int = 2000
    ) -> None:
        self._timeline = Timeline(random, start)
        media = Media(random, media_bytes)
        for _ in range(phones):
            _Phone(self._timeline, random, media).switch_on()

    def events(self) -> Iterator[TimedEvent]:
        """All events from the start on, without end."""
        return self._timeline.events()


class _Phone:
    """One phone with its contacts, and the scripts of its days."""

    def __init__(self, timeline: Timeline, random: Random, media: Media) -> None:
        self._timeline = timeline
        self._random = random
        self._owner = Person("Ryze", self._number("5511"))
        people = random.sample(PEOPLE, 8)
        self._contacts = [
            Chat([person], person.jid, person.name, WORDS[language])
            for name, country, language in people
            for person in [Person(name, self._number(country))]
        ]
        self._groups = [self._group(name) for name in random.sample(GROUPS, 3)]
        self._messages = Messages(timeline, random, self._owner)
        self._conversations = Conversations(timeline, random, media, self._messages, self._owner)

    def switch_on(self) -> None:
        """Start everything that this phone does."""
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
            self._timeline.go(script)

    def _number(self, country: str) -> str:
        return f"{country}{self._random.randrange(10**8, 10**9)}"

    def _group(self, name: str) -> Chat:
        chats = self._random.sample(self._contacts, 4)
        words = tuple(text for chat in chats for text in chat.words)
        jid = f"120363{self._random.randrange(10**12):012}@g.us"
        return Chat([chat.members[0] for chat in chats], jid, name, words)

    # Habits: scripts without end. Their pauses have an upper bound, so that every type of
    # event comes soon, whatever the seed.

    def _connections(self) -> Script:
        yield from self._states("qr_ready", "connecting", "connected")
        while True:
            yield self._random.uniform(120, 240)
            yield from self._states("disconnected", "connecting", "connected")

    def _private_chats(self) -> Script:
        while True:
            yield self._random.uniform(1, 12)
            self._timeline.go(self._conversations.talk(self._random.choice(self._contacts)))

    def _group_chats(self) -> Script:
        while True:
            yield self._random.uniform(10, 40)
            self._timeline.go(self._conversations.talk(self._random.choice(self._groups)))

    def _stories(self) -> Script:
        while True:
            yield self._random.uniform(15, 60)
            chat = self._random.choice(self._contacts)
            content = {"type": "text", "content": self._random.choice(chat.words)}
            status = {"jid": "status@broadcast", "type": "private", "name": "Status"}
            self._messages.tell_live(status, chat.members[0], **content)

    def _calls(self) -> Script:
        while True:
            yield self._random.uniform(20, 60)
            call = {
                "callId": self._timeline.new_id("C"),
                "from": self._random.choice(self._contacts).jid,
                "isVideo": self._random.random() < 0.3,
            }
            self._call(call, "offer")
            yield self._random.uniform(2, 12)
            accepted = self._random.random() < 0.6
            self._call(call, "accept" if accepted else "reject")
            if accepted:
                yield self._random.uniform(5, 90)
                self._call(call, "terminate")

    def _group_changes(self) -> Script:
        while True:
            yield self._random.uniform(20, 60)
            group = self._random.choice(self._groups)
            change = {
                "type": self._random.choice(["added", "removed", "promoted", "demoted"]),
                "groupJid": group.jid,
                "groupName": group.name,
                "participants": [self._random.choice(group.members).card()],
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

    def _states(self, *states: str) -> Script:
        for state in states:
            change = {"state": state, "timestamp": self._timeline.utc()}
            self._timeline.emit("instance.state", change)
            yield self._random.uniform(0.3, 1.5)

    def _call(self, call: dict[str, Any], what: str) -> None:
        data = {
            "callId": call["callId"],
            "type": what,
            "from": call["from"],
            "isVideo": call["isVideo"],
            "timestamp": self._timeline.utc(),
        }
        self._timeline.emit("call.update", data)
