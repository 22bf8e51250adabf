"""What the phones of some people would produce: events that look real, and are not.

Theory. Every habit of a phone (chatting, calling, posting stories) is a *script*: a generator
that yields how long it waits, and between two waits emits events and starts further scripts.
`Traffic.events` runs all scripts of all phones along one timeline, as a scheduler would.

Rules:

- Nothing here reads a clock or rolls dice of its own: the same `random.Random` and the same
  start give the same events.
- An event has exactly the keys that real producers send (the fixtures of the tests), in both
  shapes of ``message.exchange``: the catalogue's, all inside ``data.message``, and the live one.
- A receipt, an edit or a revocation names a message that came before it.
"""

import base64
import heapq
import itertools
import struct
import zlib
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta, timezone
from random import Random
from typing import Any

import msgspec

from ryze.events import EventType

__all__ = ["TimedEvent", "Traffic", "at_rate"]

# Yields the seconds of its next pause.
Script = Iterator[float]

# The live shape tells local time.
_LOCAL = timezone(timedelta(hours=-3))

# Over so many events `at_rate` keeps the rate exactly; within them bursts stay bursts.
_EVENTS_PER_BAR = 50


@dataclass(frozen=True, slots=True)
class TimedEvent:
    """One event, and how long after the one before it.

    Args:
        after_seconds: the pause before it.
        event_name: one of the six.
        data: what a producer sends as ``data``.
    """

    after_seconds: float
    event_name: EventType
    data: dict[str, Any]

    def encode(self) -> bytes:
        """The JSON document that a producer sends."""
        return msgspec.json.encode({"event": self.event_name, "data": self.data})


def at_rate(events: Iterable[TimedEvent], per_second: float) -> Iterator[tuple[float, TimedEvent]]:
    """Each event with the pause before it, rescaled so that so many come in a second."""
    rest = iter(events)
    while bar := list(itertools.islice(rest, _EVENTS_PER_BAR)):
        natural = sum(event.after_seconds for event in bar)
        scale = len(bar) / per_second / natural if natural else 0.0
        for event in bar:
            yield event.after_seconds * scale, event


# --- Who, and what they say ---


@dataclass(frozen=True, slots=True)
class _Person:
    name: str
    number: str

    @property
    def jid(self) -> str:
        return f"{self.number}@s.whatsapp.net"

    def card(self) -> dict[str, Any]:
        return {"jid": self.jid, "lid": f"{int(self.number[-9:]) + 10**11}@lid", "name": self.name}


@dataclass(slots=True)
class _Chat:
    """A conversation partner, or a group of them.

    Args:
        members: those who write here besides the phone's owner.
        jid: of the chat.
        name: of the chat.
        words: what is said here.
        unread: ids of messages that have been delivered and not yet read.
    """

    members: list[_Person]
    jid: str
    name: str
    words: tuple[str, ...]
    unread: list[str] = field(default_factory=list)

    @property
    def is_group(self) -> bool:
        return self.jid.endswith("@g.us")

    def card(self) -> dict[str, Any]:
        if self.is_group:
            return {"jid": self.jid, "name": self.name, "type": "group"}
        return {**self.members[0].card(), "type": "private"}

    def short_card(self) -> dict[str, Any]:
        return {"jid": self.jid, "type": "group" if self.is_group else "private"}


# A first name's country decides on the number and on the language.
_PEOPLE = [
    ("João Silva", "5511", "pt"),
    ("María López", "5255", "es"),
    ("佐藤 花子", "8190", "ja"),
    ("فاطمة علي", "2010", "ar"),
    ("Олена Шевченко", "3806", "uk"),
    ("Priya Sharma", "9198", "hi"),
    ("Léa Martin", "3361", "fr"),
    ("Ahmet Yılmaz", "9053", "tr"),
    ("김민수", "8210", "ko"),
    ("Grace O'Neill", "3538", "en"),
    ("נועה לוי", "9725", "he"),
    ("Jonas Weiß", "4917", "de"),
]

