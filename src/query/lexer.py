"""A filter's text as tokens, each with its place."""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass
from enum import Enum

from ..utils.suggesting import did_you_mean
from .errors import FilterError
from .fields import FIELDS

LONGEST = 4000  # characters: filters come from strangers, too
_FIELD = re.compile(r"([A-Za-z_]+):")
_NO_COLON = re.compile(r"([A-Za-z_]+)(?:>=|<=|[<>=])")
_CHUNK = re.compile(r'[^\s()"]+')
_BARE = re.compile(r'[^\s()",]+')
_QUOTED = re.compile(r'"((?:[^"\\]|\\.)*)"', re.DOTALL)
_OPERATOR = re.compile(r">=|<=|[<>=]")
_REFUSED = re.compile("[\0\ud800-\udfff]")  # no database takes them


class Mark(Enum):
    """What a token is."""

    OPEN = "("
    CLOSE = ")"
    AND = "AND"
    OR = "OR"
    NOT = "NOT"
    TERM = "term"
    END = "the end"


@dataclass(slots=True, frozen=True)
class Value:
    """One value as typed: `operator` is empty where there is none."""

    position: int
    operator: str
    text: str
    quoted: bool


@dataclass(slots=True, frozen=True)
class Token:
    """`field`: of a TERM the name before its colon, None of a bare word."""

    mark: Mark
    position: int
    length: int
    field: str | None = None
    values: tuple[Value, ...] = ()


def tokens(text: str) -> Iterator[Token]:
    """The tokens of a filter, END last. Raises FilterError."""
    if len(text) > LONGEST:
        raise FilterError(LONGEST, f"a filter has at most {LONGEST} characters")
    if refused := _REFUSED.search(text):
        raise FilterError(refused.start(), "this character cannot be searched for")
    at = 0
    while at < len(text):
        if text[at].isspace():
            at += 1
            continue
        token = _token(text, at)
        yield token
        at += token.length
    yield Token(Mark.END, len(text), 0)


def _token(text: str, at: int) -> Token:
    char = text[at]
    if char in "()":
        return Token(Mark(char), at, 1)
    if char == "-":
        if text[at + 1 : at + 2].strip() in ("", ")"):
            raise FilterError(at, "a - stands directly before what it excludes, like -path:/models")
        return Token(Mark.NOT, at, 1)
    if char == '"':
        value, end = _value(text, at, "")
        return Token(Mark.TERM, at, end - at, None, (value,))
    return _chunk(text, at)


def _chunk(text: str, at: int) -> Token:
    """A keyword, a field with its values, or a bare word."""
    found = _CHUNK.match(text, at)
    assert found is not None  # noqa: S101  neither space, parenthesis nor quote stands here
    chunk = found[0]
    if chunk in ("AND", "OR", "NOT"):
        return Token(Mark(chunk), at, len(chunk))
    if field := _FIELD.match(chunk):
        return _term(text, at, field[1])
    if (missed := _NO_COLON.match(chunk)) and missed[1].lower() in FIELDS:
        right = f"{missed[1]}:{chunk[len(missed[1]) :]}"
        raise FilterError(at + len(missed[1]), f"a colon is missing: write {right}")
    if found.end() < len(text) and text[found.end()] == '"':
        raise FilterError(found.end(), 'a " stands before all that it quotes, like "two words"')
    return Token(Mark.TERM, at, len(chunk), None, (Value(at, "", chunk, quoted=False),))


def _term(text: str, at: int, name: str) -> Token:
    if name.lower() not in FIELDS:
        near = did_you_mean(name, FIELDS)
        hint = f"{near}{'' if near.endswith('?') else '.'} In quotes it is searched for as text"
        raise FilterError(at, f"there is no field '{name}'; {hint}", len(name))
    end = at + len(name) + 1
    if text[end : end + 1] == "!":
        right = f"-{FIELDS[name.lower()].example}"
        raise FilterError(end, f"{name}: not is a - before the field, like {right}")
    values: list[Value] = []
    while True:
        operator = _OPERATOR.match(text, end)
        begin = operator.end() if operator else end
        value, end = _value(text, begin, operator[0] if operator else "", name)
        values.append(value)
        if text[end : end + 1] != ",":
            break
        end += 1
    if text[end : end + 1] == '"':
        raise FilterError(end, 'a " stands before all that it quotes, like body:"two words"')
    return Token(Mark.TERM, at, end - at, name.lower(), tuple(values))


def _value(text: str, at: int, operator: str, name: str = "") -> tuple[Value, int]:
    """The value that begins here, and where it ends."""
    if text[at : at + 1] == '"':
        quoted = _QUOTED.match(text, at)
        if quoted is None:
            raise FilterError(at, 'this " is never closed')
        value = Value(
            at, operator, re.sub(r"\\(.)", r"\1", quoted[1], flags=re.DOTALL), quoted=True
        )
        return value, quoted.end()
    bare = _BARE.match(text, at)
    if bare is None:
        example = FIELDS[name.lower()].example
        raise FilterError(at, f"{name}: needs a value directly after it, like {example}")
    return Value(at, operator, bare[0], quoted=False), bare.end()
