"""The Django half of oxicache: put `"oxicache.django"` into INSTALLED_APPS. What it sets up is in apps.py.

`invalidate` and `track_deletions` are loaded when they are first asked for, and may be imported before there are
settings.
"""

import importlib
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from oxicache.django.invalidation import invalidate, track_deletions

__all__ = ["invalidate", "track_deletions"]


def __getattr__(name: str) -> Any:
    if name not in __all__:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    value = getattr(importlib.import_module("oxicache.django.invalidation"), name)
    globals()[name] = value
    return value


def __dir__() -> list[str]:
    return sorted({*globals(), *__all__})
