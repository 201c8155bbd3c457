"""Values of filters: read from what was typed into the column's own unit, and written again."""

from __future__ import annotations

import math
import re
from collections.abc import Callable
from datetime import UTC, datetime, timedelta

from ..utils.suggesting import did_you_mean
from .fields import Field, Kind

Value = str | float | int | bool

_MOST = 2**53  # what a float holds exactly, and every database's integer
_NUMBER = re.compile(r"(\d+(?:\.\d*)?|\.\d+)(k|m)?", re.IGNORECASE)
_EXACT = re.compile(r"\d+(?:\.\d+)?(?:e[+-]?\d+)?", re.IGNORECASE)
_SPAN = re.compile(
    r"(?:(?:\d+(?:\.\d*)?|\.\d+)(?:e[+-]?\d+)?(?:us|µs|ms|s|m|h|d|w))+", re.IGNORECASE
)
_PIECE = re.compile(r"([\d.]+(?:e[+-]?\d+)?)(us|µs|ms|s|m|h|d|w)", re.IGNORECASE)
_MS = {
    "us": 0.001,
    "µs".casefold(): 0.001,  # with the Greek letter, which people type, too
    "ms": 1.0,
    "s": 1e3,
    "m": 6e4,
    "h": 3.6e6,
    "d": 8.64e7,
    "w": 6.048e8,
}
_DAY_US = 86_400_000_000
_LONGEST_MS = 3.2e12  # a hundred years
_LATEST_US = 1 << 52  # in the year 2112; the store's places in time end at twice that
_WORD = re.compile(r"[^\W_]+")
_PLAIN = re.compile(r'[^\s"(),<>=!][^\s"(),]*')


def read(field: Field, text: str, now_us: int) -> Value:
    """The value that `text` is for this field. Raises ValueError: the form that would be right."""
    if field.kind is Kind.TIME:
        return _time_us(text, now_us)
    reader = _READERS.get(field.kind)
    return _pattern(field, text) if reader is None else reader(text)


def words(text: str) -> list[str]:
    """The words of a text as searches see them: runs of letters and digits, in lower case."""
    return _WORD.findall(text.lower())


def written(kind: Kind, value: object, *, phrase: bool = False) -> str:
    """The value as it can be typed, `read` gives it again."""
    if isinstance(value, bool):
        return "yes" if value else "no"
    if kind is Kind.TIME and isinstance(value, int):
        at = datetime(1970, 1, 1, tzinfo=UTC) + timedelta(microseconds=value)
        return f"{at.replace(tzinfo=None).isoformat(timespec='microseconds')}Z"
    if isinstance(value, (int, float)):
        return f"{value!r}ms" if kind is Kind.DURATION else repr(value)
    return _written_text(kind, str(value), phrase)


def _written_text(kind: Kind, text: str, phrase: bool) -> str:
    # `none` in quotes is the text; a searched word cannot be unknown.
    reserved = text.lower() == "none" and kind is not Kind.SEARCH
    if not phrase and not reserved and _PLAIN.fullmatch(text):
        return text
    return '"' + text.replace("\\", "\\\\").replace('"', '\\"') + '"'


def _number(text: str) -> float | int:
    if _EXACT.fullmatch(text):
        number = float(text)
    elif found := _NUMBER.fullmatch(text):
        number = float(found[1]) * {"": 1.0, "k": 1e3, "m": 1e6}[(found[2] or "").lower()]
    else:
        raise ValueError("takes a number like 400, 12k or 1.5M")
    if number > _MOST:
        raise ValueError("takes a smaller number")
    return int(number) if number.is_integer() else number


def _span_ms(text: str) -> float:
    if not _SPAN.fullmatch(text):
        unit = f", like {text}s or {text}ms" if _EXACT.fullmatch(text) else " like 250ms, 2s, 1m30s"
        raise ValueError(f"takes a time with its unit{unit}")
    try:
        ms = sum(float(number) * _MS[unit.casefold()] for number, unit in _PIECE.findall(text))
    except ValueError:
        raise ValueError("takes a time with its unit like 250ms, 2s, 1m30s") from None
    if not ms <= _LONGEST_MS:
        raise ValueError("takes a time below a hundred years")
    return ms


def _money(text: str) -> float:
    plain = text.removeprefix("$")
    if not _EXACT.fullmatch(plain) or not math.isfinite(float(plain)):
        raise ValueError("takes US dollars like 0.05")
    return float(plain)


def _time_us(text: str, now_us: int) -> int:
    """What is out of reach of any row is as far as the first or the last can be."""
    return min(max(_moment_us(text, now_us), 0), _LATEST_US)


def _moment_us(text: str, now_us: int) -> int:
    day_us = now_us - now_us % _DAY_US
    named = {"now": now_us, "today": day_us, "yesterday": day_us - _DAY_US}.get(text.lower())
    if named is not None:
        return named
    if _SPAN.fullmatch(text):
        return now_us - round(_span_ms(text) * 1000)
    try:
        at = datetime.fromisoformat(text)
    except ValueError:
        raise ValueError(
            "takes a time ago like 2h or 7d, or a UTC date like today, 2026-11-21 or"
            " 2026-11-21T10:00"
        ) from None
    if at.tzinfo is None:
        at = at.replace(tzinfo=UTC)
    since = at - datetime(1970, 1, 1, tzinfo=UTC)
    return since // timedelta(microseconds=1)


def _flag(text: str) -> bool:
    known = {"yes": True, "true": True, "no": False, "false": False}.get(text.lower())
    if known is None:
        raise ValueError("takes yes or no")
    return known


def _searched(text: str) -> str:
    if not words(text):
        raise ValueError("needs a letter or a digit to search for")
    return text


def _pattern(field: Field, text: str) -> str:
    if field.values and "*" not in text and text.lower() not in field.values:
        raise ValueError(f"has no value '{text}'; {did_you_mean(text, field.values)}")
    return f"*{text}" if field.ends and "*" not in text else text


_READERS: dict[Kind, Callable[[str], Value]] = {
    Kind.NUMBER: _number,
    Kind.DURATION: _span_ms,
    Kind.MONEY: _money,
    Kind.FLAG: _flag,
    Kind.SEARCH: _searched,
}
