"""Masking by rules: texts, JSON as text, paths, whole bodies."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from src.tracing.kinds import KINDS
from src.tracing.paths import mask_path, parse_path
from src.tracing.rules import Masker, MaskRules

MASK = "[REDACTED]"

MEANT = {
    "email": ["jane@example.com", "a.b+c@mail.example.co.uk", "häns@example.de"],
    "credit_card": [
        "4111111111111111",
        "4111 1111 1111 1111",
        "5500-0055-5555-5559",
        "378282246310005",
    ],
    "iban": ["DE89370400440532013000", "GB29 NWBK 6016 1331 9268 19"],
    "us_ssn": ["123-45-6789"],
    "ip_address": ["10.0.0.1", "255.255.255.255"],
    "api_key": ["sk-proj-0123456789abcdefghij", "ghp_" + "a" * 36, "AKIAIOSFODNN7EXAMPLE"],
    "private_key": ["-----BEGIN RSA PRIVATE KEY-----\nMIIE\n-----END RSA PRIVATE KEY-----"],
}
NOT_MEANT = {
    "email": ["@", "a@b", "user@host", "decorated @ property"],
    "credit_card": [
        "1795000000123456",
        "4111111111111112",
        "41111111111111111111111",
        "2026-11-21",
    ],
    "iban": ["DE00370400440532013000", "DEADBEEF"],
    "us_ssn": ["000-12-3456", "123-45-67890", "2026-11-21"],
    "ip_address": ["1.2.3", "1.2.3.4.5", "999.1.1.1"],
    "api_key": ["sk-", "task-0123456789abcdefghij"],
    "private_key": ["-----BEGIN PUBLIC KEY-----"],
}


@pytest.mark.parametrize("kind", KINDS)
def test_kinds_mask_what_is_meant_and_nothing_like_it(kind: str) -> None:
    masker = Masker(MaskRules(kinds=(kind,)))
    for text in MEANT[kind]:
        assert masker.clean(f"say {text}, please") == f"say {MASK}, please"
    for text in NOT_MEANT[kind]:
        assert masker.clean(f"say {text}, please") == f"say {text}, please"


def test_long_runs_take_no_long_time() -> None:
    masker = Masker(MaskRules(kinds=tuple(KINDS)))
    for run in (
        "a" * 200_000,
        "1 " * 100_000,
        "a." * 100_000,
        "DE12 " + "AB12 " * 40_000,
        "@" * 99_999,
    ):
        masker.clean(run)  # quadratic ones would take minutes


def test_what_touches_is_one_mask() -> None:
    masker = Masker(MaskRules(patterns=("ab+", "b+c")))
    assert masker.clean("xabbcx") == f"x{MASK}x"


JSON = Masker(MaskRules(kinds=("email", "credit_card")))


@pytest.mark.parametrize(
    ("text", "masked"),
    [
        ('{"a": "to jane@example.com."}', f'{{"a": "to {MASK}."}}'),
        ('{"a":"jane\\u0040example.com"}', f'{{"a":"{MASK}"}}'),
        ('{"a":"\\"jane@example.com\\""}', f'{{"a":"\\"{MASK}\\""}}'),
        ('{"jane@example.com":1}', f'{{"{MASK}":1}}'),
        ('{"a":4111111111111111}', f'{{"a":"{MASK}"}}'),
        ('{"a":1.50,"b":NaN,"a":12345678901234567890}', None),
        ('{"a":"jane@example.com","b":"cut', f'{{"a":"{MASK}","b":"cut'),
    ],
)
def test_json_is_looked_at_as_what_it_says_and_kept_to_the_letter(
    text: str, masked: str | None
) -> None:
    assert JSON.clean_json(text) == (masked or text)


@given(
    st.recursive(
        st.none() | st.booleans() | st.text() | st.integers(0, 999), st.lists, max_leaves=9
    )
)
def test_json_without_a_match_is_not_touched(value: object) -> None:
    text = json.dumps({"v": value}).encode()
    assert Masker(MaskRules(patterns=("\ue000+never",))).mask_body(text) == text


VALUE = {"user": {"email": "x", "n": 5}, "m": [{"c": "a"}, {"c": {"d": 1}}, 7], "e.f": 1}


@pytest.mark.parametrize(
    ("path", "masked"),
    [
        ("user.email", {**VALUE, "user": {"email": MASK, "n": 5}}),
        ("$.user.n", {**VALUE, "user": {"email": "x", "n": MASK}}),
        ("user", {**VALUE, "user": MASK}),
        ("user.*", {**VALUE, "user": {"email": MASK, "n": MASK}}),
        ("m[*].c", {**VALUE, "m": [{"c": MASK}, {"c": MASK}, 7]}),
        ("m[1].c.d", {**VALUE, "m": [{"c": "a"}, {"c": {"d": MASK}}, 7]}),
        ("m[*]", {**VALUE, "m": [MASK] * 3}),
        ("m[9]", None),
        ("user.email.x", None),
        ("nothing", None),
        ("m.c", None),
    ],
)
def test_paths(path: str, masked: dict[str, object] | None) -> None:
    value = json.loads(json.dumps(VALUE))
    assert mask_path(value, parse_path(path)) == (masked is not None)
    assert value == (masked or VALUE)


@pytest.mark.parametrize("path", ["", "$", "a..b", "a[", "a[x]", ".", "a b]", "[*"])
def test_what_is_no_path_is_told(path: str) -> None:
    with pytest.raises(ValueError, match="is no path; write it like"):
        parse_path(path)


PATHS = Masker(MaskRules(paths=("user.ssn",)))


@pytest.mark.parametrize(
    ("body", "masked"),
    [
        (b'{"user":{"ssn":"1"}}', b'{"user":{"ssn":"[REDACTED]"}}'),
        (b'\xef\xbb\xbf{"user":{"ssn":1}}', b'{"user":{"ssn":"[REDACTED]"}}'),
        (b'{"user":{"ssn":"1","ssn":"2"}}', b'{"user":{"ssn":"[REDACTED]"}}'),
        (b'{"user": {}}', b'{"user": {}}'),
        (b"plain text", b"plain text"),
        (b'{"user":{"ssn":"1', None),
    ],
)
def test_bodies_that_paths_cannot_be_found_in_are_not_let_through(
    body: bytes, masked: bytes | None
) -> None:
    assert PATHS.mask_body(body) == masked


def test_json_by_its_type_is_not_let_through_either() -> None:
    assert PATHS.mask_body(b"ssn=1", is_json=True) is None


def test_binary_bodies_keep_their_other_bytes() -> None:
    body = b"\xff\xfe\x00jane@example.com\x00\x80"
    assert JSON.mask_body(body) == b"\xff\xfe\x00[REDACTED]\x00\x80"


def test_rules_are_kept_with_the_journal(tmp_path: Path) -> None:
    rules = MaskRules(("email",), ("a+",), ("b",), ("x-c",))
    rules.save(tmp_path / "journal")
    assert MaskRules.load(tmp_path / "journal") == rules
    assert (tmp_path / "journal" / "rules.json").stat().st_mode & 0o777 == 0o600
    assert MaskRules.load(tmp_path) is None
    assert MaskRules.merged([]) is None
    assert MaskRules.merged([rules, MaskRules(patterns=("z",))]) == MaskRules(
        ("email",), ("a+", "z"), ("b",), ("x-c",)
    )
