"""`method_cache`, `warm_cache_pattern` and `get_cache_stats` of document 004."""

import functools
from collections.abc import Callable, Iterable
from datetime import timedelta
from typing import Any, Final, TypeVar, cast

from asgiref.sync import iscoroutinefunction
from django.core.cache import DEFAULT_CACHE_ALIAS, caches
from django.db import DEFAULT_DB_ALIAS
from django.db.models import Model

from oxicache import decorators, keys, rows
from oxicache.django import conf, invalidate, transactions
from oxicache.django.codes import name_of
from oxicache.django.endpoints.figures import UNKNOWN, figures_of, human, servers_of
from oxicache.django.functions import Calls, by_arguments, check_ttl, globs_of
from oxicache.django.keeping import Keeping
from oxicache.django.responses import arguments
from oxicache.django.scope import Scope, current_scope
from oxicache.errors import CannotEnumerateError, MissingScopeError
from oxicache.results import full_name
from oxicache.rows import RowCall

__all__ = ["get_cache_stats", "method_cache", "warm_cache_pattern"]

_F = TypeVar("_F", bound=Callable[..., Any])

# As there.
METHOD_TTL: Final = 1800.0  # seconds
WARM_TTL: Final = 3600.0  # seconds
CHUNK_SIZE: Final = 100  # keys
REDIS_SIZES: Final = {"redis_memory_used": "used_memory", "redis_memory_peak": "used_memory_peak"}
REDIS_FIGURES: Final = {
    "redis_connected_clients": "connected_clients",
    "redis_total_commands": "total_commands_processed",
    "redis_keyspace_hits": "keyspace_hits",
    "redis_keyspace_misses": "keyspace_misses",
}
KEEPING: Final = Keeping(alias=DEFAULT_CACHE_ALIAS, cache_none=False)  # None is computed anew each time


def method_cache(
    timeout: float | timedelta | str | None = METHOD_TTL,
    key_prefix: str | None = None,
    per_instance: bool = True,
) -> Callable[[_F], _F]:
    """Cache what a method returns, but None, for each row and its arguments.

    Results of rows lie in CACHES["default"] under `<key_prefix>:<module.Model.method>:id:<pk>:<arguments>`, below the
    tenant: that of the scope in use, else the instance's `tenant_id`. Each is computed on a copy of the row loaded for
    it, and in a NativeCache goes when the row changes; in another cache it lives out its time. Of instances that are
    not saved, and of classes that are no models, results lie in the memory of this process and go with the instance.
    With `per_instance=False` all instances of a class share: for a method that looks at none.

    `Model.method.invalidate(instance, *args)` forgets a result, `.cache_clear()` all of the method.
    """
    arguments.called("method_cache", timeout)
    check_ttl(timeout, "timeout")
    if arguments.text("key_prefix", key_prefix) == "":
        raise ValueError("key_prefix must not be empty; leave it out")
    arguments.switch("per_instance", per_instance)

    def decorate(function: _F) -> _F:
        return cast("_F", _Method(function, timeout, key_prefix, per_instance=per_instance).face())

    return decorate


