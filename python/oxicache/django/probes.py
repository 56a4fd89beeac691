"""Whether the aliases of CACHES work: each is tried, cleared, described. Source: documents 003 and 004.

What the caches have counted is in metrics.py, what that means in health.py. Which pages show it: views.py.
"""

import itertools
import logging
import secrets
import time
from dataclasses import dataclass, field
from typing import Any

from django.conf import settings
from django.core.cache import DEFAULT_CACHE_ALIAS, caches
from django.core.cache.backends.base import BaseCache

from oxicache import _native
from oxicache.django import conf
from oxicache.django.backends import NativeCache

__all__ = ["TESTS", "Probe", "backends", "clear_all", "configuration", "document", "probe", "probe_all"]

logger = logging.getLogger("oxicache.health")

KEY_PREFIX = "oxicache:health:"  # one key pattern, whatever follows
TIMEOUT = 10  # seconds; should the key not be deleted, it does not stay
TESTS = ("set", "get", "delete")  # Source: document 002, "Check Cache Health"
PATIENCE = 2.0  # seconds; an alias that is still being tried since then is not tried by yet another thread

_tries: dict[str, dict[int, float]] = {}  # alias -> who tries it since when
_numbers = itertools.count()


@dataclass(frozen=True, slots=True)
class Probe:
    """What came of trying one alias."""

    backend: str
    error: str | None = None  # None: it works
    response_times: dict[str, float] = field(default_factory=dict)  # in ms: set_ms, get_ms, delete_ms
    tests: dict[str, bool] = field(
        default_factory=dict
    )  # which of TESTS have passed; none where none was tried
    disabled: bool = False  # switched off by an operator, which is no error

    def as_json(self) -> dict[str, Any]:
        """As document 003 has it: `healthy`, and either the times or the error."""
        if self.error is not None:
            return {"healthy": False, "error": self.error}
        shown = {"healthy": True, "response_times": dict(self.response_times), "backend": self.backend}
        return {**shown, "disabled": True} if self.disabled else shown


def probe(alias: str = DEFAULT_CACHE_ALIAS) -> Probe:
    """Set a key of its own, get it and delete it. Whatever the backend raises is the error of the answer.

    As long as the backend takes, but while it hangs only so many threads wait as came within PATIENCE.
    """
    tries = _tries.setdefault(alias, {})
    now = time.monotonic()
    # Over a copy, because others come and go.
    if any(now - since > PATIENCE for since in list(tries.values())):
        said = f"It has not answered for more than {PATIENCE:g} seconds"
        return Probe(_backend_of(alias), said, tests=dict.fromkeys(TESTS, False))
    number = next(_numbers)
    tries[number] = now
    tests = dict.fromkeys(TESTS, False)
    try:
        return _tried(caches[alias], tests)
    except Exception as error:  # noqa: BLE001 -- each backend raises what its own client does
        logger.warning("Cache '%s' failed its health check: %r", alias, error)
        return Probe(_backend_of(alias), f"{type(error).__name__}: {error}", tests=tests)
    finally:
        tries.pop(number, None)


def _tried(handler: BaseCache, tests: dict[str, bool]) -> Probe:
    """Try a cache, and say in `tests` how far that came, whatever is raised."""
    backend = f"{type(handler).__module__}.{type(handler).__qualname__}"
    if isinstance(handler, NativeCache) and not _native.is_enabled():
        return Probe(backend, disabled=True)
    key, value = KEY_PREFIX + secrets.token_hex(8), secrets.token_hex(8)
    times: dict[str, float] = {}
    try:
        began = time.perf_counter()
        handler.set(key, value, TIMEOUT)  # what it returns says nothing: Django's backends return None
        times["set_ms"] = _milliseconds_since(began)
        tests["set"] = True
        began = time.perf_counter()
        tests["get"] = handler.get(key) == value
        times["get_ms"] = _milliseconds_since(began)
    finally:
        began = time.perf_counter()
        tests["delete"] = handler.delete(key) is not False  # others than Django's own may return None
        times["delete_ms"] = _milliseconds_since(began)
    if not tests["get"]:
        return Probe(backend, "What was set was not found", tests=tests)
    if not tests["delete"]:
        return Probe(backend, "What was set could not be deleted", tests=tests)
    return Probe(backend, response_times=times, tests=tests)


def _milliseconds_since(began: float) -> float:
    return (time.perf_counter() - began) * 1000


def _backend_of(alias: str) -> str:
    return str(settings.CACHES.get(alias, {}).get("BACKEND", ""))


def probe_all() -> dict[str, Probe]:
    """Try every alias, one after another."""
    return {alias: probe(alias) for alias in settings.CACHES}


def clear_all() -> dict[str, bool]:
    """Clear every alias; by alias whether that worked. Of a NativeCache all workers of the host see it."""
    done = {}
    for alias in settings.CACHES:
        try:
            caches[alias].clear()
        except Exception as error:  # noqa: BLE001 -- each backend raises what its own client does
            logger.warning("Cache '%s' could not be cleared: %r", alias, error)
            done[alias] = False
        else:
            done[alias] = True
    return done


def document() -> dict[str, Any]:
    """What document 003 has in its status and no worker needs to be asked for: health, configuration, backends."""
    health = {alias: one.as_json() for alias, one in probe_all().items()}
    return {"health": health, "configuration": configuration(), "backends": backends()}


def configuration() -> dict[str, bool]:
    """What document 003 shows as `configuration`."""
    return {
        "warming_enabled": bool(getattr(settings, "CACHE_WARMING_ENABLED", True)),
        "invalidation_enabled": bool(getattr(settings, "CACHE_INVALIDATION_ENABLED", True)),
        "monitoring_enabled": conf.current().monitoring_enabled,
    }


def backends() -> dict[str, dict[str, Any]]:
    """What document 003 shows as `backends`: of each alias where it is, and how long its entries live.

    A LOCATION may hold a password, as redis://:password@host/1 does; it is left out.
    """
    return {
        alias: {
            "backend": params.get("BACKEND", ""),
            "location": _without_password(params.get("LOCATION", "")),
            "timeout": params.get("TIMEOUT", 300),
        }
        for alias, params in settings.CACHES.items()
    }


def _without_password(location: Any) -> Any:
    if isinstance(location, list | tuple):
        return [_without_password(one) for one in location]
    scheme, mark, rest = str(location).partition("://")
    if not mark:
        return str(location)
    place = rest.rpartition("@")[2].partition("?")[0]  # a query may hold one too: ?password=
    return f"{scheme}://{'...@' if '@' in rest else ''}{place}"
