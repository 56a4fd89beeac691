"""In which order MIDDLEWARE has ours among others: what may go wrong by it. What is said of it: checks.py."""

from typing import Any, Final

from django.conf import settings
from django.utils.module_loading import import_string

__all__ = ["after_site_cache", "gzip_inside"]

# By their names: what they are is known further up.
_SITE_CACHE: Final = "oxicache.django.responses.site.SiteCacheMiddleware"
_CACHE: Final = "oxicache.django.responses.middleware.CacheMiddleware"
_GZIP: Final = "django.middleware.gzip.GZipMiddleware"


def after_site_cache() -> list[str]:
    """Return what stands after SiteCacheMiddleware, and runs only for what is not held."""
    found = _classes()
    place = _place(found, _SITE_CACHE)
    return [] if place is None else [path for path, _ in found[place + 1 :]]


def gzip_inside() -> bool:
    """Whether GZipMiddleware stands after CacheMiddleware, which then sees what is compressed already."""
    found = _classes()
    ours, gzip = _place(found, _CACHE), _place(found, _GZIP)
    return ours is not None and gzip is not None and ours < gzip


def _classes() -> list[tuple[str, Any]]:
    found = []
    for path in settings.MIDDLEWARE:
        try:
            found.append((str(path), import_string(path)))
        except ImportError:
            continue  # Django says it when the site starts
    return found


def _place(found: list[tuple[str, Any]], name: str) -> int | None:
    """Return where a middleware stands, or the first that is derived of it."""
    for number, (_, kind) in enumerate(found):
        if isinstance(kind, type) and name in {
            f"{one.__module__}.{one.__qualname__}" for one in kind.__mro__
        }:
            return number
    return None
