"""What a view has on itself before it is asked: `setup`, `dispatch`, `initial`, a permission, a property left it there.

Nobody watched how that was found out, so a view that looks at it is taken to depend on it. While one runs it has a
class derived from its own, which notes what it is asked for.
"""

import functools
import inspect
import weakref
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from contextvars import ContextVar
from typing import Any, Final

from django.views import View

from oxicache._native import MISSING
from oxicache.django.responses import rest

__all__ = ["VIEW", "asked_of", "is_stand_in", "left_on", "noting_view", "value_of"]

VIEW: Final = "view:"  # begins, among the names of headers, that of what a view has on itself
_WATCHED: Final = "_oxicache_watched"

# What Django and its REST framework set: in the key by the address, or about no request.
_KNOWN: Final = frozenset(
    {
        "_is_permitted_on_hits",
        "_negotiator",
        "_paginator",
        "action",
        "action_map",
        "args",
        "basename",
        "description",
        "detail",
        "format_kwarg",
        "headers",
        "initkwargs",
        "kwargs",
        "name",
        "request",
        "response",
        "suffix",
        _WATCHED,
        *View.http_method_names,
    }
)
_FRAMEWORKS: Final = frozenset({"django", "rest_framework"})
_answering: ContextVar[tuple[Any, Any] | None] = ContextVar("oxicache_view", default=None)
_HARMLESS: Final = frozenset({"builtins", "typing"})  # whose classes do nothing when one is derived


def asked_of(view: Any, request: Any) -> None:
    """Remember which instance answers a request of Django's here. One of the REST framework knows that itself.

    Not on the request: several tasks may ask several views with one.
    """
    if isinstance(view, View) and rest.is_plain(request):
        _answering.set((weakref.ref(request), weakref.ref(view)))  # both are to go when they are done


def _view_of(request: Any) -> Any:
    if not rest.is_plain(request):
        return (vars(request).get("parser_context") or {}).get("view")
    held = _answering.get()
    return held[1]() if held is not None and held[0]() is request else None


def value_of(request: Any, name: str) -> Any:
    """Return what the view of a request has under a name, MISSING where it has nothing."""
    view = _view_of(request)
    return MISSING if view is None else vars(view).get(name, MISSING)


def left_on(request: Any) -> dict[str, Any]:
    """Return what the view of a request has on itself, but for what everyone has, and what its URL has given it."""
    view = _view_of(request)
    if view is None:
        return {}
    given = _given(view, getattr(rest.plain(request), "resolver_match", None))
    return {
        name: value
        for name, value in vars(view).items()
        if name not in _KNOWN
        and not (name in given and given[name] is value)
        and not (inspect.ismethod(value) and value.__self__ is view)
    }


def _given(view: Any, match: Any) -> dict[str, Any]:
    """Return what `as_view()` was given. Where its function is not to be found: what frameworks know by name."""
    answers = getattr(match, "func", None)
    for name in ("initkwargs", "view_initkwargs"):
        if hasattr(answers, name):
            return dict(getattr(answers, name))
    kinds = [one for one in type(view).__mro__ if one.__module__.partition(".")[0] in _FRAMEWORKS]
    return {name: value for name, value in vars(view).items() if any(name in vars(one) for one in kinds)}


@contextmanager
def noting_view(request: Any, left: Mapping[str, Any], record: Any) -> Iterator[None]:
    """Note in `record` which names of `left` the block asks the request's view for."""
    view = _view_of(request) if left else None
    if view is None:
        yield
        return
    kind: Any = type(view)
    if not _is_derivable(kind):
        for name in left:
            record.note_view(name)
        yield
        return
    attributes = vars(view)
    outer = attributes.get(_WATCHED, ())
    attributes[_WATCHED] = (*outer, (record, left))
    if not outer:
        view.__class__ = _watched(kind)
    try:
        yield
    finally:
        if outer:
            attributes[_WATCHED] = outer
        else:
            del attributes[_WATCHED]
            view.__class__ = kind


def is_stand_in(kind: type[Any]) -> bool:
    """Whether it is a class that a view has while it runs."""
    return _WATCHED in vars(kind)


@functools.lru_cache(maxsize=256)
def _is_derivable(kind: Any) -> bool:
    """Whether nobody is told when a class is derived: a project may keep a list of its views in that way."""
    if type(kind) is not type:
        return False
    told = next(one for one in kind.__mro__ if "__init_subclass__" in vars(one))
    return told.__module__ in _HARMLESS or told.__module__.startswith("oxicache.")


@functools.lru_cache(maxsize=256)
def _watched(kind: Any) -> type[Any]:
    """Derive a class of views that note what they are asked for."""
    attribute_of = kind.__getattribute__

    def asked(self: Any, name: str) -> Any:
        if name == "__class__":
            return kind
        if name not in _KNOWN and not name.startswith("__"):
            for record, left in attribute_of(self, "__dict__").get(_WATCHED, ()):
                if name in left:
                    record.note_view(name)
        return attribute_of(self, name)

    names = {"__getattribute__": asked, "__module__": kind.__module__, "__qualname__": kind.__qualname__}
    return type(kind.__name__, (kind,), {**names, _WATCHED: True})
