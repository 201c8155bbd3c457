"""Where every request begins and ends. Read this file first.

    server ─▶ Gateway.handle ─▶ middlewares ─▶ Forwarder ─▶ provider.sign ─▶ transport ─▶ upstream
       ▲            │
       └── chunks ──┘   pushed to the client the moment they come, shown to observers after

An exchange is finished exactly once, synchronously, whatever happened: that is the last thing
`handle` does, and nothing in it awaits.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable, Coroutine, Sequence
from inspect import CORO_CREATED, getcoroutinestate
from time import monotonic
from typing import Protocol, cast

from .bodies import ResponseBody
from .errors import BodyError, ClientDisconnected, ProxyError, forget_way
from .exchange import CallNext, Cause, ErrorRecord, Exchange, Phase, Response, Upstream
from .providers.base import Provider
from .turns import Turns
from .urls import strip_prefix

log = logging.getLogger("llmtap.proxy")


_DONE = Phase.DONE
_CROWD = 100  # fewer cannot hold each other up for long
_Coroutine = Coroutine[object, object, None]


class Client(Protocol):
    """The client's side of an exchange: the server's connection, or an ASGI adapter."""

    def begin(self, exchange: Exchange, response: Response) -> None:
        """Take the head. After this there is no other answer: only more of it, or `abort`."""

    def flush(self) -> None:
        """Send the head now, the body is not here yet; else it goes with the first piece."""

    def write(self, chunk: bytes) -> None:
        """Send a piece of the body now."""

    def end(self) -> None:
        """The body is complete."""

    def abort(self) -> None:
        """Cut the connection so that the client sees the failure as one."""


class Gateway:
    """Takes exchanges in, sees each through, keeps account of those in flight.

    `upstreams`: the longest prefix wins, the one without a prefix serves the rest. `call_next`:
    the chain. `max_in_flight`: more than that at once are answered 503.
    """

    def __init__(
        self,
        upstreams: Sequence[Upstream],
        call_next: CallNext,
        fallback: Provider,
        chain: tuple[str, ...] = (),
        max_in_flight: int = 2000,
    ) -> None:
        self._upstreams = sorted(upstreams, key=lambda u: len(u.prefix), reverse=True)
        self._only = self._upstreams[0] if _serves_all(self._upstreams) else None
        self._call_next = call_next
        self._fallback = fallback
        self._chain = chain
        self._max_in_flight = max_in_flight
        self._draining = False
        self._turns = Turns()
        self.in_flight: dict[Exchange, asyncio.Task[None]] = {}
        self.accepted = 0

    @property
    def ready(self) -> bool:
        """May new requests be sent here?"""
        return not self._draining and len(self.in_flight) < self._max_in_flight

    def start(self, exchange: Exchange, client: Client) -> asyncio.Task[None]:
        """Begin an exchange; returns its task."""
        self._route(exchange)
        self.accepted += 1
        if len(self.in_flight) >= self._max_in_flight:
            exchange.refusal = (503, "overloaded", f"{self._max_in_flight} requests are in flight")
        task = asyncio.get_running_loop().create_task(
            self.handle(exchange, client), name=exchange.id
        )
        self.in_flight[exchange] = task
        return task

    async def handle(  # noqa: C901, PLR0912 - a whole life in its order; a call more costs each one
        self, exchange: Exchange, client: Client
    ) -> None:
        """See one exchange through. Hot: once per request."""
        flushed = False
        try:
            try:
                if len(self.in_flight) > _CROWD and (turn := self._turns.take()) is not None:
                    await _begin(exchange, turn)
                response = await self._call_next(exchange)
            except ProxyError as error:
                forget_way(error)
                response = _failed(exchange, error)
            except Exception:  # a middleware's: anything may come, and only this request pays
                log.exception("request %s failed in %s", exchange.id, exchange.rejected_by)
                response = _crashed(exchange)
            if response.refused:
                _note_refusal(exchange)
            body = response.body
            if isinstance(body, ResponseBody):
                client.begin(exchange, response)
                exchange.response = response
                exchange.status = response.status
                if body.empty:
                    client.flush()
                    flushed = True
                await body.pipe(_delivery(exchange, client))
                client.end()
                exchange.phase = _DONE
            else:
                _send_whole(exchange, client, response, body)
        except BodyError as error:
            forget_way(error)
            _break_off(exchange, client, error, flushed=flushed)
        except asyncio.CancelledError:
            exchange.end(Cause.SHUTDOWN)  # stands unless the client's leaving was noted before
            client.abort()
        except Exception as error:
            log.exception("request %s failed while its answer was being sent", exchange.id)
            _overrule(exchange, Cause.REJECTED, f"internal error: {type(error).__name__}")
            if exchange.status is None:  # not a byte has gone out: there is still an answer
                _send_crash(exchange, client)
            else:
                client.abort()
        finally:
            exchange.let_go()
            self.in_flight.pop(exchange, None)
            exchange.finish()

    def client_left(self, exchange: Exchange) -> None:
        """The client is gone: stop everything that is done for it, at once."""
        self.cut(exchange, Cause.CLIENT_DISCONNECTED, "the client closed its connection")

    async def drain(self, deadline_s: float) -> None:
        """Cut what is still in flight and wait until each exchange is finished."""
        self._draining = True
        tasks = list(self.in_flight.values())
        for exchange in list(self.in_flight):
            self.cut(exchange, Cause.SHUTDOWN, "the proxy was stopped")
        if tasks:
            await asyncio.wait(tasks, timeout=deadline_s)

    def cut(self, exchange: Exchange, cause: Cause, detail: str) -> None:
        """End an exchange from outside, if it is still in flight.

        A task that is cancelled before its first step never runs, which would leave the exchange
        in flight and without a trace: such a one is let begin, and the forwarder refuses it before
        anything is sent.
        """
        task = self.in_flight.get(exchange)
        if task is None:
            return
        _overrule(exchange, cause, detail)
        if not exchange.body.complete and exchange.status is None:
            exchange.phase = Phase.REQUEST  # whatever of it had been sent on by then
        if getcoroutinestate(cast(_Coroutine, task.get_coro())) == CORO_CREATED:
            exchange.refusal = (499, cause.value, detail)
            asyncio.get_running_loop().call_soon(task.cancel)
        else:
            task.cancel()

    def stop_accepting(self) -> None:
        """From now on not ready; what is in flight goes on."""
        self._draining = True

    def _route(self, exchange: Exchange) -> None:
        exchange.chain = self._chain
        upstream = self._only
        if upstream is not None:
            exchange.upstream = upstream
            exchange.provider = upstream.provider
            exchange.forward_path = exchange.path
            return
        exchange.provider = self._fallback
        for candidate in self._upstreams:
            path = strip_prefix(candidate.prefix, exchange.path)
            if path is not None:
                exchange.upstream, exchange.provider = candidate, candidate.provider
                exchange.forward_path = path
                return


async def _begin(exchange: Exchange, turn: asyncio.Future[None]) -> None:
    """Wait for its turn. One that is cut meanwhile goes on to be refused, as in `cut`: else it
    would leave no trace."""
    try:
        await turn
    except asyncio.CancelledError:
        cause = exchange.cause or Cause.SHUTDOWN
        exchange.end(cause)
        exchange.refusal = (499, cause.value, exchange.detail or "the request was cancelled")
        task = asyncio.current_task()
        if task is not None:
            asyncio.get_running_loop().call_soon(task.cancel)


def _serves_all(upstreams: Sequence[Upstream]) -> bool:
    return len(upstreams) == 1 and not upstreams[0].prefix


def _note_refusal(exchange: Exchange) -> None:
    if exchange.refusal is not None and exchange.cause is not None:  # ended before it began: `cut`
        exchange.error = None
        raise asyncio.CancelledError
    exchange.end(Cause.REJECTED, exchange.rejected_by or "forward")


def _send_whole(exchange: Exchange, client: Client, response: Response, body: bytes) -> None:
    """An answer made here or by a middleware, which may have forgotten what its length is."""
    body = b"".join((body,))  # raises TypeError for what is no bytes, before the head has gone
    length = b"%d" % len(body)
    if body and [v for n, v in response.headers if n.lower() == b"content-length"] != [length]:
        response.headers = [h for h in response.headers if h[0].lower() != b"content-length"]
        response.headers.append((b"content-length", length))
    client.begin(exchange, response)
    exchange.response = response
    exchange.status = response.status
    if body:
        client.write(body)
        if exchange.method != b"HEAD":
            exchange.observe_chunk(body)
    client.end()
    if exchange.cause in {None, Cause.UPSTREAM_ERROR}:
        exchange.phase = _DONE  # else it says how far the request came that was not answered


def _send_crash(exchange: Exchange, client: Client) -> None:
    """What the chain returned is no answer that can be sent: say so."""
    try:
        response = _crashed(exchange)
        if isinstance(response.body, bytes):
            _send_whole(exchange, client, response, response.body)
    except Exception:
        log.exception("request %s could not even be refused", exchange.id)
        client.abort()


def _break_off(exchange: Exchange, client: Client, error: BodyError, *, flushed: bool) -> None:
    """The upstream's answer will never be whole: cut the client, or, where its head broke off
    together with it and not a byte has gone out, answer in its place."""
    _overrule(exchange, Cause(error.cause), str(error))
    source = "proxy" if error.cause == "rejected" else "upstream"
    exchange.error = ErrorRecord(source, error.cause, str(error))
    if exchange.status == 101:
        client.flush()  # agreed is agreed, and tells the client how to read what it is told
        flushed = True
    if flushed or exchange.t_first_byte is not None:
        client.abort()
        return
    status = 504 if error.cause == "timeout" else 502
    response = exchange.refuse(status, "upstream_bad_response", str(error))
    if isinstance(response.body, bytes):
        _send_whole(exchange, client, response, response.body)


def _delivery(exchange: Exchange, client: Client) -> Callable[[bytes], None]:
    """What is done with each chunk: sent, timed, shown. Hot: the function inside, per chunk."""
    write = client.write
    last = 0.0

    def deliver(chunk: bytes) -> None:
        nonlocal last
        write(chunk)
        now = monotonic()
        if last:
            if now - last > exchange.max_gap:  # noqa: PLR1730 - max() is a call more per chunk
                exchange.max_gap = now - last
        else:
            exchange.t_first_byte = now
        exchange.t_last_byte = last = now
        if exchange.chunk_observers is not None:
            exchange.observe_chunk(chunk)

    return deliver


def _overrule(exchange: Exchange, cause: Cause, detail: str) -> None:
    """Note how it ended: over an error status of the upstream, which was only its beginning."""
    if exchange.cause is Cause.UPSTREAM_ERROR:
        exchange.cause = None
    exchange.end(cause, detail)


def _failed(exchange: Exchange, error: ProxyError) -> Response:
    """An error before the first byte, as the client sees it."""
    exchange.cause = None
    exchange.end(Cause(error.cause), str(error))
    if error is exchange.body.error:
        exchange.phase = Phase.REQUEST  # whatever of it had been sent on by then
    if isinstance(error, ClientDisconnected):
        raise asyncio.CancelledError  # nobody is there to be answered
    headers = ((b"retry-after", b"%d" % error.retry_after_s),) if error.retry_after_s else ()
    response = exchange.refuse(error.status, error.code, str(error), headers)
    response.refused = False
    return response


def _crashed(exchange: Exchange) -> Response:
    """A middleware raised: this request fails closed, and only this one."""
    _overrule(exchange, Cause.REJECTED, f"middleware {exchange.rejected_by or '?'} failed")
    message = f"the proxy failed to handle this request; its log names {exchange.id}"
    response = exchange.refuse(500, "internal_error", message)
    response.refused = False
    return response
