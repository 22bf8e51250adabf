"""Socket queues from ``/proc/net/tcp``: the bytes that the operating system has taken.

The file has a line for each end of a connection on this machine. The operating system has taken
the bytes that the client has read, plus the client's receive queue, plus the server's send queue.
"""

from collections.abc import Iterable, Mapping

__all__ = ["count_bytes_taken"]

_ESTABLISHED = "01"


def count_bytes_taken(
    server_port: int, client_ports: Iterable[int], read: Mapping[int, int]
) -> dict[int, int]:
    """Return the bytes that the system has taken from the server, per client port.

    Connections whose server end is not established any more are left out.

    Args:
        server_port: identifies a connection together with the client's port. The client's port
            alone does not: a connection to another server, even a closed one, may have the same.
        client_ports: the connections to count.
        read: bytes that each client has read, by port.
    """
    send_queues: dict[int, int] = {}
    receive_queues: dict[int, int] = {}
    server = f"{server_port:04X}"
    wanted = {f"{port:04X}": port for port in client_ports}
    with open("/proc/net/tcp") as table:
        next(table)
        for line in table:
            _, local, remote, state, queues, *_ = line.split(maxsplit=5)
            send_queue, receive_queue = queues.split(":")
            if local[-4:] == server and state == _ESTABLISHED:
                if port := wanted.get(remote[-4:]):
                    send_queues[port] = int(send_queue, 16)
            elif remote[-4:] == server and (port := wanted.get(local[-4:])):
                receive_queues[port] = int(receive_queue, 16)
    return {
        port: read[port] + receive_queues.get(port, 0) + sent for port, sent in send_queues.items()
    }
