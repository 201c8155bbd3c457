"""A config file as plain values, with the line that each of them stands on.

Composed from YAML's nodes rather than loaded: only nodes know their lines, and a loader would let
the last of two equal keys win in silence.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path

import yaml
from yaml.constructor import SafeConstructor
from yaml.nodes import MappingNode, Node, ScalarNode, SequenceNode

from .errors import Loc, Problem
from .interpolate import UnsetVariableError, interpolate, references

_LOADER = getattr(yaml, "CSafeLoader", yaml.SafeLoader)  # libyaml where it is built in: ten times
_MERGE = "tag:yaml.org,2002:merge"
_STR = "tag:yaml.org,2002:str"


@dataclass(slots=True)
class Document:
    """`values`: the file's tree. `lines`: from 1. `interpolated`: came out of variables.

    `variables`: the names referred to. `unread`: where a problem has left only a stand-in;
    `broken`: nothing could be read at all.
    """

    label: str
    values: dict[str, object] = field(default_factory=dict)
    lines: dict[Loc, int] = field(default_factory=dict)
    interpolated: set[Loc] = field(default_factory=set)
    variables: set[str] = field(default_factory=set)
    problems: list[Problem] = field(default_factory=list)
    unread: set[Loc] = field(default_factory=set)
    broken: bool = False

    def place(self, loc: Loc) -> str:
        """`config.yaml:12`: where the setting, or the nearest one around it, is written."""
        while loc and loc not in self.lines:
            loc = loc[:-1]
        return f"{self.label}:{self.lines.get(loc, 1)}"


def read_document(path: Path, label: str, env: Mapping[str, str]) -> Document:
    """The file at `path`; whatever is wrong with it stands in `problems`, nothing is raised."""
    document = Document(label)
    try:
        text = path.read_bytes().decode("utf-8-sig")
        root = yaml.compose(text, Loader=_LOADER)
    except OSError as error:
        return _broken(document, label, f"{_reason(error)}; give the path of a readable file")
    except UnicodeDecodeError as error:
        line = error.object.count(b"\n", 0, error.start) + 1
        return _broken(document, f"{label}:{line}", "is not UTF-8; save the file as UTF-8")
    except yaml.YAMLError as error:
        return _syntax(document, text, error)
    if root is None or (isinstance(root, ScalarNode) and not root.value):
        return _broken(document, f"{label}:1", "holds no settings; write key: value, or remove it")
    if not isinstance(root, MappingNode):
        return _broken(document, f"{label}:1", "is no mapping; write key: value lines")
    _Tree(document, env).fill(root)
    return document


def _broken(document: Document, place: str, text: str) -> Document:
    document.broken = True
    document.problems.append(Problem((), text, place))
    return document


def _reason(error: OSError) -> str:
    return "no such file" if isinstance(error, FileNotFoundError) else f"{error.strerror}".lower()


def _syntax(document: Document, text: str, error: yaml.YAMLError) -> Document:
    mark = getattr(error, "problem_mark", None)
    if mark is None:  # ReaderError: a character that YAML does not allow
        position = getattr(error, "position", 0)
        line, column = text.count("\n", 0, position) + 1, 1
        problem = "holds a control character"
    else:
        line, column = mark.line + 1, mark.column + 1
        problem = str(getattr(error, "problem", None) or "cannot be parsed")
    lines = text.splitlines()
    source = lines[line - 1] if line <= len(lines) else ""
    place = f"{document.label}:{line}:{column}"
    return _broken(document, place, f"is no valid YAML: {problem}; {_advice(source)}")


def _advice(source: str) -> str:
    if "\t" in source[: len(source) - len(source.lstrip())]:
        return "the line is indented with a tab: use spaces"
    if "${" in source:
        return 'inside { } or [ ] write "${NAME}" in quotes'
    return "check indentation, colons and quotes around it"


class _Tree:
    """Turns nodes into values, for one document."""

    def __init__(self, document: Document, env: Mapping[str, str]) -> None:
        self._document = document
        self._env = env
        self._scalars = SafeConstructor()
        self._open: set[int] = set()

    def fill(self, root: MappingNode) -> None:
        self._document.values = self._mapping(root, ())

    def _value(self, node: Node, loc: Loc) -> object:
        if isinstance(node, ScalarNode):
            return self._scalar(node, loc)
        if id(node) in self._open:
            return self._unread(loc, "refers to itself by an alias; write it out")
        self._open.add(id(node))
        try:
            if isinstance(node, MappingNode):
                return self._mapping(node, loc)
            return self._sequence(node, loc)
        finally:
            self._open.discard(id(node))

    def _mapping(self, node: MappingNode, loc: Loc) -> dict[str, object]:
        values: dict[str, object] = {}
        first: dict[str, int] = {}
        for key_node, value_node in node.value:
            key = None if key_node.tag == _MERGE else self._key(key_node, loc)
            if key is None:
                continue
            line = key_node.start_mark.line + 1
            if key in first:
                self._problem(
                    (*loc, key), f"is written twice, first on line {first[key]}; keep one", line
                )
                continue
            first[key] = line
            self._document.lines.setdefault((*loc, key), line)
            self._put(values, key, self._value(value_node, (*loc, key)))
        for key_node, value_node in node.value:
            if key_node.tag == _MERGE:
                self._merge(value_node, loc, values)
        return values

    def _put(self, values: dict[str, object], key: str, value: object) -> None:
        """An interpolation that came out empty leaves the key out."""
        if value is not _LEFT_OUT:
            values[key] = value

    def _merge(self, node: Node, loc: Loc, values: dict[str, object]) -> None:
        """`<<: *base`: what is written here wins over what is merged in."""
        bases = node.value if isinstance(node, SequenceNode) else [node]
        for base in bases:
            merged = self._value(base, loc)
            if not isinstance(merged, dict):
                self._problem(loc, "merges something that is no mapping; name a mapping after <<")
                continue
            for key, value in merged.items():
                values.setdefault(key, value)

    def _key(self, node: Node, loc: Loc) -> str | None:
        if isinstance(node, ScalarNode) and node.tag == _STR:
            return str(node.value)
        self._problem(loc, "has a key that is no text; put it in quotes", node.start_mark.line + 1)
        return None

    def _sequence(self, node: Node, loc: Loc) -> list[object]:
        values = []
        for index, item in enumerate(node.value):
            here = (*loc, index)
            self._document.lines[here] = item.start_mark.line + 1
            value = self._value(item, here)
            values.append("" if value is _LEFT_OUT else value)
        return values

    def _scalar(self, node: ScalarNode, loc: Loc) -> object:
        if node.tag != _STR:
            return self._typed(node, loc)
        if "${" not in node.value:
            return node.value
        self._document.interpolated.add(loc)
        self._document.variables.update(references(node.value))
        try:
            return interpolate(node.value, self._env) or _LEFT_OUT
        except UnsetVariableError as error:
            return self._unread(loc, str(error))

    def _typed(self, node: ScalarNode, loc: Loc) -> object:
        try:
            return self._scalars.construct_object(node)
        except (yaml.YAMLError, ValueError):
            return self._unread(loc, "has a YAML form that is not understood; put it in quotes")

    def _unread(self, loc: Loc, text: str) -> str:
        self._document.unread.add(loc)
        self._problem(loc, text)
        return ""

    def _problem(self, loc: Loc, text: str, line: int | None = None) -> None:
        place = f"{self._document.label}:{line}" if line else self._document.place(loc)
        self._document.problems.append(Problem(loc, text, place))


_LEFT_OUT = object()
