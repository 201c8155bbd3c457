"""What every request passes before the app: is the host one of ours, is it bounded, is it a GET.
And what every answer carries.

A page of somebody else's that has its name lead to 127.0.0.1 (DNS rebinding) is told apart by the
Host that browsers send: its own name (reliability 109).
"""

from __future__ import annotations

from collections.abc import Iterable
from ipaddress import ip_address

from starlette.datastructures import Headers, MutableHeaders
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from ..utils.addresses import is_loopback
from .errors import error_response

_QUERY_BYTES = 16_384
_SAFE = {
    "Content-Security-Policy": "default-src 'none'; frame-ancestors 'none'; sandbox",
    "X-Content-Type-Options": "nosniff",
    "Referrer-Policy": "no-referrer",
    "Cross-Origin-Resource-Policy": "same-origin",
    "Cache-Control": "no-store",
}
_AT_ONCE = 256  # requests, live feeds among them
_PROBES = frozenset({"/health", "/liveness", "/readiness"})


class Guards:
    """ASGI middleware. `host`: what is listened on. `hosts`: further names of ours."""

    def __init__(self, app: ASGIApp, host: str, hosts: Iterable[str]) -> None:
        self._app = app
        self._names = {"localhost", *(name.lower() for name in (host, *hosts))}
        self._any_address = not is_loopback(host)
        self._served = 0

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        headers = Headers(scope=scope)
        sending = _carrying(send, last=_has_body(headers))
        refused = self._refused(scope, headers)
        if refused is not None:
            status, kind, message = refused
            response = error_response(status, {"type": kind, "message": message})
            await response(scope, receive, sending)
            return
        self._served += 1
        try:
            await self._app(scope, receive, sending)
        finally:
            self._served -= 1

    def _refused(self, scope: Scope, headers: Headers) -> tuple[int, str, str] | None:
        if scope["path"] in _PROBES:
            return None
        if not self._is_ours(headers.get("host", "")):
            text = "is not served under this name; add it to web.hosts, or use an address"
            return 421, "unknown_host", text
        if len(scope["query_string"]) > _QUERY_BYTES:
            return 414, "query_too_long", f"a query may have {_QUERY_BYTES} bytes"
        if self._served >= _AT_ONCE:
            return 503, "busy", "too many requests at once; try again"
        return None

    def _is_ours(self, host: str) -> bool:
        name = host.lower()
        name = name[1:].partition("]")[0] if name.startswith("[") else name.partition(":")[0]
        name = name.rstrip(".")
        if name in self._names:
            return True
        try:
            ip_address(name)
        except ValueError:
            return False
        # An address cannot be made to lead elsewhere.
        return self._any_address or is_loopback(name)


def _has_body(headers: Headers) -> bool:
    """Nothing here takes one. It is left unread, and the connection ends with the answer: where two
    readers could disagree on where a body ends, nothing that follows is a request."""
    return "transfer-encoding" in headers or headers.get("content-length", "0") != "0"


def _carrying(send: Send, *, last: bool) -> Send:
    async def sending(message: Message) -> None:
        if message["type"] == "http.response.start":
            headers = MutableHeaders(scope=message)
            if last:
                headers["Connection"] = "close"
            for name, value in _SAFE.items():
                headers[name] = value
        await send(message)

    return sending
