"""Add a header to each request on its way to the upstream.

middlewares:
  - trace
  - use: examples.add_header:AddHeader
    name: X-Team
    value: blue
"""

from pydantic import BaseModel, ConfigDict

from llmtap.middlewares import CallNext, Exchange, Response, Services


class AddHeader:
    class Options(BaseModel):
        model_config = ConfigDict(frozen=True, extra="forbid")

        name: str
        value: str

    def __init__(self, options: Options, services: Services) -> None:
        self.name = options.name.encode()
        self.value = options.value.encode()

    async def __call__(self, exchange: Exchange, call_next: CallNext) -> Response:
        exchange.set_header(self.name, self.value)
        return await call_next(exchange)
