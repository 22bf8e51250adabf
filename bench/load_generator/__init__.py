"""The load generator: a process of its own, one thread with raw sockets and epoll.

`process` starts it and sends it commands; `__main__` receives them. It accounts for every byte
that a server sends, and so finds events that are lost, duplicated or altered.
"""
