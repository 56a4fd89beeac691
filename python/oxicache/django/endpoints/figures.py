"""The figures of one alias as document 002 has them, whatever its backend; and having them begin again at zero.

What nobody knows of a backend is "N/A", as there. Figures of a NativeCache and of a LocMemCache are those of all live
workers, summed; figures of Redis are those of its server.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any, Final

from django.core.cache import caches
from django.core.cache.backends.base import BaseCache
from django.core.cache.backends.locmem import LocMemCache

from oxicache import operations
from oxicache.django.backends import NativeCache
from oxicache.django.enumerating.redis import DjangoRedisEnumerator, RedisEnumerator
from oxicache.django.figures import live_snapshot, own_site
from oxicache.reports import Reach, Report
from oxicache.selection import Selection

__all__ = ["UNKNOWN", "Figures", "figures_of", "human", "is_in_workers", "reset", "servers_of"]

UNKNOWN: Final = "N/A"
UNITS: Final = "BKMGTP"
# What a backend is called, by the dotted path of its class; subclasses count too.
NAMES: Final = {
    "oxicache.django.backends.native.NativeCache": "native",
    "django.core.cache.backends.redis.RedisCache": "redis",
    "django_redis.cache.RedisCache": "redis",
    "django.core.cache.backends.locmem.LocMemCache": "locmem",
    "django.core.cache.backends.db.DatabaseCache": "database",
    "django.core.cache.backends.filebased.FileBasedCache": "filebased",
    "django.core.cache.backends.memcached.BaseMemcachedCache": "memcached",
    "django.core.cache.backends.dummy.DummyCache": "dummy",
}
_SERVERS: Final = {
    "django.core.cache.backends.redis.RedisCache": RedisEnumerator,
    "django_redis.cache.RedisCache": DjangoRedisEnumerator,
}


@dataclass(frozen=True, slots=True)
class Figures:
    """What is shown of an alias, and which workers were asked for it; None where a server was."""

    shown: dict[str, Any]
    reach: Reach | None = None


def figures_of(alias: str) -> Figures:
    """Return the figures of an alias. Whatever the client of a server raises is raised."""
    cache = caches[alias]
    if isinstance(cache, NativeCache):
        return _of_workers(cache)
    servers = servers_of(alias, cache)
    if servers is not None:
        return Figures(_of_servers([(one.info(), one.dbsize()) for one in servers]))
    return _counted(alias, cache)


def reset(alias: str) -> Report | None:
    """Have what `figures_of` shows begin again at zero. None where it was a server, whose own command does it.

    ValueError for a backend that counts nothing.
    """
    cache = caches[alias]
    if isinstance(cache, NativeCache):
        return operations.reset(own_site(), Selection(caches=(cache._memory.name or "",)))
    servers = servers_of(alias, cache)
    if servers is None:
        raise ValueError(f"{type(cache).__name__} counts nothing that could begin again at zero")
    for server in servers:
        server.config_resetstat()
    return None


def is_in_workers(cache: BaseCache) -> bool:
    """Whether its entries are in the memory of the workers, so that they have to be asked."""
    return isinstance(cache, NativeCache | LocMemCache)


def _named(cache: BaseCache, names: dict[str, Any], otherwise: Any) -> Any:
    paths = (f"{kind.__module__}.{kind.__qualname__}" for kind in type(cache).__mro__)
    return next((names[path] for path in paths if path in names), otherwise)


# ---------------------------------------------------------------- live workers


def _of_workers(cache: NativeCache) -> Figures:
    found, reach = live_snapshot()
    stats = found.caches.get(cache._memory.name or "", {})
    known = {name: stats.get(name) or 0 for name in ("hits", "misses", "evictions", "size")}
    uptimes = [process.health.get("uptime_seconds") for process in found.processes]
    memory = stats.get("size_bytes")
    return Figures(
        {
            "backend": NAMES["oxicache.django.backends.native.NativeCache"],
            "memory_usage": UNKNOWN if memory is None else memory,
            "memory_usage_human": UNKNOWN if memory is None else human(memory),
            "keys_count": known["size"] - (stats.get("expired_entries") or 0),
            "evicted_keys": known["evictions"],
            "hit_rate": _rate(known["hits"], known["misses"]),
            "uptime_seconds": int(max((one for one in uptimes if one is not None), default=0)),
        },
        reach,
    )


def _counted(alias: str, cache: BaseCache) -> Figures:
    """What is known of a backend that counts nothing: how many entries it has, where it can list them."""
    found = operations.clear_all(own_site(), (alias,), dry_run=True)
    numbers = [] if alias in found.failures else list(found.aliases.get(alias, {}).values())
    count = UNKNOWN if not numbers or None in numbers else sum(number or 0 for number in numbers)
    name = _named(cache, NAMES, type(cache).__name__.lower())
    shown = {"backend": name, "keys_count": count, "memory_usage": UNKNOWN, "hit_rate": UNKNOWN}
    return Figures(shown, found.reach if is_in_workers(cache) else None)


# ---------------------------------------------------------------- Redis


def servers_of(alias: str, cache: BaseCache) -> Sequence[Any] | None:
    """Return a client of redis-py for each server of an alias; None where there is none."""
    kind: Callable[..., Any] | None = _named(cache, _SERVERS, None)
    found: Sequence[Any] | None = None if kind is None else kind(alias, lambda: cache)._servers(cache)
    return found


def _of_servers(told: Sequence[tuple[dict[str, Any], int]]) -> dict[str, Any]:
    """Sum what servers say in INFO and DBSIZE; the uptime is that of the youngest."""

    def total(name: str) -> int:
        return sum(int(info.get(name) or 0) for info, _ in told)

    memory = total("used_memory")
    return {
        "backend": "redis",
        "memory_usage": memory,
        "memory_usage_human": human(memory),
        "keys_count": sum(size for _, size in told),
        "evicted_keys": total("evicted_keys"),
        "hit_rate": _rate(total("keyspace_hits"), total("keyspace_misses")),
        "uptime_seconds": min((int(info.get("uptime_in_seconds") or 0) for info, _ in told), default=0),
    }


def _rate(hits: int, misses: int) -> float:
    """Return the hits in percent of all reads; 0.0 before the first."""
    return round(hits / (hits + misses) * 100, 2) if hits + misses else 0.0


def human(size: float) -> str:
    """Write a number of bytes as document 002 does: 2097152 is 2.0M."""
    unit = 0
    while size >= 1024 and unit < len(UNITS) - 1:  # noqa: PLR2004 -- what a K is
        size /= 1024
        unit += 1
    return f"{size:.1f}{UNITS[unit]}" if unit else f"{size:.0f}B"
