"""Making the decorated callables: options checked, cache made and registered, native memo built, async twins.

What a hit does is native (`_native.Memo`), what a miss does is the loader's. The decorators themselves: decorators.py.
"""

import copy
import functools
import inspect
import weakref
from collections.abc import Callable, Iterable
from dataclasses import dataclass, fields
from typing import Any

from oxicache import rows, wrapping
from oxicache._native import MISSING, Memo, MemoKey, MemoProperty, TTLCache
from oxicache.adaptive import AdaptiveTtl, Meter
from oxicache.awaiting import AsyncCachedProperty
from oxicache.grace import validated_errors
from oxicache.loader import Loader, lock_timeout_seconds
from oxicache.loads import tag_names
from oxicache.options import seconds
from oxicache.registry import cache_manager
from oxicache.results import full_name
from oxicache.signatures import check_function, keyword_defaults, parameters

__all__ = ["Options", "decorated", "memo_function", "memo_method", "memo_property"]

IDENTITIES = ("auto", "row", "instance", "class")
OF_METHODS = {"identity", "fresh", "depends_on"}  # a function has no instance that these could be about
OF_FUNCTIONS = {"background"}
OF_CALLS = {"key", "condition"}  # a property is given no arguments
_WANTED_IDENTITY = '"auto", "row", "instance", "class" or a callable'


@dataclass(frozen=True, slots=True, kw_only=True)
class Options:
    """What a decorated callable was asked for. Durations are seconds or timedeltas."""

    ttl: Any = (
        MISSING  # how long a result lives; None is for ever, omitted is the setting's; or an AdaptiveTtl
    )
    max_size: Any = MISSING  # entries of this callable, over all instances; omitted is the setting's
    identity: Any = (
        "auto"  # who shares an entry: "row" for a saved model instance, else "instance"; or "row",
    )
    # "instance", "class" or a callable; "none" for functions
    fresh: bool = True  # a row's value is computed on a copy loaded for it; False: on the instance as it is
    # what a value depends on besides: "language", "timezone", "scope", a callable of the instance, or several; of
    vary: Any = ()  # a function a callable of nothing
    key: Any = (
        None  # a callable of the call's arguments: what it returns stands for them, and for the instance
    )
    condition: Any = (
        None  # a callable of the call's arguments: where it is false, the call passes the cache by
    )
    depends_on: Any = ()  # whose changes invalidate a row's value: models, "app.Model", "self", names of relations
    policy: Any = "lru"  # who goes when room is needed: "lru" or "s3fifo"
    max_bytes: int | None = None
    grace: Any = 0  # how long after expiry a value is kept, for when its source is out of reach
    grace_errors: Any = None  # which errors say that it is; None is the setting's
    early_refresh: float = 0  # how early one caller refreshes before expiry (XFetch's beta); 0 is never
    lock_timeout: Any = None  # how long to wait for another's load; None is the setting's
    cache_none: bool = True  # False: a result of None is returned, not stored
    copy: bool = False  # True: every caller gets a deep copy of its own
    tags: (
        Iterable[str] | Callable[..., Iterable[str]]
    ) = ()  # strings, or a callable that is given the call's arguments
    on_evict: Any = None  # called with key, value and cause when an entry goes
    name: Any = None  # under which the cache is registered; None is module.qualname
    background: bool = False  # early refreshes in the background rather than by the elected caller

    def __post_init__(self) -> None:
        """Check what the native half and the loader do not. TypeError and ValueError name argument and value."""
        for switch in ("cache_none", "copy", "background", "fresh"):
            if not isinstance(getattr(self, switch), bool):
                raise TypeError(f"{switch} must be True or False, not {getattr(self, switch)!r}")
        if self.name is not None and not (isinstance(self.name, str) and self.name):
            raise TypeError(f"name must be a string that is not empty, or None, not {self.name!r}")
        if not callable(self.identity) and self.identity not in ("none", *IDENTITIES):
            raise ValueError(f"identity must be {_WANTED_IDENTITY}, not {self.identity!r}")
        self._check_callables()
        if not callable(self.tags):
            object.__setattr__(self, "tags", tag_names(self.tags))
        seconds("grace", self.grace)
        if self.grace_errors is not None:
            object.__setattr__(self, "grace_errors", validated_errors(self.grace_errors))
        if self.lock_timeout is not None:
            lock_timeout_seconds(self.lock_timeout)

    def _check_callables(self) -> None:
        for name in ("key", "condition"):
            if getattr(self, name) is not None and not callable(getattr(self, name)):
                raise TypeError(f"{name} must be callable or None, not {getattr(self, name)!r}")
        if self.key is None:
            return
        given = [
            name
            for name, default in (("fresh", True), ("vary", ()), ("depends_on", ()))
            if getattr(self, name) != default
        ]
        given += ["identity"] if self.identity not in ("none", "auto") else []
        if given:
            raise ValueError(f"key decides alone whose an entry is, so {given[0]} has no effect beside it")

    @classmethod
    def of(cls, decorator: str, given: dict[str, Any]) -> "Options":
        """Take a decorator's keywords. TypeError names the one that it does not have."""
        known = {field.name for field in fields(cls)}
        known -= OF_METHODS if decorator == "cached_function" else OF_FUNCTIONS
        known -= OF_CALLS if decorator == "ttl_cached_property" else set()
        for keyword in given:
            if keyword not in known:
                raise TypeError(f"{decorator}() got an unexpected keyword argument {keyword!r}")
        if decorator == "ttl_cached_property" and isinstance(given.get("ttl"), AdaptiveTtl):
            raise TypeError("ttl of a property must be seconds, a timedelta or None, not an AdaptiveTtl")
        if decorator == "cached_function":
            given = {**given, "identity": "none"}
        elif given.get("identity") == "none":
            raise ValueError(f"identity must be {_WANTED_IDENTITY}, not 'none'")
        return cls(**given)

    def cache(self) -> TTLCache[Any, Any]:
        """Make a cache to these options; it checks those that are its own."""
        given = {
            name: getattr(self, name) for name in ("ttl", "max_size") if getattr(self, name) is not MISSING
        }
        if isinstance(self.ttl, AdaptiveTtl):
            given["ttl"] = self.ttl.high  # each entry is stored with its own
        return TTLCache(
            **given,
            policy=self.policy,
            max_bytes=self.max_bytes,
            grace=self.grace,
            early_refresh=self.early_refresh,
            on_evict=self.on_evict,
        )


