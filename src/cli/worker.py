"""The application as a process gets it that was not given the flags: `uvicorn src.main:app`, and
the children of `--workers` and `--reload`, to whom `hand_down` passes the flags.
"""

from __future__ import annotations

import multiprocessing
import os
import sys
from collections.abc import Mapping, MutableMapping
from pathlib import Path
from urllib.parse import urlsplit

from pydantic import SecretStr

from ..app import Application, build
from ..config.errors import ConfigError
from ..config.loading import load_settings
from ..config.settings import Settings
from ..config.sources import ENV_PREFIX
from ..utils.logging import set_up_logging
from ..utils.redaction import is_secret_header
from .exit_codes import BAD_CONFIG, START_FAILED


def make_app() -> Application:
    """The application for environment and file; ends the process if they are bad."""
    child = multiprocessing.parent_process() is not None
    try:
        settings = load_settings({}, os.environ).settings
        set_up_logging(settings.log_level, secrets=secrets_of(settings), server_lines=not child)
        return build(settings)
    except ConfigError as error:
        print(*error.lines, sep="\n", file=sys.stderr)  # noqa: T201  told plainly, not logged
        sys.exit(START_FAILED if child else BAD_CONFIG)


def hand_down(
    overrides: Mapping[str, object], config: Path | None, env: MutableMapping[str, str]
) -> None:
    """Write the flags into `env`, where they reach children and are on no command line."""
    for key, value in overrides.items():
        text = str(value).lower() if isinstance(value, bool) else str(value)
        env[ENV_PREFIX + key.upper()] = text
    if config is not None:
        env[f"{ENV_PREFIX}CONFIG"] = str(config)


def secrets_of(settings: Settings) -> list[str]:
    """Texts that no log line may hold: the configured keys, whatever their shape."""
    found: list[str | SecretStr | None] = []
    for upstream in settings.upstreams:
        found.append(upstream.api_key)
        found += [v for k, v in upstream.headers.items() if is_secret_header(k.lower().encode())]
    if settings.web is not None:
        found.append(settings.web.admin_key)
    if settings.store is not None and settings.store.database_url:
        found.append(urlsplit(settings.store.database_url).password)
    texts = (v.get_secret_value() if isinstance(v, SecretStr) else v for v in found)
    return [text for text in texts if text and len(text) >= 8]
