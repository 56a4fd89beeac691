"""What the aliases of CACHES that are a NativeCache are used for, and what is wrong with them. It makes none of them.

Who turns this into system checks: checks.py. What OPTIONS may hold: backends/options.py.
"""

import importlib
import sys
from collections.abc import Iterator, Mapping
from typing import Any

from django.apps import apps
from django.conf import settings
from django.core.cache import DEFAULT_CACHE_ALIAS, caches
from django.core.exceptions import ImproperlyConfigured
from django.utils.module_loading import import_string

from oxicache.django.backends import NativeCache, stores
from oxicache.django.backends.options import StoreOptions, explicit_options

__all__ = ["counters", "mistakes", "native", "sessions", "unbounded"]

SESSIONS_IN_CACHE = "django.contrib.sessions.backends.cache"
SESSIONS_IN_BOTH = "django.contrib.sessions.backends.cached_db"


def mistakes() -> Iterator[str]:
    """Say what is wrong with OPTIONS, as a handler would when it is made."""
    by_location: dict[str, None] = {}
    for alias, params in native().items():
        location = params.get("LOCATION", "")
        try:
            explicit_options(stores.place_of(location, alias), params)
        except ImproperlyConfigured as error:
            yield str(error)
        else:
            by_location[location] = None
    for location in by_location:
        try:
            stores.agreed_at(location, NativeCache)
        except ImproperlyConfigured as error:
            if "of the same LOCATION" in str(error):  # others were said above
                yield str(error)


def unbounded() -> Iterator[str]:
    """Yield aliases whose entries live for ever, and whose bytes nothing limits."""
    for alias in native():
        if _params(alias).get("TIMEOUT", 300) is None and _options(alias).max_bytes is None:
            yield alias


def sessions() -> tuple[str, str] | None:
    """Return the alias that sessions are lost in, and why; None where they are not.

    `cached_db` asks the database on a miss, and its writes reach all processes of a host, unless these share nothing.
    """
    alias = getattr(settings, "SESSION_CACHE_ALIAS", DEFAULT_CACHE_ALIAS)
    if alias not in native():
        return None
    if _is_engine(SESSIONS_IN_CACHE):
        return (
            alias,
            "A session that one worker stores is unknown to the others: users are logged out at random",
        )
    if _is_engine(SESSIONS_IN_BOTH) and _options(alias).coherence == "process":
        return alias, "A session that one worker changes or ends lives on in the others as it was"
    return None


def counters() -> Iterator[tuple[str, str]]:
    """Yield who counts in an alias what has to be counted for all workers together."""
    for who, alias in (*_axes(), *_ratelimit(), *_defender(), *_throttles()):
        if alias in native():
            yield who, alias


def _axes() -> Iterator[tuple[str, str]]:
    handler = getattr(settings, "AXES_HANDLER", "")
    if apps.is_installed("axes") and _is_subclass(handler, "axes.handlers.cache.AxesCacheHandler"):
        yield "django-axes (AXES_HANDLER)", getattr(settings, "AXES_CACHE", DEFAULT_CACHE_ALIAS)


def _ratelimit() -> Iterator[tuple[str, str]]:
    # It needs no place in INSTALLED_APPS: its decorator is enough.
    is_used = apps.is_installed("django_ratelimit") or "django_ratelimit.core" in sys.modules
    if is_used and getattr(settings, "RATELIMIT_ENABLE", True):
        yield "django-ratelimit", getattr(settings, "RATELIMIT_USE_CACHE", DEFAULT_CACHE_ALIAS)


def _defender() -> Iterator[tuple[str, str]]:
    alias = getattr(settings, "DEFENDER_REDIS_NAME", None)
    if apps.is_installed("defender") and isinstance(alias, str):
        yield "django-defender (DEFENDER_REDIS_NAME)", alias


def _throttles() -> Iterator[tuple[str, str]]:
    if not apps.is_installed("rest_framework"):
        return
    api_settings: Any = importlib.import_module("rest_framework.settings").api_settings
    simple: Any = importlib.import_module("rest_framework.throttling").SimpleRateThrottle
    for throttle in api_settings.DEFAULT_THROTTLE_CLASSES:
        if issubclass(throttle, simple):
            yield f"Django REST framework ({throttle.__name__})", _alias_of(throttle.cache)
            return
    # Without a default, views may name their classes, which nobody can see; rates are there for nothing else.
    if any(rate is not None for rate in api_settings.DEFAULT_THROTTLE_RATES.values()):
        yield "Django REST framework (DEFAULT_THROTTLE_RATES)", _alias_of(simple.cache)


def _alias_of(cache: Any) -> str:
    """Return the alias of a cache that a class holds: Django's proxy, a handle, or a handler."""
    known = getattr(cache, "__dict__", {}).get("_alias")
    if isinstance(known, str):
        return known
    return next((alias for alias in caches if caches[alias] is cache), DEFAULT_CACHE_ALIAS)


def native() -> dict[str, dict[str, Any]]:
    """Return what the settings say of each alias that is a NativeCache or one of its subclasses."""
    return {
        alias: dict(params)
        for alias, params in caches.settings.items()
        if _is_subclass(params.get("BACKEND"), NativeCache)
    }


def _params(alias: str) -> Mapping[str, Any]:
    return native()[alias]


def _options(alias: str) -> StoreOptions:
    """Return the options of an alias; the defaults where they are wrong, which is said elsewhere."""
    try:
        return StoreOptions.of(explicit_options(alias, _params(alias)))
    except ImproperlyConfigured:
        return StoreOptions()


def _is_subclass(path: Any, of: type | str) -> bool:
    try:
        kind = import_string(of) if isinstance(of, str) else of
        found = import_string(path)
    except (ImportError, AttributeError, TypeError):
        return False  # who uses it says so
    return isinstance(found, type) and issubclass(found, kind)


def _is_engine(wanted: str) -> bool:
    """Whether SESSION_ENGINE is one of Django's, or made of it."""
    try:
        found = importlib.import_module(settings.SESSION_ENGINE).SessionStore
        return issubclass(found, importlib.import_module(wanted).SessionStore)
    except (ImportError, AttributeError, TypeError):
        return False
