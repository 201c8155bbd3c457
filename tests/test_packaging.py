"""The package as it is installed: what pyproject names is what stands on disk and in the wheel."""

from __future__ import annotations

import io
import subprocess
import sys
import tarfile
import tomllib
import zipfile
from collections.abc import Iterator
from importlib.metadata import version
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[1]


def setuptools_table() -> dict[str, object]:
    with (ROOT / "pyproject.toml").open("rb") as file:
        table: dict[str, object] = tomllib.load(file)["tool"]["setuptools"]
        return table


def files_of(root: Path) -> set[str]:
    """Every file of the package below `root/src`, caches aside."""
    return {
        str(path.relative_to(root / "src"))
        for path in (root / "src").rglob("*")
        if path.is_file() and "__pycache__" not in path.parts
    }


def test_packages_of_pyproject_are_those_on_disk() -> None:
    on_disk = {
        ".".join(("llmtap", *path.parent.relative_to(ROOT / "src").parts))
        for path in (ROOT / "src").rglob("*.py")
    }
    named = setuptools_table()["packages"]
    assert isinstance(named, list)
    assert len(named) == len(set(named))
    assert set(named) == on_disk


def test_every_package_is_one() -> None:
    """A folder without __init__.py is found by an editable install and absent from the wheel."""
    for path in (ROOT / "src").rglob("*.py"):
        assert (path.parent / "__init__.py").exists(), path.parent


@pytest.fixture(scope="module")
def export(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """What a fresh clone would hold, from the index: nothing that is only in this checkout."""
    folder = tmp_path_factory.mktemp("export")
    archive = subprocess.run(
        ["git", "archive", "HEAD"], cwd=ROOT, capture_output=True, check=True
    ).stdout
    with tarfile.open(fileobj=io.BytesIO(archive)) as tar:
        tar.extractall(folder, filter="data")
    return folder


def builds_here() -> bool:
    """Whether the setuptools of this environment can read our pyproject: SPDX licences, 77."""
    return int(version("setuptools").split(".")[0]) >= 77


@pytest.fixture(scope="module")
def wheel(export: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[zipfile.ZipFile]:
    folder = tmp_path_factory.mktemp("wheel")
    command = [sys.executable, "-m", "pip", "wheel", "-q", "--no-deps"]
    if builds_here():
        command += ["--no-build-isolation", "--no-index"]
    command += ["--disable-pip-version-check", "-w", str(folder), str(export)]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout + done.stderr
    (path,) = folder.glob("llmtap-*.whl")
    with zipfile.ZipFile(path) as opened:
        yield opened


def test_wheel_holds_every_module_and_data_file(export: Path, wheel: zipfile.ZipFile) -> None:
    inside = {
        name.removeprefix("llmtap/") for name in wheel.namelist() if name.startswith("llmtap/")
    }
    assert inside == files_of(export)


def test_wheel_names_the_command_and_the_version(wheel: zipfile.ZipFile) -> None:
    (info,) = {name.split("/")[0] for name in wheel.namelist() if ".dist-info/" in name}
    assert "llmtap = llmtap.main:main" in wheel.read(f"{info}/entry_points.txt").decode()
    metadata = wheel.read(f"{info}/METADATA").decode()
    line = next(line for line in metadata.splitlines() if line.startswith("Version: "))
    assert line.removeprefix("Version: ")[0].isdigit()


def test_wheel_brings_nothing_else(wheel: zipfile.ZipFile) -> None:
    tops = {name.split("/")[0] for name in wheel.namelist()}
    assert {top for top in tops if not top.endswith(".dist-info")} == {"llmtap"}
    assert not [n for n in wheel.namelist() if n.endswith(".pyc") or "/tests/" in n]
