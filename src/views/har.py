"""Traces as an HTTP Archive 1.2, for browsers' network panes and all else that reads HAR.

http://www.softwareishard.com/blog/har-12-spec/; what it has no place for stands in fields that
begin with an underscore: `_events` are a stream's, with their milliseconds since the request came.
"""

from __future__ import annotations

import base64
from collections.abc import Iterable, Mapping
from http import HTTPStatus
from pathlib import Path
from typing import Any
from urllib.parse import parse_qsl, quote

from .wire import sent

Json = dict[str, Any]  # what HAR prescribes


def har(documents: Iterable[tuple[Mapping[str, Any], Path]], version: str) -> Json:
    """The archive of these traces, each with the folder it lies in."""
    entries = [entry(document, beside) for document, beside in documents]
    creator = {"name": "llmtap", "version": version}
    return {"log": {"version": "1.2", "creator": creator, "entries": entries}}


def entry(document: Mapping[str, Any], beside: Path | None = None) -> Json:
    """One exchange."""
    timing, stream = document["timing"], document["stream"]
    return {
        "startedDateTime": timing["received_at"],
        "time": timing["finished_ms"] or 0,
        "request": _request(document, beside),
        "response": _response(document, beside),
        "cache": {},
        "timings": _timings(timing),
        "_id": document["id"],
        "_session": document["session"]["id"],
        "_termination": document["termination"],
        "_error": document["error"],
        "_usage": document["usage"],
        "_cost": document["cost"],
        "_first_token_ms": timing["first_token_ms"],
        "_events": stream["events"] if stream is not None else None,
    }


def _request(document: Mapping[str, Any], beside: Path | None) -> Json:
    request = document["request"]
    body, query = sent(request["body"], beside), request["query"]
    shown: Json = {
        "method": request["method"],
        "url": _url(document),
        "httpVersion": f"HTTP/{request['http_version'] or '1.1'}",
        "cookies": [],
        "headers": _headers(request["headers"]),
        "queryString": [
            {"name": name, "value": value}
            for name, value in parse_qsl(query or "", keep_blank_values=True)
        ],
        "headersSize": -1,
        "bodySize": request["body"]["wire_bytes"],
    }
    if body.data:
        post: Json = {"mimeType": request["body"]["content_type"] or "", "params": []}
        shown["postData"] = post | _text(body.data, "_encoding")
    if body.note is not None:
        shown["comment"] = body.note
    return shown


def _response(document: Mapping[str, Any], beside: Path | None) -> Json:
    """Of what was never answered: status 0, as browsers write it."""
    response = document["response"]
    if response is None:
        body, status, headers, version = None, 0, [], None
    else:
        body, status = response["body"], response["status"]
        headers, version = response["headers"], response["http_version"]
    location = next((value for name, value in headers if name.lower() == "location"), "")
    return {
        "status": status,
        "statusText": _phrase(status),
        "httpVersion": f"HTTP/{version or '1.1'}",
        "cookies": [],
        "headers": _headers(headers),
        "content": _content(document, body, beside),
        "redirectURL": location,
        "headersSize": -1,
        "bodySize": body["wire_bytes"] if body is not None else -1,
    }


def _content(
    document: Mapping[str, Any], body: Mapping[str, Any] | None, beside: Path | None
) -> Json:
    if body is None:
        return {"size": 0, "mimeType": ""}
    content: Json = {"size": body["decoded_bytes"] or 0, "mimeType": body["content_type"] or ""}
    if document["stream"] is not None:
        return content | _text(stream_bytes(document["stream"]), "encoding")
    data = sent(body, beside).data
    return content | (_text(data, "encoding") if data is not None else {})


def stream_bytes(stream: Mapping[str, Any]) -> bytes:
    """A stream as it was, decoded: its events joined."""
    return b"".join(event_bytes(event) for event in stream["events"])


def event_bytes(event: Mapping[str, Any]) -> bytes:
    """One event as it was."""
    raw = event["raw"]
    return raw.encode() if isinstance(raw, str) else base64.b64decode(raw["base64"])


def _text(data: bytes, encoding: str) -> Json:
    try:
        return {"text": data.decode()}
    except UnicodeDecodeError:
        return {"text": base64.b64encode(data).decode(), encoding: "base64"}


def _headers(headers: Iterable[tuple[str, str]]) -> list[Json]:
    return [{"name": name, "value": value} for name, value in headers]


def _url(document: Mapping[str, Any]) -> str:
    """Where it went, or else was asked to go; what no URI may hold is escaped."""
    request, forwarded = document["request"], document["forwarded"]
    if forwarded is not None:
        return quote(forwarded["url"], safe=_URI)
    host = next((value for name, value in request["headers"] if name.lower() == "host"), "-")
    query = "" if request["query"] is None else f"?{request['query']}"
    return quote(f"http://{host}{request['path']}{query}", safe=_URI)


_URI = "%:/?#@!$&'()*+,;=-._~"


def _phrase(status: int) -> str:
    try:
        return HTTPStatus(status).phrase
    except ValueError:
        return ""


def _timings(timing: Mapping[str, Any]) -> Json:
    """Their sum is the whole time; what did not happen is -1, as the format wants it."""
    sent_at, headers_at = timing["upstream_sent_ms"], timing["upstream_headers_ms"]
    end = timing["finished_ms"] or 0
    connect = timing["upstream_connect_ms"] if timing["upstream_reused"] is False else None
    if sent_at is None:
        return {"blocked": end, "dns": -1, "connect": -1, "send": 0, "wait": 0, "receive": 0}
    begun = min(timing["request_body_ms"] or 0, sent_at)
    took = min(connect, sent_at - begun) if connect is not None else None
    headers_at = max(headers_at if headers_at is not None else end, sent_at)
    return {
        "blocked": round(begun, 3),
        "dns": -1,
        "connect": round(took, 3) if took is not None else -1,
        "send": round(sent_at - begun - (took or 0), 3),
        "wait": round(headers_at - sent_at, 3),
        "receive": round(max(end - headers_at, 0), 3),
    }
