"""Which folder holds the traces, for commands that read them: no other setting has to be right."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

from .document import read_document
from .errors import ConfigError

_DEFAULT_CONFIG = "config.yaml"


def trace_folder(given: Path | None, config: Path | None, env: Mapping[str, str]) -> Path:
    """The folder: as given, else LLMTAP_TRACE_DIR, else the config file's, else `traces`.

    `config`: the file, else LLMTAP_CONFIG, else ./config.yaml where it exists. Raises ConfigError
    for a file that cannot be read; mistakes elsewhere in it do not matter here.
    """
    if given is not None:
        return given.expanduser()
    if env.get("LLMTAP_TRACE_DIR"):
        return Path(env["LLMTAP_TRACE_DIR"]).expanduser()
    label = str(config) if config is not None else env.get("LLMTAP_CONFIG", "")
    if not label and not Path(_DEFAULT_CONFIG).exists():
        return Path("traces")
    label = label or _DEFAULT_CONFIG
    document = read_document(Path(label).expanduser(), label, env)
    if document.broken:
        raise ConfigError(f"{problem.place} {problem.text}" for problem in document.problems)
    return Path(_of_trace(document.values) or str(document.values.get("trace_dir") or "traces"))


def _of_trace(values: Mapping[str, object]) -> str | None:
    """The trace middleware's own `dir`, however it is written."""
    chain = values.get("middlewares")
    for item in chain if isinstance(chain, list) else ():
        if not isinstance(item, dict):
            continue
        options = item if item.get("use") == "trace" else item.get("trace")
        if isinstance(options, dict) and options.get("dir"):
            return str(options["dir"])
    return None
