from __future__ import annotations

import errno
import socket
from pathlib import Path

import pytest

from src.cli import listening
from src.cli.exit_codes import CANNOT_LISTEN
from src.cli.listening import ListenError, bind
from src.cli.serve import _serve_here
from src.config.settings import Settings, UpstreamSettings


def close(sockets: list[socket.socket]) -> None:
    for sock in sockets:
        sock.close()


def test_port_0_takes_a_free_one_that_is_not_open_before_the_server_is_there() -> None:
    sockets = bind("127.0.0.1", 0)
    try:
        assert sockets[0].getsockname()[1] > 0
        with pytest.raises(ConnectionRefusedError):
            socket.create_connection(sockets[0].getsockname(), timeout=1)
    finally:
        close(sockets)


def test_every_address_of_a_host_gets_the_same_port() -> None:
    sockets = bind("localhost", 0)
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
    sockets = bind("localhost", 0)
    close(sockets)
    assert [sock.family for sock in sockets] == [socket.AF_INET]


def test_a_port_in_use_is_one_plain_line() -> None:  # reliability 119
    taken = bind("127.0.0.1", 0)
    taken[0].listen()
    port = taken[0].getsockname()[1]
    try:
        with pytest.raises(ListenError) as caught:
            bind("127.0.0.1", port)
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
        bind(host, 1)
    assert (caught.value.key, str(caught.value)) == ("host", problem)


def test_a_port_taken_between_binding_and_listening_is_one_plain_line(
    tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    ours = bind("127.0.0.1", 0)
    port = ours[0].getsockname()[1]
    theirs = bind("127.0.0.1", port)  # as two programs started at once can
    theirs[0].listen()
    upstream = UpstreamSettings(name="u", type="openai", base_url="http://127.0.0.1:9")
    settings = Settings(port=port, trace_dir=tmp_path, quiet=True, upstreams=(upstream,))
    try:
        assert _serve_here(settings, ours) == CANNOT_LISTEN
    finally:
        close([*ours, *theirs])
    assert capfd.readouterr().err.startswith(f"127.0.0.1:{port} is in use; stop what listens")
