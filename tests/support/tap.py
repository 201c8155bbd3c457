"""The program under test as its users run it: a process, a port, a folder of traces.

Each process leads a session of its own, so that it can be killed with all its children, and only
they: at the end of a test, at the interpreter's exit, and never by name.
"""

from __future__ import annotations

import atexit
import contextlib
import json
import os
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from tests.support.client import Address, Answer, Client, call
from tests.support.wire import Header, free_port

ROOT = Path(__file__).resolve().parents[2]
Document = dict[str, Any]  # a parsed trace: its shape is what the tests are about

_running: set[LLMTap] = set()


def several(upstreams: Mapping[str, Mapping[str, object]], **sections: object) -> dict[str, object]:
    """A config for many upstreams at once, each under the prefix of its name."""
    listed = [{"name": n, "prefix": f"/{n}", "type": "openai", **u} for n, u in upstreams.items()]
    return {"upstreams": listed, **sections}


def settings(base_url: str, *, kind: str = "openai", **sections: object) -> dict[str, object]:
    """A config for one upstream: `settings(url, timeouts={"idle_s": 0.3})`.

    `upstream={…}` adds to the upstream itself.
    """
    extra = sections.pop("upstream", {})
    assert isinstance(extra, dict)
    return {"upstreams": [{"type": kind, "base_url": base_url, **extra}], **sections}


class LLMTap:
    """`python -m src.main` on a free port.

    With `config` (the settings as a mapping) a config.yaml is written and given by `-c`; otherwise
    `--base-url` and `--type` are. `start()` and `restart()` use the same port and folders.
    """

    def __init__(
        self,
        folder: Path,
        *,
        base_url: str | None = None,
        kind: str = "openai",
        config: Mapping[str, object] | None = None,
        args: Sequence[str] = (),
        env: Mapping[str, str] | None = None,
    ) -> None:
        self.folder = folder
        self.trace_dir = folder / "traces"
        self.base_url = base_url
        self.kind = kind
        self.config = config
        self.args = tuple(args)
        self.env = dict(env or {})
        self.port = free_port()
        self.process: subprocess.Popen[bytes] | None = None
        self.start_s = 0.0
        self._parsed: dict[Path, tuple[str, Document]] = {}

    @property
    def address(self) -> Address:
        return "127.0.0.1", self.port

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.port}"

    @property
    def pid(self) -> int:
        assert self.process is not None
        return self.process.pid

    @property
    def output(self) -> str:
        """All it has printed so far, over every start: stdout and stderr."""
        files = sorted(self.folder.glob("output.*"))
        return "".join(file.read_text("utf-8", "replace") for file in files)

    def command(self) -> list[str]:
        command = [sys.executable, "-m", "src.main", "--port", str(self.port)]
        command += ["--trace-dir", str(self.trace_dir)]
        if self.config is not None:
            path = self.folder / "config.yaml"
            path.write_text(json.dumps(self.config, indent=1))  # JSON is YAML
            command += ["-c", str(path)]
        else:
            assert self.base_url is not None
            command += ["--base-url", self.base_url, "--type", self.kind]
        return [*command, *self.args]

    def launch(self) -> None:
        """Starts the process and does not wait for it."""
        self.folder.mkdir(parents=True, exist_ok=True)
        number = len(list(self.folder.glob("output.*.out")))
        quiet = {k: v for k, v in os.environ.items() if not _steers(k)}
        with (
            (self.folder / f"output.{number:03}.out").open("wb") as out,
            (self.folder / f"output.{number:03}.err").open("wb") as err,
        ):
            self.process = subprocess.Popen(
                self.command(),
                cwd=self.folder,
                env={**quiet, "PYTHONPATH": str(ROOT), "PYTHONUNBUFFERED": "1", **self.env},
                stdin=subprocess.DEVNULL,
                stdout=out,
                stderr=err,
                start_new_session=True,
            )
        _running.add(self)

    def start(self, timeout: float = 40) -> LLMTap:
        began = time.monotonic()
        self.launch()
        while not self._answers():
            if self.process is not None and self.process.poll() is not None:
                raise AssertionError(f"it ended with {self.process.returncode}:\n{self.output}")
            if time.monotonic() - began > timeout:
                self.kill9(group=True)
                raise AssertionError(f"it does not listen after {timeout} s:\n{self.output}")
            time.sleep(0.01)
        self.start_s = time.monotonic() - began
        return self

    def _answers(self) -> bool:
        with contextlib.suppress(OSError), socket.create_connection(self.address, 0.5):
            return True
        return False

    def restart(self) -> LLMTap:
        return self.start()

    def terminate(self) -> None:
        assert self.process is not None
        self.process.send_signal(signal.SIGTERM)

    def wait(self, timeout: float = 10) -> int:
        assert self.process is not None
        return self.process.wait(timeout)

    def stop(self, timeout: float = 10) -> int:
        """SIGTERM and the exit code; killed when it does not end in time. Safe to call twice."""
        if self.process is None:
            return 0
        try:
            if self.process.poll() is None:
                self.terminate()
            return self.wait(timeout)
        except subprocess.TimeoutExpired:
            return -9
        finally:
            self.kill9(group=True)

    def kill9(self, *, group: bool = False) -> None:
        """SIGKILL to the proxy alone, or to it and all its children."""
        if self.process is None:
            return
        for pid in self.members() if group else [self.process.pid]:
            if pid != self.process.pid or self.process.poll() is None:
                with contextlib.suppress(ProcessLookupError):
                    os.kill(pid, signal.SIGKILL)
        self.process.wait(5)
        if group:
            _running.discard(self)

    def members(self) -> list[int]:
        """The pids of its session that live: the proxy itself and its children."""
        assert self.process is not None
        return [pid for pid, session, _ in _processes() if session == self.process.pid]

    def workers(self) -> list[int]:
        """The pids of `--workers`: the supervisor's children that serve."""
        return [pid for pid in self._children(self.pid) if _says(pid, "spawn_main")]

    def recorders(self) -> list[int]:
        """The pids of the recorders, one for each process that serves."""
        parents = [self.pid, *self.workers()]
        found = [pid for parent in parents for pid in self._children(parent)]
        return [pid for pid in found if _says(pid, "tracing.recorder")]

    def _children(self, parent: int) -> list[int]:
        return [pid for pid in self.members() if _parent(pid) == parent]

    def holder(self, client_port: int) -> int:
        """The pid that holds the connection from this port; 0 if none does."""
        link = f"socket:[{_inode(self.port, client_port)}]"
        return next((pid for pid in self.members() if link in _links(pid)), 0)

    def memory_kb(self) -> int:
        """Private and shared anonymous memory of the proxy and its children together."""
        return sum(_memory_kb(pid) for pid in self.members())

    def fds(self) -> int:
        return len(os.listdir(f"/proc/{self.pid}/fd"))

    # --- traces ---

    def files(self) -> list[Path]:
        found = []
        for folder, inner, names in os.walk(self.trace_dir):
            # Folders like .journal come and go: whoever walks into one may find it gone.
            inner[:] = [name for name in inner if not name.startswith(".")]
            found += [Path(folder) / n for n in names if n.endswith(".json") and n[0] != "."]
        return sorted(found)

    def documents(self, having: str = "") -> list[tuple[Path, Document]]:
        """Every trace whose text holds `having`, parsed once; one that does not parse fails."""
        for path in self.files():
            if path not in self._parsed:
                text = path.read_text("utf-8")
                self._parsed[path] = (text, json.loads(text))
        return [(p, doc) for p, (text, doc) in self._parsed.items() if having in text]

    def traces(
        self, n: int = 1, *, having: str = "", timeout: float = 5, settle: float = 0.02
    ) -> list[Document]:
        """Exactly `n` traces: waits for them, then a little longer for one too many."""
        deadline = time.monotonic() + timeout
        while len(found := self.documents(having)) < n and time.monotonic() < deadline:
            time.sleep(0.01)
        if len(found) == n:
            time.sleep(settle)
            found = self.documents(having)
        names = [path.name for path, _ in found]
        assert len(found) == n, f"{len(found)} traces, not {n}: {names}\n{self.output[-2000:]}"
        return [doc for _, doc in found]

    def trace(self, having: str, timeout: float = 5) -> Document:
        return self.traces(1, having=having, timeout=timeout)[0]

    def path_of(self, having: str) -> Path:
        return self.documents(having)[0][0]

    def client(self, *, timeout: float = 10) -> Client:
        return Client(self.address, timeout=timeout)

    def call(
        self,
        method: str = "POST",
        target: str | bytes = "/v1/chat/completions",
        headers: list[Header] | None = None,
        body: bytes | None = None,
        *,
        timeout: float = 10,
    ) -> Answer:
        return call(self.address, method, target, headers, body, timeout=timeout)


