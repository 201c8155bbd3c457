"""Refuse requests that hold one of these words, in the provider's own error shape.

middlewares:
  - trace
  - use: examples.block_word:BlockWord
    words: [project-nightingale]
"""

import json

from pydantic import BaseModel, ConfigDict

from llmtap.middlewares import CallNext, Exchange, Response, Services


class BlockWord:
    class Options(BaseModel):
        model_config = ConfigDict(frozen=True, extra="forbid")

        words: list[str]

    def __init__(self, options: Options, services: Services) -> None:
        self.words = [word.casefold() for word in options.words]

    async def __call__(self, exchange: Exchange, call_next: CallNext) -> Response:
        asked = await exchange.read_json()  # None where there is no JSON to be read
        if asked is None and await exchange.read_body():
            return exchange.refuse(415, "unreadable_body", "only plain JSON is let through")
        text = json.dumps(asked, ensure_ascii=False).casefold()
        for word in self.words:
            if word in text:
                return exchange.refuse(400, "blocked_word", f"{word!r} must not leave the house")
        return await call_next(exchange)
