"""What a computation may return to be kept, and what a callable is called in a message."""

import functools
import types
from collections.abc import Awaitable, Callable, Coroutine, Generator, Iterator
from typing import Any

__all__ = ["checked", "full_name"]


def checked(compute: Callable[[], Any], value: Any) -> Any:
    """Return `value`. TypeError for what can be consumed only once: the second caller would get an empty one."""
    # A mock has `__next__` too; an iterator is what `iter` returns as it is.
    if isinstance(value, Awaitable):
        remedy = "load it with an `async def`, through aget_or_compute or a decorator"
    elif isinstance(value, types.AsyncGeneratorType) or (
        isinstance(value, Iterator) and iter(value) is value
    ):
        remedy = "return a list"
    else:
        return value
    if isinstance(value, Coroutine | Generator):
        value.close()
    raise TypeError(
        f"{full_name(compute)} returned a {type(value).__name__}, which can be consumed only once; {remedy}"
    )


def full_name(function: Callable[..., Any]) -> str:
    """Return module and qualified name of a function, or of the one in a partial."""
    inner = function.func if isinstance(function, functools.partial) else function
    module = getattr(inner, "__module__", None) or "unknown"
    return f"{module}.{getattr(inner, '__qualname__', type(inner).__name__)}"
