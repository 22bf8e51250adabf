"""Generator of realistic events, as the phones of messaging users produce them.

contacts       names, phrases and places; `Person`, `Chat`
media          images and voice notes
timeline       `Timeline`: discrete-event scheduler; `TimedEvent`; `rescale_to_rate`
messages       messages in both shapes, and their receipts
conversations  turns, edits, revocations
phones         `Traffic`: the activities of a phone, on one timeline

Imports go upwards in this list. Rules:

- No clock and no randomness of its own: the same `random.Random` and the same start give the same
  events.
- An event has exactly the keys that real producers send (the fixtures of the tests), in both
  shapes of ``message.exchange``: the catalogue's, all inside ``data.message``, and the live one.
- A receipt, an edit or a revocation refers to an earlier message.
"""

from ryze.playground.traffic.phones import Traffic
from ryze.playground.traffic.timeline import TimedEvent, rescale_to_rate

__all__ = ["TimedEvent", "Traffic", "rescale_to_rate"]
