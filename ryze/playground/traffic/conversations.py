"""Conversations: who says what in which turn, and what is corrected later."""

from random import Random

from ryze.playground.traffic.contacts import BUTTONS, PLACES, Chat, Person
from ryze.playground.traffic.media import Media
from ryze.playground.traffic.messages import Messages
from ryze.playground.traffic.timeline import Script, Timeline

__all__ = ["Conversations"]

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


class Conversations:
    """The conversations of one phone.

    Args:
        timeline: for identifiers.
        random: the dice.
        media: what is sent as pictures and voice notes.
        messages: sends what is said.
        owner: of the phone.
    """

    def __init__(
        self, timeline: Timeline, random: Random, media: Media, messages: Messages, owner: Person
    ) -> None:
        self._timeline = timeline
        self._random = random
        self._media = media
        self._messages = messages
        self._owner = owner

    def talk(self, chat: Chat) -> Script:
        """One conversation, from the first word until all is read."""
        live = self._random.random() < 0.5
        # The texts so far, which may be edited or revoked: sender and id.
        texts: list[tuple[Person, str]] = []
        for _ in range(self._random.randint(2, 8)):
            sender = self._random.choice([self._owner, *chat.members])
            if sender is not self._owner:
                # Who answers has read what was there.
                self._messages.read(chat)
            self._turn(chat, sender, texts, live=live)
            yield self._random.uniform(1, 9)
        yield self._random.uniform(2, 20)
        self._messages.read(chat)

    def _turn(
        self, chat: Chat, sender: Person, texts: list[tuple[Person, str]], *, live: bool
    ) -> None:
        """One message; live or catalogue, where producers send it in both shapes."""
        (turn,) = self._random.choices(list(_TURNS), list(_TURNS.values()))
        if turn in ("edit", "revoke") and texts:
            author, original = texts.pop(self._random.randrange(len(texts)))
            correction = self._edit if turn == "edit" else self._messages.revoke
            correction(chat, author, original)
        elif turn == "picture":
            self._picture(chat, sender)
        elif turn == "voice":
            self._voice(chat, sender)
        elif turn == "location":
            latitude, longitude, address = self._random.choice(PLACES)
            place = {"latitude": latitude, "longitude": longitude, "address": address}
            self._messages.send(chat, sender, type="location", content={"text": ""}, location=place)
        elif turn == "button" and sender is not self._owner:
            pressed = f"{self._random.choice(BUTTONS)}:{self._random.randrange(1000, 9999)}"
            interactive = {"selectedButtonId": pressed}
            self._messages.send_live(chat, sender, type="buttons_response", interactive=interactive)
        else:
            text = self._random.choice(chat.words)
            send = self._text_live if live else self._text
            texts.append((sender, send(chat, sender, text)))

    def _text(self, chat: Chat, sender: Person, text: str) -> str:
        return self._messages.send(chat, sender, type="text", content={"text": text})

    def _text_live(self, chat: Chat, sender: Person, text: str) -> str:
        return self._messages.send_live(chat, sender, type="text", content=text)

    def _picture(self, chat: Chat, sender: Person) -> None:
        media = {
            "type": "image",
            "url": f"https://media.example.net/v/t62/{self._timeline.new_id('')}.enc",
            "base64": self._media.picture(),
            "mimetype": "image/png",
            "caption": self._random.choice(["", "📷", *chat.words]),
        }
        self._messages.send(chat, sender, type="image", content={"text": ""}, media=media)

    def _voice(self, chat: Chat, sender: Person) -> None:
        media = {
            "mimeType": "audio/ogg; codecs=opus",
            "isVoiceNote": True,
            "base64": self._media.voice(),
        }
        self._messages.send_live(chat, sender, type="audio", media=media)

    def _edit(self, chat: Chat, sender: Person, original: str) -> None:
        text = self._random.choice(chat.words)
        edit = {"original_id": original, "text": text}
        self._messages.send(chat, sender, type="message_edit", content={"text": text}, edit=edit)
