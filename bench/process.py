"""Processes of a run: pinned to a core, watched through /proc, ended by their own pid."""

from __future__ import annotations

import contextlib
import os
import shutil
import signal
import socket
import subprocess
import threading
import time
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

PROXY_CORE, LOAD_CORE = 0, 1
_TICK_S = 1 / os.sysconf("SC_CLK_TCK")


def pinned(core: int, command: Sequence[str]) -> list[str]:
    """The command on one core; its children inherit that. As it is where there is one core only."""
    if cores() < 2 or shutil.which("taskset") is None:
        return list(command)
    return ["taskset", "-c", str(core), *command]


def cores() -> int:
    return os.cpu_count() or 1


def free_port() -> int:
    with socket.create_server(("127.0.0.1", 0)) as server:
        return int(server.getsockname()[1])


class Process:
    """One child with everything below it: it leads a session of its own. Output goes to a file."""

    def __init__(
        self,
        command: Sequence[str],
        folder: Path,
        *,
        core: int = PROXY_CORE,
        env: Mapping[str, str] | None = None,
    ) -> None:
        self.command = pinned(core, command)
        self.folder = folder
        self.env = env
        self.child: subprocess.Popen[bytes] | None = None

    @property
    def log(self) -> Path:
        return self.folder / "output.log"

    def start(self) -> None:
        self.folder.mkdir(parents=True, exist_ok=True)
        with self.log.open("wb") as log:
            self.child = subprocess.Popen(
                self.command,
                cwd=self.folder,
                env=None if self.env is None else dict(self.env),
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=log,
                start_new_session=True,
            )

    def wait_for(self, port: int, timeout_s: float = 20) -> None:
        """Until the port answers."""
        until = time.monotonic() + timeout_s
        while True:
            with contextlib.suppress(OSError), socket.create_connection(("127.0.0.1", port), 1):
                return
            if time.monotonic() > until or (
                self.child is not None and self.child.poll() is not None
            ):
                raise RuntimeError(f"{' '.join(self.command)} does not listen:\n{self.tail()}")
            time.sleep(0.01)

    def tail(self) -> str:
        return self.log.read_text("utf-8", "replace")[-1500:] if self.log.exists() else ""

    def stop(self, timeout_s: float = 30) -> None:
        """SIGTERM, and SIGKILL to what is left of its session. Safe at any time, also twice."""
        if self.child is None:
            return
        try:
            if self.child.poll() is None:
                self.child.send_signal(signal.SIGTERM)
                self.child.wait(timeout_s)
        except subprocess.TimeoutExpired:
            pass
        finally:
            for pid in self.pids():
                with contextlib.suppress(ProcessLookupError):
                    os.kill(pid, signal.SIGKILL)
            self.child.wait(5)

    def pids(self) -> list[int]:
        """Those of its session that live, itself first."""
        if self.child is None:
            return []
        leader = self.child.pid
        return sorted(pid for pid, session in _sessions() if session == leader)

    def cpu_s(self) -> dict[int, float]:
        """User and system time of each of its processes so far."""
        return {pid: _cpu_s(pid) for pid in self.pids()}


def _sessions() -> Iterator[tuple[int, int]]:
    for entry in Path("/proc").iterdir():
        if entry.name.isdigit():
            with contextlib.suppress(OSError):
                fields = _stat(int(entry.name))
                if fields[0] != "Z":
                    yield int(entry.name), int(fields[3])


def _stat(pid: int) -> list[str]:
    """The fields of /proc/PID/stat from the state on; the name before may hold spaces."""
    return Path(f"/proc/{pid}/stat").read_text().rpartition(") ")[2].split()


def _cpu_s(pid: int) -> float:
    with contextlib.suppress(OSError):
        fields = _stat(pid)
        return (int(fields[11]) + int(fields[12])) * _TICK_S
    return 0.0


@dataclass(slots=True)
class Memory:
    """Peaks over all processes of one system, in MB (10^6 bytes).

    rss: the sum of their VmHWM: what two of them share counts twice, so it is the upper bound.
    pss: the highest sum of their PSS that was sampled: shared pages count once.
    """

    rss_mb: float
    pss_mb: float


class MemoryWatch:
    """Samples the memory of a process and its children while the block runs."""

    def __init__(self, process: Process, interval_s: float = 0.2) -> None:
        self.process = process
        self.interval_s = interval_s
        self._pss_kb = 0
        self._over = threading.Event()
        self._thread = threading.Thread(target=self._sample, daemon=True)

    def __enter__(self) -> MemoryWatch:
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._over.set()
        self._thread.join()

    def peak(self) -> Memory:
        rss = sum(_kb(pid, "status", "VmHWM:") for pid in self.process.pids())
        return Memory(rss * 1.024e-3, self._pss_kb * 1.024e-3)

    def _sample(self) -> None:
        while not self._over.wait(self.interval_s):
            pss = sum(_kb(pid, "smaps_rollup", "Pss:") for pid in self.process.pids())
            self._pss_kb = max(self._pss_kb, pss)


def _kb(pid: int, file: str, field: str) -> int:
    with contextlib.suppress(OSError):
        for line in Path(f"/proc/{pid}/{file}").read_text().splitlines():
            if line.startswith(field):
                return int(line.split()[1])
    return 0
