"""The soak: a real server for minutes on end, with everything at once, and nothing may go wrong.

    python -m tests.soak --minutes 10        or: nox -s soak -- --minutes 10

Theory. What every client must receive can be computed, and is compared byte for byte:

script      what is published, and the frame that must come of it under each configuration
timeline    the configurations of an instance: which may be in force, which must be
ledger      one stream an instance, the same for all its clients. Whoever is ahead of all others
            writes it, and each frame is judged then: whole, in order, nothing missing but what
            the configuration in force filters out. All others are compared with what is written.
listener    a client's side of that: bytes in, what is wrong with them out

Around it, the people, each a task with its own random numbers:

crowd       the healthy clients, in one epoll loop
stage       an instance with its ledger and its clients
publishers  at 80 % of what was measured at the start, never further ahead of the slowest healthy
            client than half its buffer: so a healthy client that is dropped is a fault, always
visitors    clients that come and go, and some that sleep and are dropped
changes     configurations that change, instances that are made and deleted
nuisances   bad frames, bad HTTP, bad tokens: each with the one right answer

And `server` (the process, its memory and descriptors), `soak` (the order of things),
`findings` (what went wrong), `report`. All that is random comes from ``--seed``; when things
happen is up to the machine.
"""
