"""Which models a request asks for, read so that no upstream can read it otherwise.

Parsers disagree about a key that stands there twice, about the case of its letters (Go's take
`MODEL` for `model`), about paths with dot segments: what can be understood in two ways is unclear
here, and whoever allows or limits models refuses it (reliability 93).
"""

from __future__ import annotations

import json
from codecs import BOM_UTF8
from urllib.parse import unquote

import orjson

from ..proxy.exchange import Exchange
from ..tracing.decoding import DecodeError, Decoder, TooLarge

DECODED_BYTES = 20 << 20
DECODED_RATIO = 200


class Unclear(Exception):
    """The models cannot be told; the message says why, as the client is to read it."""


async def asked_models(exchange: Exchange) -> set[str]:
    """Every model the request names, in path or body; OpenRouter's `models` (fallbacks) count too.

    Reads the whole body, decoded under a cap. Raises `Unclear`, and ProxyError if it never ends.
    """
    path = exchange.forward_path.decode("latin-1")
    if ".." in path or ("%" in path and ".." in unquote(path)):
        raise Unclear("the path has dot segments")
    body = _parsed(await decoded_body(exchange)) if has_body(exchange) else None
    model = exchange.provider.request_model
    names = {model(path, body), model(path, None), model("", body)}
    if isinstance(body, dict) and isinstance(body.get("models"), list):
        names.update(name for name in body["models"] if isinstance(name, str))
    return {name for name in names if name is not None}


def has_body(exchange: Exchange) -> bool:
    """Whether the request announces a body."""
    return exchange.body.chunked or announced_bytes(exchange) > 0


def announced_bytes(exchange: Exchange) -> int:
    """The body's length by its header, 0 where it is not told."""
    length = exchange.header(b"content-length")
    return int(length) if length is not None else 0


async def decoded_body(exchange: Exchange) -> bytes:
    """The request's body without its content encoding. Raises `Unclear` as `asked_models` does."""
    body = await exchange.read_body()
    encoding = exchange.header(b"content-encoding")
    if encoding is None or not body:
        return body
    try:
        decoder = Decoder(encoding.decode("latin-1"), DECODED_BYTES, DECODED_RATIO)
        return decoder.feed(body)
    except TooLarge:
        raise Unclear(f"the body decodes to more than {DECODED_BYTES} bytes") from None
    except DecodeError:
        raise Unclear(
            "the body is not what its Content-Encoding says, or that is unknown"
        ) from None


def _parsed(body: bytes) -> object:
    """The body's JSON; the fast way where nothing in it could be a second `model`."""
    body = body.removeprefix(BOM_UTF8)
    try:
        if b"\\u" not in body and body.lower().count(b'"model') == 1 and b'"model"' in body:
            value: object = orjson.loads(body)
            return value
        return _parsed_with_care(body)
    except (ValueError, RecursionError):
        raise Unclear("the body is no JSON that can be read") from None


def _parsed_with_care(body: bytes) -> object:
    top: list[str] = []

    def note(pairs: list[tuple[str, object]]) -> dict[str, object]:
        """Inner objects come before the one around them: the last is the outermost."""
        top[:] = [name for name, _ in pairs]
        return dict(pairs)

    value: object = json.loads(body, object_pairs_hook=note)
    if isinstance(value, dict):
        for meant in ("model", "models"):
            if [name for name in top if name.lower() == meant] not in ([], [meant]):
                raise Unclear(f"the body has more than one key that reads as {meant!r}")
    return value
