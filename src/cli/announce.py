"""What is said at the start: where it listens, where it forwards, what to set in a client."""

from __future__ import annotations

import logging
import sys
from pathlib import Path
from urllib.parse import urlsplit

from .. import __version__
from ..config.providers import provider
from ..config.settings import Settings
from ..utils.addresses import is_loopback
from ..utils.logging import has_color

log = logging.getLogger("llmtap.main")

_ANYWHERE = {"0.0.0.0": "127.0.0.1", "::": "[::1]"}  # noqa: S104  recognised, not bound


def announce(settings: Settings, url: str) -> None:
    """The start lines: a tidy block on a terminal, log lines otherwise. After the bind."""
    if not settings.quiet:
        lines = facts(settings, url)
        if sys.stderr.isatty():
            _print_block(lines)
        else:
            for label, text in lines:
                log.info("%s %s", label, text)
    if settings.allow_open and not is_loopback(settings.host):
        log.warning(
            "%s can be reached from other machines: so can the upstreams, and their keys",
            settings.host,
        )


def facts(settings: Settings, url: str) -> list[tuple[str, str]]:
    """(label, text) in the order they matter."""
    found = [("listening", url)]
    for upstream in settings.upstreams:
        where = f"{upstream.prefix or '/'} → {upstream.base_url} ({upstream.type})"
        setup = provider(upstream.type).client_setup(_client_url(url) + upstream.prefix)
        found.append(("forwarding", where))
        found += [("client", line) for line in setup.splitlines()]
    if any(spec.name == "trace" for spec in settings.middlewares):
        found.append(("traces", f"{_near(settings.trace_dir)}/"))
    if settings.store is not None:
        found.append(("store", _store(settings)))
    return [*found, ("chain", chain_of(settings))]


def chain_of(settings: Settings) -> str:
    """`trace → auth → forward`."""
    return " → ".join([*(spec.name for spec in settings.middlewares), "forward"])


def url_of(host: str, port: int) -> str:
    """`http://127.0.0.1:3000`, IPv6 addresses in brackets."""
    return f"http://[{host}]:{port}" if ":" in host else f"http://{host}:{port}"


def _client_url(url: str) -> str:
    """No client can connect to the address that means all addresses."""
    for anywhere, local in _ANYWHERE.items():
        url = url.replace(f"//{anywhere}:", f"//{local}:").replace(
            f"//[{anywhere}]:", f"//{local}:"
        )
    return url


def _near(folder: Path) -> str:
    """`./traces` where it lies below the current folder."""
    here = Path.cwd()
    return f"./{folder.relative_to(here)}" if folder.is_relative_to(here) else str(folder)


def _store(settings: Settings) -> str:
    """Where the rows are; of an address neither its user nor its options."""
    url = settings.store.database_url if settings.store is not None else None
    if url is None:
        return f"{_near(settings.trace_dir)}/.store/ (SQLite)"
    parts = urlsplit(url)
    return f"{parts.scheme}://{parts.netloc.rpartition('@')[2]}{parts.path}"


def _print_block(lines: list[tuple[str, str]]) -> None:
    bold, dim, off = ("\x1b[1m", "\x1b[2m", "\x1b[0m") if has_color(sys.stderr) else ("", "", "")
    print(f"{bold}llmtap {__version__}{off}", file=sys.stderr)  # noqa: T201  the start block
    for label, text in lines:
        strong = bold if label in {"listening", "client"} else ""
        line = f"  {dim}{label:<10}{off} {strong}{text}{off if strong else ''}"
        print(line, file=sys.stderr)  # noqa: T201
    print(file=sys.stderr, flush=True)  # noqa: T201
