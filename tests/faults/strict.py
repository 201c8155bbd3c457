"""HTTP/1.1 read as RFC 9112 has it and no other way: what an oracle may call a message.

Slow, separate from the program's parser, and strict: where the RFC lets a reader be lenient, only
what cannot move the border between two messages is let through (spaces doubled in a first line, an
empty line before it, `RTSP/1.1` and an answer's `RTSP/1.0`, which llhttp takes for HTTP). What it
does not read as a message, nobody may.
"""

from __future__ import annotations

import re
from dataclasses import dataclass, field

from tests.support.wire import Header

TOKEN = rb"[!#$%&'*+\-.^_`|~0-9A-Za-z]+"
_REQUEST_LINE = re.compile(
    rb"(" + TOKEN + rb") +([^\x00-\x20\x7f]+) +(?:HTTP/1\.|RTSP/1\.(?=1))([01])"
)
_STATUS_LINE = re.compile(rb"(?:HTTP|RTSP)/1\.([01]) ([0-9]{3})(?: ([\t \x21-\x7e\x80-\xff]*))?")
_FIELD = re.compile(rb"(" + TOKEN + rb"):[ \t]*([\t \x21-\x7e\x80-\xff]*)")
_LENGTH = re.compile(rb"[0-9]{1,18}")
_CHUNK_LINE = re.compile(rb"([0-9A-Fa-f]{1,16})[ \t]*(?:;[^\x00\r\n]*)?\r\n")


class Malformed(Exception):
    """No message, or one that two readers could frame in two ways."""


class Unfinished(Exception):
    """More bytes are needed. `body`: what of it is certain already."""

    def __init__(self, body: bytes = b"") -> None:
        super().__init__()
        self.body = body


@dataclass(slots=True)
class Message:
    """`first`: the parts of its first line. `size`: bytes it took, when `complete`."""

    first: tuple[bytes, ...]
    headers: list[Header]
    body: bytes = b""
    complete: bool = False
    closes: bool = False
    size: int = 0
    interim: list[bytes] = field(default_factory=list)

    @property
    def method(self) -> bytes:
        return self.first[0]

    @property
    def target(self) -> bytes:
        return self.first[1]

    @property
    def status(self) -> int:
        return int(self.first[1])

    def all(self, name: bytes) -> list[bytes]:
        return [value for key, value in self.headers if key.lower() == name]


def requests(data: bytes) -> tuple[list[Message], bytes]:
    """The requests these bytes hold, the last perhaps incomplete, and what follows them."""
    found: list[Message] = []
    while data and not (found and found[-1].closes):
        try:
            message = request(data)
        except (Malformed, Unfinished):
            break
        found.append(message)
        if not message.complete:
            break
        data = data[message.size :]
    return found, data


def request(data: bytes) -> Message:
    """The request at the head of `data`; raises Malformed or Unfinished where its head is none.

    With a body that is malformed or unfinished it is not `complete`.
    """
    blank = re.match(rb"[\r\n]*", data)  # no line at all: RFC 9112 2.2 lets a server pass over them
    at = blank.end() if blank else 0
    first, headers, after = _head(data, at)
    line = _REQUEST_LINE.fullmatch(first)
    if line is None:
        raise Malformed(first)
    method, target, minor = line.groups()
    message = Message((method, target, minor), headers)
    hosts = message.all(b"host")
    if method == b"CONNECT" or len(hosts) > 1 or (minor == b"1" and not hosts):
        raise Malformed("host")
    chunked, length = _framing(message, minor)
    message.closes = minor == b"0" or b"close" in _tokens(message.all(b"connection"))
    _take(message, data, after, chunked=chunked, length=length or 0)
    return message


def response(data: bytes, method: bytes, *, ended: bool) -> Message:
    """The final answer at the head of `data`; `ended`: no more bytes follow, by an orderly end."""
    blank = re.match(rb"[\r\n]*", data)
    at, interim = blank.end() if blank else 0, []
    while True:
        first, headers, after = _head(data, at)
        line = _STATUS_LINE.fullmatch(first)
        if line is None:
            raise Malformed(first)
        minor, status, reason = line.groups()
        if int(status) < 100 or status == b"101":
            raise Malformed(status)
        if int(status) >= 200:
            break
        interim.append(status)
        at = after
    message = Message((minor, status, reason or b""), headers, interim=interim)
    chunked, length = _framing(message, minor)
    connection = _tokens(message.all(b"connection"))
    message.closes = b"close" in connection or (minor == b"0" and b"keep-alive" not in connection)
    if method == b"HEAD" or status in (b"204", b"304"):
        message.complete, message.size = True, after
    elif chunked or length is not None:
        _take(message, data, after, chunked=chunked, length=length or 0)
    else:
        message.closes = True
        message.body, message.size, message.complete = data[after:], len(data), ended
    return message


def _take(message: Message, data: bytes, at: int, *, chunked: bool, length: int) -> None:
    if not chunked:
        message.body = data[at : at + length]
        message.complete = len(message.body) == length
        message.size = at + length
        return
    try:
        message.body, message.size = _chunks(data, at)
        message.complete = True
    except Unfinished as unfinished:
        message.body = unfinished.body


def _head(data: bytes, at: int) -> tuple[bytes, list[Header], int]:
    end = data.find(b"\r\n\r\n", at)
    if end < 0:
        raise Unfinished
    lines = data[at:end].split(b"\r\n")
    return lines[0], [_field(line) for line in lines[1:]], end + 4


def _field(line: bytes) -> Header:
    if (match := _FIELD.fullmatch(line)) is None:
        raise Malformed(line)
    return match[1], match[2].strip(b" \t")


def _framing(message: Message, minor: bytes) -> tuple[bool, int | None]:
    """Chunked, or the length; one plain way or none (RFC 9112 6.3)."""
    codings, lengths = message.all(b"transfer-encoding"), message.all(b"content-length")
    if len(codings) + len(lengths) > 1:
        raise Malformed("framed twice")
    if codings:
        if codings[0].lower() != b"chunked" or minor == b"0":
            raise Malformed(codings[0])
        return True, None
    if lengths:
        if _LENGTH.fullmatch(lengths[0]) is None:
            raise Malformed(lengths[0])
        return False, int(lengths[0])
    return False, None


def _chunks(data: bytes, at: int) -> tuple[bytes, int]:
    """The body and where it ends. Raises Unfinished with what is certain, malformed or not."""
    body = b""
    while True:
        line = _CHUNK_LINE.match(data, at)
        if line is None:
            raise Unfinished(body)
        size, at = int(line[1], 16), line.end()
        if size == 0:
            return body, _after_trailers(data, at, body)
        body += data[at : at + size]
        at += size
        if data[at : at + 2] != b"\r\n":
            raise Unfinished(body)
        at += 2


def _after_trailers(data: bytes, at: int, body: bytes) -> int:
    while True:
        end = data.find(b"\r\n", at)
        if end < 0 or (end > at and _FIELD.fullmatch(data[at:end]) is None):
            raise Unfinished(body)
        if end == at:
            return end + 2
        at = end + 2


def _tokens(values: list[bytes]) -> set[bytes]:
    return {token.strip(b" \t").lower() for value in values for token in value.split(b",")}