class _Method:
    """One decorated method: results of rows in an alias, all others with their instances."""

    def __init__(self, function: Any, ttl: Any, prefix: str | None, *, per_instance: bool) -> None:
        self._function = function
        self._ttl = ttl
        self._prefix = prefix
        self._per_instance = per_instance
        self._function_name = name_of(function)
        self._arguments = by_arguments("", function, skips_instance=True)
        self._member = rows.Member(full_name(function), "method_cache", "row", fresh=True, depends_on=())
        self._calls = Calls(function, ttl, self._key, KEEPING, globs=self._globs, row_of=self._row)

    @functools.cached_property
    def _own(self) -> Any:
        """The method for instances that nobody else has: no other process has a use for their results."""
        made: Any = decorators.cached_method(
            ttl=conf.ttl_of("timeout", self._ttl), identity="instance", cache_none=False
        )
        return made(self._function)

    def face(self) -> Any:
        @functools.wraps(self._function)
        def decorated(*args: Any, **kwargs: Any) -> Any:
            return self._way(args)(args, kwargs)

        @functools.wraps(self._function)
        async def adecorated(*args: Any, **kwargs: Any) -> Any:
            return await self._way(args, is_async=True)(args, kwargs)

        found: Any = adecorated if iscoroutinefunction(self._function) else decorated
        found.key, found.invalidate, found.cache_clear = self._calls.key, self._invalidate, self._cache_clear
        if self._per_instance:
            # So that every process that has the model hears of changes of its rows.
            setattr(found, rows.MEMBER_ATTRIBUTE, self._member)
        return found

    def _way(self, args: tuple[Any, ...], *, is_async: bool = False) -> Callable[[Any, Any], Any]:
        if self._is_shared(args):
            return self._calls.acall if is_async else self._calls.call
        return lambda args, kwargs: self._own(*args, **kwargs)

    def _is_shared(self, args: tuple[Any, ...]) -> bool:
        return bool(args) and (not self._per_instance or _is_saved(args[0]))

    def _invalidate(self, *args: Any, **kwargs: Any) -> int:
        if not self._is_shared(args):
            return int(self._own.invalidate(*args, **kwargs))
        count = self._calls.invalidate(*args, **kwargs)
        try:  # whoever asks for it may be in another scope than who stored it
            globs = globs_of(self._name(args) + self._rest(args, kwargs))
            return count + invalidate(globs=globs, aliases=(DEFAULT_CACHE_ALIAS,)).total
        except CannotEnumerateError:
            return count

    def _cache_clear(self) -> int:
        self._own.cache_clear()
        return self._calls.cache_clear()

    # ------------------------------------------------------------ keys

    def _key(self, args: tuple[Any, ...], kwargs: dict[str, Any]) -> str | None:
        prefix = _tenant(args[0])
        if prefix is None:
            return None
        key = self._name(args) + self._rest(args, kwargs)
        return keys.bounded(f"{prefix}:{key}" if prefix else key)

    @property
    def _start(self) -> str:
        name = self._function_name
        return name if self._prefix is None else f"{self._prefix}:{name}"

    def _name(self, args: tuple[Any, ...]) -> str:
        kind, segments = type(args[0]), [self._start]
        if self._per_instance:
            segments += ["id", keys.spell(args[0].pk, "the primary key")]
            if (using := args[0]._state.db) not in (None, DEFAULT_DB_ALIAS):
                segments += ["db", keys.escape(using)]
        whole = f"{kind.__module__}.{kind.__qualname__}"
        if f"{whole}.{self._function.__name__}" != full_name(self._function):
            segments += ["of", whole]  # it inherits the method
        return ":".join(segments)

    def _rest(self, args: tuple[Any, ...], kwargs: dict[str, Any]) -> str:
        spelt = self._arguments(args, kwargs)
        return f":{spelt}" if spelt else ""

    def _globs(self) -> Iterable[str]:
        return globs_of(self._start)

    def _row(self, args: tuple[Any, ...], kwargs: dict[str, Any]) -> RowCall | None:
        source = rows.source()
        if source is None or not self._per_instance:
            return None
        instance = args[0]
        row = (type(instance), instance._state.db or DEFAULT_DB_ALIAS, instance.pk)
        return RowCall(source, self._member, self._function, row, args, kwargs)


def _is_saved(instance: Any) -> bool:
    return isinstance(instance, Model) and instance.pk is not None and not instance._state.adding


def _tenant(instance: Any) -> str | None:
    """Return what begins the key: empty where tenants are not told apart, None where this one is unknown."""
    try:
        prefix: str | None = current_scope().prefix()
    except MissingScopeError:
        prefix = None
    tenant = getattr(instance, "tenant_id", None)
    return Scope(tenant=tenant).prefix() if not prefix and tenant is not None else prefix


