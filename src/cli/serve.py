"""`llmtap` without a command: bind, start, say so, serve until told to stop, drain.

One process runs uvicorn's server here; several, or `--reload`, run under uvicorn's supervisors,
which start children that make the application again (`worker.make_app`).
"""

from __future__ import annotations

import errno
import logging
import math
import os
import signal
import socket
import sys
import time
from types import FrameType

import uvicorn
from uvicorn.server import HANDLED_SIGNALS
from uvicorn.supervisors import Multiprocess
from uvicorn.supervisors.multiprocess import Process

from ..app import Application, build
from ..config.loading import Loaded
from ..config.settings import Settings
from ..proxy.server import ServerProtocol
from ..store.child import FED, FeederProcess, StoreRefusedError
from ..utils.logging import set_up_logging
from ..utils.tasks import spawn
from .announce import announce, url_of
from .exit_codes import CANNOT_LISTEN, START_FAILED
from .flags import Given
from .listening import BACKLOG, ListenError, bind, handed_over, refusal
from .reload import Reloader
from .worker import hand_down, secrets_of

log = logging.getLogger("llmtap.main")

_ROOT = __name__.split(".", maxsplit=1)[0]
_REPLACE_S = 2.0
_BOUNCE_S = 0.1  # two of one keystroke come within milliseconds


def serve(loaded: Loaded, given: Given) -> int:
    """Serve until SIGINT or SIGTERM; the exit code. Raises ConfigError."""
    settings = loaded.settings
    set_up_logging(settings.log_level, secrets=secrets_of(settings))
    for sig in HANDLED_SIGNALS:  # until the server's own handlers stand: nothing runs yet
        signal.signal(sig, lambda *_: sys.exit(0))
    try:
        sockets = handed_over(os.environ) or bind(settings.host, settings.port)
    except ListenError as error:
        place = loaded.origins[error.key].removeprefix("cli ").replace("default", error.key)
        print(f"{place}: {error}", file=sys.stderr)  # noqa: T201  a mistake, told plainly
        return CANNOT_LISTEN
    if settings.web is None:
        return _serve(loaded, given, sockets)
    from .web import beside  # noqa: PLC0415  only for who has one

    try:
        with beside(settings, settings.web):
            return _serve(loaded, given, sockets)
    except ListenError as error:
        print(f"web.{error.key}: {error}", file=sys.stderr)  # noqa: T201  a mistake, told plainly
        return CANNOT_LISTEN


def _serve(loaded: Loaded, given: Given, sockets: list[socket.socket]) -> int:
    settings = loaded.settings
    if settings.reload or settings.workers > 1:
        hand_down(given.overrides, given.config, os.environ)
        return _supervise(loaded, given, sockets)
    return _serve_here(settings, sockets)


def _serve_here(settings: Settings, sockets: list[socket.socket]) -> int:
    application = build(settings)
    server = TapServer(_config(settings, application), application)
    server.run(sockets)
    return server.exit_code


def _supervise(loaded: Loaded, given: Given, sockets: list[socket.socket]) -> int:
    settings = loaded.settings
    for sock in sockets:
        sock.listen(BACKLOG)  # connections wait while workers come and go
    config = _config(settings, f"{_ROOT}.main:app")
    try:
        feeder = _start_feeder(settings)
    except (StoreRefusedError, OSError) as error:
        log.critical("store cannot start: %s", error)
        return START_FAILED
    announce(settings, _url(settings, sockets))
    try:
        return _run_workers(config, sockets, loaded, given)
    finally:
        if feeder is not None:  # after the workers, which have told it the last
            feeder.stop(settings.drain.flush_s + 1)


def _start_feeder(settings: Settings) -> FeederProcess | None:
    """One for all workers. Raises StoreRefusedError, OSError."""
    if settings.store is None:
        return None
    url = settings.store.database_url
    feeder = FeederProcess(settings.trace_folder(), url, settings.drain.flush_s)
    feeder.start()
    os.environ[FED] = "1"
    return feeder


def _run_workers(
    config: uvicorn.Config, sockets: list[socket.socket], loaded: Loaded, given: Given
) -> int:
    if config.reload:
        Reloader(config, sockets, loaded, given).run()
        return 0
    supervisor = Workers(config, sockets)
    supervisor.run()
    failed = any(process.exitcode == START_FAILED for process in supervisor.processes)
    return START_FAILED if failed else 0


