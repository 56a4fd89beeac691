"""`from oxicache.django import cache, caches`: Django's caches without the cost of Django's proxy.

`django.core.cache.cache` looks its handler up at every call, in a thread- and task-local place, which costs more than
all that a NativeCache then does. Any thread and task may use the same handler of NativeCache, so one serves all: a
handle keeps that one's methods as its own attributes. It asks Django at every call, as the proxy does, for other
backends, and for as long as any handler has been changed (a debug toolbar wraps the methods of each one it sees).
Attributes other than methods are always asked for. A method that is replaced on the class itself is seen once CACHES
was overridden.
"""

from collections.abc import Iterator
from typing import Any

from django.core import cache as django_cache
from django.core.signals import setting_changed

from oxicache.django.backends import NativeCache, patches

__all__ = ["DirectHandle", "DirectHandles", "cache", "caches"]


class DirectHandle:
    """One alias. Made before there are settings, and good under any that come."""

    __slots__ = ("__dict__", "__weakref__", "_alias", "_target")

    def __init__(self, alias: str) -> None:
        """Stand for `django.core.cache.caches[alias]`."""
        object.__setattr__(self, "_alias", alias)
        object.__setattr__(self, "_target", None)

    def __getattr__(self, name: str) -> Any:
        """Find a method of the handler, once; anything else at each call."""
        if name.startswith("__"):
            raise AttributeError(name)  # copy and pickle ask for these of objects that are not made yet
        target = self._target
        if target is None:
            target = self._find_target()
        if target is None:
            return getattr(django_cache.caches[self._alias], name)
        value = getattr(target, name)
        if getattr(value, "__self__", None) is target and not name.startswith("_"):
            self.__dict__[name] = value
            if self._target is not target:  # another thread has changed a handler or the settings meanwhile
                self.__dict__.pop(name, None)
        return value

    def _find_target(self) -> Any:
        """Return the handler to keep, or None where Django is to be asked each time."""
        if patches.is_any_changed() or type(django_cache.caches) is not django_cache.CacheHandler:
            return None
        handlers, moment = django_cache.caches, caches.moment
        if not isinstance(
            handlers[self._alias], NativeCache
        ):  # and the error for an unknown alias is Django's
            return None
        # One of its own: what is set on a thread's handler is that thread's.
        target = handlers.create_connection(self._alias)
        object.__setattr__(self, "_target", target)
        if patches.is_any_changed() or caches.moment is not moment:
            self._forget()
            return None
        return target

    def _forget(self) -> None:
        object.__setattr__(self, "_target", None)
        self.__dict__.clear()

    def __setattr__(self, name: str, value: Any) -> None:
        setattr(django_cache.caches[self._alias], name, value)

    def __delattr__(self, name: str) -> None:
        delattr(django_cache.caches[self._alias], name)

    def __contains__(self, key: Any) -> bool:
        return self.has_key(key)  # type: ignore[no-any-return]

    def __eq__(self, other: object) -> bool:
        if isinstance(other, DirectHandle):
            return bool(self._alias == other._alias)
        return bool(django_cache.caches[self._alias] == other)

    def __hash__(self) -> int:
        return hash(("oxicache.django", self._alias))

    def __reduce__(self) -> tuple[Any, ...]:
        return _handle, (self._alias,)

    def __repr__(self) -> str:
        return f"<oxicache.django handle of CACHES[{self._alias!r}]>"


class DirectHandles:
    """All aliases: `caches["default"]`, as `django.core.cache.caches`."""

    def __init__(self) -> None:
        self._handles: dict[str, DirectHandle] = {}  # for ever: somebody may hold one under settings to come
        self.moment = object()  # another one after each change that handles have to notice

    def __getitem__(self, alias: str) -> DirectHandle:
        handle = self._handles.get(alias)
        if handle is None or handle._target is None:
            django_cache.caches[alias]  # an unknown alias is Django's error
            handle = self.handle(alias)
        return handle

    def __iter__(self) -> Iterator[str]:
        return iter(django_cache.caches)

    def __contains__(self, alias: object) -> bool:
        return alias in list(django_cache.caches)

    def all(self) -> list[DirectHandle]:
        """Return a handle for each alias of the settings."""
        return [self[alias] for alias in self]

    def handle(self, alias: str) -> DirectHandle:
        """Return the handle of an alias, which need not be in the settings."""
        return self._handles.setdefault(alias, DirectHandle(alias))

    def forget(self) -> None:
        """Have every handle ask Django again."""
        self.moment = object()
        for handle in list(self._handles.values()):
            handle._forget()


caches = DirectHandles()
cache = caches.handle(django_cache.DEFAULT_CACHE_ALIAS)


def _handle(alias: str) -> DirectHandle:
    return caches.handle(alias)


def _reset(*, setting: str, **_: Any) -> None:
    if setting == "CACHES":
        patches.forget()
        caches.forget()


patches.on_change(caches.forget)
setting_changed.connect(_reset, dispatch_uid="oxicache.django.handles")
