"""The names of the THE_BOT document, for `config.cache` and `core.cache_utils`: keys, invalidation, views and headers.

CACHE_KEY_PREFIX and CACHE_TIMEOUTS, too, are names of this module. There they were read when the module was imported,
and written into the settings; here they are read when they are asked for, and the settings are left alone. So are
ListCacheMixin and DetailCacheMixin: they need Django REST framework (extra `drf`).
"""

import functools
import hashlib
import os
import re
import sys
from collections.abc import Callable
from datetime import timedelta
from typing import Any, ClassVar, Final, TypeVar, cast

from asgiref.sync import iscoroutinefunction, sync_to_async
from django.conf import settings
from django.core.cache import DEFAULT_CACHE_ALIAS
from django.views.decorators.http import condition

from oxicache import keys
from oxicache.django import conf, invalidate, responses
from oxicache.django.endpoints.namespaces import register_spelling
from oxicache.django.enumeration import enumerator_of
from oxicache.django.reaching import carry_out
from oxicache.django.responses import CacheMiddleware, cached_view, get_cache_headers
from oxicache.django.responses.decorating import DEFAULT_TTL, Decorator, is_asked
from oxicache.django.selecting import effect_of
from oxicache.django.transactions import put_off
from oxicache.selection import Selection
from oxicache.store import Store, attempt
from oxicache.trail import trail

__all__ = [
    "CacheInvalidator",
    "CacheKeyBuilder",
    "CacheMiddleware",
    "cache_etag_condition",
    "cache_page_conditional",
    "cache_response",
    "check_cache_freshness",
    "get_cache_headers",
    "invalidate_cache",
]

_V = TypeVar("_V", bound=Callable[..., Any])

MAX_KEY_CHARS = 250  # memcached's limit, and what Django warns past
_DEFAULT: Final = (DEFAULT_CACHE_ALIAS,)  # the only cache that there was


class CacheKeyBuilder:
    """`thebot:production::materials:list`: a prefix that ends with a colon, a namespace, parts, sorted parameters.

    Values are spelt as in oxicache/keys.py. A key of more than 250 characters is the prefix and an MD5 digest: as
    there, no pattern finds it any more, so what is to be found by pattern wants fewer or shorter parts.
    """

    @staticmethod
    def make_key(namespace: str, *args: Any, **kwargs: Any) -> str:
        """Return the key of a namespace, parts and parameters."""
        return _key(_prefix(), namespace, args, kwargs)

    @staticmethod
    def user_key(namespace: str, user_id: Any, *args: Any, **kwargs: Any) -> str:
        """As `make_key`, of one user: `thebot:production::user_42:notifications`. TypeError where he has no id."""
        if user_id is None:
            raise TypeError("user_id is None: whoever has no id would share what is one user's")
        return _key(f"{_prefix()}:user_{keys.spell(user_id, 'user_id')}", namespace, args, kwargs)

    @staticmethod
    def pattern_key(namespace: str, pattern: str = "*") -> str:
        """Return the glob of a namespace's keys, for `cache.delete_pattern`. As a key it finds nothing."""
        return keys.glob_literal(f"{_prefix()}:{keys.spell(namespace, 'namespace')}:") + pattern


register_spelling(CacheKeyBuilder.pattern_key)  # for `cache-clear/`