_WORDS: dict[str, tuple[str, ...]] = {
    "pt": (
        "Oi! Tudo bem? 😀",
        "Meu pedido já saiu?",
        "Perfeito, obrigado! 🙏",
        "Chego às 19h, pode ser?",
        "kkkkk não acredito 😂",
        "Pode me mandar o endereço?",
    ),
    "es": (
        "¡Hola! ¿Qué tal?",
        "¿Cuánto cuesta el envío?",
        "Listo, ya pagué ✅",
        "Mañana a las 9 en la oficina",
        "¡Feliz cumpleaños! 🎂🎉",
        "Te llamo en cinco minutos",
    ),
    "ja": (
        "お疲れさまです!",
        "駅に着きました🚉",
        "了解です👍",
        "明日は10時でいいですか?",
        "ありがとう!",
    ),
    "ar": ("السلام عليكم", "متى يصل الطلب؟", "شكراً جزيلاً 🌹", "تمام، نلتقي غداً", "وصلت الآن"),
    "uk": (
        "Привіт! Як справи?",
        "Дякую, все отримала 💛💙",
        "Зустрінемось о сьомій?",
        "Так, звісно",
    ),
    "hi": ("नमस्ते 🙏", "ऑर्डर कब तक आएगा?", "ठीक है, धन्यवाद", "Meeting at 4, ok?", "बहुत बढ़िया! 👏"),
    "fr": (
        "Salut ! Ça va ?",
        "On se voit ce soir ?",
        "J'arrive dans 10 min 🚲",
        "Merci beaucoup ❤️",
    ),
    "tr": ("Merhaba, nasılsın?", "Kargo bugün gelir mi?", "Teşekkürler, iyi günler 😊", "Tamamdır"),
    "ko": (
        "안녕하세요!",
        "지금 가는 중이에요 🏃",
        "네, 알겠습니다",
        "주말에 시간 있어요?",
        "ㅋㅋㅋ",
    ),
    "en": (
        "Morning! ☕",
        "Is the blue one back in stock?",
        'He said "maybe" again 🙄',
        "Running late, sorry!\nStart without me",
        "Sounds good 👍",
        "Invoice 2041 is paid",
    ),
    "he": ("שלום, מה שלומך?", "אני בדרך 🚗", "תודה רבה!", "נדבר מחר", "מעולה 💪"),
    "de": ("Moin!", "Ist die Lieferung schon da?", "Schöne Grüße aus Köln 👋", "Passt, bis später"),
}

_GROUPS = ["Família 👪", "Team Süd", "Book club 📚", "Vizinhos 2B", "サッカー部"]
_PLACES = [
    (-23.55052, -46.633308, "São Paulo"),
    (19.432608, -99.133209, "Ciudad de México"),
    (35.689487, 139.691706, "東京都"),
    (50.937531, 6.960279, "Köln"),
    (53.349805, -6.26031, "Dublin"),
]
_LABELS = ["Pago", "New customer", "Follow up", "À livrer", "VIP ⭐"]
_BUTTONS = ["order:confirm", "order:cancel", "visit:tuesday", "rating:5"]

# What a turn of a conversation is, and how often.
_TURNS = {
    "text": 60,
    "picture": 12,
    "voice": 8,
    "location": 5,
    "button": 5,
    "edit": 6,
    "revoke": 4,
}


