"""The sockets to listen on: bound by ourselves, so that a taken port is one plain line."""

from __future__ import annotations

import errno
import os
import socket
from collections.abc import MutableMapping

BACKLOG = 2048
_FIRST_FD = 3  # SD_LISTEN_FDS_START
_REASONS = {
    errno.EADDRINUSE: "is in use; stop what listens there, or choose another port",
    errno.EACCES: "is not allowed to this user; choose a port above 1023",
    errno.EADDRNOTAVAIL: "is no address of this machine; choose another host",
}

# "localhost" may stand for an IPv6 address on a machine (or in a container) that has none.
_NO_SUCH_ADDRESS = {errno.EADDRNOTAVAIL, errno.EAFNOSUPPORT}

Address = tuple[str | int | bytes, ...]
"""As `getaddrinfo` gives it: (host, port) or (host, port, flow, scope)."""


class ListenError(Exception):
    """Listening is not possible; the message says why and what to do. `key`: host or port."""

    def __init__(self, key: str, message: str) -> None:
        super().__init__(message)
        self.key = key


def bind(host: str, port: int) -> list[socket.socket]:
    """Sockets bound to every address of `host`, all on one port; 0 takes a free one.

    They are not listened on yet: the server does that when it can serve, so that an open port means
    what whoever waits for it takes it to mean. Raises `ListenError`.
    """
    sockets: list[socket.socket] = []
    failed: OSError | None = None
    for family, address in _addresses(host, port):
        try:
            sockets.append(_bound(family, (address[0], port, *address[2:])))
            port = sockets[0].getsockname()[1]
        except OSError as error:
            failed = error
            if error.errno not in _NO_SUCH_ADDRESS:
                break
    if failed and (not sockets or failed.errno not in _NO_SUCH_ADDRESS):
        for opened in sockets:
            opened.close()
        raise refusal(host, port, failed) from failed
    return sockets


def handed_over(environ: MutableMapping[str, str]) -> list[socket.socket]:
    """Sockets that whoever started us holds open, by the protocol of sd_listen_fds(3): systemd, and
    its like. A restart then refuses nobody: connections wait in the socket. Empty without them."""
    given = environ.pop("LISTEN_PID", None), environ.pop("LISTEN_FDS", "0")
    environ.pop("LISTEN_FDNAMES", None)
    if given[0] != str(os.getpid()) or not given[1].isdecimal():
        return []
    return [socket.socket(fileno=_FIRST_FD + number) for number in range(int(given[1]))]


def refusal(host: str, port: int, error: OSError) -> ListenError:
    """What is told of an `OSError` at binding or listening."""
    reason = _REASONS.get(error.errno or 0, f"cannot be bound: {error.strerror}; choose another")
    key = "host" if error.errno in _NO_SUCH_ADDRESS else "port"
    return ListenError(key, f"{host}:{port} {reason}")


def _addresses(host: str, port: int) -> list[tuple[int, Address]]:
    try:
        found = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM, flags=socket.AI_PASSIVE)
    except (socket.gaierror, UnicodeError) as error:
        raise ListenError(
            "host", f"{host} is no known host; give an address of this machine"
        ) from error
    return list(dict.fromkeys((family, address) for family, _, _, _, address in found))


def _bound(family: int, address: Address) -> socket.socket:
    sock = socket.socket(family, socket.SOCK_STREAM)
    try:
        if os.name == "posix":  # elsewhere it would let two programs share a port
            sock.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        if family == socket.AF_INET6:
            sock.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_V6ONLY, 1)
        sock.bind(address)
        sock.set_inheritable(True)  # workers get it
    except OSError:
        sock.close()
        raise
    return sock
