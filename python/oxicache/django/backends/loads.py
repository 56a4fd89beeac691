"""How `get_or_set` loads: one store of entries, as the loader (oxicache.loader) asks for it.

What a load stores nobody else may change: the value of one caller is never handed to another as it is.
"""

from collections.abc import Callable, Iterable
from typing import Any, cast

from oxicache import _native
from oxicache._native import MISSING, BackendKey, NativeStore, Stamps
from oxicache.loader import Loader
from oxicache.store import LoadStore

__all__ = ["Request", "loader_of", "own_value"]


class Request:
    """One caller's wish for one key. Equal to that of another caller for the same key."""

    __slots__ = ("compute", "error", "is_refresh", "key")

    def __init__(self, key: str | BackendKey, default: Any, *, is_refresh: bool) -> None:
        self.key = key
        # The caller's own function, which errors about its results then name.
        self.compute: Callable[[], Any] = default if callable(default) else lambda: default
        self.is_refresh = is_refresh  # its value is still fresh, and this caller was elected to renew it
        self.error: Exception | None = None  # why the value could not be stored

    def __hash__(self) -> int:
        return hash(self.key)

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Request) and self.key == other.key

    def __repr__(self) -> str:
        return repr(str(self.key))


class _Loads:
    """A store whose keys are requests."""

    def __init__(self, store: NativeStore) -> None:
        self.store = store
        self.name = store.name

    # Properties, because the options of a store may be changed. A loader only reads them.
    @property
    def grace(self) -> float:
        return self.store.grace

    @property
    def early_refresh(self) -> float:
        return self.store.early_refresh

    def get(self, request: Request, default: Any) -> Any:
        return self.store.get(request.key, default)

    def peek(self, request: Request, default: Any) -> Any:
        # To an elected caller the value that it renews is no news.
        return default if request.is_refresh else self.store.peek(request.key, default)

    def set(self, request: Request, value: Any, ttl: Any = MISSING, tags: Iterable[str] = ()) -> None:
        raise NotImplementedError("a loader fills")

    def delete(self, request: Request) -> bool:
        return self.store.delete(request.key)

    def delete_by_tag(self, tag: str) -> int:
        return self.store.delete_by_tag(tag)

    def clear(self) -> None:
        self.store.clear()

    def _token(self, request: Request) -> int:
        return self.store._token(request.key)

    def _is_current(self, request: Request, token: int, tags: Iterable[str] = ()) -> bool:
        return self.store._is_current(request.key, token, tags)

    def _fill(  # noqa: PLR0917 -- as the loader calls it
        self,
        request: Request,
        value: Any,
        token: int,
        ttl: Any = None,
        tags: Iterable[str] = (),
        cost: float = 0.0,
        stamps: Stamps | None = None,
    ) -> bool:
        try:
            return self.store._fill(request.key, value, token, ttl, tags, cost, stamps)
        except Exception as error:  # noqa: BLE001 -- raised again by `own_value`: Django's caches raise for what no pickle holds
            request.error = error
            return False

    def _loaded(self, request: Request, seconds: float, has_failed: bool) -> None:
        self.store._loaded(request.key, seconds, has_failed)

    def _stale(self, request: Request) -> Any:
        return self.store._stale(request.key)

    def _early(self, request: Request) -> bool:
        return self.store._early(request.key)


_loaders: dict[NativeStore, Loader] = {}  # stores live as long as the process


def loader_of(store: NativeStore) -> Loader:
    """Return the one loader of a store: all handlers of all threads share its loads."""
    loader = _loaders.get(store)
    if loader is None:
        loader = _loaders.setdefault(store, Loader(cast("LoadStore", _Loads(store))))
    return loader


def own_value(store: NativeStore, request: Request, value: Any) -> Any:
    """Return a loaded value as the caller's own: neither its source nor what others got of it is touched by it."""
    if request.error is not None:
        raise request.error
    if store.isolation == "none":
        return value
    held = store.peek(request.key, MISSING)
    return _native._thaw(_native._freeze(value, store.isolation)[0]) if held is MISSING else held
