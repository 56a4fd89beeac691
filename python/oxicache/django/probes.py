"""Whether each alias of CACHES works: something is stored, read and deleted, and how long that takes.

What the workers keep in them is oxicache.operations' to say. Source: EnterpriseLand, `get_cache_status`.
"""

import re
import secrets
import time
from collections.abc import Mapping
from itertools import pairwise
from typing import Any, Final

from django.conf import settings
from django.core.cache import caches

from oxicache import _native

__all__ = ["document", "probe", "probe_all"]

TTL: Final = 10  # seconds; a probe whose process dies half-way leaves nothing for longer
# Of a URL with a password in it, which is nobody's to read in a report.
PASSWORD: Final = re.compile(r"(?<=://)([^:/@\s]*):[^@\s]*@")
SWITCHES: Final = ("warming", "invalidation", "monitoring")


def document() -> dict[str, Any]:
    """Return what is known without the workers: `health`, `configuration` and `backends` of document 003."""
    return {
        "health": probe_all(),
        "configuration": {
            f"{name}_enabled": bool(getattr(settings, f"CACHE_{name.upper()}_ENABLED", True)) for name in SWITCHES
        },
        "backends": {alias: _described(given) for alias, given in caches.settings.items()},
    }


def probe_all() -> dict[str, dict[str, Any]]:
    """Try every alias."""
    return {alias: probe(alias) for alias in caches.settings}


def probe(alias: str) -> dict[str, Any]:
    """Store, read and delete under a key of its own; `healthy` with the times, or not, with the `error`."""
    key, value = f"oxicache.probe:{secrets.token_hex(8)}", secrets.token_hex(8)
    try:
        cache = caches[alias]
        times, found = _tried(cache, key, value)
    except Exception as error:  # noqa: BLE001 -- whatever a backend fails with is the answer
        return {"healthy": False, "error": f"{type(error).__name__}: {error}"}
    if found != value:
        return {"healthy": False, "error": _why_not(cache)}
    return {
        "healthy": True,
        "response_times": times,
        "backend": f"{type(cache).__module__}.{type(cache).__qualname__}",
    }


def _tried(cache: Any, key: str, value: str) -> tuple[dict[str, float], object]:
    moments = [time.perf_counter()]
    cache.set(key, value, TTL)
    moments.append(time.perf_counter())
    found = cache.get(key)
    moments.append(time.perf_counter())
    cache.delete(key)
    moments.append(time.perf_counter())
    spans = [(after - before) * 1000 for before, after in pairwise(moments)]
    return dict(zip(("set_ms", "get_ms", "delete_ms"), spans, strict=True)), found


def _why_not(cache: Any) -> str:
    if not _native.is_enabled() and hasattr(cache, "_store"):
        return "caching is disabled: `manage_cache enable`"
    return f"{type(cache).__name__} does not keep what is stored"


def _described(given: Mapping[str, Any]) -> dict[str, Any]:
    """Return what the settings say of an alias, without passwords."""
    location = given.get("LOCATION", "")
    places = location if isinstance(location, list | tuple) else [location]
    shown = [PASSWORD.sub(r"\1:***@", str(place)) for place in places]
    return {
        "backend": str(given.get("BACKEND", "")),
        "location": shown if isinstance(location, list | tuple) else shown[0],
        "timeout": given.get("TIMEOUT", 300),  # seconds; Django's default
        "key_prefix": str(given.get("KEY_PREFIX", "")),
    }