class CacheInvalidator:
    """What is kept of a material, a user, an assignment in CACHES["default"]: these keys, and all that lies below them.

    There a few keys were deleted which no layer wrote. Here the lists of users go with the shared one, and what views
    keep under their basename, `material`, with `materials`. A cache that fails, or that cannot list its keys, raises
    nothing: it is logged, and the keys that are known go all the same. Inside a transaction it is done at the commit.
    """

    name: ClassVar = "CacheInvalidator"  # in the log, and in the count of failures

    @staticmethod
    def invalidate_material(material_id: Any) -> None:
        """Invalidate lists of materials, and the details and progress of one."""
        _forget(("materials", "material"), {"detail", "progress"}, material_id)

    @staticmethod
    def invalidate_assignments(assignment_id: Any) -> None:
        """Invalidate lists of assignments, and the details and submissions of one."""
        _forget(("assignments", "assignment"), {"detail", "submissions"}, assignment_id)

    @staticmethod
    def invalidate_user_data(user_id: Any) -> None:
        """Invalidate all that `CacheKeyBuilder.user_key` keeps of a user."""
        starts = [f"{_prefix()}:user_{spelt}:" for spelt in _spellings(user_id, "user_id")]
        globs = [f"{keys.glob_literal(start)}*" for start in starts]
        known = [start + name for start in starts for name in USER_NAMESPACES]
        _forget_entries(known, globs=globs)

    @staticmethod
    def clear_dashboard_cache(user_id: Any) -> None:
        """Invalidate the dashboard of a user."""
        starts = [f"{_prefix()}:user_{spelt}:dashboard" for spelt in _spellings(user_id, "user_id")]
        globs = [f"{keys.glob_literal(start)}:*" for start in starts]
        _forget_entries(starts, globs=globs)


def invalidate_cache(namespace: str, *args: Any, **kwargs: Any) -> int:
    """Invalidate the one key that `CacheKeyBuilder.make_key` makes of these; how many entries had it."""
    key = CacheKeyBuilder.make_key(namespace, *args, **kwargs)
    return invalidate(keys=[key], aliases=_DEFAULT).total


def check_cache_freshness(namespace: str) -> bool:
    """Whether a namespace has a live entry. CannotEnumerateError where CACHES["default"] cannot list its keys."""
    whole = keys.glob_literal(CacheKeyBuilder.make_key(namespace))
    found = enumerator_of(DEFAULT_CACHE_ALIAS).keys([whole, CacheKeyBuilder.pattern_key(namespace)])
    return next(iter(found), None) is not None


# Source: document 002, "Manual Invalidation", and the system it describes.
USER_NAMESPACES = ("profile", "dashboard", "notifications", "progress", "assignments")


def _forget(namespaces: tuple[str, ...], parts: set[str], pk: Any) -> None:
    """Forget the lists of these namespaces, and these parts of one object: anybody's."""
    spellings = _spellings(pk, "the id")
    rests = ["list", *(f"{part}:{spelt}" for part in sorted(parts) for spelt in spellings)]
    known = [f"{_prefix()}:{name}:{rest}" for name in namespaces for rest in rests]
    # One expression, because a server would be searched once for each glob.
    start, names = re.escape(f"{_prefix()}:"), "|".join(map(re.escape, namespaces))
    regex = f"{start}(?:user_[^:]+:)?(?:{names}):(?:{'|'.join(map(re.escape, rests))})(?::|$)"
    _forget_entries(known, regex=regex)


def _forget_entries(known: list[str], **below: Any) -> None:
    """Forget keys, and what can be found below them. Nobody is told how many, so nobody counts."""
    for selection in (Selection(aliases=_DEFAULT, keys=tuple(known)), Selection(aliases=_DEFAULT, **below)):
        attempt(cast("Store", CacheInvalidator), _forget_selected, None, selection)


def _forget_selected(selection: Selection) -> None:
    effect = effect_of(selection)  # CannotEnumerateError where keys cannot be listed
    note = trail.note("invalidate", effect.names(), str(selection))
    if not put_off(effect, None, note):
        carry_out(effect, note=note)


def _spellings(pk: Any, name: str) -> list[str]:
    """An id is 7 in code and "7" in a URL; as parts of a key they differ."""
    if pk is None:
        raise TypeError(f"{name} is None: whoever has no id would share what is one's")
    return list(dict.fromkeys((keys.spell(pk, name), keys.spell(str(pk), name))))


# ---------------------------------------------------------------- views


