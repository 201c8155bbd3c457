"""The layers of the design, read from the source: imports point down, and only down."""

from __future__ import annotations

import ast
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

SRC = Path(__file__).resolve().parents[1] / "src"

# From the top; what stands on one line does not import each other unless it says so below.
LAYERS = (
    ("main", "__main__"),
    ("cli",),
    ("app",),
    ("web",),
    ("middlewares",),
    ("live",),
    ("keys", "limits", "store", "tracing", "proxy"),
    ("query", "views"),
    ("record",),
    ("config", "prices"),
    ("models",),
    ("utils",),
    ("__init__",),
)
RANK = {name: rank for rank, names in enumerate(LAYERS) for name in names}
# tracing's recorder builds documents with the providers' knowledge and the exchange's vocabulary.
BESIDE = {("tracing", "proxy"), ("store", "tracing"), ("keys", "store")}
FILES = sorted(SRC.rglob("*.py"))


def layer_of(path: Path) -> str:
    first = path.relative_to(SRC).parts[0]
    return first.removesuffix(".py")


def imports_of(path: Path) -> Iterator[tuple[str, ...]]:
    """Every import as the parts of an absolute name: inside the package it begins with `src`."""
    package = ("src", *path.relative_to(SRC).parent.parts)
    for node in ast.walk(ast.parse(path.read_text("utf-8"))):
        if isinstance(node, ast.Import):
            for alias in node.names:
                yield tuple(alias.name.split("."))
        elif isinstance(node, ast.ImportFrom):
            base = package[: len(package) - node.level + 1] if node.level else ()
            module = (*base, *(node.module.split(".") if node.module else ()))
            if node.module is None:
                for alias in node.names:
                    is_module = (SRC.parent / Path(*module, alias.name)).is_dir() or (
                        SRC.parent / Path(*module, f"{alias.name}.py")
                    ).exists()
                    yield (*module, alias.name) if is_module else module
            else:
                yield module


def own_imports(path: Path) -> Iterator[str]:
    for parts in imports_of(path):
        if parts[0] in ("src", "llmtap"):
            yield parts[1] if len(parts) > 1 else "__init__"


@pytest.mark.parametrize("path", FILES, ids=[str(f.relative_to(SRC)) for f in FILES])
def test_imports_point_down(path: Path) -> None:
    own = layer_of(path)
    assert own in RANK, f"{own} stands in no layer: add it to LAYERS"
    for other in set(own_imports(path)) - {own}:
        assert other in RANK, f"{other} stands in no layer"
        assert RANK[other] > RANK[own] or (own, other) in BESIDE, f"{own} imports {other}"


def test_only_the_package_mapping_knows_the_installed_name() -> None:
    """Inside, imports are relative: an absolute one makes a second copy of every class."""
    for path in FILES:
        absolute = _absolute_imports(path)
        assert not absolute, f"{path.relative_to(SRC)}: {absolute}"


def _absolute_imports(path: Path) -> list[str]:
    found = []
    for node in ast.walk(ast.parse(path.read_text("utf-8"))):
        if isinstance(node, ast.Import):
            found += [a.name for a in node.names if a.name.split(".")[0] in ("src", "llmtap")]
        elif isinstance(node, ast.ImportFrom) and not node.level and node.module:
            found += [node.module] if node.module.split(".")[0] in ("src", "llmtap") else []
    return found


PROVIDER_FILES = sorted((SRC / "proxy" / "providers").glob("*.py"))


@pytest.mark.parametrize("path", PROVIDER_FILES, ids=[f.name for f in PROVIDER_FILES])
def test_providers_know_only_the_standard_library_orjson_and_utils(path: Path) -> None:
    allowed = {*sys.stdlib_module_names, "orjson"}
    forbidden = {"asyncio", "socket", "ssl", "http", "threading", "selectors"}
    for parts in imports_of(path):
        if parts[0] == "src":
            assert parts[1:3] == ("proxy", "providers") or parts[1] == "utils", ".".join(parts)
        else:
            assert parts[0] in allowed - forbidden, ".".join(parts)


RECORDER_LIBRARIES = {"orjson", "brotli", "wsproto", "zstandard"}


def test_the_recorder_starts_without_the_programs_libraries() -> None:
    """tracing runs in a process of its own that has to start fast and stay small."""
    for path in sorted((SRC / "tracing").glob("*.py")):
        for parts in imports_of(path):
            known = parts[0] in {*sys.stdlib_module_names, *RECORDER_LIBRARIES, "src"}
            assert known, f"{path.name} imports {'.'.join(parts)}"


def test_type_checking_is_used_nowhere() -> None:
    for path in FILES:
        assert "TYPE_CHECKING" not in path.read_text("utf-8"), path.name


@pytest.mark.parametrize("name", ["__init__.py", "proxy/__init__.py"])
def test_package_roots_import_nothing_of_the_program(name: str) -> None:
    """They are run for every import below them, the recorder's too."""
    assert not [p for p in imports_of(SRC / name) if p[0] not in sys.stdlib_module_names]
