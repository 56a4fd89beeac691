"""What a cached property over an `async def` gives: something to await. How it is cached: memos.py."""

from collections.abc import Callable, Coroutine, Generator
from typing import Any, Protocol

from oxicache._native import MemoProperty

__all__ = ["AsyncCachedProperty", "AwaitableValue"]


class Plan(Protocol):
    """What memos.py knows of a decorated callable."""

    function: Callable[..., Any]

    async def acall(self, memo: MemoProperty, args: tuple[Any, ...], kwargs: dict[str, Any]) -> Any:
        """Return the result of a call."""
        ...


class AsyncCachedProperty(property):
    """A cached property over an `async def`: `await obj.prop`. The awaited value is cached, not the coroutine."""

    def __init__(self, plan: Plan, native: MemoProperty) -> None:
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

    def __init__(self, plan: Plan, native: MemoProperty, instance: Any) -> None:
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