def cache_response(
    ttl: float | timedelta | None = None,
    key_func: Callable[..., Any] | None = None,
    cache_name: str = DEFAULT_CACHE_ALIAS,
    **options: Any,
) -> Decorator:
    """Cache what a view returns to GET with status 200 to who is logged in. `ttl` is in seconds; None and 0 are 300.

    Each user has entries of his own. What `key_func` returns, given the request and as much of the view's arguments as
    it takes, stands in the key in his place: users for whom it is the same share. The other options are those of
    `cached_view`.
    """
    return _cached(ttl or DEFAULT_TTL, key_func, {"alias": cache_name, "cache_anonymous": False, **options})


def cache_page_conditional(
    ttl: float | timedelta | None = DEFAULT_TTL,
    key_builder: Callable[..., Any] | None = None,
    **options: Any,
) -> Decorator:
    """As `cache_response`, and for visitors who are not logged in too; `ttl` None is for ever, and 0 nothing."""
    return _cached(ttl, key_builder, options)


def _cached(
    ttl: float | timedelta | None, key_func: Callable[..., Any] | None, options: dict[str, Any]
) -> Decorator:
    # Whom the key tells apart is what the project's own function is there to say.
    per_user = None if key_func is None else False
    return cached_view(ttl, **{"per_user": per_user, "key_func": key_func, **options})


def cache_etag_condition(
    etag_func: Callable[..., Any], last_modified_func: Callable[..., Any] | None = None
) -> Callable[[_V], _V]:
    """Django's `condition`, on functions and methods, sync and async: 304 where the client has what `etag_func` names.

    Both functions are given the request and the view's arguments. Of an async view they are asked in a thread, for
    they read rows; an async one is awaited.
    """

    def decorate(view: _V) -> _V:
        @functools.wraps(view)
        def conditional(*args: Any, **kwargs: Any) -> Any:
            bound, asked = _bound(view, args)
            return condition(etag_func, last_modified_func)(bound)(*asked, **kwargs)

        @functools.wraps(view)
        async def aconditional(*args: Any, **kwargs: Any) -> Any:
            bound, asked = _bound(view, args)
            known = [await _answer(function, asked, kwargs) for function in (etag_func, last_modified_func)]
            etag, modified = (lambda *_, answer=answer, **__: answer for answer in known)
            return await condition(etag, modified)(bound)(*asked, **kwargs)

        return cast("_V", aconditional if iscoroutinefunction(view) else conditional)

    return decorate


def _bound(view: Callable[..., Any], args: tuple[Any, ...]) -> tuple[Callable[..., Any], tuple[Any, ...]]:
    """Return a method as a function of a request, and its arguments from the request on."""
    start = 0 if is_asked(args[:1]) else 1
    return functools.partial(view, *args[:start]), args[start:]


async def _answer(function: Callable[..., Any] | None, args: tuple[Any, ...], kwargs: dict[str, Any]) -> Any:
    if function is None or iscoroutinefunction(function):
        return None if function is None else await function(*args, **kwargs)
    return await sync_to_async(function)(*args, **kwargs)


# ---------------------------------------------------------------- keys


def _prefix() -> str:
    given = getattr(settings, "CACHE_KEY_PREFIX", None)
    return given if given is not None else f"thebot:{os.environ.get('ENVIRONMENT', 'production').lower()}:"


def _key(start: str, namespace: str, args: tuple[Any, ...], kwargs: dict[str, Any]) -> str:
    key = f"{start}:{keys.make_key(namespace, *args, params=kwargs, limit=sys.maxsize)}"
    if len(key) <= MAX_KEY_CHARS:
        return key
    digest = hashlib.md5(key.encode("utf-8", "surrogatepass"), usedforsecurity=False).hexdigest()
    return _prefix() + digest


_OF_REST: Final = frozenset({"DetailCacheMixin", "ListCacheMixin"})


def __getattr__(name: str) -> Any:
    if name == "CACHE_KEY_PREFIX":
        return _prefix()
    if name == "CACHE_TIMEOUTS":
        return conf.current().timeouts
    if name in _OF_REST:
        return getattr(responses, name)  # ImportError without the framework
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
