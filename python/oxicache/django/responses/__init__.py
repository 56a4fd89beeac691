"""Caching responses, on one implementation that never hands one visitor's response to another.

What may be cached is in policy.py, whose it is and what is in the key in keying.py and places.py, what a view must not
look at in guard.py and findings.py, how a response is held in stored.py and shelves.py, the way through all of it in
serving.py. The whole site by it: site.py and leaving.py. What caches outside of the site are told: middleware.py and
headers.py.
"""

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
