"""The hub: the connections of this node by instance, and the fan-out of events to them.

hub         index of connections, intake of events, changes of configuration
audience    the subscribers of one instance, and the filter that its events pass
view        what a subscriber asked for, and how its protocol writes it
batch       events of one instance that go out together, encoded once per view
flush       the task that fans batches out, once per scheduler tick
outbox      bytes on their way to one connection; the rule of 256 pending messages
transport   the interface of the bytes below
"""

__all__: list[str] = []
