"""Handlers of the native backend for the tests of its native half: nothing but Django's BaseCache is added."""

from typing import Any

from django.core.cache.backends import base

from oxicache import _native
from oxicache._native import BackendBase, NativeStore

_native.set_backend_module(base)


class Handler(BackendBase, base.BaseCache):
    """What NativeCache is to BackendBase, and no more."""

    def __init__(self, store: NativeStore, params: dict[str, Any] | None = None) -> None:
        self._attach(store)
        base.BaseCache.__init__(self, params or {})


def handler(location: str = "here", *, params: dict[str, Any] | None = None, **options: Any) -> Handler:
    """A handler of a new store: another worker's, as far as the words are concerned."""
    return Handler(NativeStore(location, **options), params)
