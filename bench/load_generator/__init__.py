"""The load generator: a process of its own with raw sockets and epoll."""