_decorated: "weakref.WeakSet[Any]" = weakref.WeakSet()


def decorated() -> list[tuple[rows.Member, TTLCache[Any, Any]]]:
    """Return what was decorated in this process and still lives: each with its cache, in no order."""
    return [(getattr(one, rows.MEMBER_ATTRIBUTE), one.cache) for one in _decorated]


class _Plan:
    """One decorated callable: its function, its cache and how a miss is computed."""

    def __init__(self, decorator: str, function: Callable[..., Any], options: Options) -> None:
        check_function(decorator, function, takes_instance=options.identity != "none")
        name = full_name(function)
        way = wrapping.way_of(function, decorator, name, options)
        self.called = function
        self.way = way
        self.function = way.function
        self.options = options
        self.meter = Meter(options.ttl) if isinstance(options.ttl, AdaptiveTtl) else None
        self.member = rows.Member(
            name,
            decorator,
            way.identity,
            options.fresh,
            rows.checked_dependencies(name, decorator, options.depends_on, options.identity),
            has_tags=bool(options.tags),
        )
        self.vary = rows.vary_reader(name, decorator, options.vary) if way.is_natural else None
        self.cache = options.cache()
        self.loader = Loader(
            self.cache,
            lock_timeout=options.lock_timeout,
            grace_errors=options.grace_errors,
            cache_none=options.cache_none,
            background=options.background,
        )

    def load(self, key: Any, args: tuple[Any, ...], kwargs: dict[str, Any], current: Any) -> Any:
        """What the native half calls on a miss, and when a hit was elected to refresh early."""
        call = self._row_call(key, args, kwargs)
        if call is not None:
            return self.loader.load_missed(
                key,
                call.compute,
                ttl=self._ttl(key),
                tags=self._row_tags(call),
                current=current,
                row_call=call,
            )
        return self.loader.load_missed(
            key,
            functools.partial(self.function, *args, **kwargs),
            ttl=self._ttl(key),
            tags=self.tags(args, kwargs),
            current=current,
        )

    async def aload(self, key: Any, args: tuple[Any, ...], kwargs: dict[str, Any], current: Any) -> Any:
        """As `load`, for an async function: its result is awaited."""
        call = self._row_call(key, args, kwargs)
        if call is not None:
            return await self.loader.aload_missed(
                key,
                call.acompute,
                ttl=self._ttl(key),
                tags=self._row_tags(call),
                current=current,
                row_call=call,
            )
        return await self.loader.aload_missed(
            key,
            functools.partial(self.function, *args, **kwargs),
            ttl=self._ttl(key),
            tags=self.tags(args, kwargs),
            current=current,
        )

    async def acall(self, memo: Memo | MemoProperty, args: tuple[Any, ...], kwargs: dict[str, Any]) -> Any:
        """Return the result of an async call, from the cache if it is there."""
        key, value, is_fresh = memo.lookup(*args, **kwargs)
        if key is None:  # rows are bypassed, because this caller's transaction has written
            return await self.function(*args, **kwargs)
        if self.meter is not None:
            self.meter.note(key)
        if not is_fresh:
            value = await self.aload(key, args, kwargs, value)
        return copy.deepcopy(value) if self.options.copy else value

    def call(self, memo: Memo, args: tuple[Any, ...], kwargs: dict[str, Any]) -> Any:
        """Return the result of a call whose hits do not stay native."""
        if self.meter is None:
            return memo(*args, **kwargs)
        key, value, is_fresh = memo.lookup(*args, **kwargs)
        if key is None:
            return self.function(*args, **kwargs)
        self.meter.note(key)
        if not is_fresh:
            value = self.load(key, args, kwargs, value)
        return copy.deepcopy(value) if self.options.copy else value

    def _ttl(self, key: Any) -> Any:
        return MISSING if self.meter is None else self.meter.ttl(key)

    def tags(self, args: tuple[Any, ...], kwargs: dict[str, Any]) -> Any:
        """Return the tags of this call, or how to compute them if it is loaded."""
        tags = self.way.tags
        return functools.partial(tags, *args, **kwargs) if callable(tags) else tags

    def forgotten(self, key: MemoKey | None) -> None:
        """What the native half tells when a row's value, or all values, were forgotten by their user."""
        rows.forgotten(self.cache, self.member, None if key is None else key.row)

    def memo(self) -> Memo:
        """Build the native callable."""
        names, defaults, keywords = self._parameters()
        return Memo(
            self.function,
            self.cache,
            self.load,
            identity=self.way.identity,
            parameters=names,
            defaults=defaults,
            keyword_defaults=keywords,
            copy=self.options.copy,
            vary=self.vary,
            forgotten=self.forgotten if self.member.is_of_rows else None,
        )

    def _parameters(self) -> tuple[tuple[str, ...], tuple[Any, ...], dict[str, Any]]:
        if self.options.key is not None:
            return (), (), {}
        return (
            *parameters(self.called, skips_instance=self.options.identity != "none"),
            keyword_defaults(self.called),
        )

    def property(self) -> MemoProperty:
        """Build the native property."""
        return MemoProperty(
            self.function,
            self.cache,
            self.load,
            identity=self.options.identity,
            copy=self.options.copy,
            vary=self.vary,
            forgotten=self.forgotten if self.member.is_of_rows else None,
        )

    def _row_call(self, key: Any, args: tuple[Any, ...], kwargs: dict[str, Any]) -> rows.RowCall | None:
        row, source = key.row, rows.source()
        if row is None or source is None:
            return None
        return rows.RowCall(source, self.member, self.function, row, args, kwargs)

    def _row_tags(self, call: rows.RowCall) -> Any:
        # Asked when the load has begun: the tags of the row as it is, not as the caller's instance has it.
        tags = self.options.tags
        return functools.partial(call.apply, tags) if callable(tags) else tags

    def register(self, decorated: Any) -> None:
        """Let the manager know the cache for as long as `decorated` lives: classes made in functions must not leak."""
        setattr(decorated, rows.MEMBER_ATTRIBUTE, self.member)
        _decorated.add(decorated)
        name = cache_manager.register(self.options.name or self.member.name, self.cache)
        weakref.finalize(decorated, cache_manager.remove, name, self.cache).atexit = False


