"""The layers around the forwarder, one file each; see `base` for what a middleware is."""

from .base import CallNext, Exchange, MaskRules, Middleware, Response, Services

__all__ = ["CallNext", "Exchange", "MaskRules", "Middleware", "Response", "Services"]
