"""Images, speech and transcriptions, streamed: few events, the last with the whole.

openai-python: types/image_gen_stream_event.py, types/image_edit_stream_event.py,
types/audio/transcription_stream_event.py; https://platform.openai.com/docs/api-reference/images-streaming
"""

from __future__ import annotations

from collections.abc import Mapping

from .base import ErrorInfo, Format, StreamAssembler, StreamEvent, Usage
from .openai_usage import model_of, no_finish_reasons, read_usage, stream_error, usage_of
from .reading import joined, loads, mapping, merge_known, text


class MediaAssembler(StreamAssembler):
    """Keeps the last whole thing; what a subclass returns is as the unstreamed answer."""

    def __init__(self) -> None:
        self._usage: dict[str, object] = {}
        self._final: dict[str, object] = {}
        self._model: str | None = None

    def feed(self, event: StreamEvent) -> None:
        """Take in one event."""
        body = loads(event.data) if event.data and event.complete else None
        if not isinstance(body, dict):
            return
        self._model = text(body.get("model")) or self._model
        merge_known(self._usage, mapping(body.get("usage")))
        kind = text(body.get("type")) or ""
        if body.get("error") or kind == "error":
            self.error = stream_error(body) or ErrorInfo(
                None, text(body.get("message")), text(body.get("code"))
            )
        elif kind.endswith((".done", ".completed")):
            self.model_output = True
            self._final = body
        else:
            self._add(kind, body)

    def _add(self, kind: str, body: Mapping[str, object]) -> None:
        raise NotImplementedError

    @property
    def terminal(self) -> bool:
        """The `.completed` or `.done` event was seen."""
        return bool(self._final)

    @property
    def usage(self) -> Usage | None:
        """It comes with the last event."""
        return read_usage(self._usage)

    @property
    def model(self) -> str | None:
        """These streams do not name their model; compatible servers may."""
        return self._model


class ImageAssembler(MediaAssembler):
    """Partial images, then the image."""

    def __init__(self) -> None:
        super().__init__()
        self._partial: Mapping[str, object] = {}

    def _add(self, kind: str, body: Mapping[str, object]) -> None:
        if kind.endswith(".partial_image"):
            self.model_output = True
            self._partial = body

    def message(self) -> object | None:
        """An images response; of a stream that was cut, the last partial image."""
        image = self._final or self._partial
        if not image:
            return None
        known = ("background", "output_format", "quality", "size", "usage")
        answer = {key: image[key] for key in known if key in image}
        data = [{"b64_json": image.get("b64_json")}]
        return {"created": image.get("created_at"), **answer, "data": data}


class TranscriptionAssembler(MediaAssembler):
    """Text in deltas, then the whole text."""

    def __init__(self) -> None:
        super().__init__()
        self._pieces: list[str] = []

    def _add(self, kind: str, body: Mapping[str, object]) -> None:
        delta = body.get("delta")
        if kind == "transcript.text.delta" and isinstance(delta, str):
            self.model_output = True
            self._pieces.append(delta)

    def message(self) -> object | None:
        """A transcription; of a stream that was cut, the text so far."""
        if self._final:
            return {key: value for key, value in self._final.items() if key != "type"}
        return {"text": joined(self._pieces)} if self._pieces else None


class SpeechAssembler(MediaAssembler):
    """Audio in base64 deltas. Unstreamed it would be a binary body: there is no message."""

    def _add(self, kind: str, body: Mapping[str, object]) -> None:
        del body
        self.model_output = self.model_output or kind == "speech.audio.delta"

    def message(self) -> object | None:
        """None: the events hold the audio."""
        return None


IMAGES = Format(usage_of, model_of, no_finish_reasons, {"sse": ImageAssembler})
TRANSCRIPTIONS = Format(usage_of, model_of, no_finish_reasons, {"sse": TranscriptionAssembler})
SPEECH = Format(usage_of, model_of, no_finish_reasons, {"sse": SpeechAssembler})