def _steers(name: str) -> bool:
    return name.startswith("LLMTAP_") or name.lower().endswith("_proxy")


def _processes() -> list[tuple[int, int, str]]:
    """(pid, session, state) of every process that is not a zombie."""
    found = []
    for entry in os.listdir("/proc"):
        if entry.isdigit():
            with contextlib.suppress(OSError):
                fields = Path(f"/proc/{entry}/stat").read_text().rsplit(") ", 1)[1].split()
                if fields[0] != "Z":
                    found.append((int(entry), int(fields[3]), fields[0]))
    return found


def _parent(pid: int) -> int:
    with contextlib.suppress(OSError):
        return int(Path(f"/proc/{pid}/stat").read_text().rsplit(") ", 1)[1].split()[1])
    return 0


def _says(pid: int, word: str) -> bool:
    with contextlib.suppress(OSError):
        return word in Path(f"/proc/{pid}/cmdline").read_text()
    return False


def _inode(port: int, peer: int) -> str:
    """Of the socket between these two ports of this machine (proc_net_tcp)."""
    for line in Path("/proc/net/tcp").read_text().splitlines()[1:]:
        fields = line.split()
        ports = [int(address.split(":")[1], 16) for address in fields[1:3]]
        if ports == [port, peer]:
            return fields[9]
    return ""


def _links(pid: int) -> set[str]:
    found = set()
    with contextlib.suppress(OSError):
        for name in os.listdir(f"/proc/{pid}/fd"):
            with contextlib.suppress(OSError):
                found.add(os.readlink(f"/proc/{pid}/fd/{name}"))
    return found


def _memory_kb(pid: int) -> int:
    total = 0
    with contextlib.suppress(OSError):
        for line in Path(f"/proc/{pid}/status").read_text().splitlines():
            if line.startswith(("RssAnon:", "RssShmem:")):
                total += int(line.split()[1])
    return total


@atexit.register
def _end_all() -> None:
    for tap in list(_running):
        with contextlib.suppress(Exception):
            tap.kill9(group=True)
