"""Reliability 88, 97: whatever the disk does, traffic goes on, nothing is uncounted, and writing
resumes by itself.

Each fault goes the same way: requests before, during, after; every client gets its bytes; in the
end every request has a trace or is counted as lost, and those after the fault have one.
"""

from __future__ import annotations

import os
import re
import resource
import shutil
import subprocess
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from tests.conftest import Figure
from tests.support import bodies, steps
from tests.support.disk import (
    NO_OVERRIDE,
    Ballast,
    DiskTap,
    Orders,
    immutable,
    no_rights,
    read_only,
    small_disk,
    until,
)
from tests.support.upstream import Connection, Upstream

ANSWER, EVENTS = bodies.chat_answer(), bodies.chat_events()
JSON = (b"Content-Type", b"application/json")
BINARY = bytes(range(256)) * 400  # no text: it goes into a file beside the trace
CHAT = "/v1/chat/completions"


class Traffic:
    """Sends requests of every kind and holds the answers against what the upstream sent."""

    def __init__(self, tap: DiskTap) -> None:
        self.tap = tap
        self.requests = self.failed = self.steps = self.resumed = 0
        self.unaccounted = 0
        self.removed = 0  # files, by a test

    def some(self, *, large: int = 0) -> list[str]:
        """A call, a stream, a binary body, and so many of 900 KB; their markers."""
        kinds = ["call", "stream", "binary", *["large"] * large]
        return [self._one(kind) for kind in kinds]

    def _one(self, kind: str) -> str:
        self.requests += 1
        marker = f"mark-{self.requests:05}-{kind}"
        body = {"binary": BINARY, "large": b'{"x":"%b"}' % (b"y" * 900_000)}.get(kind, b'{"x":1}')
        answer = self.tap.call("POST", f"{CHAT}?{marker}", [JSON], body)
        wanted = b"".join(EVENTS) if kind == "stream" else ANSWER
        self.failed += not (answer.status == 200 and answer.complete and answer.body == wanted)
        return marker

    def settle(self) -> None:
        """Wait until nothing is pending: figures, files and our own count agree."""
        now = self.tap.settled()
        self.unaccounted += abs(self.requests - now["accepted"])
        self.unaccounted += abs(now["written"] - len(self.tap.files()) - self.removed)

    def resumes(self) -> None:
        """The fault is over: the next requests have traces, without anybody's help."""
        markers = self.some()
        self.settle()
        names = {marker for marker in markers if self.tap.documents(marker)}
        assert names == set(markers), f"{self.tap.health()}\n{self.tap.output[-3000:]}"
        self.steps += 1
        self.resumed += 1

    def ends(self, figure: Figure) -> None:
        """The closing line tells the same figures; ours are published."""
        assert self.tap.stop() == 0
        if "stopped:" in self.tap.output:
            closing = self.tap.output.rsplit("stopped: ", 1)[1]
            told = [int(n) for n in re.findall(r"(\d+) (?:traces? written|LOST|still)", closing)]
            assert sum(told) == self.requests, closing
        assert self.failed == 0
        assert self.unaccounted == 0
        figure(
            5,
            steps=self.steps,
            requests=self.requests,
            failed=self.failed,
            unaccounted=self.unaccounted,
            resumed=self.resumed,
        )


Start = Callable[..., Traffic]


@pytest.fixture(scope="module")
def upstream() -> Iterator[Upstream]:
    def serve(connection: Connection) -> None:
        streams = connection.request.target.endswith(b"stream")
        for step in steps.stream(EVENTS) if streams else steps.reply(200, ANSWER):
            step(connection)

    with Upstream(default=(serve,)) as started:
        yield started


@pytest.fixture
def traffic(upstream: Upstream, tmp_path: Path, figure: Figure) -> Iterator[Start]:
    """Starts the program and says at the end what was counted."""
    running: list[Traffic] = []

    def start(trace_dir: Path | None = None, **attributes: object) -> Traffic:
        tap = DiskTap(tmp_path / "tap", base_url=upstream.url)
        tap.trace_dir = trace_dir or tap.trace_dir
        for name, value in attributes.items():
            setattr(tap, name, value)
        load = Traffic(tap.start())
        running.append(load)
        load.some()
        return load

    try:
        yield start
        for traffic in running:
            traffic.ends(figure)
    finally:
        for traffic in running:
            traffic.tap.kill9(group=True)


def folders(tap: DiskTap) -> list[Path]:
    """All that the program writes into, the outermost first."""
    return [tap.trace_dir, *sorted(path for path in tap.trace_dir.rglob("*") if path.is_dir())]


CALLS = [
    *(("proxy", call) for call in ("create", "posix_fallocate", "pwrite", "open", "rename")),
    *(("recorder", call) for call in ("create", "open", "write", "rename", "mkdir", "recycle")),
]


def test_r88_each_disk_call_fails_in_its_turn(
    traffic: Start, tmp_path: Path, pytestconfig: pytest.Config
) -> None:
    """`--disk-errors ENOSPC,EDQUOT,EROFS,EACCES,EIO` for the whole of it."""
    errors = pytestconfig.getoption("--disk-errors").split(",")
    orders = Orders(tmp_path / "orders")
    load = traffic(env=orders.env(tmp_path / "tap" / "traces"))
    load.some(large=9)  # some segments come back
    for number, (process, call) in enumerate(CALLS):
        for error in errors:
            load.settle()
            if call in ("create", "posix_fallocate") and process == "proxy":
                _forget_recycled(load.tap)
            if call == "mkdir":
                _remove_days(load)
            orders.give(process, call, error, times=1 + number % 2)
            if call == "write":
                orders.give(process, call, "SHORT")
                orders.give(process, call, error)
            until(
                lambda: bool(load.some(large=4)) and not orders.outstanding(), f"{process} {call}"
            )
            load.resumes()


