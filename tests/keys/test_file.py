"""The keys file: what it may hold, and each mistake with its line."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from src.keys.file import KeysFileError, read_keys
from src.keys.hashing import hash_key, new_key
from src.keys.watching import KeysFileWatch, KeysNotRead, read_apart, stamp

KEY = new_key()


def written(folder: Path, text: str) -> Path:
    path = folder / "keys.yaml"
    path.write_text(text)
    return path


def test_all_that_an_entry_may_say(tmp_path: Path) -> None:
    path = written(
        tmp_path,
        f"""
keys:
  - label: alice
    hash: {hash_key(KEY)}
    expires: 2027-01-31
    models: [gpt-4o*]
    upstreams: [openai]
    tier: gold
  - {{label: ci, key: "${{CI_KEY}}"}}
""",
    )
    alice, ci = read_keys(path, {"CI_KEY": new_key()})
    assert (alice.label, alice.models, alice.upstreams, alice.tier) == (
        "alice",
        ("gpt-4o*",),
        {"openai"},
        "gold",
    )
    assert alice.expires_ns == 1_801_440_000 * 10**9  # 2027-02-01T00:00:00Z
    assert ci.expires_ns is None
    assert KEY not in repr(alice)


MISTAKES = {
    "keys:\n  - label: a\n    key: ${UNSET}\n": "keys.yaml:3 keys.0.key: the environment variable",
    "keys:\n  - label: a\n    key: short\n": "keys.yaml:3 keys.0.key: is shorter than 16",
    "keys:\n  - lable: a\n": "keys.yaml:2 keys.0.lable: unknown key; did you mean label?",
    "key:\n  - label: a\n": "keys.yaml:1 key: unknown key",
    "keys: [\n": "keys.yaml:",
    "": "keys.yaml:1: holds no settings",
    "- a\n": "keys.yaml:1: is no mapping",
    f"keys:\n  - {{label: a, hash: '{hash_key(KEY)}'}}\n  - {{label: a, key: {KEY}}}\n": (
        "keys.yaml:3 keys.1: is a second key with the label a"
    ),
}


@pytest.mark.parametrize("text", MISTAKES)
def test_mistakes_name_their_line_and_no_key(tmp_path: Path, text: str) -> None:
    with pytest.raises(KeysFileError) as raised:
        read_keys(written(tmp_path, text), {})
    lines = raised.value.lines
    assert any(line.startswith(MISTAKES[text]) for line in lines), lines
    assert KEY not in str(lines)
    assert "short" not in str(lines).replace("shorter", "")


def test_file_that_is_not_there(tmp_path: Path) -> None:
    with pytest.raises(KeysFileError, match="no such file"):
        read_keys(tmp_path / "keys.yaml", {})


async def test_reading_apart_gives_the_same_keys(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("CI_KEY", new_key())
    rows = "".join(
        f"  - {{label: user{i}, hash: '{hash_key(new_key())}', models: [m{i}]}}\n"
        for i in range(1200)
    )
    path = written(tmp_path, f'keys:\n  - {{label: ci, key: "${{CI_KEY}}", tier: x}}\n{rows}')
    assert await read_apart(path) == read_keys(path, os.environ)
    assert await read_apart(written(tmp_path, "keys: []\n")) == []


async def test_reading_apart_tells_mistakes_and_no_key(tmp_path: Path) -> None:
    path = written(tmp_path, f"keys:\n  - label: a\n    key: {KEY}\n    hash: x\n")
    with pytest.raises(KeysNotRead) as raised:
        await read_apart(path)
    assert str(raised.value).startswith("keys.yaml:4 keys.0.hash: is no hash")
    assert KEY not in str(raised.value)


async def test_file_that_is_being_written_is_left_alone(tmp_path: Path) -> None:
    path = written(tmp_path, "keys: []\n")
    applied: list[int] = []
    watch = KeysFileWatch(path, lambda keys: applied.append(len(keys)), stamp(path))
    await watch.look()
    path.write_text(f"keys:\n  - {{label: a, hash: '{hash_key(KEY)}'}}\n")
    await watch.look()
    assert applied == []  # it changed just now
    await watch.look()
    assert applied == [1]
    await watch.look()
    assert applied == [1]  # nothing new
