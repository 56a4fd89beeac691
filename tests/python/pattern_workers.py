"""Stores of one location: workers of a host, as far as its version words and its journal are concerned."""

from itertools import count
from typing import Any

from backend_handlers import Handler, handler

from oxicache._native import NativeStore

__all__ = ["RECORDS", "fill", "held", "store_of", "workers"]

RECORDS = 1024  # as many as the journal keeps

_numbers = count()


def store_of(cache: Handler) -> NativeStore:
    assert cache._store is not None
    return cache._store


def workers(number: int = 2, **options: Any) -> list[Handler]:
    """So many workers of one site."""
    location = f"outdating-{next(_numbers)}"
    return [handler(location, **options) for _ in range(number)]


def fill(*caches: Handler) -> None:
    for cache in caches:
        for key in ("user:1", "user:2", "team:1"):
            cache.get(key)
            cache.set(key, "old")


def held(cache: Handler) -> list[str]:
    return sorted(cache.get_many(["user:1", "user:2", "team:1"]))
