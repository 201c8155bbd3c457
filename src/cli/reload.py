"""`--reload`: start again when code or config changes; a bad new config changes nothing."""

from __future__ import annotations

import logging
import os
import socket
from collections.abc import Iterator
from pathlib import Path

import uvicorn
from uvicorn.supervisors.statreload import StatReload

from ..config.errors import ConfigError
from ..config.loading import Loaded
from ..config.settings import Settings
from .announce import announce, url_of
from .flags import Given, tell

log = logging.getLogger("llmtap.main")

_SKIPPED = {"node_modules", "venv", "build", "dist", "traces", "__pycache__"}


class Reloader(StatReload):
    """uvicorn's reloader by modification times, which also watches the config file."""

    def __init__(
        self,
        config: uvicorn.Config,
        sockets: list[socket.socket],
        loaded: Loaded,
        given: Given,
    ) -> None:
        super().__init__(config, uvicorn.Server(config).run, sockets)
        self._loaded = loaded
        self._given = given

    def restart(self) -> None:
        """A bad config is told, and the old process goes on with the old one (reliability 119)."""
        try:
            fresh = self._given.load()
        except ConfigError as error:
            tell(error)
            log.warning("the old settings stay")
            self.mtimes = {}
            return
        self._announce(fresh.settings)
        super().restart()

    def _announce(self, fresh: Settings) -> None:
        old = self._loaded.settings
        if (fresh.host, fresh.port) != (old.host, old.port):
            log.warning("host and port stay as they are until it is started anew")
        announce(fresh, url_of(old.host, self.sockets[0].getsockname()[1]))

    def iter_py_files(self) -> Iterator[Path]:
        """The config, the program, and what lies below the current folder."""
        if self._loaded.config is not None:
            yield self._loaded.config.resolve()
        for folder in {Path(__file__).parent.parent, Path.cwd()}:
            for path, folders, files in os.walk(folder):
                folders[:] = [f for f in folders if f[0] != "." and f not in _SKIPPED]
                yield from (Path(path, file) for file in files if file.endswith(".py"))
