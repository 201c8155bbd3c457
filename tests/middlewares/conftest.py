"""The real Redis, for these tests."""

from __future__ import annotations

from tests.support.redis import own_redis, redis, shared_redis

__all__ = ["own_redis", "redis", "shared_redis"]
