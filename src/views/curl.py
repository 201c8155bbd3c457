"""A request as a shell command for curl, that makes it again byte for byte."""

from __future__ import annotations

import base64
import re

from .again import Again, Secret, Value

# What curl sends of itself unless told otherwise (curl.1: "-H 'Accept:'" removes one).
_OF_ITSELF = ("User-Agent", "Accept")
_CONTROLS = re.compile(
    rb"[\x00-\x08\x0b-\x1f\x7f]|\xc2[\x80-\x9f]|\xe2\x80[\x8b-\x8f\xaa-\xae]|\xe2\x81[\xa6-\xa9]"
)
_LINE = 76


def curl(request: Again) -> str:
    """The command, with its notes as comments; several lines, the last ended."""
    lines = [f"# {_plain(note)}" for note in (f"trace {request.id}", *request.notes)]
    return "\n".join([*lines, _piped(request) + " \\\n  ".join(_arguments(request))]) + "\n"


def _arguments(request: Again) -> list[str]:
    """HTTP/1.1 and the target as it is: no globs, no dots resolved."""
    names = {name.lower() for name, _ in request.headers}
    words = ["curl --silent --show-error --no-buffer --http1.1 --globoff --path-as-is"]
    if "accept-encoding" in names:
        words[0] += " --compressed"  # only decodes: the header is the one below
    words[0] += " --head" if request.method == "HEAD" else f" -X {_quoted(request.method)}"
    words.append(_value(request.url))
    own = [*_OF_ITSELF, *(("Content-Type", "Expect") if request.framed else ())]
    words += [f"-H {_quoted(name + ':')}" for name in own if name.lower() not in names]
    words += [f"-H {_header(name, value)}" for name, value in request.headers]
    if request.framed:
        words.append("--data-binary @-" if request.body.data else "--data-binary ''")
    return words


def _header(name: str, value: Value) -> str:
    if value in {(), ("",)}:
        return _quoted(f"{name};")  # curl's way to write an empty one
    return _value((f"{name}: ", *value))


def _piped(request: Again) -> str:
    """The body, by the shell's own printf: an argument could not be as long. With characters that
    a terminal would obey, or that no shell keeps, as base64."""
    data = request.body.data
    if not data:
        return ""
    if not _CONTROLS.search(data):
        try:
            return f"printf %s {_quoted(data.decode())} |\n"
        except UnicodeDecodeError:
            pass
    text = base64.b64encode(data).decode()
    lines = [text[at : at + _LINE] for at in range(0, len(text), _LINE)]
    return "base64 -d <<'BODY' |\n" + "\n".join([*lines, "BODY", ""])


def _value(value: Value) -> str:
    """Single quotes, and double ones around what the shell is to fill in (`:?`: or to miss)."""
    words, text = [], ""
    for piece in value:
        if isinstance(piece, Secret):
            words += [_word(text), f'"${{{piece.name}:?}}"']
            text = ""
        else:
            text += piece
    return "".join([*words, _word(text)])


def _word(text: str) -> str:
    """Text of a head, which is Latin-1 on the wire: what is not plain by printf's octal."""
    if not text or (text.isascii() and text.isprintable()):
        return _quoted(text) if text else ""
    octal = "".join(f"\\{byte:03o}" for byte in text.encode("latin-1", "replace"))
    return f"\"$(printf '{octal}')\""


def _quoted(text: str) -> str:
    """In single quotes, always: nothing in them means anything to a shell."""
    return "'" + text.replace("'", "'\\''") + "'"


def _plain(text: str) -> str:
    return "".join(char if char.isprintable() else "?" for char in text)
