"""What is masked beside credentials, as the configuration says: patterns, JSON paths, headers.

MaskRules   what is wanted: data, kept in the journal's folder beside what it is for
Masker      does it: to texts, to JSON, to whole bodies, whoever asks (recorder or middleware)
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterable
from dataclasses import asdict, dataclass
from pathlib import Path

import orjson

from ..utils.redaction import MASK_TEXT
from . import render
from .kinds import KINDS
from .paths import mask_path, parse_path

RULES_NAME = "rules.json"
_JSON_BEGINS = (b"{", b"[", b'"')
# A JSON string, or a number: a card's number needs no quotes.
_TOKEN = re.compile(r'"[^"\\]*(?:\\.[^"\\]*)*"|-?\d[\d.eE+-]{4,}', re.DOTALL)

Span = tuple[int, int]


@dataclass(slots=True, frozen=True)
class MaskRules:
    """`kinds` are names in `KINDS`, `patterns` regular expressions, `headers` names."""

    kinds: tuple[str, ...] = ()
    patterns: tuple[str, ...] = ()
    paths: tuple[str, ...] = ()
    headers: tuple[str, ...] = ()

    @staticmethod
    def merged(several: Iterable[MaskRules]) -> MaskRules | None:
        """All of them as one; None for none."""
        all_of = list(several)
        if not all_of:
            return None
        return MaskRules(
            tuple(dict.fromkeys(kind for rules in all_of for kind in rules.kinds)),
            tuple(dict.fromkeys(pattern for rules in all_of for pattern in rules.patterns)),
            tuple(dict.fromkeys(path for rules in all_of for path in rules.paths)),
            tuple(dict.fromkeys(name for rules in all_of for name in rules.headers)),
        )

    def save(self, directory: Path) -> None:
        """Leave them where the journal is: what recovers it masks as its owner would have."""
        directory.mkdir(mode=0o700, parents=True, exist_ok=True)
        draft = directory / f"{RULES_NAME}.new"
        draft.touch(0o600)
        draft.write_bytes(orjson.dumps(asdict(self)))
        draft.rename(directory / RULES_NAME)

    @staticmethod
    def load(directory: Path) -> MaskRules | None:
        """Those of a journal; None where it has none."""
        try:
            fields = orjson.loads((directory / RULES_NAME).read_bytes())
        except FileNotFoundError:
            return None
        return MaskRules(**{name: tuple(values) for name, values in fields.items()})


class Masker:
    """Masks by rules. A body that cannot be looked through is told as None: not shown, not sent."""

    def __init__(self, rules: MaskRules) -> None:
        self._checked = [KINDS[name] for name in rules.kinds]
        self._patterns = [re.compile(pattern) for pattern in rules.patterns]
        self._paths = [parse_path(path) for path in rules.paths]

    def spans(self, text: str) -> list[Span]:
        """Where something to be masked stands: in order, none touching another."""
        found = [m.span() for pattern in self._patterns for m in pattern.finditer(text)]
        for pattern, meant, needs in self._checked:
            for needed in needs:
                if needed in text:
                    found += [m.span() for m in pattern.finditer(text) if not meant or meant(m[0])]
                    break
        return _united(found) if found else found

    def clean(self, text: str) -> str:
        """The text with all patterns masked."""
        for start, end in reversed(self.spans(text)):
            text = text[:start] + MASK_TEXT + text[end:]
        return text

    def clean_json(self, text: str) -> str:
        """JSON as text, or the beginning of it: each string in it looked at as what it says
        (`\\u0040` is an @), nothing else changed by a letter."""
        return _TOKEN.sub(self._clean_token, text)

    def _clean_token(self, found: re.Match[str]) -> str:
        token = found[0]
        if token[0] != '"':
            return token if self.clean(token) == token else f'"{MASK_TEXT}"'
        said = token[1:-1]
        if "\\" in said:
            try:
                said = json.loads(token, strict=False)
            except ValueError:  # no escape of JSON's: take it as it stands
                said = token[1:-1]
        cleaned = self.clean(said)
        return token if cleaned == said else json.dumps(cleaned)

    def mask_paths(self, value: object) -> bool:
        """Mask what stands at the paths, in place. True if something did."""
        found = [mask_path(value, path) for path in self._paths]
        return any(found)

    def mask_value(self, value: object) -> bool:
        """Whether anything in a JSON value is to be masked; its paths are, in place."""
        found = self.mask_paths(value)
        return found or self._holds(value)

    def _holds(self, value: object) -> bool:
        if isinstance(value, str):
            return bool(self.spans(value))
        if isinstance(value, dict):
            return any(self._holds(inner) for inner in (*value, *value.values()))
        return isinstance(value, list) and any(self._holds(inner) for inner in value)

    def mask_body(self, data: bytes, *, is_json: bool = False) -> bytes | None:
        """A whole decoded body. `is_json`: it is said to be JSON. None: paths are to be masked,
        and it is no JSON they could be found in."""
        looks = is_json or data.lstrip(b"\xef\xbb\xbf \t\r\n").startswith(_JSON_BEGINS)
        if looks:
            try:
                value = render.loads(data.removeprefix(b"\xef\xbb\xbf"))
            except ValueError:
                return None if self._paths else self._mask_text(data)
            if self.mask_paths(value):
                data = dumps(value)
            return encoded(self.clean_json(decoded(data)), data)
        return self._mask_text(data)

    def _mask_text(self, data: bytes) -> bytes:
        return encoded(self.clean(self.clean_json(decoded(data))), data)


def decoded(data: bytes) -> str:
    """Bytes as text that `encoded` gives back as they were: UTF-8, or each byte a letter."""
    try:
        return data.decode()
    except UnicodeDecodeError:
        return data.decode("latin-1")


def encoded(text: str, before: bytes) -> bytes:
    """`decoded` undone. `before`: what was decoded, which tells how."""
    try:
        before.decode()
    except UnicodeDecodeError:
        return text.encode("latin-1")
    return text.encode()


def dumps(value: object) -> bytes:
    """Compact JSON, whatever Python holds."""
    try:
        return orjson.dumps(value)
    except TypeError:
        return json.dumps(value).encode()


def _united(spans: list[Span]) -> list[Span]:
    united: list[Span] = []
    for start, end in sorted(spans):
        if start == end:
            continue
        if united and start <= united[-1][1]:
            united[-1] = united[-1][0], max(end, united[-1][1])
        else:
            united.append((start, end))
    return united
