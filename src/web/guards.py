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
_PROBES = frozenset({"/health", "/liveness", "/readiness"})


class Guards:
    """ASGI middleware. `host`: what is listened on. `hosts`: further names of ours."""

    def __init__(self, app: ASGIApp, host: str, hosts: Iterable[str]) -> None:
        self._app = app
        self._names = {"localhost", *(name.lower() for name in (host, *hosts))}
        self._any_address = not is_loopback(host)

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        sending = _carrying(send)
        refused = self._refused(scope)
        if refused is not None:
            status, kind, message = refused
            response = error_response(status, {"type": kind, "message": message})
            await response(scope, receive, sending)
            return
        await self._app(scope, receive, sending)

    def _refused(self, scope: Scope) -> tuple[int, str, str] | None:
        host = Headers(scope=scope).get("host", "")
        if scope["path"] not in _PROBES and not self._is_ours(host):
            text = "is not served under this name; add it to web.hosts, or use an address"
            return 421, "unknown_host", text
        if len(scope["query_string"]) > _QUERY_BYTES:
            return 414, "query_too_long", f"a query may have {_QUERY_BYTES} bytes"
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


def _carrying(send: Send) -> Send:
    async def sending(message: Message) -> None:
        if message["type"] == "http.response.start":
            headers = MutableHeaders(scope=message)
            for name, value in _SAFE.items():
                headers[name] = value
        await send(message)

    return sending
