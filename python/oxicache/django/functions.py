"""`cached_in`: what a function returns, kept in an alias of CACHES under a key that patterns find.

`oxicache.cached_function` keeps results in this process's memory, by reference, and is faster by far. Here they lie
where the rest of a project's cache lies: shared between hosts where that is, listed and cleared by key.
"""

import functools
import inspect
import logging
from collections.abc import Callable, Iterable
from datetime import timedelta
from typing import Any, Final, Literal, ParamSpec, Protocol, TypeAlias, TypeVar

from asgiref.sync import iscoroutinefunction
from django.core.cache import DEFAULT_CACHE_ALIAS, caches

from oxicache import keys, options
from oxicache._native import MISSING
from oxicache.adaptive import AdaptiveTtl, Meter
from oxicache.django import conf
from oxicache.django.codes import name_of
from oxicache.django.invalidation import invalidate
from oxicache.django.keeping import Keeping, akept, kept
from oxicache.django.scope import current_scope
from oxicache.errors import MissingScopeError
from oxicache.rows import RowCall
from oxicache.signatures import check_function
from oxicache.tags import checked_tags

__all__ = ["Calls", "Spelt", "by_arguments", "cached_in", "check_ttl", "globs_of", "scoped"]

logger = logging.getLogger("oxicache.functions")

KIND: Final = "function"  # begins every key that is made of a function's name
MAX_SAID: Final = 1024

_P = ParamSpec("_P")
_R = TypeVar("_R")
_R_co = TypeVar("_R_co", covariant=True)
Ttl: TypeAlias = float | timedelta | str | AdaptiveTtl | None
Spelt: TypeAlias = Callable[[tuple[Any, ...], dict[str, Any]], str | None]  # a call's key; None: it has none
RowOf: TypeAlias = Callable[[tuple[Any, ...], dict[str, Any]], RowCall | None]
Asked: TypeAlias = Callable[[str, Literal["hit", "miss"]], None]


class CachedIn(Protocol[_P, _R_co]):
    """What `cached_in` makes of a function."""

    __name__: str
    __wrapped__: Callable[..., Any]
    meter: Meter | None

    def __call__(self, *args: _P.args, **kwargs: _P.kwargs) -> _R_co:
        """Return the result, from the cache if it is there."""
        ...

    def __get__(self, instance: Any, owner: type | None = None, /) -> Any:
        """Return it as a method."""
        ...

    def key(self, *args: _P.args, **kwargs: _P.kwargs) -> str | None:
        """Return the key of a call; None where it is not cached."""
        ...

    def invalidate(self, *args: _P.args, **kwargs: _P.kwargs) -> int:
        """Forget the entry of a call; how many there were."""
        ...

    def cache_clear(self) -> int:
        """Forget the entries of all calls, in all scopes; how many there were."""
        ...


class DecoratesIn(Protocol):
    """`cached_in(...)`."""

    def __call__(self, function: Callable[_P, _R], /) -> CachedIn[_P, _R]:
        """Decorate `function`."""
        ...


def cached_in(
    alias: str = DEFAULT_CACHE_ALIAS,
    ttl: Ttl = MISSING,  # type: ignore[assignment]  # omitted
    *,
    key: Callable[..., Any] | None = None,
    tags: Iterable[str] | Callable[..., Iterable[str]] = (),
    condition: Callable[..., Any] | None = None,
    keeps: Callable[[Any], Any] | None = None,
    cache_none: bool = True,
    per_tenant: bool = True,
) -> DecoratesIn:
    """Cache what a function, sync or async, returns, in an alias of CACHES.

    `ttl` in seconds, None for ever, a name of CACHE_TIMEOUTS or an `AdaptiveTtl`; omitted it is the alias's TIMEOUT.
    Keys are `function:app.module.name:argument=value`, two ways to write one call being one key; or what `key`, given
    the call's arguments, returns, with the function's name behind it. TypeError names an argument that has no spelling.
    With `per_tenant` they begin with the scope in use, `oxicache.django.scope`; where a tenant is wanted and nobody can
    say which, nothing is cached.
    `tags`: strings, or a callable of the call's arguments. Where `condition`, given these, is false, the call passes
    the cache by; a result is kept where `keeps(result)` is true, None too unless `cache_none=False`.

    `function.invalidate(*args)` forgets the entry of a call, `.cache_clear()` those of all calls, both after the commit
    of a transaction; `.key(*args)` is the key.
    """

    def decorate(function: Callable[..., Any], /) -> Any:
        name = name_of(function)
        spelt = _by_key(name, key) if key is not None else by_arguments(f"{KIND}:{name}", function)
        globs = [f"*:{keys.glob_literal(name)}"] if key is not None else globs_of(f"{KIND}:{name}")
        calls = Calls(
            function,
            ttl,
            scoped(spelt) if per_tenant else spelt,
            Keeping(alias=alias, cache_none=cache_none, keeps=keeps),
            tags=tags,
            condition=condition,
            globs=lambda: globs,
        )
        return calls.face()

    _check(ttl, alias, key=key, condition=condition, keeps=keeps)
    return decorate


