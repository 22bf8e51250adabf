"""The same job done by others, behind one interface.

Every peer is the smallest honest program that does it: one publisher socket in, every text
frame broadcast to all subscribers, 256 messages queued a client, slow ones dropped. The
programs stand in ``programs/``; a dropped client is told on standard output, as
``dropped <frames published so far> <client's port>``.
"""

from bench.peers.base import Peer
from bench.peers.compiled import CLoop, Gorilla
from bench.peers.nchan import Nchan
from bench.peers.node import NodeWs
from bench.peers.python import PYTHON_PEERS
from bench.peers.ryze import ManyInstances, Ryze

__all__ = ["OURS", "PEERS", "Peer"]

OURS = "ryze"

_ALL: tuple[Peer, ...] = (
    Ryze(),
    Ryze("http"),
    Ryze("ndjson"),
    ManyInstances(1000),
    CLoop(),
    Gorilla(),
    NodeWs(),
    Nchan(),
    *PYTHON_PEERS,
)

# Every server that can be measured, by the name that the command line knows.
PEERS = {peer.name: peer for peer in _ALL}
