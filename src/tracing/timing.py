"""When what happened, in milliseconds since the request's head was there."""

from __future__ import annotations

from datetime import UTC, datetime
from itertools import pairwise

from ..proxy.providers.values import Usage
from .recorded import Recorded
from .records import Finished

_SECOND_NS = 1_000_000_000
_LEAST_SPOKEN_MS = 50.0  # below it the network's way of handing pieces on is measured, no model
_LEAST_PIECES = 3  # of two, the second may hold nothing but the stream's end


class Clock:
    """Renders Unix times; the text of the current second is kept, most requests share it."""

    def __init__(self) -> None:
        self._second = -1
        self._text = ""
        self._day = ""
        self._time = ""

    def _seek(self, second: int) -> None:
        moment = datetime.fromtimestamp(second, UTC)
        self._second = second
        self._text = moment.strftime("%Y-%m-%dT%H:%M:%S")
        self._day = moment.strftime("%Y-%m-%d")
        self._time = moment.strftime("%H%M%S")

    def texts(self, unix_ns: int) -> tuple[str, str, str]:
        """`2026-11-21`, `101112.123456Z`, `2026-11-21T10:11:12.123456Z`: the folder, the beginning
        of the file's name, and RFC 3339."""
        second, rest = divmod(unix_ns, _SECOND_NS)
        if second != self._second:
            self._seek(second)
        fraction = f".{rest // 1000:06d}Z"
        return self._day, self._time + fraction, self._text + fraction


def timing(
    recorded: Recorded,
    received_at: str,
    first_token_ms: float | None,
    tokens: int | None,
) -> dict[str, object]:
    """The schema's `timing`; `tokens` as `streamed_tokens` gives them."""
    finished = recorded.finished
    if finished is None:
        return _until_killed(recorded, received_at, first_token_ms)
    started = recorded.opened.started
    last = finished.t_last_byte
    last_byte = None if last is None else ms(last, started)
    body, connected, sent = finished.t_request_body, finished.t_connected, finished.t_sent
    headers, first_byte = finished.t_headers, finished.t_first_byte
    return {
        "received_at": received_at,
        "request_body_ms": None if body is None else ms(body, started),
        "upstream_connect_ms": None if connected is None else ms(connected, started),
        "upstream_reused": finished.reused,
        "upstream_sent_ms": None if sent is None else ms(sent, started),
        "upstream_headers_ms": None if headers is None else ms(headers, started),
        "first_byte_ms": None if first_byte is None else ms(first_byte, started),
        "first_token_ms": None if first_token_ms is None else round(first_token_ms, 3),
        "last_byte_ms": last_byte,
        "finished_ms": ms(finished.t_finished, started),
        "overhead_ms": overhead_ms(finished, started),
        "max_gap_ms": ms(finished.max_gap, 0.0) if recorded.response else None,
        "output_tokens_per_s": _tokens_per_s(recorded, tokens, first_token_ms, last_byte),
    }


def ms(t: float, started: float) -> float:
    """Milliseconds since the start, of whole microseconds: a third of the time of round(…, 3),
    which goes by way of text. Hot: nine times a trace."""
    return int((t - started) * 1_000_000 + 0.5) / 1000


def overhead_ms(finished: Finished, started: float) -> float:
    """The time spent in the proxy itself before the request was on its way.

    Counted: from the head's arrival until the request was handed to the upstream, without
    connecting and without waiting for the rest of the client's body; all of it where it was never
    handed on. The microseconds a chunk takes on its way back cannot be told from the waiting for
    it, nor what comes behind the last one from the waiting for the upstream's end, the client's
    leaving or a time-out: none of it is in here.
    """
    end, sent = finished.t_finished, finished.t_sent
    out = end if sent is None else sent  # never sent: all of it was ours but the waiting
    own = out - started
    if finished.t_connect_start is not None:
        connected = finished.t_connected
        own -= (end if connected is None else connected) - finished.t_connect_start
    if len(finished.attempts) > 1:  # earlier tries, and the pauses between, were the upstream's
        own -= finished.attempts[-1][1] - finished.attempts[0][1]
    body = finished.t_request_body
    if body is not None and body <= out:
        own -= body - started
    return int(own * 1_000_000 + 0.5) / 1000 if own > 0.0 else 0.0


def streamed_tokens(usage: Usage | None, message: object) -> int | None:
    """The output tokens of a stream that were sent, `message` is what it said. Reasoning of which
    nothing was sent came before the first of them: with it a model would seem ten times as fast."""
    if usage is None or usage.output_tokens is None or not usage.reasoning_tokens:
        return usage.output_tokens if usage is not None else None
    from ..record.conversation import answer_of  # noqa: PLC0415  few reason: not at the start

    answered = answer_of({"response": {"message": message}})
    if any(part.kind == "thinking" for turn in answered for part in turn.parts):
        return usage.output_tokens
    return usage.output_tokens - usage.reasoning_tokens


def _tokens_per_s(
    recorded: Recorded, tokens: int | None, first_ms: float | None, last_ms: float | None
) -> float | None:
    """Output tokens a second while the model was speaking; None where that cannot be seen: not
    streamed, or all of it there (nearly) at once."""
    if first_ms is None or last_ms is None or last_ms - first_ms < _LEAST_SPOKEN_MS:
        return None
    if tokens is None or tokens <= 0:
        return None
    pieces = recorded.response
    if len(pieces) < _LEAST_PIECES:
        return None
    third_last_ms = (pieces[-_LEAST_PIECES][0] - recorded.opened.started) * 1000
    if third_last_ms < first_ms:
        return None
    return round(tokens * 1000 / (last_ms - first_ms), 2)


def _until_killed(
    recorded: Recorded, received_at: str, first_token_ms: float | None
) -> dict[str, object]:
    started = recorded.opened.started
    times = [round((t - started) * 1000, 3) for t, _ in recorded.response]
    gaps = [round(b - a, 3) for a, b in pairwise(times)]
    return {
        "received_at": received_at,
        "request_body_ms": None,
        "upstream_connect_ms": None,
        "upstream_reused": None,
        "upstream_sent_ms": None,
        "upstream_headers_ms": None,
        "first_byte_ms": times[0] if times else None,
        "first_token_ms": None if first_token_ms is None else round(first_token_ms, 3),
        "last_byte_ms": times[-1] if times else None,
        "finished_ms": None,
        "overhead_ms": None,
        "max_gap_ms": max(gaps, default=0.0) if times else None,
        "output_tokens_per_s": None,
    }
