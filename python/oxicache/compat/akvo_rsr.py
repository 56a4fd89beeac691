"""The names of the Akvo RSR documents, for `from oxicache.compat.akvo_rsr import ...` in place of four modules.

`akvo.rsr.cache_management`, `akvo.rsr.models.project`, `akvo.rest.views.project` (the sizes of a response) and
`akvo.rsr.usecases.period_update_aggregation` (MAX_AGGREGATION_DEPTH). The constants are read from the RSR_* settings
when this module is imported, as they were there; reload it to read them again. Without Django they are the defaults.
"""

import os
import sys
from types import ModuleType
from typing import Any

from oxicache import _native, options
from oxicache._native import CacheManager, ProjectDeletionTracker, TTLCache
from oxicache.decorators import cached_method, ttl_cached_property
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
    "ttl_cached_property",
]


def _settings() -> Any:
    """The settings in force where there is a configured Django, else None."""
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
