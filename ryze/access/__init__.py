"""Access control: who may do what, and whether there is room.

authentication   the token of a request, and the principal that it proves
rate_limits      requests per token or address in a window
origins          web pages that may call from a browser; CORS headers
caps             maximum numbers of open connections
drain_flag       the flag that refuses new work during a shutdown
upgrades         all checks of an upgrade request, in the order of the contract
"""

__all__: list[str] = []
