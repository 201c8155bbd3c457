"""Somebody else's middleware: takes fields out of the JSON that is sent upstream."""

import json

from pydantic import BaseModel, ConfigDict

from llmtap.middlewares import CallNext, Exchange, Response, Services


class Redact:
    class Options(BaseModel):
        model_config = ConfigDict(frozen=True, extra="forbid")

        fields: list[str]

    def __init__(self, options: Options, services: Services) -> None:
        self.fields = frozenset(options.fields)

    async def __call__(self, exchange: Exchange, call_next: CallNext) -> Response:
        asked = await exchange.read_json()
        if isinstance(asked, dict) and not self.fields.isdisjoint(asked):
            kept = {name: value for name, value in asked.items() if name not in self.fields}
            exchange.replace_body(json.dumps(kept).encode())
        response = await call_next(exchange)
        # The program may run as `src` or as `llmtap`: its classes must be the ones imported here.
        exchange.ext["acme_redact"] = {"one_package": isinstance(response, Response)}
        return response
