"""A WebSocket as the trace shows it: the messages of both sides, in the order they passed.

    bytes ──▶ heads and payloads ──▶ wsproto (inflates) ──▶ messages ──▶ events

Only here is anything unpacked; what passed was not touched.
"""

from __future__ import annotations

import re
import zlib
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any, cast

from ..proxy.frames import CLOSE, head_at
from ..proxy.providers.values import StreamEvent
from ..utils.redaction import MASK
from . import masking, render
from .bodies import Limits
from .masked_streams import mask_events
from .recorded import Frames, Recorded
from .streams import Stream

_SLICE = 4096  # inflated at once: at most four megabytes come of it
_NAMES = {1: "text", 2: "binary", 8: "close", 9: "ping", 10: "pong"}
_SENDERS = {True: "client", False: "upstream"}
_BITS = re.compile(r"(client|server)_max_window_bits\s*=\s*\"?(\d+)")


@dataclass(slots=True)
class _Message:
    t: float
    sender: str
    opcode: str
    raw: bytes
    code: int | None = None
    complete: bool = True


class _Broken(Exception):
    """The rest of one way cannot be read; the message says why."""


def accepted_deflate(extensions: bytes | None) -> str | None:
    """The parameters of permessage-deflate, if the upstream's answer has agreed to it."""
    for extension in (extensions or b"").decode("latin-1").split(","):
        name, _, parameters = extension.strip().partition(";")
        if name.strip().lower() == "permessage-deflate":
            return parameters
    return None


def read_frames(
    recorded: Recorded, frames: list[Frames], deflate: str | None, limits: Limits
) -> tuple[Stream, str | None]:
    """The conversation as a stream, and who closed it with which code, if anybody has."""
    stream = Stream("websocket")
    ways = {True: _Way("client", deflate, limits), False: _Way("upstream", deflate, limits)}
    messages: list[_Message] = []
    started = recorded.opened.started
    for t, from_client, data in frames:
        messages += ways[from_client].feed((t - started) * 1000, data)
    for way in ways.values():
        messages += way.close()
        stream.cut = stream.cut or way.broken
    _mask(stream, messages, recorded)
    stream.events = render.events([_line(message) for message in messages])
    closes = [message for message in messages if message.opcode == "close"]
    stream.terminal = bool(closes)
    if not closes:
        return stream, None
    first = closes[0]
    return stream, f"closed by the {first.sender}" + (f", {first.code}" if first.code else "")


def _line(m: _Message) -> bytes:
    when = b"%.3f" % m.t
    return render.frame_event(when, m.sender, m.opcode, m.raw, code=m.code, complete=m.complete)


