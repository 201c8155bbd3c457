"""A WebSocket's trace from its bytes: inflated, in order, bounded, and never a secret."""

from __future__ import annotations

import base64
import json
import zlib

import pytest

from src.tracing.bodies import Limits
from src.tracing.document import Documents
from src.tracing.rules import Masker, MaskRules
from src.tracing.websocket import accepted_deflate
from tests.models.test_trace import check
from tests.support.frames import BINARY, CLOSE, PING, TEXT, closing, frame
from tests.tracing.building import recorded

NO_KEY = bytes(4)  # as the journal has a client's frames
DEFLATE = ((b"Sec-WebSocket-Extensions", b"permessage-deflate; client_max_window_bits=12"),)


def document(*passed: tuple[bool, bytes | None], **options: object) -> dict:
    """The trace of these bytes, each a tenth of a second after the one before."""
    limits = options.pop("limits", None)
    masker = options.pop("masker", None)
    assert limits is None or isinstance(limits, Limits)
    up = b"".join(data or b"" for client, data in passed if client)
    made = recorded(
        up,
        [data or b"" for client, data in passed if not client],
        method=b"GET",
        target=b"/v1/realtime?model=gpt-realtime",
        status=101,
        **options,  # type: ignore[arg-type]  # as the test says
    )
    made.frames = [(100.5 + n / 10, *piece) for n, piece in enumerate(passed)]
    made.masker = masker  # type: ignore[assignment]  # as the test says
    return json.loads(Documents(limits).build(made).data)


def deflated(text: bytes, sent: int = TEXT) -> bytes:
    """One compressed message in two fragments, with a ping between them."""
    packer = zlib.compressobj(wbits=-12)
    data = (packer.compress(text) + packer.flush(zlib.Z_SYNC_FLUSH))[:-4]
    half = len(data) // 2
    first = bytearray(frame(sent, data[:half], fin=False))
    first[0] |= 0x40  # RSV1: compressed
    return bytes(first) + frame(PING, b"") + frame(0, data[half:])


def test_messages_stand_in_the_order_they_passed_with_their_times() -> None:
    made = document(
        (False, frame(TEXT, b"one")),
        (True, frame(TEXT, "zwö".encode(), key=NO_KEY)),
        (False, frame(BINARY, b"three")),
        (True, frame(CLOSE, closing(1000) + b"done", key=NO_KEY)),
    )
    assert made["stream"] == {
        "protocol": "websocket",
        "events": [
            {"t": 500.0, "from": "upstream", "opcode": "text", "raw": "one"},
            {"t": 600.0, "from": "client", "opcode": "text", "raw": "zwö"},
            {
                "t": 700.0,
                "from": "upstream",
                "opcode": "binary",
                "raw": {"base64": base64.b64encode(b"three").decode()},
            },
            {"t": 800.0, "from": "client", "opcode": "close", "code": 1000, "raw": "done"},
        ],
        "terminal": True,
    }
    assert made["termination"]["detail"] == "closed by the client, 1000"
    assert made["summary"]["model"] == "gpt-realtime"
    assert made["request"]["body"]["kind"] == "omitted"
    check(made)


def test_compressed_fragments_with_a_ping_between_are_one_message() -> None:
    made = document((False, deflated(b"tell me " * 50)), response_headers=DEFLATE)
    texts = [e["raw"] for e in made["stream"]["events"] if e["opcode"] == "text"]
    assert texts == ["tell me " * 50]


def test_a_bomb_is_cut_and_says_so() -> None:
    bomb = deflated(bytes(64 << 20), BINARY)
    made = document((False, bomb), response_headers=DEFLATE, limits=Limits(1 << 20, 200))
    assert len(json.dumps(made)) < 8 << 20
    assert "over the limit" in made["response"]["body"]["truncated"]["reason"]


@pytest.mark.parametrize(
    "piece", [b"\x83\x00", b"\x91\x00", b"\xc1\x00", b"\x89\x7e\x00\x80" + bytes(128)]
)
def test_what_is_no_frame_ends_that_way_alone(piece: bytes) -> None:
    made = document(
        (False, frame(TEXT, b"good") + piece),
        (True, frame(TEXT, b"too", key=NO_KEY)),
        (False, frame(TEXT, b"lost")),
    )
    assert [e["raw"] for e in made["stream"]["events"]] == ["good", "too"]
    assert "decoded further" in made["response"]["body"]["truncated"]["reason"]


def test_a_message_that_broke_off_is_marked() -> None:
    made = document((False, frame(TEXT, b"half of it")[:-3]), cause="upstream_eof", phase="body")
    (event,) = made["stream"]["events"]
    assert (event["raw"], event["incomplete"]) == ("half of", True)
    assert made["stream"]["terminal"] is False
    check(made)


def test_text_that_is_none_stands_as_base64() -> None:
    made = document((False, frame(TEXT, b"\xff\xfe")))
    assert made["stream"]["events"][0]["raw"] == {"base64": "//4="}
    check(made)


def test_a_secret_is_shown_in_no_message() -> None:
    secret = b"sk-0123456789abcdef"
    made = document(
        (True, frame(TEXT, b"it is " + secret, key=NO_KEY)),
        (False, frame(BINARY, b"\0" + secret)),
        (False, frame(CLOSE, closing(1008) + secret)),
        secrets=[secret],
    )
    text = json.dumps(made)
    assert secret.decode() not in text
    assert base64.b64encode(b"\0" + secret).decode() not in text
    assert "/stream/events/1/raw" in made["redactions"]


def test_compressed_and_not_searchable_is_left_out() -> None:
    made = document((False, deflated(b"x")), response_headers=DEFLATE, searchable=False)
    assert (made["stream"], made["response"]["body"]["kind"]) == (None, "omitted")
    assert "searched" in made["response"]["body"]["truncated"]["reason"]


def test_after_a_secret_that_is_gone_for_good_nothing_is_guessed() -> None:
    made = document(
        (True, frame(TEXT, b"one", key=NO_KEY)), (True, None), (True, b"abc"), searchable=False
    )
    assert [e["raw"] for e in made["stream"]["events"]] == ["one"]
    assert "secret" in made["request"]["body"]["truncated"]["reason"]


def test_what_the_configuration_hides_is_hidden_over_messages() -> None:
    made = document(
        (False, frame(TEXT, b'{"delta":"jane@exam"}') + frame(TEXT, b'{"delta":"ple.com"}')),
        (True, frame(BINARY, b"jane@example.com", key=NO_KEY)),
        masker=Masker(MaskRules(kinds=("email",))),
    )
    text = json.dumps(made)
    assert "jane" not in text
    assert base64.b64encode(b"jane@example.com").decode() not in text
    assert "/stream/events/0/raw" in made["redactions"]


@pytest.mark.parametrize(
    ("header", "accepted"),
    [
        (None, None),
        (b"x-other", None),
        (b"permessage-deflate", ""),
        (b"x-other, permessage-deflate; server_no_context_takeover", " server_no_context_takeover"),
    ],
)
def test_deflate_is_what_the_upstream_agreed_to(header: bytes | None, accepted: str | None) -> None:
    assert accepted_deflate(header) == accepted
