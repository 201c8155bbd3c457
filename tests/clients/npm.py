"""The clients and the mock provider from npm: installed into a folder, run as processes.

Nothing but the npm registry is reached: the processes have a home of their own, every switch
against telemetry and updates set, and a proxy for the rest of the world that refuses.
"""

from __future__ import annotations

import os
import re
import shutil
import signal
import subprocess
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from tests.support.wire import free_port

# The versions these checks were last seen to pass with.
CLAUDE_CODE = "2.1.329"
CODEX = "0.169.0"
AIMOCK = "1.43.0"


class InstallError(Exception):
    """npm is missing, or could not install what is asked for."""


def install(folder: Path, packages: Mapping[str, str]) -> None:
    """Installs `{name: version}` under `folder/node_modules`, once."""
    npm = shutil.which("npm")
    if npm is None:
        raise InstallError("npm is not installed; on Debian: apt-get install nodejs npm")
    wanted = [
        f"{name}@{version}"
        for name, version in packages.items()
        if not _installed(folder, name, version)
    ]
    if not wanted:
        return
    folder.mkdir(parents=True, exist_ok=True)
    command = [npm, "install", "--no-audit", "--no-fund", "--loglevel=error"]
    command += ["--prefix", str(folder), *wanted]
    done = subprocess.run(command, check=False, capture_output=True, text=True, timeout=600)
    if done.returncode:
        raise InstallError(f"npm could not install {' '.join(wanted)}:\n{done.stderr[-2000:]}")


def _installed(folder: Path, name: str, version: str) -> bool:
    package = folder / "node_modules" / name / "package.json"
    return package.is_file() and f'"version": "{version}"' in package.read_text()


def binary(folder: Path, name: str) -> str:
    return str(folder / "node_modules" / ".bin" / name)


class Aimock:
    """The mock provider: answers the prompts of `fixtures.json` in every provider's format."""

    def __init__(self, folder: Path, log: Path) -> None:
        self.folder = folder
        self.log = log
        self.port = free_port()
        self.process: subprocess.Popen[bytes] | None = None

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.port}"

    def start(self, timeout_s: float = 20) -> Aimock:
        fixtures = Path(__file__).with_name("fixtures.json")
        command = [binary(self.folder, "llmock"), "-p", str(self.port), "-f", str(fixtures)]
        with self.log.open("wb") as log:
            self.process = subprocess.Popen(
                command, stdin=subprocess.DEVNULL, stdout=log, stderr=log, start_new_session=True
            )
        until = time.monotonic() + timeout_s
        while "server listening" not in self.log.read_text("utf-8", "replace"):
            if time.monotonic() > until or self.process.poll() is not None:
                self.stop()
                raise InstallError(f"aimock does not start:\n{self.log.read_text()[-2000:]}")
            time.sleep(0.05)
        return self

    def stop(self) -> None:
        if self.process is not None and self.process.poll() is None:
            self.process.terminate()
            try:
                self.process.wait(5)
            except subprocess.TimeoutExpired:
                self.process.kill()
                self.process.wait(5)


@dataclass(slots=True)
class Ran:
    """What a client printed (colours removed) and how it ended; `seconds` from start to end."""

    code: int
    out: str
    err: str
    seconds: float


def run_client(
    command: Sequence[str], env: Mapping[str, str], cwd: Path, timeout_s: float = 90
) -> Ran:
    """Runs a client to its end, or ends it with all its children; -9 when it was too slow.

    A variable of `env` that is empty is not set at all.
    """
    cwd.mkdir(parents=True, exist_ok=True)
    variables = {"PATH": os.environ["PATH"], **NOWHERE, **env}
    began = time.monotonic()
    process = subprocess.Popen(
        command,
        cwd=cwd,
        env={name: value for name, value in variables.items() if value},
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        start_new_session=True,
    )
    try:
        out, err = process.communicate(timeout=timeout_s)
    except subprocess.TimeoutExpired:
        os.killpg(process.pid, signal.SIGKILL)
        out, err = process.communicate()
    except BaseException:
        os.killpg(process.pid, signal.SIGKILL)
        process.wait()
        raise
    return Ran(process.returncode, _plain(out), _plain(err), time.monotonic() - began)


# Port 9 (discard) refuses: whatever does not go to this machine fails at once, and goes nowhere.
NOWHERE = {
    "HTTPS_PROXY": "http://127.0.0.1:9",
    "HTTP_PROXY": "http://127.0.0.1:9",
    "NO_PROXY": "127.0.0.1,localhost",
    "TERM": "dumb",
    "NO_COLOR": "1",
}


def _plain(data: bytes) -> str:
    return re.sub(r"\x1b\[[0-9;]*m", "", data.decode("utf-8", "replace"))
