"""How many bytes the operating system has taken for a connection, on both of its ends.

``/proc/net/tcp`` has a line for each end of a connection on this machine. What the server's
system has taken is what the client has read, plus what waits in the client's receive queue,
plus what waits in the server's send queue.
"""

from collections.abc import Iterable, Mapping

__all__ = ["bytes_taken"]

_ESTABLISHED = "01"


def bytes_taken(
    server_port: int, client_ports: Iterable[int], read: Mapping[int, int]
) -> dict[int, int]:
    """By client port: bytes that the system has taken of the server, since the beginning.

    Connections whose server's end is not established any more are left out.

    Args:
        server_port: with a client's port it tells the connection; the client's port alone does
            not, as connections to other servers may have the same one, closed ones too.
        client_ports: of these connections.
        read: what each client has read itself.
    """
    sending: dict[int, int] = {}
    waiting: dict[int, int] = {}
    server = f"{server_port:04X}"
    wanted = {f"{port:04X}": port for port in client_ports}
    with open("/proc/net/tcp") as table:
        next(table)
        for line in table:
            _, local, remote, state, queues, *_ = line.split(maxsplit=5)
            send_queue, receive_queue = queues.split(":")
            if local[-4:] == server and state == _ESTABLISHED:
                if port := wanted.get(remote[-4:]):
                    sending[port] = int(send_queue, 16)
            elif remote[-4:] == server and (port := wanted.get(local[-4:])):
                waiting[port] = int(receive_queue, 16)
    return {port: read[port] + waiting.get(port, 0) + sent for port, sent in sending.items()}
