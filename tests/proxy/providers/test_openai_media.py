"""Streams as in https://platform.openai.com/docs/api-reference/images-streaming and
…/audio/transcript-text-delta-event."""

from __future__ import annotations

from openai.types import ImagesResponse
from openai.types.audio import Transcription

from src.proxy.providers.base import ErrorInfo

from .streams import assembled, assert_same_however_cut, sse

SHARED = {
    "created_at": 1620000000,
    "size": "1024x1024",
    "quality": "high",
    "background": "transparent",
    "output_format": "png",
}
PARTIAL = {"type": "image_generation.partial_image", "b64_json": "AAA", "partial_image_index": 0}
USAGE = {
    "total_tokens": 100,
    "input_tokens": 50,
    "output_tokens": 50,
    "input_tokens_details": {"text_tokens": 10, "image_tokens": 40},
}
COMPLETED = {"type": "image_generation.completed", "b64_json": "BBB", **SHARED, "usage": USAGE}
IMAGE = sse({**PARTIAL, **SHARED}, COMPLETED)
TEXT_USAGE = {"type": "tokens", "input_tokens": 14, "output_tokens": 45, "total_tokens": 59}
SPOKEN = sse(
    {"type": "transcript.text.delta", "delta": "I see", "logprobs": []},
    {"type": "transcript.text.delta", "delta": " skies"},
    {"type": "transcript.text.done", "text": "I see skies", "usage": TEXT_USAGE},
)


def test_image_stream_gives_an_images_response():
    assembler = assembled("openai", "images", IMAGE)
    answer = assembler.message()
    ImagesResponse.model_validate(answer, strict=True)
    assert answer["data"] == [{"b64_json": "BBB"}]
    assert assembler.usage.output_tokens == 50
    assert assembler.terminal


def test_cut_image_stream_gives_the_last_partial():
    assembler = assembled("openai", "images", sse({**PARTIAL, **SHARED}))
    assert assembler.message()["data"] == [{"b64_json": "AAA"}]
    assert assembler.model_output
    assert not assembler.terminal


def test_transcription_stream_gives_a_transcription():
    assembler = assembled("openai", "transcriptions", SPOKEN)
    Transcription.model_validate(assembler.message())
    assert assembler.message() == {"text": "I see skies", "usage": TEXT_USAGE}
    assert assembler.usage.input_tokens == 14


def test_cut_transcription_gives_the_text_so_far():
    cut = SPOKEN[: SPOKEN.index(b"event: transcript.text.done")]
    assert assembled("openai", "transcriptions", cut).message() == {"text": "I see skies"}


def test_speech_stream_has_usage_and_an_end_but_no_message():
    stream = sse(
        {"type": "speech.audio.delta", "audio": "AAAA"},
        {"type": "speech.audio.done", "usage": {"input_tokens": 14, "output_tokens": 101}},
    )
    assembler = assembled("openai", "speech", stream)
    assert assembler.message() is None
    assert assembler.usage.output_tokens == 101
    assert assembler.terminal


def test_error_inside_the_stream_is_read():
    error = {"type": "error", "error": {"type": "image_generation_error", "message": "No"}}
    found = assembled("openai", "images", sse(error)).error
    assert found == ErrorInfo("image_generation_error", "No")


def test_streams_read_the_same_however_they_are_cut():
    assert_same_however_cut("openai", "images", IMAGE)
    assert_same_however_cut("openai", "transcriptions", SPOKEN)
