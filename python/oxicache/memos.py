"""Making the decorated callables: options checked, cache made and registered, native memo built, async twins.

What a hit does is native (`_native.Memo`), what a miss does is the loader's. The decorators themselves: decorators.py.
"""

import copy
import functools
import inspect
import weakref
from collections.abc import Callable, Coroutine, Generator, Iterable
from dataclasses import dataclass, fields
from typing import Any

from oxicache import rows
from oxicache._native import MISSING, Memo, MemoKey, MemoProperty, TTLCache
from oxicache.grace import validated_errors
from oxicache.loader import Loader, lock_timeout_seconds
from oxicache.loads import tag_names
from oxicache.options import seconds
from oxicache.registry import cache_manager
from oxicache.results import full_name

__all__ = ["Options", "decorated", "memo_function", "memo_method", "memo_property"]

IDENTITIES = ("auto", "row", "instance", "class")
OF_METHODS = {
    "identity",
    "fresh",
    "vary",
    "depends_on",
}  # a function has no instance that these could be about
_WANTED_IDENTITY = '"auto", "row", "instance", "class" or a callable'


@dataclass(frozen=True, slots=True, kw_only=True)
class Options:
    """What a decorated callable was asked for. Durations are seconds or timedeltas."""

    ttl: Any = MISSING  # how long a result lives; None is for ever, omitted is the setting's
    max_size: Any = MISSING  # entries of this callable, over all instances; omitted is the setting's
    identity: Any = (
        "auto"  # who shares an entry: "row" for a saved model instance, else "instance"; or "row",
    )
    # "instance", "class" or a callable; "none" for functions
    fresh: bool = True  # a row's value is computed on a copy loaded for it; False: on the instance as it is
    vary: Any = ()  # what a value depends on besides: "language", "timezone", a callable of the instance, or several
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
        if not callable(self.tags):
            object.__setattr__(self, "tags", tag_names(self.tags))
        seconds("grace", self.grace)
        if self.grace_errors is not None:
            object.__setattr__(self, "grace_errors", validated_errors(self.grace_errors))
        if self.lock_timeout is not None:
            lock_timeout_seconds(self.lock_timeout)

    @classmethod
    def of(cls, decorator: str, given: dict[str, Any]) -> "Options":
        """Take a decorator's keywords. TypeError names the one that it does not have."""
        known = {field.name for field in fields(cls)}
        known -= OF_METHODS if decorator == "cached_function" else {"background"}
        for keyword in given:
            if keyword not in known:
                raise TypeError(f"{decorator}() got an unexpected keyword argument {keyword!r}")
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
        _check_function(decorator, function, takes_instance=options.identity != "none")
        name = full_name(function)
        self.function = function
        self.options = options
        self.member = rows.Member(
            name,
            decorator,
            options.identity,
            options.fresh,
            rows.checked_dependencies(name, decorator, options.depends_on, options.identity),
            has_tags=bool(options.tags),
        )
        self.vary = rows.vary_reader(name, decorator, options.vary)
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
                key, call.compute, tags=self._row_tags(call), current=current, row_call=call
            )
        return self.loader.load_missed(
            key,
            functools.partial(self.function, *args, **kwargs),
            tags=self.tags(args, kwargs),
            current=current,
        )

    async def aload(self, key: Any, args: tuple[Any, ...], kwargs: dict[str, Any], current: Any) -> Any:
        """As `load`, for an async function: its result is awaited."""
        call = self._row_call(key, args, kwargs)
        if call is not None:
            return await self.loader.aload_missed(
                key, call.acompute, tags=self._row_tags(call), current=current, row_call=call
            )
        return await self.loader.aload_missed(
            key,
            functools.partial(self.function, *args, **kwargs),
            tags=self.tags(args, kwargs),
            current=current,
        )

    async def acall(self, memo: Memo | MemoProperty, args: tuple[Any, ...], kwargs: dict[str, Any]) -> Any:
        """Return the result of an async call, from the cache if it is there."""
        key, value, is_fresh = memo.lookup(*args, **kwargs)
        if key is None:  # rows are bypassed, because this caller's transaction has written
            return await self.function(*args, **kwargs)
        if not is_fresh:
            value = await self.aload(key, args, kwargs, value)
        return copy.deepcopy(value) if self.options.copy else value

    def tags(self, args: tuple[Any, ...], kwargs: dict[str, Any]) -> Any:
        """Return the tags of this call, or how to compute them if it is loaded."""
        tags = self.options.tags
        return functools.partial(tags, *args, **kwargs) if callable(tags) else tags

    def forgotten(self, key: MemoKey | None) -> None:
        """What the native half tells when a row's value, or all values, were forgotten by their user."""
        rows.forgotten(self.cache, self.member, None if key is None else key.row)

    def memo(self) -> Memo:
        """Build the native callable."""
        parameters, defaults = _parameters(self.function, skips_instance=self.options.identity != "none")
        return Memo(
            self.function,
            self.cache,
            self.load,
            identity=self.options.identity,
            parameters=parameters,
            defaults=defaults,
            keyword_defaults=_keyword_defaults(self.function),
            copy=self.options.copy,
            vary=self.vary,
            forgotten=self.forgotten if self.member.is_of_rows else None,
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
    decorated: Any = _async_twin(plan, memo) if inspect.iscoroutinefunction(function) else memo
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


class AsyncCachedProperty(property):
    """A cached property over an `async def`: `await obj.prop`. The awaited value is cached, not the coroutine."""

    def __init__(self, plan: _Plan, native: MemoProperty) -> None:
        """Answer for `native`, which makes the keys and holds the cache."""
        super().__init__(plan.function)
        self._plan = plan
        self._native = native
        self.cache = native.cache
        self.cache_clear = native.cache_clear
        self.cache_info = native.cache_info
        self.invalidate = native.invalidate
        self.key = native.key

    def __get__(self, instance: Any, owner: type | None = None, /) -> Any:
        """Return something to await, new at each access."""
        return self if instance is None else AwaitableValue(self._plan, self._native, instance)

    def __set__(self, instance: Any, value: Any, /) -> None:
        """Refuse, in the words of the sync property."""
        self._native.__set__(instance, value)

    def __delete__(self, instance: Any, /) -> None:
        """Forget the value of `instance`."""
        self._native.__delete__(instance)


class AwaitableValue(Coroutine[Any, Any, Any]):
    """What `obj.prop` gives: may be awaited again and again, or not at all; a task can be made of it.

    Each `await` asks the cache anew. As a coroutine, which is what `asyncio.create_task` asks for, it runs once.
    """

    __slots__ = ("_coroutine", "_instance", "_native", "_plan")

    def __init__(self, plan: _Plan, native: MemoProperty, instance: Any) -> None:
        """Await the value of `instance`."""
        self._plan = plan
        self._native = native
        self._instance = instance
        self._coroutine: Coroutine[Any, Any, Any] | None = None

    def __await__(self) -> Generator[Any, Any, Any]:
        return self._begin().__await__()

    def send(self, value: Any, /) -> Any:
        """Go on, as a coroutine does."""
        return self._as_coroutine().send(value)

    def throw(self, *error: Any) -> Any:
        """Raise inside, as a coroutine does."""
        return self._as_coroutine().throw(*error)

    def close(self) -> None:
        """End it, as a coroutine does."""
        if self._coroutine is not None:
            self._coroutine.close()

    def _begin(self) -> Coroutine[Any, Any, Any]:
        return self._plan.acall(self._native, (self._instance,), {})

    def _as_coroutine(self) -> Coroutine[Any, Any, Any]:
        if self._coroutine is None:
            self._coroutine = self._begin()
        return self._coroutine


def _check_function(decorator: str, function: Any, *, takes_instance: bool) -> None:
    if isinstance(function, staticmethod | classmethod):
        kind = type(function).__name__
        inner = "cached_function" if kind == "staticmethod" else "cached_method"
        raise TypeError(f"@{decorator} got a {kind}: write @{kind} above, and @{inner} below it")
    if isinstance(function, property):
        raise TypeError(
            f"@{decorator} got a property: write @ttl_cached_property alone, it makes the property itself"
        )
    if not callable(function) or isinstance(function, type):
        raise TypeError(f"@{decorator} decorates functions, not {function!r}")
    if inspect.isgeneratorfunction(function) or inspect.isasyncgenfunction(function):
        raise TypeError(
            f"@{decorator} cannot cache {full_name(function)}: a generator can be consumed only once; return a list"
        )
    if takes_instance and not _takes_positional(function):
        raise TypeError(f"@{decorator} needs a method, and {full_name(function)} takes no instance")


def _signature(function: Callable[..., Any]) -> list[inspect.Parameter]:
    try:
        # A wrapper's own parameters: those of the function below it may be shifted against what callers pass.
        return list(inspect.signature(function, follow_wrapped=False).parameters.values())
    except ValueError:  # some callables written in C have none
        return [inspect.Parameter("args", inspect.Parameter.VAR_POSITIONAL)]


def _takes_positional(function: Callable[..., Any]) -> bool:
    taking = (
        inspect.Parameter.POSITIONAL_ONLY,
        inspect.Parameter.POSITIONAL_OR_KEYWORD,
        inspect.Parameter.VAR_POSITIONAL,
    )
    return any(parameter.kind in taking for parameter in _signature(function))


def _parameters(
    function: Callable[..., Any], *, skips_instance: bool
) -> tuple[tuple[str, ...], tuple[Any, ...]]:
    """Return the names of the positional parameters, and the defaults of the last of them."""
    positional = (inspect.Parameter.POSITIONAL_ONLY, inspect.Parameter.POSITIONAL_OR_KEYWORD)
    found = [parameter for parameter in _signature(function) if parameter.kind in positional]
    if skips_instance:
        found = found[1:]
    # A keyword may have a positional-only parameter's name and then belongs to `**kwargs`: no keyword has a slash.
    names = [f"{one.name}/" if one.kind is inspect.Parameter.POSITIONAL_ONLY else one.name for one in found]
    defaults = [one.default for one in found if one.default is not inspect.Parameter.empty]
    return tuple(names), tuple(defaults)


def _keyword_defaults(function: Callable[..., Any]) -> dict[str, Any]:
    """Return the defaults of the keyword-only parameters: a call that leaves one out is the call that repeats it."""
    return {
        one.name: one.default
        for one in _signature(function)
        if one.kind is inspect.Parameter.KEYWORD_ONLY and one.default is not inspect.Parameter.empty
    }
