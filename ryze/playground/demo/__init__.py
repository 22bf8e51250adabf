"""``ryze demo``: a short demonstration of a server with producers and subscribers.

Nothing is simulated but the events: a server with its database in a temporary directory,
producers and subscribers that are WebSocket clients over loopback. One subscriber stops reading,
is evicted, and reconnects.

event_summary  one-line summaries of events
dashboard      `Dashboard`, `SubscriberRow`: state and rendering; no I/O and no clock
environment    `Plan`; the server and what all participants need
producers      tasks that publish
subscribers    tasks that subscribe; the slow one follows the plan
display        shows the dashboard on a terminal, or as lines elsewhere
scenario       `run_demo`: starts the server, then the participants, and ends them in reverse
command        `run`: the demo on this terminal, until its end or a signal

Imports go upwards in this list.
"""

from ryze.playground.demo.command import run

__all__ = ["run"]
