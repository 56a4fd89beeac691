"""The Django half of oxicache: put `"oxicache.django"` into INSTALLED_APPS. What it sets up is in apps.py.

What is exported is loaded when it is first asked for, and may be imported before there are settings.
"""

import importlib
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from oxicache.django.handles import cache, caches
    from oxicache.django.invalidation import invalidate, track_deletions
    from oxicache.django.querysets import InvalidatingManager, InvalidatingQuerySet

__all__ = [
    "InvalidatingManager",
    "InvalidatingQuerySet",
    "cache",
    "caches",
    "invalidate",
    "track_deletions",
]

_MODULES = {
    "InvalidatingManager": "oxicache.django.querysets",
    "InvalidatingQuerySet": "oxicache.django.querysets",
    "cache": "oxicache.django.handles",
    "caches": "oxicache.django.handles",
    "invalidate": "oxicache.django.invalidation",
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
