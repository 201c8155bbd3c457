"""How many files (connections are files) this process may have open."""

from __future__ import annotations

import contextlib
import sys

if sys.platform != "win32":  # which has no such limit
    import resource


def allow_files(needed: int) -> int:
    """Raise the soft limit to `needed` as far as the hard one lets it; how many are allowed then.

    Never lowers it. The soft limit is 1,024 almost everywhere for the sake of `select`, which
    nothing here uses.
    """
    if sys.platform == "win32":
        return needed
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    if soft == resource.RLIM_INFINITY or soft >= needed:
        return needed
    wanted = needed if hard == resource.RLIM_INFINITY else min(needed, hard)
    with contextlib.suppress(ValueError, OSError):  # the system may know a lower one (macOS)
        resource.setrlimit(resource.RLIMIT_NOFILE, (wanted, hard))
    return min(resource.getrlimit(resource.RLIMIT_NOFILE)[0], needed)
