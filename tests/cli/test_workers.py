"""The supervisor of several workers, where a moment matters that no real one can be held in."""

from __future__ import annotations

from typing import ClassVar

import pytest
import uvicorn
from uvicorn.supervisors import multiprocess

from src.cli import serve
from src.cli.exit_codes import START_FAILED


class Worker:
    """A process as the supervisor sees it; `dies_asked`: it is gone once it is asked whether it
    lives."""

    begun: ClassVar[list[Worker]] = []  # of the test that runs
    ready: ClassVar[bool] = True

    def __init__(self, *_: object) -> None:
        self.pid = len(self.begun) + 1
        self.exitcode: int | None = None
        self.dies_asked = False

    def start(self) -> None:
        self.begun.append(self)

    def is_ready(self, timeout: float) -> bool:
        return self.ready

    def is_alive(self, timeout: float) -> bool:
        if self.dies_asked:
            self.exitcode = START_FAILED
        return self.exitcode is None

    def kill(self) -> None:
        """It is gone already."""

    join = kill


@pytest.fixture
def workers(monkeypatch: pytest.MonkeyPatch) -> serve.Workers:
    monkeypatch.setattr(serve, "Process", Worker)
    monkeypatch.setattr(serve, "_REPLACE_S", 0.0)
    monkeypatch.setattr(multiprocess, "Process", Worker)
    monkeypatch.setattr(multiprocess, "SIGNALS", {})  # those of this process stay as they are
    Worker.begun.clear()
    config = uvicorn.Config("none", workers=2, log_config=None)  # logging is everybody's
    supervisor = serve.Workers(config, [])
    supervisor.processes = [Worker(), Worker()]  # type: ignore[list-item]
    return supervisor


def test_a_replacement_that_fails_while_it_is_asked_ends_nobody(workers: serve.Workers) -> None:
    first, second = workers.processes
    second.exitcode = -9  # type: ignore[misc]
    workers.keep_subprocess_alive()
    (replacement,) = Worker.begun
    replacement.dies_asked = True
    workers.keep_subprocess_alive()
    assert not workers.should_exit.is_set()
    assert workers.processes == [first, Worker.begun[-1]]
    assert len(Worker.begun) == 2


def test_one_that_is_killed_before_any_has_served_is_told_and_replaced(
    workers: serve.Workers, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setattr(Worker, "ready", False)
    first, second = workers.processes
    second.exitcode = -9  # type: ignore[misc]
    workers.keep_subprocess_alive()
    assert workers.processes == [first, *Worker.begun]
    assert [record.getMessage() for record in caplog.records] == [
        f"worker {second.pid} ended with code -9"
    ]
    assert not workers.should_exit.is_set()


def test_one_that_cannot_start_before_any_has_served_ends_the_program(
    workers: serve.Workers, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(Worker, "ready", False)
    _, second = workers.processes
    second.exitcode = START_FAILED  # type: ignore[misc]
    workers.keep_subprocess_alive()
    assert workers.should_exit.is_set()
    assert second in workers.processes  # whose code is the program's
    assert Worker.begun == []
