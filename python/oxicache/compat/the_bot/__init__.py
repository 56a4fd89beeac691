"""The names of the THE_BOT document, for `config.cache` and `core.cache_utils`: keys, invalidation, functions, views.

CACHE_KEY_PREFIX, too, is a name of this module. There it and CACHE_TIMEOUTS were read when the module was imported, and
written into the settings; here they are read when they are asked for, and the settings are left alone. ListCacheMixin
and DetailCacheMixin are imported when they are asked for: they need Django REST framework (extra `drf`).
"""

from typing import TYPE_CHECKING, Any, Final

from oxicache.compat.the_bot.functions import cache_query_result, get_or_compute
from oxicache.compat.the_bot.invalidation import CacheInvalidator, check_cache_freshness, invalidate_cache
from oxicache.compat.the_bot.keys import CacheKeyBuilder, prefix
from oxicache.compat.the_bot.responses import cache_etag_condition, cache_page_conditional, cache_response
from oxicache.django import conf, responses
from oxicache.django.responses import CacheMiddleware, get_cache_headers

if TYPE_CHECKING:
    from oxicache.compat.the_bot.viewsets import DetailCacheMixin as DetailCacheMixin
    from oxicache.compat.the_bot.viewsets import ListCacheMixin as ListCacheMixin

__all__ = [
    "CACHE_TIMEOUTS",
    "CacheInvalidator",
    "CacheKeyBuilder",
    "CacheMiddleware",
    "cache_etag_condition",
    "cache_page_conditional",
    "cache_query_result",
    "cache_response",
    "check_cache_freshness",
    "get_cache_headers",
    "get_or_compute",
    "invalidate_cache",
]


CACHE_TIMEOUTS: Final = conf.Timeouts()
_OF_REST: Final = frozenset({"DetailCacheMixin", "ListCacheMixin"})


def __getattr__(name: str) -> Any:
    if name == "CACHE_KEY_PREFIX":
        return prefix()
    if name in _OF_REST:
        getattr(responses, name)  # ImportError without the framework
        from oxicache.compat.the_bot import viewsets

        return getattr(viewsets, name)
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
