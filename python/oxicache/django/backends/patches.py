"""Which handlers somebody has changed: debug toolbars and tests set attributes on them, and all users have to notice.

A handler that was changed is answered by itself alone; the direct handles (../handles.py) then ask Django for the
handler of each call, as its own proxy does, until the change is taken back or the handler is gone.
"""

import weakref
from collections.abc import Callable
from typing import Any

__all__ = ["changed", "forget", "is_any_changed", "on_change", "restored"]

_changed: dict[int, tuple[weakref.ref[Any], set[str]]] = {}  # by id, for as long as the handler lives
_listeners: list[Callable[[], None]] = []


def on_change(listener: Callable[[], None]) -> None:
    """Call `listener` whenever the first change of a handler is made, and whenever the last one is gone."""
    _listeners.append(listener)


def changed(handler: Any, name: str) -> None:
    """Note that an attribute was set on a handler after it was made."""
    mark = id(handler)
    if mark not in _changed:
        _changed[mark] = (weakref.ref(handler, lambda _: _gone(mark)), set())
    _changed[mark][1].add(name)
    _tell()


def restored(handler: Any, name: str) -> None:
    """Note that such an attribute was deleted."""
    known = _changed.get(id(handler))
    if known is not None:
        known[1].discard(name)
        if not known[1]:
            _gone(id(handler))


def is_any_changed() -> bool:
    """Whether any living handler is changed."""
    return bool(_changed)


def forget() -> None:
    """Begin anew: Django makes new handlers. The old ones may live on, unreachable, in the contexts of threads."""
    _changed.clear()


def _gone(mark: int) -> None:
    _changed.pop(mark, None)
    _tell()


def _tell() -> None:
    for listener in _listeners:
        listener()