# --- The timeline ---


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
        self._random = random
        self._start = start
        # Seconds since the start; events() moves it.
        self._now = 0.0
        # Scripts by the moment when they go on; the number keeps their order where that is equal.
        self._agenda: list[tuple[float, int, Script]] = []
        self._numbers = itertools.count()
        # What the scripts have emitted at this moment; events() takes it.
        self._emitted: list[tuple[EventType, dict[str, Any]]] = []
        # Made once: a picture of each message would be most of the work.
        self._pictures = [_base64(_png(random, media_bytes)) for _ in range(6)]
        self._voices = [_base64(b"OggS" + random.randbytes(media_bytes // 2)) for _ in range(4)]
        for _ in range(phones):
            _Phone(self, random).switch_on()

    def events(self) -> Iterator[TimedEvent]:
        """All events from the start on, without end."""
        last = self._now
        while True:
            self._now, _, script = heapq.heappop(self._agenda)
            pause = next(script, None)
            if pause is not None:
                self._put(pause, script)
            emitted, self._emitted = self._emitted, []
            for event_name, data in emitted:
                yield TimedEvent(self._now - last, event_name, data)
                last = self._now

    # For the scripts

    def go(self, script: Script) -> None:
        """Start a script; it begins at this very moment."""
        self._put(0.0, script)

    def emit(self, event_name: EventType, data: dict[str, Any]) -> None:
        """Something happens now."""
        self._emitted.append((event_name, data))

    def new_id(self, letters: str) -> str:
        """An identifier that no other thing has."""
        return f"{letters}{self._random.getrandbits(48):012X}"

    def utc(self) -> str:
        """The time as the catalogue writes it."""
        return self._time().astimezone(UTC).strftime("%Y-%m-%dT%H:%M:%SZ")

    def local(self) -> str:
        """The time as the live shape writes it."""
        return self._time().astimezone(_LOCAL).isoformat(timespec="seconds")

    def picture(self) -> str:
        """A PNG in base64."""
        return self._random.choice(self._pictures)

    def voice(self) -> str:
        """What stands for a voice note, in base64."""
        return self._random.choice(self._voices)

    def _put(self, pause: float, script: Script) -> None:
        heapq.heappush(self._agenda, (self._now + pause, next(self._numbers), script))

    def _time(self) -> datetime:
        return self._start + timedelta(seconds=self._now)


class _Phone:
    """One phone with its contacts, and the scripts of its days."""

    def __init__(self, traffic: Traffic, random: Random) -> None:
        self._traffic = traffic
        self._random = random
        self._owner = _Person("Ryze", self._number("5511"))
        people = random.sample(_PEOPLE, 8)
        self._contacts = [
            _Chat([person], person.jid, person.name, _WORDS[language])
            for name, country, language in people
            for person in [_Person(name, self._number(country))]
        ]
        self._groups = [self._group(name) for name in random.sample(_GROUPS, 3)]

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
            self._traffic.go(script)

    def _number(self, country: str) -> str:
        return f"{country}{self._random.randrange(10**8, 10**9)}"

    def _group(self, name: str) -> _Chat:
        chats = self._random.sample(self._contacts, 4)
        words = tuple(text for chat in chats for text in chat.words)
        jid = f"120363{self._random.randrange(10**12):012}@g.us"
        return _Chat([chat.members[0] for chat in chats], jid, name, words)

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
            self._traffic.go(self._conversation(self._random.choice(self._contacts)))

    def _group_chats(self) -> Script:
        while True:
            yield self._random.uniform(10, 40)
            self._traffic.go(self._conversation(self._random.choice(self._groups)))

    def _stories(self) -> Script:
        while True:
            yield self._random.uniform(15, 60)
            chat = self._random.choice(self._contacts)
            content = {"type": "text", "content": self._random.choice(chat.words)}
            status = {"jid": "status@broadcast", "type": "private", "name": "Status"}
            self._send_live(status, chat.members[0], **content)

    def _calls(self) -> Script:
        while True:
            yield self._random.uniform(20, 60)
            call = {
                "callId": self._traffic.new_id("C"),
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
                "timestamp": self._traffic.utc(),
            }
            self._traffic.emit("group.flow", change)

    def _labels(self) -> Script:
        while True:
            yield self._random.uniform(20, 60)
            number = self._random.randrange(len(_LABELS))
            label = {
                "type": "edit",
                "labelId": str(number + 1),
                "name": _LABELS[number],
                "color": self._random.randrange(20),
                "deleted": self._random.random() < 0.1,
            }
            self._traffic.emit("label.update", label)

    def _states(self, *states: str) -> Script:
        for state in states:
            change = {"state": state, "timestamp": self._traffic.utc()}
            self._traffic.emit("instance.state", change)
            yield self._random.uniform(0.3, 1.5)

    def _call(self, call: dict[str, Any], what: str) -> None:
        data = {
            "callId": call["callId"],
            "type": what,
            "from": call["from"],
            "isVideo": call["isVideo"],
            "timestamp": self._traffic.utc(),
        }
        self._traffic.emit("call.update", data)

    # A conversation, and the receipts that follow its messages

    def _conversation(self, chat: _Chat) -> Script:
        live = self._random.random() < 0.5
        # The texts so far, which may be edited or revoked: sender and id.
        texts: list[tuple[_Person, str]] = []
        for _ in range(self._random.randint(2, 8)):
            sender = self._random.choice([self._owner, *chat.members])
            if sender is not self._owner:
                # Who answers has read what was there.
                self._read(chat)
            self._turn(chat, sender, texts, live=live)
            yield self._random.uniform(1, 9)
        yield self._random.uniform(2, 20)
        self._read(chat)

    def _turn(
        self, chat: _Chat, sender: _Person, texts: list[tuple[_Person, str]], *, live: bool
    ) -> None:
        """One message; live or catalogue, where producers send it in both shapes."""
        (turn,) = self._random.choices(list(_TURNS), list(_TURNS.values()))
        if turn in ("edit", "revoke") and texts:
            author, original = texts.pop(self._random.randrange(len(texts)))
            correction = self._edit if turn == "edit" else self._revoke
            correction(chat, author, original)
        elif turn == "picture":
            self._picture(chat, sender)
        elif turn == "voice":
            self._voice(chat, sender)
        elif turn == "location":
            latitude, longitude, address = self._random.choice(_PLACES)
            place = {"latitude": latitude, "longitude": longitude, "address": address}
            self._send(chat, sender, type="location", content={"text": ""}, location=place)
        elif turn == "button" and sender is not self._owner:
            pressed = f"{self._random.choice(_BUTTONS)}:{self._random.randrange(1000, 9999)}"
            interactive = {"selectedButtonId": pressed}
            self._chat_live(chat, sender, type="buttons_response", interactive=interactive)
        else:
            text = self._random.choice(chat.words)
            send = self._text_live if live else self._text
            texts.append((sender, send(chat, sender, text)))

    def _text(self, chat: _Chat, sender: _Person, text: str) -> str:
        return self._send(chat, sender, type="text", content={"text": text})

    def _text_live(self, chat: _Chat, sender: _Person, text: str) -> str:
        return self._chat_live(chat, sender, type="text", content=text)

    def _picture(self, chat: _Chat, sender: _Person) -> None:
        media = {
            "type": "image",
            "url": f"https://media.example.net/v/t62/{self._traffic.new_id('')}.enc",
            "base64": self._traffic.picture(),
            "mimetype": "image/png",
            "caption": self._random.choice(["", "📷", *chat.words]),
        }
        self._send(chat, sender, type="image", content={"text": ""}, media=media)

    def _voice(self, chat: _Chat, sender: _Person) -> None:
        media = {
            "mimeType": "audio/ogg; codecs=opus",
            "isVoiceNote": True,
            "base64": self._traffic.voice(),
        }
        self._chat_live(chat, sender, type="audio", media=media)

    def _edit(self, chat: _Chat, sender: _Person, original: str) -> None:
        text = self._random.choice(chat.words)
        edit = {"original_id": original, "text": text}
        self._send(chat, sender, type="message_edit", content={"text": text}, edit=edit)

    def _revoke(self, chat: _Chat, sender: _Person, original: str) -> None:
        self._emit(chat, sender, original, type="message_revoke", content={"text": ""})

    def _delivery(self, chat: _Chat, message: str) -> Script:
        yield self._random.uniform(0.2, 1.5)
        self._receipt(chat, "delivered", [message])
        chat.unread.append(message)

    def _read(self, chat: _Chat) -> None:
        if chat.unread:
            self._receipt(chat, "read", chat.unread)
            chat.unread = []

    def _receipt(self, chat: _Chat, status: str, messages: list[str]) -> None:
        receipt = {
            "messageIds": messages,
            "status": status,
            "timestamp": self._traffic.utc(),
            "chat": chat.short_card(),
            "recipient": self._random.choice(chat.members).jid,
        }
        self._traffic.emit("message.status", receipt)

    # The two shapes

    def _send(self, chat: _Chat, sender: _Person, **content: Any) -> str:
        """A new message in the catalogue's shape; its id."""
        message = self._traffic.new_id("3EB0")
        self._emit(chat, sender, message, **content)
        self._follow(chat, sender, message)
        return message

    def _emit(self, chat: _Chat, sender: _Person, message: str, **content: Any) -> None:
        body = {
            "id": message,
            "direction": self._direction(sender),
            "timestamp": self._traffic.utc(),
            "chat": chat.card(),
            "sender": sender.card(),
            **content,
        }
        self._traffic.emit("message.exchange", {"id": message, "message": body})

    def _chat_live(self, chat: _Chat, sender: _Person, **content: Any) -> str:
        message = self._send_live(chat.card(), sender, **content)
        self._follow(chat, sender, message)
        return message

    def _send_live(self, chat: dict[str, Any], sender: _Person, **content: Any) -> str:
        """A new message in the live shape; its id."""
        message = self._traffic.new_id("3EB0")
        body = {
            "type": "text",
            "content": "",
            "source": "",
            "isForwarded": False,
            "isEdit": False,
            "edit": None,
            "context": None,
            "media": None,
            "reaction": None,
            "interactive": None,
        }
        data = {
            "id": message,
            "direction": self._direction(sender),
            "timestamp": self._traffic.local(),
            "chat": chat,
            "sender": sender.card(),
            "recipient": None,
            "message": body | content,
        }
        self._traffic.emit("message.exchange", data)
        return message

    def _follow(self, chat: _Chat, sender: _Person, message: str) -> None:
        """Receipts come for what the owner has sent."""
        if sender is self._owner:
            self._traffic.go(self._delivery(chat, message))

    def _direction(self, sender: _Person) -> str:
        return "outgoing" if sender is self._owner else "incoming"


# --- Media ---


def _png(random: Random, size: int) -> bytes:
    """A picture of noise, which does not compress, of about so many bytes."""
    side = max(1, int((size / 3) ** 0.5))
    rows = b"".join(b"\0" + random.randbytes(3 * side) for _ in range(side))
    header = struct.pack(">IIBBBBB", side, side, 8, 2, 0, 0, 0)
    chunks = ((b"IHDR", header), (b"IDAT", zlib.compress(rows, 0)), (b"IEND", b""))
    return b"\x89PNG\r\n\x1a\n" + b"".join(_png_chunk(*chunk) for chunk in chunks)


def _png_chunk(kind: bytes, data: bytes) -> bytes:
    return struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))


def _base64(data: bytes) -> str:
    return base64.b64encode(data).decode()
