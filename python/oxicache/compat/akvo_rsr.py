"""The names of the Akvo RSR documents, for `from oxicache.compat.akvo_rsr import ...` in place of four modules.

`akvo.rsr.cache_management`, `akvo.rsr.models.project`, `akvo.rest.views.project` (the sizes of a response) and
`akvo.rsr.usecases.period_update_aggregation` (MAX_AGGREGATION_DEPTH); `get_data_with_fallback` is document 000's. The
constants are read from the RSR_* settings when this module is imported, as they were there; reload it to read them
again. Without Django they are the defaults. Its page and its streamed responses, which need Django, are imported when
they are asked for: `memory_health_check`, `should_stream_response`, `stream_response`.
"""

import importlib
import os
import sys
from types import ModuleType
from typing import Any

from oxicache import _native, options
from oxicache._native import CacheManager, ProjectDeletionTracker, TTLCache
from oxicache.decorators import cached_method, get_data_with_fallback, ttl_cached_property
from oxicache.memory import collect_memory_metrics, handle_memory_pressure
from oxicache.registry import DELETION_SET, cache_manager

__all__ = [
    "DEFAULT_CACHE_CLEANUP_INTERVAL",
    "DEFAULT_CACHE_MAX_SIZE",
    "DEFAULT_CACHE_TTL",
    "DEFAULT_DESCENDANTS_CHUNK_SIZE",
    "DEFAULT_MAX_DESCENDANTS_PER_REQUEST",
    "DELETION_SET",
    "MAX_AGGREGATION_DEPTH",
    "CacheManager",
    "ProjectDeletionTracker",
    "TTLCache",
    "cache_manager",
    "cached_method",
    "collect_memory_metrics",
    "get_data_with_fallback",
    "handle_memory_pressure",
    "ttl_cached_property",
]


_OF_DJANGO = {
    "memory_health_check": "oxicache.django.views",
    "should_stream_response": "oxicache.django.streaming",
    "stream_response": "oxicache.django.streaming",
}


def __getattr__(name: str) -> Any:
    if name not in _OF_DJANGO:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return getattr(importlib.import_module(_OF_DJANGO[name]), name)


def _settings() -> Any:
    """The settings in force where there is a configured Django, else None."""
    if "DJANGO_SETTINGS_MODULE" not in os.environ and "django.conf" not in sys.modules:
        return None  # nobody has set Django up, so it need not be loaded to say so
    try:
        from django.conf import settings
    except ModuleNotFoundError:
        return None
    if not settings.configured and "DJANGO_SETTINGS_MODULE" not in os.environ:
        return None
    from oxicache.django import conf

    return conf.current()


_found = _settings()

DEFAULT_CACHE_TTL = options.DEFAULT_CACHE_TTL if _found is None else _found.default_ttl
DEFAULT_CACHE_MAX_SIZE = options.DEFAULT_CACHE_MAX_SIZE if _found is None else _found.default_max_size
DEFAULT_CACHE_CLEANUP_INTERVAL = (
    options.DEFAULT_CACHE_CLEANUP_INTERVAL if _found is None else _found.cleanup_interval
)
DEFAULT_MAX_DESCENDANTS_PER_REQUEST = (
    options.MAX_DESCENDANTS_PER_REQUEST if _found is None else _found.max_descendants_per_request
)
DEFAULT_DESCENDANTS_CHUNK_SIZE = (
    options.DESCENDANTS_CHUNK_SIZE if _found is None else _found.descendants_chunk_size
)
MAX_AGGREGATION_DEPTH = options.MAX_AGGREGATION_DEPTH if _found is None else _found.max_aggregation_depth


class _Dialect(ModuleType):
    """This module: its DEFAULT_CACHE_CLEANUP_INTERVAL is assigned by callers and counts at the next `set`."""

    def __setattr__(self, name: str, value: object) -> None:
        if name == "DEFAULT_CACHE_CLEANUP_INTERVAL":
            _native.set_default_cleanup_interval(value)  # type: ignore[arg-type]  # which refuses what is none
        super().__setattr__(name, value)


# The engine goes by the constant that is read here, in a process without the app too.
_native.set_default_cleanup_interval(DEFAULT_CACHE_CLEANUP_INTERVAL)
sys.modules[__name__].__class__ = _Dialect
