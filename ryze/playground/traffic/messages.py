"""Messages in the two shapes that producers send, and the receipts that follow them.

The catalogue's shape has all inside ``data.message``; the live one has the message's own part
there, and who and where beside it.
"""

from random import Random
from typing import Any

from ryze.playground.traffic.contacts import Chat, Person
from ryze.playground.traffic.timeline import Script, Timeline

__all__ = ["Messages"]


class Messages:
    """Sends what is written on one phone, or comes to it.

    Args:
        timeline: where the events go.
        random: the dice.
        owner: of the phone. Receipts come for what the owner has sent.
    """

    def __init__(self, timeline: Timeline, random: Random, owner: Person) -> None:
        self._timeline = timeline
        self._random = random
        self._owner = owner

    def send(self, chat: Chat, sender: Person, **content: Any) -> str:
        """A new message in the catalogue's shape; its id."""
        message = self._timeline.new_id("3EB0")
        self._emit(chat, sender, message, **content)
        self._follow(chat, sender, message)
        return message

    def send_live(self, chat: Chat, sender: Person, **content: Any) -> str:
        """A new message in the live shape; its id."""
        message = self.tell_live(chat.card(), sender, **content)
        self._follow(chat, sender, message)
        return message

    def tell_live(self, chat: dict[str, Any], sender: Person, **content: Any) -> str:
        """The same to a chat of which no more than its card is known: no receipts follow."""
        message = self._timeline.new_id("3EB0")
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
            "timestamp": self._timeline.local(),
            "chat": chat,
            "sender": sender.card(),
            "recipient": None,
            "message": body | content,
        }
        self._timeline.emit("message.exchange", data)
        return message

    def revoke(self, chat: Chat, sender: Person, original: str) -> None:
        """Take back the message with this id."""
        self._emit(chat, sender, original, type="message_revoke", content={"text": ""})

    def read(self, chat: Chat) -> None:
        """A receipt for all that has been delivered in this chat, if there is any."""
        if chat.unread:
            self._receipt(chat, "read", chat.unread)
            chat.unread = []

    def _emit(self, chat: Chat, sender: Person, message: str, **content: Any) -> None:
        body = {
            "id": message,
            "direction": self._direction(sender),
            "timestamp": self._timeline.utc(),
            "chat": chat.card(),
            "sender": sender.card(),
            **content,
        }
        self._timeline.emit("message.exchange", {"id": message, "message": body})

    def _follow(self, chat: Chat, sender: Person, message: str) -> None:
        if sender is self._owner:
            self._timeline.go(self._delivery(chat, message))

    def _delivery(self, chat: Chat, message: str) -> Script:
        yield self._random.uniform(0.2, 1.5)
        self._receipt(chat, "delivered", [message])
        chat.unread.append(message)

    def _receipt(self, chat: Chat, status: str, messages: list[str]) -> None:
        receipt = {
            "messageIds": messages,
            "status": status,
            "timestamp": self._timeline.utc(),
            "chat": chat.short_card(),
            "recipient": self._random.choice(chat.members).jid,
        }
        self._timeline.emit("message.status", receipt)

    def _direction(self, sender: Person) -> str:
        return "outgoing" if sender is self._owner else "incoming"
