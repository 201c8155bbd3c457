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
from .flags import Given, tell

log = logging.getLogger("llmtap.main")

_SKIPPED = {"node_modules", "venv", "build", "dist", "traces", "__pycache__"}


class Reloader(StatReload):
    """uvicorn's reloader by modification times, which also watches the config file."""

    def __init__(
        self,
        config: uvicorn.Config,
        sockets: list[socket.socket],
        config_file: Path | None,
        given: Given,
    ) -> None:
        super().__init__(config, uvicorn.Server(config).run, sockets)
        self._config_file = config_file
        self._given = given

    def restart(self) -> None:
        """A bad config is told, and the old process goes on with the old one (reliability 119)."""
        try:
            self._given.load()
        except ConfigError as error:
            tell(error)
            log.warning("the old settings stay")
            self.mtimes = {}
            return
        super().restart()

    def iter_py_files(self) -> Iterator[Path]:
        """The config, the program, and what lies below the current folder."""
        if self._config_file is not None:
            yield self._config_file.resolve()
        for folder in {Path(__file__).parent.parent, Path.cwd()}:
            for path, folders, files in os.walk(folder):
                folders[:] = [f for f in folders if f[0] != "." and f not in _SKIPPED]
                yield from (Path(path, file) for file in files if file.endswith(".py"))
