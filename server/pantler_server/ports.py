"""Takes the ports of the service before any worker starts, so that a port in use shows at once.

Workers share a port with SO_REUSEPORT, which would also let a second Pantler slip in beside the
first and take half of its calls. So the supervisor first binds without it, which fails if anybody
listens.
"""

import socket


class PortTaken(Exception):
    """The address can't be listened on; the message is one line that says why."""


def reserve(address: str) -> tuple[socket.socket, str]:
    """Takes `host:port`. Gives the socket that holds it (bound, not listening, so that it gets no
    connections) and the address with the port that was taken where 0 was asked for."""
    host, _, port = address.rpartition(":")
    bare_host = host.strip("[]")
    try:
        family, _, _, _, target = socket.getaddrinfo(
            bare_host, int(port), type=socket.SOCK_STREAM, flags=socket.AI_PASSIVE
        )[0]
        with socket.socket(family, socket.SOCK_STREAM) as alone:
            alone.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            alone.bind(target)
            taken = alone.getsockname()
            alone.listen()  # two sockets with SO_REUSEADDR may both bind, but only one may listen
        shared = socket.socket(family, socket.SOCK_STREAM)
        shared.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEPORT, 1)
        shared.bind(taken)
    except OSError as exc:
        raise PortTaken(f"can't listen on {address}: {exc.strerror or exc}") from None
    return shared, f"{host}:{taken[1]}"
