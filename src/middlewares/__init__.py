"""The layers around the forwarder, one file each; see `base` for what a middleware is."""

from .base import CallNext, Exchange, Middleware, Response, Services

__all__ = ["CallNext", "Exchange", "Middleware", "Response", "Services"]