class _Way:
    """What one side has sent, read as far as it can be. `broken`: why not further."""

    def __init__(self, sender: str, deflate: str | None, limits: Limits) -> None:
        # Here and not above: it takes 20 ms to import, and most recorders never see a WebSocket.
        from wsproto.frame_protocol import FrameDecoder  # noqa: PLC0415

        self._sender = sender
        self._limits = limits
        extension = [] if deflate is None else [_inflater(sender, deflate)]
        # Apart: a control frame between two fragments ends the inflating of the message (wsproto
        # 1.3 forgets that it was compressed).
        self._decoders = {
            False: FrameDecoder(client=True, extensions=extension),
            True: FrameDecoder(client=True, extensions=[]),
        }
        self._control = False
        self._head = b""
        self._left = 0
        self._fed = self._inflated = 0
        self._opcode = 0
        self._pieces: list[bytes] = []
        self._t = 0.0
        self.broken: str | None = None

    def feed(self, t: float, data: bytes | None) -> list[_Message]:
        """The messages that are whole with this, from this moment on."""
        if self.broken is not None:
            return []
        if data is None:
            self.broken = "a secret was taken out of it, and after a crash nothing tells its frames"
            return []
        self._t = t
        messages: list[_Message] = []
        try:
            for piece in self._cut(data):
                messages += self._decode(piece)
        except _Broken as error:
            self.broken = str(error)
        return messages

    def _cut(self, data: bytes) -> Iterator[bytes]:
        """Heads, without their masks (which are off already), and pieces of payload."""
        data, self._head = self._head + data, b""
        at, end = 0, len(data)
        while at < end:
            if self._left:
                stop = min(end, at + self._left)
                self._left -= stop - at
                for start in range(at, stop, _SLICE):
                    yield data[start : min(stop, start + _SLICE)]
            elif (found := head_at(data, at)) is not None:
                stop = at + found[0]
                self._left = found[1]
                self._control = data[at] & 0x0F >= CLOSE
                masked = data[at + 1] & 0x80
                yield bytes((data[at], data[at + 1] & 0x7F)) + data[
                    at + 2 : stop - 4 * bool(masked)
                ]
            else:
                self._head = data[at:]
                return
            at = stop

    def _decode(self, piece: bytes) -> Iterator[_Message]:
        from wsproto.frame_protocol import ParseFailed  # noqa: PLC0415 - as above

        decoder = self._decoders[self._control]
        decoder.receive_bytes(piece)
        self._fed += len(piece)
        try:
            while (frame := decoder.process_buffer()) is not None:
                payload = cast(bytes, frame.payload)  # a text is no str before wsproto decodes it
                self._inflated += len(payload)
                finished = frame.frame_finished and frame.message_finished
                yield from self._take(int(frame.opcode), payload, finished=finished)
                self._judge_size()
        except (ParseFailed, zlib.error, AssertionError) as error:  # its own checks, in places
            raise _Broken(f"could not be decoded further: {error}") from error

    def _judge_size(self) -> None:
        most = max(self._fed * self._limits.decoded_ratio, 1 << 20)
        if self._inflated > min(self._limits.decoded_bytes, most):
            raise _Broken("decoded, it is over the limit")

    def _take(self, opcode: int, payload: bytes, *, finished: bool) -> Iterator[_Message]:
        if opcode >= CLOSE:
            yield self._control_message(opcode, payload)
            return
        if opcode:
            self._opcode = opcode
        self._pieces.append(payload)
        if finished:
            yield self._message(complete=True)

    def _control_message(self, opcode: int, payload: bytes) -> _Message:
        code = None
        if opcode == CLOSE and len(payload) > 1:
            code, payload = int.from_bytes(payload[:2], "big"), payload[2:]
        return _Message(self._t, self._sender, _NAMES[opcode], payload, code)

    def _message(self, *, complete: bool) -> _Message:
        raw, self._pieces = b"".join(self._pieces), []
        name = _NAMES.get(self._opcode, "binary")
        self._opcode = 0
        return _Message(self._t, self._sender, name, raw, None, complete)

    def close(self) -> list[_Message]:
        """The message that was not whole in the end."""
        return [self._message(complete=False)] if self._pieces else []


def _inflater(
    sender: str, deflate: str
) -> Any:  # noqa: ANN401 - wsproto's Extension, which is not imported above
    """For what this side sends; the decoder always reads as a client does."""
    from wsproto.extensions import PerMessageDeflate  # noqa: PLC0415 - as above

    side = "client" if sender == "client" else "server"
    bits = {name: int(number) for name, number in _BITS.findall(deflate)}.get(side, 15)
    # Offered to wsproto as what a server sends: the decoder asks for no other.
    inflater = PerMessageDeflate()
    takeover = "; server_no_context_takeover" if f"{side}_no_context_takeover" in deflate else ""
    inflater.finalize(
        f"permessage-deflate; server_max_window_bits={min(max(bits, 9), 15)}{takeover}"
    )
    return inflater


def _mask(stream: Stream, messages: list[_Message], recorded: Recorded) -> None:
    """Hide what is to be hidden: texts by the document's own search, here only what stands in it
    as base64, and what the configuration names."""
    before = [message.raw for message in messages]
    secrets = [*(recorded.secrets or ()), *recorded.short_secrets]
    for message in messages:
        if message.opcode == "binary" or not _is_text(message.raw):
            message.raw = masking.mask_bytes(message.raw, secrets)
        elif recorded.short_secrets:
            message.raw = masking.mask_fields_in_text(message.raw.decode())[0].encode()
    if recorded.masker is not None:
        for sender in _SENDERS.values():
            own = [m for m in messages if m.sender == sender]
            events = [StreamEvent(m.raw, b"", m.raw, m.complete) for m in own]
            mask_events(recorded.masker, events)
            for message, event in zip(own, events, strict=True):
                hidden = message.opcode == "binary" or not _is_text(message.raw)
                message.raw = MASK if hidden else event.raw
    stream.masked = [n for n, message in enumerate(messages) if message.raw != before[n]]


def _is_text(raw: bytes) -> bool:
    try:
        raw.decode()
    except UnicodeDecodeError:
        return False
    return True


__all__ = ["accepted_deflate", "read_frames"]