def memo_function(function: Callable[..., Any], options: Options) -> Any:
    """Cache a function, sync or async."""
    return _memo("cached_function", function, options)


def memo_method(function: Callable[..., Any], options: Options) -> Any:
    """Cache a method, sync or async."""
    return _memo("cached_method", function, options)


def memo_property(function: Callable[..., Any], options: Options) -> Any:
    """Make a cached property of a function, sync or async."""
    plan = _Plan("ttl_cached_property", function, options)
    native = plan.property()
    decorated: Any = native
    if inspect.iscoroutinefunction(function):
        decorated = AsyncCachedProperty(plan, native)
    functools.update_wrapper(decorated, function)
    plan.register(decorated)
    return decorated


def _memo(decorator: str, function: Callable[..., Any], options: Options) -> Any:
    plan = _Plan(decorator, function, options)
    memo = plan.memo()
    decorated: Any = memo
    if not plan.way.is_natural or plan.meter is not None or options.condition is not None:
        decorated = wrapping.wrapped(plan, memo)
    elif inspect.iscoroutinefunction(function):
        decorated = _async_twin(plan, memo)
    functools.update_wrapper(decorated, function)
    plan.register(decorated)
    return decorated


def _async_twin(plan: _Plan, memo: Memo) -> Any:
    # A real function, because `inspect.iscoroutinefunction` accepts nothing else before Python 3.12.
    async def decorated(*args: Any, **kwargs: Any) -> Any:
        return await plan.acall(memo, args, kwargs)

    for name in ("cache", "cache_clear", "cache_info", "invalidate", "key"):
        setattr(decorated, name, getattr(memo, name))
    return decorated
