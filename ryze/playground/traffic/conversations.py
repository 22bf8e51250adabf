"""Conversations: turns, edits and revocations."""

from random import Random

from ryze.playground.traffic.contacts import BUTTONS, PLACES, Chat, Person
from ryze.playground.traffic.media import Media
from ryze.playground.traffic.messages import Messages
from ryze.playground.traffic.timeline import Script, Timeline

__all__ = ["Conversations"]

# Kinds of turns by their weight.
_TURNS = {
    "text": 60,
    "image": 12,
    "voice_note": 8,
    "location": 5,
    "button": 5,
    "edit": 6,
    "revoke": 4,
}


class Conversations:
    """The conversations of one phone.

    Args:
        timeline: makes identifiers.
        random: random source.
        media: images and voice notes to send.
        messages: emits the messages.
        owner: owner of the phone.
    """

    def __init__(
        self, timeline: Timeline, random: Random, media: Media, messages: Messages, owner: Person
    ) -> None:
        self._timeline = timeline
        self._random = random
        self._media = media
        self._messages = messages
        self._owner = owner

    def converse(self, chat: Chat) -> Script:
        """Run one conversation, from the first message to the last read receipt."""
        live = self._random.random() < 0.5
        # Sender and id of the texts so far, which may be edited or revoked.
        texts: list[tuple[Person, str]] = []
        for _ in range(self._random.randint(2, 8)):
            sender = self._random.choice([self._owner, *chat.members])
            if sender is not self._owner:
                # A reply implies that earlier messages have been read.
                self._messages.mark_read(chat)
            self._take_turn(chat, sender, texts, live=live)
            yield self._random.uniform(1, 9)
        yield self._random.uniform(2, 20)
        self._messages.mark_read(chat)

    def _take_turn(
        self, chat: Chat, sender: Person, texts: list[tuple[Person, str]], *, live: bool
    ) -> None:
        """Emit one message, live or catalogue where producers use both shapes."""
        (turn,) = self._random.choices(list(_TURNS), list(_TURNS.values()))
        if turn in ("edit", "revoke") and texts:
            author, original = texts.pop(self._random.randrange(len(texts)))
            correction = self._send_edit if turn == "edit" else self._messages.revoke
            correction(chat, author, original)
        elif turn == "image":
            self._send_image(chat, sender)
        elif turn == "voice_note":
            self._send_voice_note(chat, sender)
        elif turn == "location":
            latitude, longitude, address = self._random.choice(PLACES)
            place = {"latitude": latitude, "longitude": longitude, "address": address}
            self._messages.send(chat, sender, type="location", content={"text": ""}, location=place)
        elif turn == "button" and sender is not self._owner:
            pressed = f"{self._random.choice(BUTTONS)}:{self._random.randrange(1000, 9999)}"
            interactive = {"selectedButtonId": pressed}
            self._messages.send_live(chat, sender, type="buttons_response", interactive=interactive)
        else:
            text = self._random.choice(chat.phrases)
            send = self._send_text_live if live else self._send_text
            texts.append((sender, send(chat, sender, text)))

    def _send_text(self, chat: Chat, sender: Person, text: str) -> str:
        return self._messages.send(chat, sender, type="text", content={"text": text})

    def _send_text_live(self, chat: Chat, sender: Person, text: str) -> str:
        return self._messages.send_live(chat, sender, type="text", content=text)

    def _send_image(self, chat: Chat, sender: Person) -> None:
        media = {
            "type": "image",
            "url": f"https://media.example.net/v/t62/{self._timeline.new_id('')}.enc",
            "base64": self._media.choose_image(),
            "mimetype": "image/png",
            "caption": self._random.choice(["", "📷", *chat.phrases]),
        }
        self._messages.send(chat, sender, type="image", content={"text": ""}, media=media)

    def _send_voice_note(self, chat: Chat, sender: Person) -> None:
        media = {
            "mimeType": "audio/ogg; codecs=opus",
            "isVoiceNote": True,
            "base64": self._media.choose_voice_note(),
        }
        self._messages.send_live(chat, sender, type="audio", media=media)

    def _send_edit(self, chat: Chat, sender: Person, original: str) -> None:
        text = self._random.choice(chat.phrases)
        edit = {"original_id": original, "text": text}
        self._messages.send(chat, sender, type="message_edit", content={"text": text}, edit=edit)
