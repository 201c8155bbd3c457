"""Transports: how bytes reach an upstream. `http1` is our own, `httpx` the library's."""
