"""Caching responses, on one implementation that never hands one visitor's response to another.

What may be cached is in policy.py, whose it is and what is in the key in keying.py and places.py, what a view must not
look at in guard.py and findings.py, how a response is held in stored.py and shelves.py, the way through all of it in
serving.py. The whole site by it: site.py and leaving.py. What caches outside of the site are told: middleware.py and
headers.py.
The mixins for Django REST framework, an extra, are loaded when they are asked for: rest_mixins.py.
"""

from typing import TYPE_CHECKING, Any

from oxicache.django.responses.apis import cached_api
from oxicache.django.responses.decorating import cached_view
from oxicache.django.responses.headers import get_cache_headers
from oxicache.django.responses.leaving import uncached
from oxicache.django.responses.middleware import CacheMiddleware
from oxicache.django.responses.serving import ResponseCache
from oxicache.django.responses.site import SiteCacheMiddleware

__all__ = [
    "CacheMiddleware",
    "ResponseCache",
    "SiteCacheMiddleware",
    "cached_api",
    "cached_view",
    "get_cache_headers",
    "uncached",
]

if TYPE_CHECKING:
    from oxicache.django.responses.rest_mixins import DetailCacheMixin as DetailCacheMixin
    from oxicache.django.responses.rest_mixins import ListCacheMixin as ListCacheMixin

_REST = ("DetailCacheMixin", "ListCacheMixin")


def __getattr__(name: str) -> Any:
    if name not in _REST:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    try:
        from oxicache.django.responses import rest_mixins
    except ModuleNotFoundError as error:
        if error.name is None or error.name.partition(".")[0] != "rest_framework":
            raise
        raise ImportError(f'{name} needs Django REST framework: pip install "oxicache[drf]"') from error
    return getattr(rest_mixins, name)
