from __future__ import annotations

import marshal

from src.tracing.secrets import SecretTable

HOST = (b"Host", b"127.0.0.1:3000")
UPSTREAM_HOST = (b"Host", b"api.openai.com")


def table() -> SecretTable:
    return SecretTable(b"salt", frozenset(), lambda number, texts: None)


def test_a_repeated_change_is_found_again_and_not_worked_out_again() -> None:
    secrets = table()
    first = secrets.mask_changes((HOST,), (UPSTREAM_HOST,))
    assert first[0] == (HOST,)
    assert first[1].headers == (UPSTREAM_HOST,)
    assert secrets.mask_changes((HOST,), (UPSTREAM_HOST,))[1] is first[1]


def test_a_change_of_a_credential_is_masked_each_time() -> None:
    secrets = table()
    mine = (b"Authorization", b"Bearer sk-mine-0123456789")
    ours = (b"Authorization", b"Bearer sk-ours-0123456789")
    for _ in range(2):
        gone, new = secrets.mask_changes((mine,), (ours,))
        assert b"sk-mine" not in repr(gone).encode()
        assert b"sk-ours" not in repr(new.headers).encode()
        assert len(new.secrets) == 1


def test_a_copy_of_what_everybody_shares_may_be_added_to() -> None:
    secrets = table()
    shared = secrets.mask_changes((HOST,), (UPSTREAM_HOST,))[1]
    own = shared.copy()
    secrets.mask_target(b"/v1?key=0123456789abcdef", own)
    assert own.secrets
    assert not shared.secrets


def test_a_secret_too_short_to_be_searched_is_told_as_well() -> None:
    """Of a number it was never told, the recorder takes the texts for lost, and those of all other
    secrets of that exchange are not looked for any more."""
    told: dict[int, bytes] = {}
    secrets = SecretTable(b"salt", frozenset(), told.__setitem__)
    head = secrets.mask_headers(((b"Authorization", b"Bearer short"), (b"Cookie", b"a=b")))
    texts = [marshal.loads(told[number]) for number in head.numbers()]
    assert texts == [[b"Bearer short"], []]
