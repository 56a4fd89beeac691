"""Which names of a session a view looks at. To look at more than names, or at the session's key, is to look at it all.

While a view runs its session has a class derived from its own, which notes the names that it is asked for and does not
say that it was accessed: guard.py takes that for a look at all of it.
"""

import functools
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any, Final

from django.contrib.sessions.backends.base import SessionBase

from oxicache.django.responses.records import Record

__all__ = ["naming", "quiet"]

_RECORD: Final = "_oxicache_record"
_QUIET: Final = "_oxicache_is_quiet"


@contextmanager
def naming(session: Any, record: Record) -> Iterator[None]:
    """Note in `record` which names of the session the block looks at. Not of one that is no session of Django's."""
    kind: Any = type(session)
    if not issubclass(kind, SessionBase):
        yield
        return
    attributes = vars(session)
    outer = attributes.get(_RECORD)
    attributes[_RECORD] = record
    if outer is None:
        session.__class__ = _watched(kind)
    try:
        yield
    finally:
        if outer is None:
            del attributes[_RECORD]
            session.__class__ = kind
        else:
            attributes[_RECORD] = outer


@contextmanager
def quiet(session: Any) -> Iterator[None]:
    """Note nothing of what the block looks at, neither here nor as a look at all of the session."""
    attributes = vars(session)
    was_quiet, was_accessed = attributes.get(_QUIET, False), session.accessed
    attributes[_QUIET] = True
    try:
        yield
    finally:
        if session.accessed and (record := attributes.get(_RECORD)) is not None:
            record.has_session = True
        session.accessed = was_accessed
        attributes[_QUIET] = was_quiet
        if not was_quiet:
            del attributes[_QUIET]


def _noted_in(session: Any) -> Record | None:
    """Return what looks at a session are noted in now."""
    attributes = vars(session)
    return None if _QUIET in attributes else attributes.get(_RECORD)


def _note(session: Any, name: Any) -> None:
    if (record := _noted_in(session)) is not None:
        record.note_session(name)


def _note_all(session: Any) -> None:
    if (record := _noted_in(session)) is not None:
        record.note("session")


def _one(kind: Any, method: str) -> Callable[..., Any]:
    plain = getattr(kind, method)

    def noted(self: Any, name: Any, *args: Any) -> Any:
        _note(self, name)
        with quiet(self):
            return plain(self, name, *args)

    return noted


def _aone(kind: Any, method: str) -> Callable[..., Any]:
    plain = getattr(kind, method)

    async def noted(self: Any, name: Any, *args: Any) -> Any:
        _note(self, name)
        with quiet(self):
            return await plain(self, name, *args)

    return noted


def _key(kind: Any) -> Any:
    def key(self: Any) -> Any:
        _note_all(self)
        return kind.session_key.__get__(self)

    return property(key)


def _is_empty(kind: Any) -> Any:
    def is_empty(self: Any) -> bool:
        _note_all(self)
        return bool(kind.is_empty(self))

    return is_empty


def _content(kind: Any) -> Any:
    def content(self: Any) -> Any:
        attributes = vars(self)
        if _QUIET in attributes:
            return kind._session.__get__(self)
        attributes[_QUIET] = True  # it asks for its own key
        try:
            return kind._session.__get__(self)
        finally:
            del attributes[_QUIET]

    return property(content)


@functools.lru_cache(maxsize=64)
def _watched(kind: Any) -> type[Any]:
    """Derive a class of sessions that note which names they are asked for."""
    methods = {name: _one(kind, name) for name in ("__getitem__", "__contains__", "get", "has_key")}
    methods |= {name: _aone(kind, name) for name in ("aget", "ahas_key")}
    others = {
        "is_empty": _is_empty(kind),
        "session_key": _key(kind),
        "_session": _content(kind),
        "__slots__": (),
        "__module__": kind.__module__,
    }
    return type(kind.__name__, (kind,), {**methods, **others})
