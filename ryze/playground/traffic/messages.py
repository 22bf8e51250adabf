"""Messages in the two shapes that producers send, and their receipts.

The catalogue's shape has everything inside ``data.message``; the live one has only the content
there, and chat and sender beside it.
"""

from random import Random
from typing import Any

from ryze.playground.traffic.contacts import Chat, Person
from ryze.playground.traffic.timeline import Script, Timeline

__all__ = ["Messages"]


class Messages:
    """Emits the messages that one phone sends and receives.

    Args:
        timeline: emits the events.
        random: random source.
        owner: owner of the phone, whose messages get receipts.
    """

    def __init__(self, timeline: Timeline, random: Random, owner: Person) -> None:
        self._timeline = timeline
        self._random = random
        self._owner = owner

    def send(self, chat: Chat, sender: Person, **content: Any) -> str:
        """Emit a new message in the catalogue's shape; return its id."""
        message = self._timeline.new_id("3EB0")
        self._emit(chat, sender, message, **content)
        self._start_receipts(chat, sender, message)
        return message

    def send_live(self, chat: Chat, sender: Person, **content: Any) -> str:
        """Emit a new message in the live shape; return its id."""
        message = self.send_live_to(chat.as_json(), sender, **content)
        self._start_receipts(chat, sender, message)
        return message

    def send_live_to(self, chat: dict[str, Any], sender: Person, **content: Any) -> str:
        """Emit a message in the live shape to a chat given as JSON: without receipts."""
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
            "sender": sender.as_json(),
            "recipient": None,
            "message": body | content,
        }
        self._timeline.emit("message.exchange", data)
        return message

    def revoke(self, chat: Chat, sender: Person, original: str) -> None:
        """Revoke the message with this id."""
        self._emit(chat, sender, original, type="message_revoke", content={"text": ""})

    def mark_read(self, chat: Chat) -> None:
        """Emit a read receipt for all delivered messages of this chat, if there are any."""
        if chat.unread:
            self._emit_receipt(chat, "read", chat.unread)
            chat.unread = []

    def _emit(self, chat: Chat, sender: Person, message: str, **content: Any) -> None:
        body = {
            "id": message,
            "direction": self._direction(sender),
            "timestamp": self._timeline.utc(),
            "chat": chat.as_json(),
            "sender": sender.as_json(),
            **content,
        }
        self._timeline.emit("message.exchange", {"id": message, "message": body})

    def _start_receipts(self, chat: Chat, sender: Person, message: str) -> None:
        if sender is self._owner:
            self._timeline.start_script(self._deliver(chat, message))

    def _deliver(self, chat: Chat, message: str) -> Script:
        yield self._random.uniform(0.2, 1.5)
        self._emit_receipt(chat, "delivered", [message])
        chat.unread.append(message)

    def _emit_receipt(self, chat: Chat, status: str, messages: list[str]) -> None:
        receipt = {
            "messageIds": messages,
            "status": status,
            "timestamp": self._timeline.utc(),
            "chat": chat.as_receipt_json(),
            "recipient": self._random.choice(chat.members).jid,
        }
        self._timeline.emit("message.status", receipt)

    def _direction(self, sender: Person) -> str:
        return "outgoing" if sender is self._owner else "incoming"