# ---------------------------------------------------------------- warming


def warm_cache_pattern(
    pattern: str,
    data_generator: Callable[[], Iterable[tuple[str, Any]]],
    timeout: float | timedelta | str | None = WARM_TTL,
    chunk_size: int = CHUNK_SIZE,
) -> dict[str, Any]:
    """Store the pairs of key and value that `data_generator()` yields in CACHES["default"], `chunk_size` at a time.

    Returns the pattern, which names the warming and nothing else, keys_warmed, errors and success: a key that was not
    stored is an error. What the generator raises is raised, once what it gave before is stored. Inside a transaction
    that has written nothing is stored: nobody else can see what it reads. TypeError for what is no pair.
    """
    if not callable(data_generator):
        raise TypeError(f"data_generator must be callable, not {data_generator!r}")
    if isinstance(chunk_size, bool) or not isinstance(chunk_size, int):
        raise TypeError(f"chunk_size must be a whole number of keys, not {chunk_size!r}")
    if chunk_size < 1:
        raise ValueError(f"chunk_size must be at least 1 key, not {chunk_size}")
    warming = _Warming(conf.ttl_of("timeout", timeout))
    chunk: dict[str, Any] = {}
    try:
        for pair in data_generator():
            key, value = _pair(pair)
            chunk[key] = value
            if len(chunk) >= chunk_size:
                warming.store(chunk)
                chunk = {}
    finally:
        warming.store(chunk)
    return {
        "pattern": pattern,
        "keys_warmed": warming.count,
        "errors": warming.errors,
        "success": not warming.errors,
    }


def _pair(given: Any) -> tuple[str, Any]:
    if not isinstance(given, tuple | list) or len(given) != 2 or not isinstance(given[0], str):  # noqa: PLR2004 -- a pair
        raise TypeError(f"data_generator must yield pairs of a key, a str, and a value, not {given!r}")
    return given[0], given[1]


class _Warming:
    def __init__(self, ttl: float | None) -> None:
        self.count = 0
        self.errors: list[str] = []
        self._ttl = ttl

    def store(self, chunk: dict[str, Any]) -> None:
        if not chunk:
            return
        if transactions.is_any_written():
            self.errors += [f"{key}: not stored inside a transaction that has written" for key in chunk]
            return
        try:
            failed = caches[DEFAULT_CACHE_ALIAS].set_many(chunk, self._ttl) or ()  # django-redis returns None
        except Exception as error:  # noqa: BLE001 -- what a backend may raise nobody knows; the report says it
            self.errors += [f"{key}: {type(error).__name__}: {error}" for key in chunk]
            return
        self.errors += [f"{key}: the cache did not store it" for key in failed]
        self.count += len(chunk) - len(failed)


# ---------------------------------------------------------------- figures


def get_cache_stats() -> dict[str, Any]:
    """Return what CACHES["default"] tells of itself: `redis_*` figures, `cache_backend` and `hit_ratio` in percent.

    Off Redis the figures of its server are None, and `hit_ratio` is that of all live workers where they count. Of
    several servers the figures are summed. Whatever the client of a server raises is raised.
    """
    cache = caches[DEFAULT_CACHE_ALIAS]
    kind, servers = type(cache), servers_of(DEFAULT_CACHE_ALIAS, cache)
    figures: dict[str, Any] = dict.fromkeys((*REDIS_FIGURES, *REDIS_SIZES))
    if servers is not None:
        told = [one.info() for one in servers]
        for shown, name in (*REDIS_FIGURES.items(), *REDIS_SIZES.items()):
            total = sum(int(info.get(name) or 0) for info in told)
            figures[shown] = human(total) if shown in REDIS_SIZES else total
    rate = figures_of(DEFAULT_CACHE_ALIAS).shown["hit_rate"]
    return {
        **figures,
        "cache_backend": f"{kind.__module__}.{kind.__qualname__}",
        "hit_ratio": None if rate == UNKNOWN else rate,
    }
