"""The measurements, one round of one system each; nothing here decides what is good."""

from __future__ import annotations

import os
import socket
import time
from dataclasses import dataclass
from pathlib import Path

from bench.load import Requests, Streams, streams, wrk
from bench.process import Memory, MemoryWatch
from bench.systems import System, Tap
from bench.traces import Traces, count, settled

CONNECTIONS, STREAMS = 64, 500
_DRAIN_TIMEOUT_S = 120


@dataclass(slots=True)
class RequestRound:
    """`many`: 64 connections, `one`: one connection; cpu_us: of all its processes, a request.

    memory: the peak of the whole round, the time of the last trace included.
    """

    many: Requests
    one: Requests
    cpu_us: float
    child_cpu_us: float
    memory: Memory
    traces: Traces | None

    @property
    def per_s_drained(self) -> float:
        """Requests per second when the time until the last trace is written counts too."""
        drain_s = self.traces.drain_s if self.traces else 0.0
        return self.many.answered / (self.many.seconds + drain_s)


@dataclass(slots=True)
class StreamRound:
    streams: Streams
    memory: Memory
    traces: Traces | None


def request_round(system: System, folder: Path, seconds: float) -> RequestRound:
    """Warm up, one connection, 64 connections; what was traced is waited for between them."""
    os.sync()  # what an earlier round left for the disk is not this one's
    system.start(folder)
    try:
        with MemoryWatch(system.process) as watch:
            _load(system, CONNECTIONS, 1)
            one, _ = _load(system, 1, seconds)
            before = system.process.cpu_s()
            many, traces = _load(system, CONNECTIONS, seconds)
            after = system.process.cpu_s()
        memory = watch.peak()
    finally:
        system.stop()
    used = {pid: after[pid] - before.get(pid, 0.0) for pid in after}
    leader = min(used, default=0)
    us = 1e6 / max(1, many.answered)
    total, own = us * sum(used.values()), us * used.get(leader, 0.0)
    return RequestRound(many, one, total, total - own, memory, traces)


def _load(system: System, connections: int, seconds: float) -> tuple[Requests, Traces | None]:
    traced = system if isinstance(system, Tap) and system.traced else None
    before = count(traced.traces) if traced else 0
    requests = wrk(system.port, connections, seconds)
    ended = time.time()
    if traced is None:
        return requests, None
    return requests, settled(traced, before, requests.answered, ended, _DRAIN_TIMEOUT_S)


def stream_round(system: System, folder: Path, seconds: float, events: int) -> StreamRound:
    os.sync()
    system.start(folder)
    try:
        with MemoryWatch(system.process) as watch:
            seen = streams(system.port, STREAMS, seconds, events)
            ended = time.time()
            traces = None
            if isinstance(system, Tap) and system.traced:
                traces = settled(system, 0, seen.streams, ended, _DRAIN_TIMEOUT_S)
        return StreamRound(seen, watch.peak(), traces)
    finally:
        system.stop()


def start_s(tap: Tap, folder: Path, timeout_s: float = 30) -> float:
    """From the exec of the program to the first answer that came through it."""
    began = time.monotonic()
    tap.launch(folder)
    try:
        while not _answers(tap.port):
            if time.monotonic() - began > timeout_s:
                raise RuntimeError(f"no answer after {timeout_s} s:\n{tap.process.tail()}")
            time.sleep(0.002)
        return time.monotonic() - began
    finally:
        tap.stop()


def _answers(port: int) -> bool:
    request = b"GET /v1/models HTTP/1.1\r\nhost: 127.0.0.1\r\nconnection: close\r\n\r\n"
    try:
        with socket.create_connection(("127.0.0.1", port), 5) as sock:
            sock.sendall(request)
            return sock.recv(4096).startswith(b"HTTP/1.1 200")
    except OSError:
        return False
