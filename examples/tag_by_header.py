"""Tag traces by a header, keep it from the upstream, and count how many bytes came back.

middlewares:
  - trace
  - use: examples.tag_by_header:TagByHeader
    header: X-Team
"""

from pydantic import BaseModel, ConfigDict

from llmtap.middlewares import CallNext, Exchange, Response, Services


class TagByHeader:
    class Options(BaseModel):
        model_config = ConfigDict(frozen=True, extra="forbid")

        header: str

    def __init__(self, options: Options, services: Services) -> None:
        self.header = options.header.lower().encode()

    async def __call__(self, exchange: Exchange, call_next: CallNext) -> Response:
        value = exchange.header(self.header)
        if value is not None:
            exchange.tags.append(f"team:{value.decode('latin-1')}")
            exchange.remove_header(self.header)
        received = 0

        def count(chunk: bytes) -> None:
            nonlocal received
            received += len(chunk)

        def note(finished: Exchange) -> None:
            finished.ext["tag_by_header"] = {"received_bytes": received}

        exchange.on_chunk(count)  # sees each piece of the answer, delays and changes none
        exchange.on_finish(note)  # once, whatever happened
        return await call_next(exchange)
