"""Invented contacts, phrases and places, in many writing systems."""

from dataclasses import dataclass, field
from typing import Any

__all__ = ["BUTTONS", "CONTACTS", "GROUPS", "LABELS", "PHRASES", "PLACES", "Chat", "Person"]


@dataclass(frozen=True, slots=True)
class Person:
    """Person with a phone number."""

    name: str
    number: str

    @property
    def jid(self) -> str:
        """Address in the messaging network."""
        return f"{self.number}@s.whatsapp.net"

    def as_json(self) -> dict[str, Any]:
        """Return the JSON object that stands for the person in an event."""
        return {"jid": self.jid, "lid": f"{int(self.number[-9:]) + 10**11}@lid", "name": self.name}


@dataclass(slots=True)
class Chat:
    """Private chat with one person, or group chat.

    Args:
        members: participants other than the owner of the phone.
        jid: address of the chat.
        name: of the chat.
        phrases: texts sent in this chat.
        unread: ids of messages that are delivered but not read.
    """

    members: list[Person]
    jid: str
    name: str
    phrases: tuple[str, ...]
    unread: list[str] = field(default_factory=list)

    @property
    def is_group(self) -> bool:
        """Is it a group chat?"""
        return self.jid.endswith("@g.us")

    def as_json(self) -> dict[str, Any]:
        """Return the JSON object that stands for the chat in a message."""
        if self.is_group:
            return {"jid": self.jid, "name": self.name, "type": "group"}
        return {**self.members[0].as_json(), "type": "private"}

    def as_receipt_json(self) -> dict[str, Any]:
        """Return the JSON object that stands for the chat in a receipt."""
        return {"jid": self.jid, "type": "group" if self.is_group else "private"}


# Name, prefix of the phone number, language.
CONTACTS = [
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

PHRASES: dict[str, tuple[str, ...]] = {
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

GROUPS = ["Família 👪", "Team Süd", "Book club 📚", "Vizinhos 2B", "サッカー部"]
PLACES = [
    (-23.55052, -46.633308, "São Paulo"),
    (19.432608, -99.133209, "Ciudad de México"),
    (35.689487, 139.691706, "東京都"),
    (50.937531, 6.960279, "Köln"),
    (53.349805, -6.26031, "Dublin"),
]
LABELS = ["Pago", "New customer", "Follow up", "À livrer", "VIP ⭐"]
BUTTONS = ["order:confirm", "order:cancel", "visit:tuesday", "rating:5"]
