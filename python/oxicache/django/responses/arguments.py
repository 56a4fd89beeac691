"""What a decorator is given, checked where it is given: TypeError and ValueError name the argument and its value."""

from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from typing import Any, Final

from asgiref.sync import iscoroutinefunction
from django.conf import settings
from django.db.models import Model

__all__ = [
    "alias",
    "called",
    "function",
    "max_bytes",
    "models",
    "names",
    "params",
    "spelt_as",
    "statuses",
    "switch",
    "text",
]

_STATUSES: Final = range(200, 600)  # what a view can answer with


@contextmanager
def spelt_as(decorator: str, **names: str) -> Iterator[None]:
    """Have what `cached_view` refuses named as a dialect names it: `timeout="ttl"`."""
    try:
        yield
    except (TypeError, ValueError) as error:
        first, _, rest = str(error).partition(" ")
        ours = first.rstrip(":")
        if ours not in {*names, "cached_view", "cached_view()"}:
            raise
        named = names.get(ours, decorator) + first[len(ours) :]
        rest = rest.replace("as its timeout", f"as its {names.get('timeout', 'timeout')}")
        raise type(error)(f"{named} {rest.replace('@cached_view(', f'@{decorator}(')}") from error


def called(name: str, first: Any) -> None:
    """Refuse a view in the place of seconds: a decorator without its parentheses."""
    if callable(first):
        raise TypeError(f"{name} was given {first!r} as its timeout; write @{name}(), with parentheses")


def _listed(name: str, given: Any, kind: type, wanted: str) -> tuple[Any, ...]:
    if isinstance(given, str | type) or not isinstance(given, Iterable):
        raise TypeError(f"{name} must be a list of {wanted}, not {given!r}")
    for one in (found := tuple(given)):
        if not isinstance(one, kind) or isinstance(one, bool):
            raise TypeError(f"{name} must hold {wanted}, not {one!r}")
    return found


def names(name: str, given: Any) -> frozenset[str]:
    """Return a set of names."""
    return frozenset(_listed(name, given, str, "texts"))


def params(given: Any) -> frozenset[str] | None:
    """Return the names of parameters that are in no key, None of all of them."""
    return None if given is None else names("ignored_params", given)


def models(given: Any) -> tuple[Any, ...]:
    """Return models, or their names, of which little is known while models are still loaded."""
    wanted = "models, or names such as 'app.Model'"
    found = _listed("invalidate_on", given, str | type, wanted)  # type: ignore[arg-type]  # isinstance takes both
    for one in found:
        if isinstance(one, type) and not issubclass(one, Model):
            raise TypeError(f"invalidate_on must hold {wanted}, not {one!r}")
    return found


def statuses(given: Any) -> frozenset[int]:
    """Return the statuses that are kept."""
    found = _listed("statuses", given, int, "numbers")
    for one in found:
        if one not in _STATUSES:
            raise ValueError(f"statuses must hold numbers from 200 to 599, not {one}")
    return frozenset(found)


def alias(given: Any) -> str:
    """Return the name of a cache of CACHES."""
    if not isinstance(given, str):
        raise TypeError(f"alias must be a str, not {given!r}")
    if settings.configured and given not in settings.CACHES:
        known = ", ".join(map(repr, settings.CACHES))
        raise ValueError(f"alias must be one of CACHES, which has {known}, not {given!r}")
    return given


def text(name: str, given: Any) -> str | None:
    """Return a text, or None."""
    if given is not None and not isinstance(given, str):
        raise TypeError(f"{name} must be a str or None, not {given!r}")
    return given


def switch(name: str, given: Any, *, or_none: bool = False) -> Any:
    """Return True or False; with `or_none` None, which leaves it open."""
    if not isinstance(given, bool) and not (or_none and given is None):
        wanted = "True, False or None" if or_none else "True or False"
        raise TypeError(f"{name} must be {wanted}, not {given!r}")
    return given


def function(name: str, given: Any, *, may_be_async: bool = False) -> Any:
    """Return a function, or None. One that is async is refused where nobody would await what it says."""
    if given is not None and not callable(given):
        raise TypeError(f"{name} must be callable or None, not {given!r}")
    is_async = iscoroutinefunction(given) or iscoroutinefunction(getattr(given, "__call__", None))  # noqa: B004 -- its own
    if is_async and not may_be_async:
        raise TypeError(f"{name} must not be async, as {given!r} is")
    return given


def max_bytes(given: Any) -> int | None:
    """Return a number of bytes, None for no limit."""
    if given is None:
        return None
    if isinstance(given, bool) or not isinstance(given, int):
        raise TypeError(f"max_bytes must be a whole number of bytes or None, not {given!r}")
    if given < 0:
        raise ValueError(f"max_bytes must be at least 0, or None for no limit, not {given}")
    return given
