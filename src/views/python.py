"""A request as a Python program, that makes it again byte for byte with the standard library."""

from __future__ import annotations

import base64
import re

from .again import Again, Secret, Value, secrets_of

_PROGRAM = """\
#!/usr/bin/env python3
{notes}
import base64
import http.client
import os
import sys
import zlib
from urllib.parse import urlsplit

URL = {url}
HEADERS = [
{headers}
]
BODY = {body}

parts = urlsplit(URL)
secure = parts.scheme == "https"
connection = (http.client.HTTPSConnection if secure else http.client.HTTPConnection)(parts.netloc)
target = URL.split(parts.netloc, 1)[1] or "/"
connection.putrequest({method}, target, skip_host=True, skip_accept_encoding=True)
connection.putheader("Host", parts.netloc)
for name, value in HEADERS:
    connection.putheader(name, value.encode("latin-1"))
if BODY is not None:
    connection.putheader("Content-Length", str(len(BODY)))
connection.endheaders(BODY)

response = connection.getresponse()
print(response.status, response.reason, file=sys.stderr)
packed = response.headers.get("Content-Encoding") in ("gzip", "deflate")
unpack = zlib.decompressobj(47).decompress if packed else bytes
while chunk := response.read1(65536):
    sys.stdout.buffer.write(unpack(chunk))
    sys.stdout.flush()
"""
_LINE = 88
_LINES = re.compile(r"[^\n]*\n|[^\n]+")


def python(request: Again) -> str:
    """The program's text."""
    needs = secrets_of(request)
    notes = [f"trace {request.id}", *request.notes]
    if needs:
        notes.append(f"needs {', '.join(needs)} in the environment")
    return _PROGRAM.format(
        notes="\n".join(f"# {_literal(note)[1:-1]}" for note in notes),
        url=_value(request.url),
        headers="\n".join(f"    ({_literal(n)}, {_value(v)})," for n, v in request.headers),
        body=_body(request),
        method=_literal(request.method),
    )


def _body(request: Again) -> str:
    """A text is read as one, a line of the program for each of its own; bytes are base64."""
    data = request.body.data
    if not data:
        return 'b""' if request.framed else "None"
    try:
        text = data.decode()
    except UnicodeDecodeError:
        encoded = base64.b64encode(data).decode()
        pieces = [encoded[at : at + _LINE] for at in range(0, len(encoded), _LINE)]
        return f"base64.b64decode(\n{_lines(pieces)}\n)"
    return f"(\n{_lines(_LINES.findall(text))}\n).encode()"


def _lines(pieces: list[str]) -> str:
    return "\n".join(f"    {_literal(piece)}" for piece in pieces)


def _value(value: Value) -> str:
    return (
        " + ".join(
            f'os.environ["{piece.name}"]' if isinstance(piece, Secret) else _literal(piece)
            for piece in value
        )
        or '""'
    )


def _literal(text: str) -> str:
    """Python's own: what does not print stands escaped in it."""
    return repr(text)
