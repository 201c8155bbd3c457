from __future__ import annotations

import pytest

from src.utils import spellings
from src.utils.spellings import Spellings


def test_a_spelling_is_looked_up_once_by_its_lower_case() -> None:
    asked: list[bytes] = []

    def length(name: bytes) -> int:
        asked.append(name)
        return len(name)

    table = Spellings(length)
    assert [table[b"Host"], table[b"HOST"], table[b"Host"]] == [4, 4, 4]
    assert asked == [b"host", b"host"]


def test_invented_names_do_not_grow_the_table_for_ever(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(spellings, "_MOST", 10)
    table = Spellings(len)
    for n in range(100):
        assert table[b"x-%03d" % n] == 5
    assert len(table) == 10


def test_what_is_refused_is_not_remembered() -> None:
    def refuse(name: bytes) -> bool:
        raise ValueError(name)

    table = Spellings(refuse)
    with pytest.raises(ValueError, match="x"):
        table[b"X"]
    assert not table
