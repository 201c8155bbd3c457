"""The server's side of HTTP/1.1, as a protocol class for uvicorn (`--http llmtap.proxy.server:…`).

uvicorn keeps the process: sockets, signals, workers, reload. Its own protocol is not used because
of two things measured here: its request cycle costs 20 µs a request, as much as all of forwarding
(29 µs for an empty ASGI answer against 21 µs for a whole proxied one without it), and it offers no
deadline for a request's head or body, no cap on headers, and takes `Transfer-Encoding: ,chunked`
and a missing Host. Parsing is the same: llhttp by httptools.

One object per connection in three layers, each of which calls only what is below it:

    requests    ServerProtocol      bytes in ──▶ Exchange
    answers     Answers             Response ──▶ bytes out
    connection  ClientConnection    life, deadlines, flow

They are layers of one class, not objects of their own: no request pays the way between them.
"""

from .requests import ServerProtocol

__all__ = ["ServerProtocol"]