def _check(ttl: Any, alias: Any, **callables: Any) -> None:
    if callable(alias):
        raise TypeError(f"cached_in was given {alias!r} as its alias; write @cached_in(), with parentheses")
    if not isinstance(alias, str):
        raise TypeError(f"alias must be a str, not {alias!r}")
    check_ttl(ttl)
    for name, given in callables.items():
        if given is not None and not callable(given):
            raise TypeError(f"{name} must be callable or None, not {given!r}")


def check_ttl(ttl: Any, name: str = "ttl") -> None:
    """Refuse what is no duration, no name of one, no AdaptiveTtl, and was not left out either."""
    if ttl is not MISSING and not isinstance(ttl, AdaptiveTtl):
        conf.check_ttl(name, ttl)


def _seconds(ttl: Any, alias: str) -> float | None:
    found: float | None = caches[alias].default_timeout if ttl is MISSING else conf.ttl_of("ttl", ttl)
    return found


class Calls:
    """The calls of one function, kept under the keys that `spelt` gives them. For dialects; see `cached_in`.

    `globs()` match all keys; `asked` is told of each hit and miss; `row_of` says of which row a call's result is.
    """

    def __init__(
        self,
        function: Callable[..., Any],
        ttl: Any,
        spelt: Spelt,
        keeping: Keeping,
        *,
        tags: Iterable[str] | Callable[..., Iterable[str]] = (),
        condition: Callable[..., Any] | None = None,
        globs: Callable[[], Iterable[str]] = tuple,
        asked: Asked | None = None,
        row_of: RowOf | None = None,
    ) -> None:
        """Refuse what is no function, and what is no tag."""
        check_function("cached_in", function, takes_instance=False)
        self.meter = Meter(ttl) if isinstance(ttl, AdaptiveTtl) else None
        self._function = function
        self._ttl = ttl
        self._spelt = spelt
        self._keeping = keeping
        self._tags = tags if callable(tags) else checked_tags(tags)
        self._condition = condition
        self._globs = globs
        self._asked = asked
        self._row_of = row_of

    def face(self) -> Any:
        """Return the decorated function."""

        @functools.wraps(self._function)
        def decorated(*args: Any, **kwargs: Any) -> Any:
            return self.call(args, kwargs)

        @functools.wraps(self._function)
        async def adecorated(*args: Any, **kwargs: Any) -> Any:
            return await self.acall(args, kwargs)

        found: Any = adecorated if iscoroutinefunction(self._function) else decorated
        found.key, found.invalidate, found.cache_clear = self.key, self.invalidate, self.cache_clear
        found.meter = self.meter
        return found

    def call(self, args: tuple[Any, ...], kwargs: dict[str, Any]) -> Any:
        """Return the result of a call."""
        if (key := self._key(args, kwargs)) is None:
            return self._function(*args, **kwargs)
        row = None if self._row_of is None else self._row_of(args, kwargs)
        compute = _Computing(
            functools.partial(self._function, *args, **kwargs) if row is None else row.compute
        )
        value = kept(self._keeping, key, compute, self._seconds(key), self._tags_of(args, kwargs), row)
        self._tell(key, compute)
        return value

    async def acall(self, args: tuple[Any, ...], kwargs: dict[str, Any]) -> Any:
        """As `call`, of an async function."""
        if (key := self._key(args, kwargs)) is None:
            return await self._function(*args, **kwargs)
        row = None if self._row_of is None else self._row_of(args, kwargs)
        compute = _Computing(
            functools.partial(self._function, *args, **kwargs) if row is None else row.acompute
        )
        value = await akept(self._keeping, key, compute, self._seconds(key), self._tags_of(args, kwargs), row)
        self._tell(key, compute)
        return value

    def key(self, *args: Any, **kwargs: Any) -> str | None:
        """Return the key of a call; None where it is not cached."""
        return self._spelt(args, kwargs)

    def invalidate(self, *args: Any, **kwargs: Any) -> int:
        """Forget the entry of a call; how many there were."""
        key = self._spelt(args, kwargs)
        return 0 if key is None else invalidate(keys=[key], aliases=(self._keeping.alias,)).total

    def cache_clear(self) -> int:
        """Forget the entries of all calls, in all scopes; how many there were.

        CannotEnumerateError where the alias cannot list its keys.
        """
        return invalidate(globs=list(self._globs()), aliases=(self._keeping.alias,)).total

    def _key(self, args: tuple[Any, ...], kwargs: dict[str, Any]) -> str | None:
        if self._condition is not None and not self._condition(*args, **kwargs):
            return None
        return self._spelt(args, kwargs)

    def _seconds(self, key: str) -> float | None:
        if self.meter is None:
            return _seconds(self._ttl, self._keeping.alias)
        self.meter.note(key)
        return self.meter.ttl(key)

    def _tags_of(self, args: tuple[Any, ...], kwargs: dict[str, Any]) -> Any:
        return functools.partial(self._tags, *args, **kwargs) if callable(self._tags) else self._tags

    def _tell(self, key: str, compute: "_Computing") -> None:
        if self._asked is not None:
            self._asked(key, "miss" if compute.has_run else "hit")


