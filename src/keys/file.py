"""The keys file: YAML, `keys:` and a list of entries, variables as in the config.

keys:
  - label: alice
    hash: sha256:…
    expires: 2027-01-31
    models: [gpt-4o*]
"""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

from pydantic import ValidationError

from ..config.document import Document, read_document
from ..config.errors import Loc, Problem, dotted
from ..config.explain import explain
from ..config.settings import Section
from .entry import KeyEntry
from .keyring import ClientKey, clashes


class KeysFileError(Exception):
    """A keys file that cannot be used. `lines`: each mistake, `keys.yaml:4 keys.0.hash: …`."""

    def __init__(self, lines: list[str]) -> None:
        self.lines = lines
        super().__init__("; ".join(lines))


class _KeysFile(Section):
    keys: tuple[KeyEntry, ...]


def read_keys(path: Path, env: Mapping[str, str]) -> list[ClientKey]:
    """The keys in the file at `path`. Raises `KeysFileError`."""
    document = read_document(path, path.name, env)
    if document.problems:
        raise KeysFileError([_line(document, p) for p in document.problems])
    try:
        read = _KeysFile.model_validate(document.values)
    except ValidationError as error:
        details = error.errors(include_url=False)
        raise KeysFileError(
            [
                _line(document, Problem(d["loc"], explain(d, _KeysFile, opaque=True)))
                for d in details
            ]
        ) from None  # its context would hold the values
    keys = [entry.client_key() for entry in read.keys]
    if found := clashes(keys):
        raise KeysFileError([_line(document, Problem(("keys", i), text)) for i, text in found])
    return keys


def _line(document: Document, problem: Problem) -> str:
    loc: Loc = problem.loc
    place = problem.place or document.place(loc)
    return f"{' '.join(filter(None, (place, dotted(loc))))}: {problem.text}"
