"""Drives the real program with bytes of any kind, in both directions, many tries at once.

One loop holds three parties: the client that sends a try, the upstream, and an honest client that
keeps asking on the same pool with a marker of its own. What each saw is judged by `strict`.

    attacker ──any bytes──▶ program ──▶ upstream ──any answer──▶ program ──▶ caller
    honest   ──marker────▶ program ──▶ upstream ──marker─────▶ program ──▶ honest
"""

from __future__ import annotations

import asyncio
import contextlib
import itertools
import json
import re
import socket
import struct
import urllib.request
from collections import Counter
from collections.abc import Iterable, Sequence
from pathlib import Path

from tests.faults import strict
from tests.faults.judging import (
    Try,
    Verdicts,
    answers_in,
    closes,
    echo,
    may_be,
    number_of,
    sized,
    whole_from,
)
from tests.faults.strict import Malformed, Message, Unfinished
from tests.support.tap import LLMTap, settings
from tests.support.wire import free_port

PATIENCE_S = 2.0  # every try is answered or closed by then; the program's own limits are 0.3 s
LIMITS = {
    "request_head_s": 0.3,
    "request_body_s": 0.3,
    "keep_alive_s": 0.3,
    "headers_s": 0.3,
    "idle_s": 0.3,
}


class Arena:
    """The program, its upstream and the honest client; `requests` and `responses` run tries."""

    def __init__(self, folder: Path) -> None:
        self.verdicts = Verdicts()
        self.port = free_port()
        self.tap = LLMTap(
            folder,
            config=settings(
                f"http://127.0.0.1:{self.port}",
                kind="generic",
                timeouts=LIMITS,
                middlewares=["trace"],
                quiet=True,
            ),
        )
        self._runner = asyncio.Runner()
        self._server: asyncio.Server | None = None
        self._numbers = itertools.count(1)
        self._answers: dict[bytes, Try] = {}
        self.arrived: list[Message] = []
        self._writers: set[asyncio.StreamWriter] = set()

    def __enter__(self) -> Arena:
        self._server = self._runner.run(self._listen())
        self.tap.start()
        return self

    def __exit__(self, *_: object) -> None:
        self.tap.stop()
        self._runner.run(self._close())
        self._runner.close()

    async def _listen(self) -> asyncio.Server:
        return await asyncio.start_server(self._serve, "127.0.0.1", self.port)

    async def _close(self) -> None:
        assert self._server is not None
        self._server.close()
        for writer in list(self._writers):
            writer.close()
        await asyncio.sleep(0)

    # --- the upstream ---

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self._writers.add(writer)
        try:
            with contextlib.suppress(OSError, asyncio.CancelledError):
                await self._serve_all(reader, writer)
        finally:
            self._writers.discard(writer)
            writer.close()

    async def _serve_all(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        data = b""
        while True:
            message = None
            with contextlib.suppress(Unfinished):
                try:
                    message = strict.request(data)
                except Malformed as bad:
                    self.verdicts.blame("smuggled", None, f"no request at the upstream: {bad!r}")
                    return
            if message is None or not message.complete:
                more = await reader.read(65536)
                if not more:
                    if message is not None:
                        self.arrived.append(message)
                    return
                data += more
                continue
            data = data[message.size :]
            if not await self._answer(message, writer):
                return

    async def _answer(self, message: Message, writer: asyncio.StreamWriter) -> bool:
        if message.target.startswith(b"/honest/"):
            writer.write(sized(message.target))
            return True
        attempt = self._answers.get(message.target.rpartition(b"/")[2])
        if attempt is None:
            self.arrived.append(message)
            writer.write(sized(b"" if message.method == b"HEAD" else echo(message)))
            return True
        for piece in attempt.slices(whole_from(attempt)):
            if writer.is_closing():
                return False
            writer.write(piece)
            await asyncio.sleep(0.001 if attempt.cuts else 0)
        if attempt.end == "rst" and (sock := writer.get_extra_info("socket")) is not None:
            sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
            writer.transport.abort()
        return attempt.end == "stay"

    # --- the honest client ---

    async def _honest(self, until: asyncio.Event, attempt: Try | None = None) -> None:
        """Asks at least once, then on and on until told to stop."""
        reader = writer = None
        while True:
            if writer is None:
                reader, writer = await asyncio.open_connection(*self.tap.address)
            target = b"/honest/%d" % next(self._numbers)
            writer.write(b"GET %b HTTP/1.1\r\nHost: a\r\n\r\n" % target)
            try:
                assert reader is not None
                body, closes = await asyncio.wait_for(_read_answer(reader), PATIENCE_S)
            except (TimeoutError, OSError, Malformed, asyncio.IncompleteReadError) as error:
                self.verdicts.blame("wrong_answers", attempt, f"none for the honest: {error!r}")
                break
            self.verdicts.honest += 1
            if body != target:
                self.verdicts.blame("wrong_answers", attempt, f"{body[:200]!r} for {target!r}")
            if closes:
                writer.close()
                writer = None
            if until.is_set():
                break
            await asyncio.sleep(0.003)
        if writer is not None:
            writer.close()

    # --- requests ---

    def requests(self, tries: Sequence[Try]) -> None:
        """Sends each try's bytes as a client; what reaches the upstream is judged at the end."""
        self.arrived.clear()
        numbered = [(b"%d" % next(self._numbers), attempt) for attempt in tries]
        for number, attempt in numbered:
            attempt.wire = attempt.wire.replace(b"@", number)
        self._runner.run(self._all(self._request(attempt) for attempt in tries))
        self._nothing_smuggled(tries)
        self._alive(tries)

    async def _all(self, coroutines: Iterable[object]) -> None:
        over = asyncio.Event()
        honest = [asyncio.create_task(self._honest(over)) for _ in range(2)]
        await asyncio.gather(*coroutines)  # type: ignore[call-overload]  # coroutines of tries
        over.set()
        await asyncio.gather(*honest)

    async def _request(self, attempt: Try) -> None:
        self.verdicts.tried += 1
        allowed, rest = strict.requests(attempt.wire)
        whole = [message for message in allowed if message.complete]
        reader, writer = await asyncio.open_connection(*self.tap.address)
        got = b""
        try:
            async with asyncio.timeout(PATIENCE_S):
                await _send(writer, attempt.slices())
                while data := await reader.read(65536):
                    got += data
                    answers = answers_in(got, whole)
                    if len(answers) >= len(whole) and not rest and not closes(answers, whole):
                        break
        except TimeoutError:
            self.verdicts.blame("hangs", attempt, f"neither answered nor closed, got {got[:300]!r}")
        except OSError:
            pass  # reset while sending: closed is closed
        finally:
            writer.close()
        self._right_answers(attempt, got, whole)

    def _right_answers(self, attempt: Try, got: bytes, whole: list[Message]) -> None:
        """The nth answer is that to the nth request; at most one more, a refusal."""
        answers = answers_in(got, whole)
        if len(answers) > len(whole) + 1:
            self.verdicts.blame("wrong_answers", attempt, f"{len(answers)} answers")
        for number, answer in enumerate(answers):
            if answer.status != 200:
                continue
            asked = whole[number] if number < len(whole) else None
            if asked is None or (asked.method != b"HEAD" and answer.body != echo(asked)):
                self.verdicts.blame("wrong_answers", attempt, f"answer {number}: {answer.body!r}")

    def _nothing_smuggled(self, tries: Sequence[Try]) -> None:
        """Each request at the upstream is one that a try's bytes hold, and each only once."""
        allowed = [(attempt, m) for attempt in tries for m in strict.requests(attempt.wire)[0]]
        for seen in self.arrived:
            match = next((pair for pair in allowed if may_be(seen, pair[1])), None)
            if match is None:
                named = [a for a in tries if number_of(a) and number_of(a) in seen.target]
                self.verdicts.blame("smuggled", named[0] if named else None, repr(seen))
            else:
                allowed.remove(match)

    # --- answers ---

    def responses(self, tries: Sequence[Try]) -> None:
        """Each try's bytes as the answer to one request; then the honest client, on that pool."""
        self._answers.clear()
        self._runner.run(self._all(self._response(attempt) for attempt in tries))
        self._alive(tries)

    async def _response(self, attempt: Try) -> None:
        self.verdicts.tried += 1
        number = b"r%d" % next(self._numbers)
        self._answers[number] = attempt
        reader, writer = await asyncio.open_connection(*self.tap.address)
        body = b"{}" if attempt.method == b"POST" else b""
        head = (
            b"%b /answer/%b HTTP/1.1\r\nHost: a\r\nConnection: close\r\nContent-Length: %d\r\n\r\n"
        )
        got, how = b"", "fin"
        try:
            async with asyncio.timeout(PATIENCE_S):
                writer.write(head % (attempt.method, number, len(body)) + body)
                while data := await reader.read(65536):
                    got += data
        except TimeoutError:
            self.verdicts.blame("hangs", attempt, f"neither answered nor closed, got {got[:300]!r}")
        except OSError:
            how = "rst"
        finally:
            writer.close()
        self._truthful(attempt, got, how)
        over = asyncio.Event()
        over.set()
        await self._honest(over, attempt)

    def _truthful(self, attempt: Try, got: bytes, how: str) -> None:
        """What the caller has is a 502 or 504 of the program's own, or what the upstream said."""
        try:
            answer = strict.response(got, attempt.method, ended=how == "fin")
        except (Malformed, Unfinished):
            if got or how == "fin":
                self.verdicts.blame("wrong_answers", attempt, f"no answer: {got[:300]!r}")
            return
        if answer.all(b"x-llmtap-error"):
            if answer.status not in (502, 504) or not answer.complete:
                self.verdicts.blame("wrong_answers", attempt, f"its own: {got[:300]!r}")
            elif attempt.name.startswith("good_"):
                self.verdicts.blame("wrong_answers", attempt, f"refused: {got[:300]!r}")
            return
        try:
            said = strict.response(attempt.wire, attempt.method, ended=attempt.end == "fin")
        except (Malformed, Unfinished):
            self.verdicts.blame("smuggled", attempt, f"passed as an answer: {got[:300]!r}")
            return
        passed = [pair for pair in answer.headers if pair[0] not in _OWN]
        if (
            answer.status != said.status
            or not said.body.startswith(answer.body)
            or (answer.complete and not (said.complete and answer.body == said.body))
            or Counter(passed) - Counter(said.headers)
        ):
            self.verdicts.blame("wrong_answers", attempt, f"{got[:300]!r} for {said!r}")

    # --- the program itself ---

    def _alive(self, tries: Sequence[Try]) -> None:
        assert self.tap.process is not None
        if self.tap.process.poll() is not None or "Traceback" in self.tap.output:
            told = self.tap.output[-1500:]
            for attempt in tries:
                self.verdicts.blame("crashes", attempt, told)
            raise AssertionError(f"it crashed: {told}\n{tries!r}")

    def health(self) -> dict[str, int]:
        with urllib.request.urlopen(f"{self.tap.url}/health", timeout=5) as answer:
            counters: dict[str, int] = json.load(answer)
        return counters


_OWN = {b"x-llmtap-id", b"connection", b"transfer-encoding"}


async def _send(writer: asyncio.StreamWriter, pieces: Iterable[bytes]) -> None:
    for piece in pieces:
        writer.write(piece)
        await writer.drain()
        await asyncio.sleep(0)


async def _read_answer(reader: asyncio.StreamReader) -> tuple[bytes, bool]:
    """The body of one answer with a length, and whether the connection closes behind it."""
    head = await reader.readuntil(b"\r\n\r\n")
    length = re.search(rb"(?i)\r\ncontent-length: (\d+)\r\n", head)
    if length is None:
        raise Malformed(head)
    body = await reader.readexactly(int(length[1]))
    return (
        body if b" 200 " in head[:14] else head + body
    ), b"\r\nconnection: close" in head.lower()
