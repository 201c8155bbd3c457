"""Makes chosen disk calls of the program fail: Python imports it first, from PYTHONPATH.

A test lays a token `<order>.<process>.<call>.<error>` into the folder $DISK_FAULTS; the next such
call on $DISK_ROOT that takes the token away fails so. `SHORT` lets half of a write through.
"""

from __future__ import annotations

import errno
import os
import stat
import sys
from collections.abc import Callable
from typing import Any

_TOKENS, _ROOT = os.environ["DISK_FAULTS"], os.environ["DISK_ROOT"]
_PROCESS = "recorder" if any("tracing.recorder" in word for word in sys.orig_argv) else "proxy"


def _fault(call: str) -> str | None:
    """The error this call is to have; its token is gone then."""
    for name in sorted(os.listdir(_TOKENS)):
        _, process, wanted, error = name.split(".")
        if (process, wanted) == (_PROCESS, call):
            try:
                _unlink(f"{_TOKENS}/{name}")
            except FileNotFoundError:
                continue
            return error
    return None


def _fail(call: str) -> None:
    error = _fault(call)
    if error is not None:
        raise OSError(getattr(errno, error), f"{os.strerror(getattr(errno, error))} (ordered)")


_open, _unlink = os.open, os.unlink


def _opening(path: Any, flags: int, *args: Any, **kwargs: Any) -> int:
    if "dir_fd" in kwargs or str(path).startswith(_ROOT):
        _fail("create" if flags & os.O_CREAT else "open")
    return _open(path, flags, *args, **kwargs)


def _by_path(name: str) -> None:
    real: Callable[..., Any] = getattr(os, name)

    def call(path: Any, *args: Any, **kwargs: Any) -> Any:
        if str(path).startswith(_ROOT) or any(key.endswith("dir_fd") for key in kwargs):
            _fail("recycle" if args and str(args[0]).endswith(".free") else name)
        return real(path, *args, **kwargs)

    setattr(os, name, call)


def _by_fd(name: str) -> None:
    real: Callable[..., Any] = getattr(os, name)

    def call(fd: int, data: Any, *args: Any) -> Any:
        if fd > 2 and stat.S_ISREG(os.fstat(fd).st_mode):
            error = _fault(name)
            if error == "SHORT":
                return real(fd, bytes(data)[: len(data) // 2], *args)
            if error is not None:
                raise OSError(getattr(errno, error), "ordered")
        return real(fd, data, *args)

    setattr(os, name, call)


os.open = _opening  # type: ignore[assignment]  # the same for all who call it
for _name in ("rename", "mkdir", "unlink"):
    _by_path(_name)
for _name in ("write", "pwrite", "posix_fallocate"):
    _by_fd(_name)
