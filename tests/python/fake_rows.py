"""Classes that look like models to the native half, and a decorated callable that counts, with no Django."""

import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

from oxicache._native import (
    Memo,
    MemoKey,
    MemoProperty,
    TTLCache,
    capture,
    row_bypassing,
    set_row_bypass,
    set_row_scope,
    set_row_types,
)

Cache = TTLCache[Any, Any]


class State:
    """As Django's: attributes of the class until an instance is saved or loaded."""

    db: Any = None
    adding: Any = True


class Deferred:
    """As Django's DeferredAttribute: a non-data descriptor, asked only while the instance has no value."""

    def __get__(self, instance: Any, owner: type | None = None) -> Any:
        if instance is None:
            return self
        instance.__dict__["id"] = loaded = 77
        return loaded


class Model:
    """A model class, as far as the native half can tell."""

    id: Any = Deferred()

    def __init__(self, pk: Any = None, db: Any = "default", *, adding: bool = False) -> None:
        self._state = State()
        self._state.db = db
        self._state.adding = adding
        self.id = pk


class Child(Model):
    """A proxy or child model: a class of its own."""


class Unsaved(Model):
    """Created and not saved."""

    def __init__(self, pk: Any = None) -> None:
        super().__init__(pk, None, adding=True)


def resolve(kind: type) -> str | None:
    return "id" if issubclass(kind, Model) else None


class Counted:
    """A decorated callable over its own cache, with a load as the loader's, counting its computations."""

    def __init__(
        self,
        *,
        kind: str = "method",
        identity: Any = "auto",
        names: Callable[[MemoKey], list[str]] = lambda _key: [],
        func: Callable[..., Any] | None = None,
        options: dict[str, Any] | None = None,
        **given: Any,
    ) -> None:
        self.cache: Cache = TTLCache(100, 60, **(options or {}))
        self.calls: list[tuple[Any, ...]] = []
        self.names = names
        self.func = func or (lambda *args: f"{getattr(args[0], 'id', None)!r} {args[1:]}")
        if kind == "method":
            self.memo: Any = Memo(
                self.compute,
                self.cache,
                self.load,
                identity=identity,
                parameters=("a",),
                defaults=(0,),
                **given,
            )
        else:
            self.memo = MemoProperty(self.compute, self.cache, self.load, identity=identity, **given)
        self.kind = kind

    def compute(self, *args: Any) -> Any:
        self.calls.append(args)
        return self.func(*args)

    def load(self, key: MemoKey, args: tuple[Any, ...], kwargs: dict[str, Any], _current: Any) -> Any:
        stamps, token = capture(self.names(key)), self.cache._token(key)
        value = self.compute(*args, **kwargs)
        self.cache._fill(key, value, token, stamps=stamps, cost=1.0)
        return value

    def __call__(self, instance: Any, *args: Any) -> Any:
        if self.kind == "method":
            return self.memo(instance, *args)
        return self.memo.__get__(instance, type(instance))

    def key(self, instance: Any, *args: Any) -> MemoKey:
        key: MemoKey = self.memo.key(instance, *args)
        return key


@contextmanager
def rows() -> Iterator[None]:
    """Have `Model` and what derives from it be models; afterwards Django's are again, where Django is set up."""
    set_row_types(resolve)
    try:
        yield
    finally:
        set_row_types(None)
        set_row_scope(None)
        set_row_bypass(None)
        row_bypassing(False)
        if "oxicache.django.apps" in sys.modules:
            from oxicache.django import rows as django_rows
            from oxicache.django import transactions

            django_rows.install()
            django_rows.configure()
            transactions.watch_connections()
