"""Soak test: a real server under every kind of load at once for minutes, without a violation.

    python -m tests.soak --minutes 10        or: nox -s soak -- --minutes 10

Every byte that a subscriber must receive can be computed, and is compared:

workload         the events that are published, and the frame of each under a configuration
config_timeline  the configurations of an instance: which may be in force, which must be
expected_stream  one stream per instance, the same for all its subscribers. The subscriber that is
                 ahead of all others appends to it, and each frame is checked then: whole, in
                 order, nothing missing but what the configuration in force filters out. All
                 others are compared with the stream.
stream_checker   one subscriber's side of that: bytes in, violations out

The load, each client a task with random numbers of its own:

healthy_subscribers   subscribers that keep up, in one epoll loop
instance              an instance with its expected stream and its subscribers
producers             at 80 % of the capacity measured at the start, never further ahead of the
                      slowest healthy subscriber than a third of its buffer: the eviction of a
                      healthy subscriber is always a violation
churning_subscribers  subscribers that connect and disconnect, and slow ones that are evicted
instance_changes      configurations that change, instances that are created and deleted
bad_input             bad frames, bad HTTP, bad tokens: each with the one right response

And `server` (the process, its memory and descriptors), `soak` (the phases of a run), `violations`
(what went wrong), `trend` (growth of memory and descriptors), `report`. All random choices come
from ``--seed``; when they happen depends on the machine.
"""
