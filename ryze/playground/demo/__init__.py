"""``ryze demo``: a minute in which the whole thing is seen at work.

Everything is real and goes over loopback: a server with its database in a temporary directory,
simulated phones that publish, listeners that are WebSocket clients. One of them stops reading,
is dropped, comes back, and reads on.

words     events in words
board     `Board`, `Row`: all that is known, and how it looks; plain code, told the time
stage     `Plan`; the server, and what every actor needs
phones    actors that publish
listener  actors that listen; the sleepy one has a plan
screen    the board on a terminal, or as lines where there is none
course    `demo`: starts the server, then the actors, and ends them in reverse
command   `run`: the same on this terminal, until a signal

Imports go upwards in this list.
"""

from ryze.playground.demo.command import run
from ryze.playground.demo.dashboard import Board, Row
from ryze.playground.demo.environment import Plan
from ryze.playground.demo.event_summary import describe
from ryze.playground.demo.scenario import demo

__all__ = ["Board", "Plan", "Row", "demo", "describe", "run"]
