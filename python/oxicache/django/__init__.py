"""The Django half of oxicache: put `"oxicache.django"` into INSTALLED_APPS. What it sets up is in apps.py.

What is exported is loaded when it is first asked for, and may be imported before there are settings.
"""

import importlib
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from oxicache.django.functions import cached_in
    from oxicache.django.handles import cache, caches
    from oxicache.django.invalidation import (
        ainvalidate,
        cancel,
        invalidate,
        schedule,
        scheduled,
        track_deletions,
    )
    from oxicache.django.querysets import InvalidatingManager, InvalidatingQuerySet
    from oxicache.tags import tag_parent

__all__ = [
    "InvalidatingManager",
    "InvalidatingQuerySet",
    "ainvalidate",
    "cache",
    "cached_in",
    "caches",
    "cancel",
    "invalidate",
    "schedule",
    "scheduled",
    "tag_parent",
    "track_deletions",
]

_MODULES = {
    "InvalidatingManager": "oxicache.django.querysets",
    "InvalidatingQuerySet": "oxicache.django.querysets",
    "cache": "oxicache.django.handles",
    "cached_in": "oxicache.django.functions",
    "caches": "oxicache.django.handles",
    "ainvalidate": "oxicache.django.invalidation",
    "cancel": "oxicache.django.invalidation",
    "invalidate": "oxicache.django.invalidation",
    "schedule": "oxicache.django.invalidation",
    "scheduled": "oxicache.django.invalidation",
    "tag_parent": "oxicache.tags",
    "track_deletions": "oxicache.django.invalidation",
}


def __getattr__(name: str) -> Any:
    if name not in __all__:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    value = getattr(importlib.import_module(_MODULES[name]), name)
    globals()[name] = value
    return value


def __dir__() -> list[str]:
    return sorted({*globals(), *__all__})
