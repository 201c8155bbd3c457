"""Reads a keys file in a process of its own: `python -m llmtap.keys.reading FILE`.

Ten thousand keys take a second to read, and a thread that does so holds the interpreter for up to
180 ms at a time (measured), which every open stream would feel. On stdout, a JSON value a line:
each key as `[label, digest in hex, expires_ns, models, upstreams, tier]`, or each mistake as a
text. Exit code 0 or 1.
"""

from __future__ import annotations

import os
import sys
from pathlib import Path

import orjson

from .file import KeysFileError, read_keys
from .keyring import ClientKey

BAD_FILE = 1


def main(path: Path) -> int:
    """Print what is in the file; the exit code."""
    try:
        lines = [_row(key) for key in read_keys(path, os.environ)]
        code = 0
    except KeysFileError as error:
        lines = [orjson.dumps(line) for line in error.lines]
        code = BAD_FILE
    sys.stdout.buffer.write(b"\n".join(lines))
    return code


def _row(key: ClientKey) -> bytes:
    upstreams = sorted(key.upstreams) if key.upstreams is not None else None
    return orjson.dumps(
        [key.label, key.digest.hex(), key.expires_ns, key.models, upstreams, key.tier]
    )


def read_row(line: bytes) -> ClientKey:
    """The key in a line that `main` has printed."""
    label, digest, expires_ns, models, upstreams, tier = orjson.loads(line)
    return ClientKey(
        label,
        bytes.fromhex(digest),
        expires_ns,
        tuple(models) if models is not None else None,
        frozenset(upstreams) if upstreams is not None else None,
        tier,
    )


if __name__ == "__main__":
    sys.exit(main(Path(sys.argv[1])))
