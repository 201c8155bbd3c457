"""What a result depends on, without naming the machine: cores, kernel, versions, file system."""

from __future__ import annotations

import os
import platform
import re
import shutil
import subprocess
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path

from bench.process import cores
from bench.systems import Nginx

_LIBRARIES = ("uvicorn", "uvloop", "httptools", "orjson")


def describe(trace_folder: Path) -> str:
    """One line: `2 cores, Linux 6.1, Python 3.11.7, uvloop 0.22.1, …, traces on ext4`."""
    parts = [f"{cores()} cores", f"{platform.system()} {re.split('[-+]', platform.release())[0]}"]
    parts.append(f"{platform.python_implementation()} {platform.python_version()}")
    parts += [f"{name} {found}" for name in _LIBRARIES if (found := _version(name))]
    parts += [text for text in (_nginx(), _wrk()) if text]
    parts.append(f"traces on {file_system(trace_folder)}")
    return ", ".join(parts)


def _version(name: str) -> str | None:
    try:
        return version(name)
    except PackageNotFoundError:
        return None


def _nginx() -> str | None:
    found = re.search(r"nginx/([\d.]+)", _printed(Nginx.binary(), "-v"))
    return f"nginx {found[1]}" if found else None


def _wrk() -> str | None:
    found = re.search(r"wrk \S*?(\d+\.\d+\.\d+)", _printed(shutil.which("wrk"), "-v"))
    return f"wrk {found[1]}" if found else None


def _printed(binary: str | None, flag: str) -> str:
    if binary is None:
        return ""
    done = subprocess.run([binary, flag], capture_output=True, text=True, check=False, timeout=10)
    return done.stdout + done.stderr


def file_system(folder: Path) -> str:
    """The type of the mount that holds the folder, from /proc/mounts."""
    path, best, kind = os.path.realpath(folder), "", "unknown"
    for line in Path("/proc/mounts").read_text().splitlines():
        _, mount, found = line.split()[:3]
        inside = path == mount or path.startswith(mount.rstrip("/") + "/")
        if inside and len(mount) >= len(best):
            best, kind = mount, found
    return kind
