"""The command `llmtap`, and `app` for uvicorn. Nothing is imported or done until asked for."""

from __future__ import annotations

import sys
from pathlib import Path


def main() -> None:
    """Run the command line with the arguments of the process, and end with its exit code."""
    _look_here()
    from .cli.root import build_cli  # noqa: PLC0415  typer: not for those who only want `app`

    try:
        build_cli()(prog_name="llmtap")
    except KeyboardInterrupt:  # Ctrl-C before there is a server that would drain
        sys.exit(130)


def __getattr__(name: str) -> object:
    """`app`, made when uvicorn asks for it, from LLMTAP_… and config.yaml."""
    if name != "app":
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    _look_here()
    from .cli.worker import make_app  # noqa: PLC0415  lazily is the point

    application = make_app()
    globals()["app"] = application
    return application


def _look_here() -> None:
    """Find middlewares of one's own in the current folder, as `python -m` does and an installed
    command does not. Last, so that nothing in it can shadow a library."""
    here = str(Path.cwd())
    if here not in sys.path and "" not in sys.path and not sys.flags.safe_path:
        sys.path.append(here)


if __name__ == "__main__":
    main()