class _Computing:
    """A call, which knows whether it was made."""

    def __init__(self, call: Callable[[], Any]) -> None:
        inner = call.func if isinstance(call, functools.partial) else call
        self._call = call
        self.has_run = False
        self.__module__ = getattr(inner, "__module__", "unknown")
        self.__qualname__ = getattr(inner, "__qualname__", "call")

    def __call__(self) -> Any:
        self.has_run = True
        return self._call()


# ---------------------------------------------------------------- keys


def _by_key(name: str, key: Callable[..., Any]) -> Spelt:
    def spelt(args: tuple[Any, ...], kwargs: dict[str, Any]) -> str:
        found = key(*args, **kwargs)
        if found is None or found == "":
            raise TypeError(f"the key of {name} is {found!r}: whoever has none would share what is another's")
        start = keys.spell(found, f"the key of {name}")
        # A text is taken as it is, colons and all, so that patterns find it; the name behind it is this function's own.
        if isinstance(found, str) and not keys.spell(str.__str__(found)).startswith(keys.MARK):
            start = str.__str__(found)  # but for one that reads as a number, whose key is another
        return _bounded(start, name)

    return spelt


def _bounded(start: str, name: str) -> str:
    """Return a key whose end stays the function's name however long its start is."""
    return f"{keys.bounded(start, max(options.KEY_MAX_CHARS - len(name) - 1, 64))}:{name}"


def by_arguments(start: str, function: Callable[..., Any], *, skips_instance: bool = False) -> Spelt:
    """Return how calls are spelt behind `start`, by the names of their arguments, without that of the instance."""
    # A wrapper's own parameters: those of the function below it may be shifted, or have other defaults.
    signature = inspect.signature(function, follow_wrapped=False)
    first = next(iter(signature.parameters.values()), None)
    skipped = first.name if skips_instance and first is not None else None
    is_among_others = first is not None and first.kind is first.VAR_POSITIONAL

    def spelt(args: tuple[Any, ...], kwargs: dict[str, Any]) -> str:
        bound = signature.bind(*args, **kwargs)
        bound.apply_defaults()
        if skipped is not None and is_among_others:
            bound.arguments[skipped] = bound.arguments[skipped][1:]
        params = {
            each: value
            for each, value in bound.arguments.items()
            if (each != skipped or is_among_others) and not _is_left_out(signature.parameters[each], value)
        }
        return keys.make_key(params=params, prefix=start) if params else start

    return spelt


def _is_left_out(parameter: inspect.Parameter, value: Any) -> bool:
    """Whether an argument says nothing: no further ones, or a default that only stands for being left out."""
    if parameter.kind in (parameter.VAR_POSITIONAL, parameter.VAR_KEYWORD):
        return not value
    if value is not parameter.default:
        return False
    try:
        keys.spell(value)
    except TypeError:
        return True
    return False


def globs_of(start: str) -> list[str]:
    """Return the globs of the keys that begin so, in any scope."""
    whole = keys.glob_literal(start)
    return [f"{before}{whole}{after}" for before in ("", "*:") for after in ("", ":*")]


_said: set[str] = set()  # names of functions


def scoped(spelt: Spelt) -> Spelt:
    """Return how calls are spelt within the scope in use."""

    def within(args: tuple[Any, ...], kwargs: dict[str, Any]) -> str | None:
        key = spelt(args, kwargs)
        try:
            prefix = current_scope().prefix()
        except MissingScopeError as error:
            _say(str(key), error)
            return None
        return f"{prefix}:{key}" if prefix else key

    return within


def _say(key: str, error: MissingScopeError) -> None:
    name = key.partition("=")[0]
    if name not in _said and len(_said) < MAX_SAID:
        _said.add(name)
        logger.warning("Calls such as %s are not cached: %s", name, error)
