from __future__ import annotations

import errno
import socket

import pytest

from src.cli import listening
from src.cli.listening import ListenError, listen


def close(sockets: list[socket.socket]) -> None:
    for sock in sockets:
        sock.close()


def test_port_0_takes_a_free_one_and_listens_at_once() -> None:
    sockets = listen("127.0.0.1", 0)
    try:
        socket.create_connection(sockets[0].getsockname(), timeout=1).close()
    finally:
        close(sockets)


def test_every_address_of_a_host_gets_the_same_port() -> None:
    sockets = listen("localhost", 0)
    try:
        assert len({sock.getsockname()[1] for sock in sockets}) == 1
    finally:
        close(sockets)


def test_an_address_family_that_the_machine_lacks_is_left_out(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    addresses = [(socket.AF_INET6, ("::1", 0, 0, 0)), (socket.AF_INET, ("127.0.0.1", 0))]
    monkeypatch.setattr(listening, "_addresses", lambda *_: addresses)
    bound = listening._bound

    def without_ipv6(family: int, address: listening.Address) -> socket.socket:
        if family == socket.AF_INET6:
            raise OSError(errno.EADDRNOTAVAIL, "Cannot assign requested address")
        return bound(family, address)

    monkeypatch.setattr(listening, "_bound", without_ipv6)
    sockets = listen("localhost", 0)
    close(sockets)
    assert [sock.family for sock in sockets] == [socket.AF_INET]


def test_a_port_in_use_is_one_plain_line() -> None:  # reliability 119
    taken = listen("127.0.0.1", 0)
    port = taken[0].getsockname()[1]
    try:
        with pytest.raises(ListenError) as caught:
            listen("127.0.0.1", port)
    finally:
        close(taken)
    message = f"127.0.0.1:{port} is in use; stop what listens there, or choose another port"
    assert (caught.value.key, str(caught.value)) == ("port", message)


@pytest.mark.parametrize(
    ("host", "problem"),
    [
        ("192.0.2.1", "192.0.2.1:1 is no address of this machine; choose another host"),
        ("a..b", "a..b is no known host; give an address of this machine"),
    ],
)
def test_a_host_that_is_not_ours_is_told(host: str, problem: str) -> None:
    with pytest.raises(ListenError) as caught:
        listen(host, 1)
    assert (caught.value.key, str(caught.value)) == ("host", problem)
