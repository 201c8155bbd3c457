"""The models, the schema file and what the recorder writes are one promise."""

from __future__ import annotations

import json

from pydantic import BaseModel

from src.models import trace as module
from src.models.trace import SCHEMA_FILE, TraceDocument, json_schema
from tests.tracing.building import build
from tests.tracing.support import CHAT_ANSWER, compact


def test_the_schema_file_is_generated_from_the_models() -> None:
    assert SCHEMA_FILE.read_text() == json_schema(), "run python -m src.models.trace"


def test_the_keys_stand_in_the_order_of_the_promise() -> None:
    names = "schema id state summary session client upstream timing termination error usage cost"
    names += " request forwarded response stream redactions gen_ai tags ext"
    written = list(build())
    assert written == names.split()
    assert [f.alias or n for n, f in TraceDocument.model_fields.items()] == written


def check(document: dict) -> None:
    """Valid, nothing in it that the models do not know, every key in its order."""
    model = TraceDocument.model_validate(document)
    again = json.loads(model.model_dump_json(by_alias=True, exclude_unset=True))
    document["timing"]["received_at"] = again["timing"]["received_at"]
    assert json.dumps(again) == json.dumps(document)


def test_a_plain_answer_is_as_promised() -> None:
    check(build())


def test_a_stream_is_as_promised() -> None:
    events = [
        b'data: {"choices":[{"index":0,"delta":{"content":"hi"}}]}\n\n',
        b"data: \xff\n\ndata: ",
    ]
    check(build(chunks=events, content_type=b"text/event-stream"))


def test_a_request_without_an_answer_is_as_promised() -> None:
    check(build(answered=False, forwarded=False, cause="connect_failed"))


def test_a_recovered_request_is_as_promised() -> None:
    check(build(killed=True))


def test_a_cost_of_the_providers_own_is_as_promised() -> None:
    answer = {**CHAT_ANSWER, "usage": {**CHAT_ANSWER["usage"], "cost": 0.0012}}
    document = build(chunks=[compact(answer)], kind="openrouter")
    assert document["cost"]["usd"] == 0.0012
    check(document)


def test_every_public_model_says_what_it_is() -> None:
    models = [m for m in vars(module).values() if isinstance(m, type) and issubclass(m, BaseModel)]
    assert [m.__name__ for m in models if not m.__doc__] == []