def _forget_recycled(tap: DiskTap) -> None:
    for path in tap.trace_dir.glob(".journal/*/*.free"):
        path.unlink(missing_ok=True)


def _remove_days(load: Traffic) -> None:
    load.removed += len(load.tap.files())
    for day in load.tap.trace_dir.glob("????-??-??"):
        shutil.rmtree(day)


SIZES = [0, 1, 100, 1000, 4096, 16 << 10, 64 << 10, 100_000, 500_000, 1 << 20, (2 << 20) - 1]


def test_r88_file_size_limit_in_steps(traffic: Start) -> None:
    load = traffic()
    for size in SIZES:
        load.settle()
        load.tap.limit(resource.RLIMIT_FSIZE, size)
        load.some(large=4)
        load.tap.limit(resource.RLIMIT_FSIZE, resource.RLIM_INFINITY)
        load.resumes()


def test_r88_no_file_descriptor_left(traffic: Start) -> None:
    load = traffic()
    load.settle()  # it is up
    recorders = [pid for pid in load.tap.members() if pid != load.tap.pid]
    for left in (3, 6, 8):
        for pid in recorders:
            resource.prlimit(pid, resource.RLIMIT_NOFILE, (left, 4096))
        load.some(large=8)
        for pid in recorders:
            resource.prlimit(pid, resource.RLIMIT_NOFILE, (1024, 4096))
        load.resumes()


LEFT = [0, 1, 4 << 10, 16 << 10, 100 << 10, 1 << 20, (2 << 20) + 5000]


@pytest.mark.parametrize("kind", ["tmpfs", "ext4"])
def test_r88_a_disk_that_fills_up_in_steps(traffic: Start, tmp_path: Path, kind: str) -> None:
    with small_disk(kind, tmp_path, 64) as disk:
        ballast = Ballast(disk)
        load = traffic(disk / "traces")
        for left in LEFT:
            ballast.fill(left)
            load.some(large=5)
            ballast.throw_off()
            load.resumes()
        before = load.tap.output.count("\n")
        ballast.fill()
        for _ in range(40):
            load.some()
        told = [
            line for line in load.tap.output.splitlines()[before:] if "event=request" not in line
        ]
        assert len(told) <= 3, told
        ballast.throw_off()
        load.resumes()
        load.tap.stop()


@pytest.mark.parametrize("kind", ["tmpfs", "ext4"])
def test_r88_started_on_a_full_disk_it_serves_and_traces_later(
    traffic: Start, tmp_path: Path, kind: str
) -> None:
    with small_disk(kind, tmp_path, 32) as disk:
        (disk / "traces").mkdir()
        ballast = Ballast(disk)
        ballast.fill()
        load = traffic(disk / "traces")
        load.some()
        ballast.throw_off()
        written = load.tap.health()["written"]
        until(lambda: bool(load.some()) and load.tap.health()["written"] > written, "traces")
        load.resumes()
        load.tap.stop()


def test_r88_read_only_for_a_while(traffic: Start, tmp_path: Path) -> None:
    """The journal lies on a disk that can be written: the traces are all written afterwards."""
    with small_disk("tmpfs", tmp_path, 32) as disk:
        (disk / ".journal").mkdir()
        with small_disk("tmpfs", disk / ".journal", 32) as journals:
            subprocess.run(["mount", "--move", journals, disk / ".journal"], check=True)
            load = traffic(disk)
            load.some()
            load.settle()
            with read_only(disk):
                load.some(large=3)
            load.resumes()
            assert load.tap.health()["written"] == load.requests
            load.tap.stop()
            subprocess.run(["umount", "-l", disk / ".journal"], check=True)


@pytest.mark.parametrize("how", ["immutable", "no_rights"])
def test_r88_the_right_to_write_is_lost_for_a_while(traffic: Start, how: str) -> None:
    takes = immutable if how == "immutable" else no_rights
    load = traffic(prefix=NO_OVERRIDE if how == "no_rights" and os.geteuid() == 0 else ())
    for large in (0, 3, 30):
        load.some()
        load.settle()
        with takes(folders(load.tap)):
            load.some(large=large)
        load.resumes()


def test_r88_the_log_is_full_too(traffic: Start) -> None:
    load = traffic(prefix=("sh", "-c", 'exec "$@" > /dev/full 2>&1', "sh"))
    load.tap.limit(resource.RLIMIT_FSIZE, 0)
    load.some(large=5)
    load.tap.limit(resource.RLIMIT_FSIZE, resource.RLIM_INFINITY)
    load.resumes()
    assert load.tap.stop() == 0


@pytest.mark.parametrize("instead", ["nothing", "dev_full"])
def test_r88_the_trace_folder_is_removed(traffic: Start, instead: str) -> None:
    """What was on its way is lost with it, and counted; a new folder is made when it can be."""
    load = traffic()
    load.settle()
    folder = load.tap.trace_dir
    load.removed = len(load.tap.files())
    shutil.rmtree(folder)
    if instead == "dev_full":
        folder.symlink_to("/dev/full")
    load.some(large=12)
    if instead == "dev_full":
        folder.unlink()
    until(lambda: "made anew" in load.tap.output, "a new journal")
    load.resumes()
