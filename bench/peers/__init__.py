"""The servers that can be measured, behind one interface: Ryze and its peers.

Each peer is the smallest complete program that does the same job: it takes events from one
producer over a WebSocket, sends every text frame to all subscribers, queues 256 messages per
subscriber, and evicts slow ones. The programs are in ``programs/``. They report an eviction on
standard output, as ``evicted <frames published so far> <subscriber's port>``.
"""

from bench.peers.base import Peer
from bench.peers.compiled import CLoop, Gorilla
from bench.peers.nchan import Nchan
from bench.peers.node import NodeWs
from bench.peers.python import PYTHON_PEERS
from bench.peers.ryze import ManyInstances, Ryze

__all__ = ["PEERS", "RYZE", "Peer"]

RYZE = "ryze"

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

# Every server that can be measured, by its name on the command line.
PEERS = {peer.name: peer for peer in _ALL}
