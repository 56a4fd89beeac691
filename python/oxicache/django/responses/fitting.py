"""A project's own functions of a view's request, called with as much of the view's arguments as they take."""

import functools
import inspect
from collections.abc import Callable
from typing import Any

__all__ = ["fitted"]


def fitted(function: Callable[..., Any] | None) -> Callable[..., Any] | None:
    """Return a function that takes a request and all arguments of its view, and gives `function` those it takes.

    So `lambda request: ...` does for a view with arguments in its URL. None stays None.
    """
    if function is None:
        return None
    try:
        parameters = list(inspect.signature(function).parameters.values())
    except (TypeError, ValueError):
        return function  # some built-in functions have no signature that could be read
    kinds = {each.kind for each in parameters}
    takes_all, takes_named = inspect.Parameter.VAR_POSITIONAL in kinds, inspect.Parameter.VAR_KEYWORD in kinds
    if takes_all and takes_named:
        return function
    by_position = [each.name for each in parameters if each.kind <= each.POSITIONAL_OR_KEYWORD]
    named = {each.name for each in parameters if each.kind in {each.POSITIONAL_OR_KEYWORD, each.KEYWORD_ONLY}}

    @functools.wraps(function)
    def called(*args: Any, **kwargs: Any) -> Any:
        given = args if takes_all else args[: max(len(by_position), 1)]  # without a parameter, it fails
        taken = set(by_position[: len(given)])
        wanted = {
            name: value
            for name, value in kwargs.items()
            if name not in taken and (takes_named or name in named)
        }
        return function(*given, **wanted)

    return called
