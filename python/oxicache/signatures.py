"""What may be decorated, and what its parameters are called: so that two ways to write one call are one key."""

import inspect
from collections.abc import Callable
from typing import Any

from oxicache.results import full_name

__all__ = ["check_function", "keyword_defaults", "parameters"]


def check_function(decorator: str, function: Any, *, takes_instance: bool) -> None:
    """Refuse what is no function, or has no instance where one is wanted: a TypeError that says what to write."""
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


def parameters(
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


def keyword_defaults(function: Callable[..., Any]) -> dict[str, Any]:
    """Return the defaults of the keyword-only parameters: a call that leaves one out is the call that repeats it."""
    return {
        one.name: one.default
        for one in _signature(function)
        if one.kind is inspect.Parameter.KEYWORD_ONLY and one.default is not inspect.Parameter.empty
    }
