"""What the phones of some people would produce: events that look real, and are not.

people         who has phones, and what they say
media          pictures and voice notes
timeline       `TimedEvent`; the scheduler of all that happens; `at_rate`
messages       messages in two shapes, and their receipts
conversations  turns, edits, revocations
phones         `Traffic`: phones with their habits, on one timeline

Imports go upwards in this list. Rules:

- Nothing here reads a clock or rolls dice of its own: the same `random.Random` and the same
  start give the same events.
- An event has exactly the keys that real producers send (the fixtures of the tests), in both
  shapes of ``message.exchange``: the catalogue's, all inside ``data.message``, and the live one.
- A receipt, an edit or a revocation names a message that came before it.
"""

from ryze.playground.traffic.phones import Traffic
from ryze.playground.traffic.timeline import TimedEvent, at_rate

__all__ = ["TimedEvent", "Traffic", "at_rate"]
