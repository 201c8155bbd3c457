"""Raises where it is told to: in its life, or for requests that carry X-Break."""

from typing import Literal

from pydantic import BaseModel, ConfigDict

from llmtap.middlewares import CallNext, Exchange, Response, Services

Hook = Literal[
    "constructor",
    "start",
    "before",
    "after",
    "instead",
    "request_chunk",
    "chunk",
    "finish",
    "transform",
    "stop",
]


class Faulty:
    class Options(BaseModel):
        model_config = ConfigDict(frozen=True, extra="forbid")

        at: Hook

    def __init__(self, options: Options, services: Services) -> None:
        self.at = options.at
        self.break_at("constructor")

    async def start(self) -> None:
        self.break_at("start")

    async def stop(self) -> None:
        self.break_at("stop")

    async def __call__(self, exchange: Exchange, call_next: CallNext) -> Response:
        if exchange.header(b"x-break") is None:
            return await call_next(exchange)
        exchange.on_request_chunk(lambda _: self.break_at("request_chunk"))
        exchange.on_chunk(lambda _: self.break_at("chunk"))
        exchange.on_finish(lambda _: self.break_at("finish"))
        self.break_at("before")
        response = await call_next(exchange)
        self.break_at("after")
        if self.at == "instead":
            return exchange.refuse(403, "no", "an answer in place of the upstream's")
        if self.at == "transform":
            response.map_body(self.transform)
        return response

    def transform(self, chunk: bytes) -> bytes:
        self.break_at("transform")
        return chunk

    def break_at(self, hook: Hook) -> None:
        if self.at == hook:
            raise RuntimeError(f"acme broke at {hook}")
