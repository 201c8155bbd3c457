"""When what happened, in milliseconds since the request's head was there."""

from __future__ import annotations

from datetime import UTC, datetime
from itertools import pairwise

from .recorded import Recorded
from .records import Finished

_SECOND_NS = 1_000_000_000


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

    def rfc3339(self, unix_ns: int) -> str:
        """`2026-11-21T10:11:12.123456Z`"""
        second, rest = divmod(unix_ns, _SECOND_NS)
        if second != self._second:
            self._seek(second)
        return f"{self._text}.{rest // 1000:06d}Z"

    def day_and_time(self, unix_ns: int) -> tuple[str, str]:
        """`2026-11-21` and `101112.123456Z`: the folder and the beginning of the file's name."""
        second, rest = divmod(unix_ns, _SECOND_NS)
        if second != self._second:
            self._seek(second)
        return self._day, f"{self._time}.{rest // 1000:06d}Z"


def timing(
    recorded: Recorded,
    received_at: str,
    first_token_ms: float | None,
    output_tokens: int | None,
) -> dict[str, object]:
    """The schema's `timing`."""
    started = recorded.opened.started
    finished = recorded.finished
    if finished is None:
        return _until_killed(recorded, received_at, first_token_ms)

    def ms(t: float | None) -> float | None:
        # Whole microseconds: a third of the time of round(…, 3), which goes by way of text.
        return None if t is None else int((t - started) * 1_000_000 + 0.5) / 1000

    last_byte = ms(finished.t_last_byte)
    return {
        "received_at": received_at,
        "request_body_ms": ms(finished.t_request_body),
        "upstream_connect_ms": ms(finished.t_connected),
        "upstream_reused": finished.reused,
        "upstream_sent_ms": ms(finished.t_sent),
        "upstream_headers_ms": ms(finished.t_headers),
        "first_byte_ms": ms(finished.t_first_byte),
        "first_token_ms": None if first_token_ms is None else round(first_token_ms, 3),
        "last_byte_ms": last_byte,
        "finished_ms": ms(finished.t_finished),
        "overhead_ms": overhead_ms(finished, started),
        "max_gap_ms": int(finished.max_gap * 1_000_000 + 0.5) / 1000 if recorded.response else None,
        "output_tokens_per_s": tokens_per_s(output_tokens, first_token_ms, last_byte),
    }


def overhead_ms(finished: Finished, started: float) -> float:
    """The time spent in the proxy itself: all of it without the waiting for others.

    Counted: from the head's arrival until the request was handed to the upstream, without
    connecting and without waiting for the rest of the client's body; and from the last byte handed
    to the client until the end. The microseconds a chunk takes on its way through cannot be told
    from the waiting for it and are not in here.
    """
    end = finished.t_finished
    out = finished.t_sent
    if out is None:  # never sent: all of it was ours but the waiting
        out = end
    own = out - started - _connecting(finished)
    if finished.t_request_body is not None and finished.t_request_body <= out:
        own -= finished.t_request_body - started
    if finished.t_sent is not None and finished.t_last_byte is not None:
        own += end - max(finished.t_last_byte, finished.t_sent)
    return int(max(0.0, own) * 1_000_000 + 0.5) / 1000


def _connecting(finished: Finished) -> float:
    begin, end = finished.t_connect_start, finished.t_connected
    if begin is None:
        return 0.0
    return (end if end is not None else finished.t_finished) - begin


def tokens_per_s(tokens: int | None, first_ms: float | None, last_ms: float | None) -> float | None:
    """Output tokens a second while the model was speaking; None where that cannot be seen."""
    if not tokens or first_ms is None or last_ms is None or last_ms <= first_ms:
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
