"""How decorated callables look to type checkers and editors; the objects themselves are made in memos.py.

A decorated method keeps its signature, a decorated property the type of its value. Nothing here runs.
"""

from collections.abc import Callable, Hashable, Iterable
from datetime import timedelta
from typing import (
    TYPE_CHECKING,
    Any,
    Concatenate,
    Literal,
    Never,
    ParamSpec,
    Protocol,
    TypeAlias,
    TypedDict,
    TypeVar,
    overload,
)

from oxicache._native import TTLCache
from oxicache.grace import GivenErrors

if TYPE_CHECKING:
    from oxicache._native import _Cause, _Policy  # named once, in the stub; at run time they are strings

__all__ = [
    "BoundCachedMethod",
    "CacheOptions",
    "CachedFunction",
    "CachedMethod",
    "CachedProperty",
    "CallOptions",
    "DecoratesFunction",
    "DecoratesMethod",
    "DecoratesProperty",
    "Dependency",
    "FunctionOptions",
    "Identity",
    "MethodOptions",
    "PropertyOptions",
    "Seconds",
    "Vary",
]

_P = ParamSpec("_P")
_S = TypeVar("_S")
_R = TypeVar("_R")
_S_contra = TypeVar("_S_contra", contravariant=True)
_R_co = TypeVar("_R_co", covariant=True)

Seconds: TypeAlias = float | timedelta
Identity: TypeAlias = Literal["auto", "row", "instance", "class"] | Callable[[Any], Hashable]
Vary: TypeAlias = Literal["language", "timezone", "scope"] | Callable[[Any], Hashable]
Dependency: TypeAlias = str | type


class CacheOptions(TypedDict, total=False):
    """What every decorator takes besides `ttl` and `max_size`. What each means: `memos.Options`."""

    policy: "_Policy"
    max_bytes: int | None
    grace: Seconds
    grace_errors: GivenErrors
    early_refresh: float
    lock_timeout: Seconds
    cache_none: bool
    copy: bool
    tags: Iterable[str] | Callable[..., Iterable[str]]
    on_evict: "Callable[[Any, Any, _Cause], object]"
    name: str


class CallOptions(TypedDict, total=False):
    """What `cached_method` and `cached_function` take besides."""

    key: Callable[..., Any] | None
    condition: Callable[..., Any] | None


class PropertyOptions(CacheOptions, total=False):
    """What `cached_method` and `ttl_cached_property` take besides."""

    identity: Identity
    fresh: bool
    vary: Vary | Iterable[Vary]
    depends_on: Dependency | Iterable[Dependency]


class MethodOptions(PropertyOptions, CallOptions, total=False):
    """What `cached_method` takes."""


class FunctionOptions(CacheOptions, CallOptions, total=False):
    """What `cached_function` takes besides."""

    vary: Literal["language", "timezone", "scope"] | Callable[[], Hashable] | Iterable[Any]
    background: bool


class _Cached(Protocol):
    @property
    def cache(self) -> TTLCache[Any, Any]:
        """Where the results are held."""
        ...

    def cache_clear(self) -> None:
        """Forget all results."""
        ...

    def cache_info(self) -> Any:
        """Hits, misses, maxsize and currsize, as `functools.lru_cache` gives them."""
        ...


class CachedFunction(_Cached, Protocol[_P, _R_co]):
    """A function whose results are cached."""

    __name__: str
    __qualname__: str
    __wrapped__: Callable[..., Any]

    def __call__(self, *args: _P.args, **kwargs: _P.kwargs) -> _R_co:
        """Return the result, from the cache if it is there."""
        ...

    def invalidate(self, *args: _P.args, **kwargs: _P.kwargs) -> bool:
        """Forget the result of this call; whether it was held."""
        ...


class BoundCachedMethod(_Cached, Protocol[_P, _R_co]):
    """A cached method of one instance."""

    __name__: str
    __qualname__: str
    __wrapped__: Callable[..., Any]

    def __call__(self, *args: _P.args, **kwargs: _P.kwargs) -> _R_co:
        """Return the result, from the cache if it is there."""
        ...

    def invalidate(self, instance: Any, /, *args: _P.args, **kwargs: _P.kwargs) -> bool:
        """Forget the result of this call on `instance`, which is named here too; whether it was held."""
        ...


class CachedMethod(_Cached, Protocol[_S_contra, _P, _R_co]):
    """A method whose results are cached."""

    __name__: str
    __qualname__: str
    __wrapped__: Callable[..., Any]

    def __call__(self, instance: _S_contra, /, *args: _P.args, **kwargs: _P.kwargs) -> _R_co:
        """Return the result, from the cache if it is there."""
        ...

    def invalidate(self, instance: _S_contra, /, *args: _P.args, **kwargs: _P.kwargs) -> bool:
        """Forget the result of this call on `instance`; whether it was held. A row's other results go too."""
        ...

    @overload
    def __get__(self, instance: None, owner: type, /) -> "CachedMethod[_S_contra, _P, _R_co]": ...
    @overload
    def __get__(self, instance: object, owner: type | None = None, /) -> BoundCachedMethod[_P, _R_co]: ...


class CachedProperty(_Cached, Protocol[_R_co]):
    """A property whose value is cached; `del` forgets it, assignment is refused."""

    fget: Callable[[Any], Any]
    fset: None
    fdel: None

    @overload
    def __get__(self, instance: None, owner: type, /) -> "CachedProperty[_R_co]": ...
    @overload
    def __get__(self, instance: object, owner: type | None = None, /) -> _R_co: ...

    def __set__(self, instance: Any, value: Never, /) -> None:
        """Raise AttributeError."""
        ...

    def __delete__(self, instance: Any, /) -> None:
        """Forget the value of `instance`."""
        ...

    def invalidate(self, instance: Any, /) -> bool:
        """Forget the value of `instance`; whether it was held."""
        ...


class DecoratesFunction(Protocol):
    """`cached_function(...)`."""

    def __call__(self, function: Callable[_P, _R], /) -> CachedFunction[_P, _R]:
        """Decorate `function`."""
        ...


class DecoratesMethod(Protocol):
    """`cached_method(...)`. A method with `**kwargs` loses its signature: no `self` may be split off from that."""

    @overload
    def __call__(self, function: Callable[Concatenate[_S, _P], _R], /) -> CachedMethod[_S, _P, _R]: ...
    @overload
    def __call__(self, function: Callable[..., _R], /) -> CachedMethod[Any, ..., _R]: ...


class DecoratesProperty(Protocol):
    """`ttl_cached_property(...)`."""

    def __call__(self, function: Callable[[Any], _R], /) -> CachedProperty[_R]:
        """Make a property of `function`."""
        ...