class Workers(Multiprocess):
    """uvicorn's supervisor of several processes, with three things set right."""

    def __init__(self, config: uvicorn.Config, sockets: list[socket.socket]) -> None:
        super().__init__(config, sockets)
        self._have_served = False
        self._replace_at = 0.0  # monotonic seconds

    def terminate_all(self) -> None:
        """Close our copy of the sockets too: else new connections wait there until the end."""
        for sock in self.sockets:
            sock.close()
        super().terminate_all()

    def keep_subprocess_alive(self) -> None:
        """None is replaced in silence. One that cannot start ends the program where none has served
        yet: all would fail alike. Later (a disk that is read only for a while, a config that is
        being edited) the others go on, and it is tried again.
        """
        if self.should_exit.is_set():
            return
        if not self._have_served:
            self._have_served = any(w.exitcode is None and w.is_ready(1) for w in self.processes)
        for worker in list(self.processes):
            if worker.is_alive(timeout=self.config.timeout_worker_healthcheck):
                continue
            worker.kill()  # it may hang
            worker.join()
            log.error("worker %s ended with code %s", worker.pid, worker.exitcode)
            if worker.exitcode == START_FAILED:
                if not self._have_served:
                    self.should_exit.set()
                    return
                self._replace_at = time.monotonic() + _REPLACE_S
            self.processes.remove(worker)
        while len(self.processes) < self.processes_num and time.monotonic() >= self._replace_at:
            worker = Process(self.config, self.sockets)
            worker.start()
            self.processes.append(worker)


def _config(settings: Settings, app: Application | str) -> uvicorn.Config:
    """uvicorn without its own opinions: no headers, no access log, no trust in X-Forwarded-For."""
    return uvicorn.Config(
        app,
        http=ServerProtocol,
        ws="none",
        lifespan="on",
        loop="auto",  # uvloop where it is installed
        log_config=None,
        access_log=False,
        server_header=False,
        date_header=False,
        proxy_headers=False,
        backlog=BACKLOG,
        workers=settings.workers,
        reload=settings.reload,
        timeout_keep_alive=math.ceil(settings.timeouts.keep_alive_s),
        timeout_graceful_shutdown=math.ceil(settings.drain.streams_s),
    )


def _url(settings: Settings, sockets: list[socket.socket]) -> str:
    return url_of(settings.host, sockets[0].getsockname()[1])


class TapServer(uvicorn.Server):
    """uvicorn's server, with our word at start and stop, and an exit code of 0 for both signals.

    The first signal drains, a second cuts what is still in flight, a third ends without writing.
    """

    def __init__(self, config: uvicorn.Config, application: Application) -> None:
        super().__init__(config)
        self._application = application
        self._signalled: list[float] = []
        self.exit_code = 0

    async def startup(self, sockets: list[socket.socket] | None = None) -> None:
        """As uvicorn's, then the start lines: by now they are true."""
        settings = self._application.settings
        try:
            await super().startup(sockets)
        except OSError as error:
            await self._give_up(error)
        if any(sock.fileno() < 0 for sock in sockets or ()):  # uvloop closes it without a word
            await self._give_up(OSError(errno.EADDRINUSE, "taken since it was bound"))
        elif self.started and sockets:
            announce(settings, _url(settings, sockets))

    async def _give_up(self, error: OSError) -> None:
        """Another program took the port between our binding and our listening."""
        settings = self._application.settings
        told = refusal(settings.host, settings.port, error)
        print(told, file=sys.stderr)  # noqa: T201  a mistake, told plainly
        self.exit_code = CANNOT_LISTEN
        self.should_exit = True
        await self.lifespan.shutdown()

    async def shutdown(self, sockets: list[socket.socket] | None = None) -> None:
        """As uvicorn's, after saying what is waited for."""
        self._application.gateway.stop_accepting()
        in_flight = len(self._application.gateway.in_flight)
        if in_flight:
            seconds = self._application.settings.drain.streams_s
            log.info("stopping: %d in flight, given %g s; again to cut them", in_flight, seconds)
        await super().shutdown(sockets)

    def handle_exit(self, sig: int, frame: FrameType | None) -> None:  # noqa: ARG002  uvicorn's
        """Unlike uvicorn's it does not raise the signal again at the end, which would be the exit
        code; and wrappers such as npm and uv send a Ctrl-C twice at once, which counts as one."""
        now = time.monotonic()
        if self._signalled and now - self._signalled[-1] < _BOUNCE_S:
            return
        self._signalled.append(now)
        if len(self._signalled) == 1:
            self.should_exit = True
        elif len(self._signalled) == 2:
            spawn(self._application.gateway.drain(0), "cut")
        else:
            self.force_exit = True
