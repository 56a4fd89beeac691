"""What Django knows of cached entries that the core cannot: aliases and keys of CACHES, rows of models, their words.

The operator's questions come through oxicache/walks.py, which asks a `Lens`: this one. Nothing here runs a query, and
nothing makes a cache that nobody has used.
"""

import sys
from collections.abc import Collection, Hashable, Iterable
from typing import TYPE_CHECKING, Any

from django.apps import apps
from django.core.cache import caches
from django.core.exceptions import ValidationError
from django.core.signals import setting_changed
from django.db import DEFAULT_DB_ALIAS
from django.db.models import Model

from oxicache import memos, rows
from oxicache._native import BackendKey, MemoKey, NativeStore
from oxicache.django import dependencies, words
from oxicache.registry import cache_manager
from oxicache.rows import Member
from oxicache.tags import captured_words
from oxicache.versions import MAX_WORDS

if TYPE_CHECKING:
    from oxicache.django.backends import NativeCache

__all__ = ["DjangoLens"]

PREFIX = "django:"  # of the names under which stores are registered


class DjangoLens:
    """Django's caches and rows, as `walks.Lens` has them."""

    def __init__(self) -> None:
        """Forget what was known of the handlers whenever CACHES changes."""
        self._own: dict[str, tuple[Any, Any]] = {}  # prefix and version of each alias' keys
        setting_changed.connect(self._reset, dispatch_uid="oxicache.django.lens")

    def alias(self, cache: str) -> str | None:
        """Return the alias in CACHES."""
        return None if _store(cache) is None else _alias(cache)

    def keys(
        self, cache: str, text: str, version: int | None, prefix: str | None
    ) -> Iterable[Hashable] | None:
        """Return what a handler of the alias makes of a key, or of one that is written as Django makes it."""
        handler = _handler(cache)
        if handler is None:
            return None
        own = handler._other(prefix)
        found: dict[Hashable, None] = {own._key(text, version): None}
        parts = text.split(":", 2)
        if prefix is None and version is None and len(parts) == 3 and parts[1].isdigit():  # noqa: PLR2004 -- Django's form
            found[handler._other(parts[0])._key(parts[2], int(parts[1]))] = None
        return found

    def shown(self, cache: str, key: Any) -> str | None:
        """Return a key as the alias' own handler takes it; one of another version or prefix as Django makes it."""
        if isinstance(key, BackendKey):
            is_own = (key.prefix, key.version) == self._parts_of(cache)
            return key.key if is_own or key.prefix is None else str(key)
        if type(key) is str and cache.startswith(PREFIX) and self._parts_of(cache) not in {None, ("", 1)}:
            return f":1:{key}"
        return None

    def shown_row(self, model: type, database: str, pk: Any) -> str | None:
        """Return a row by its model's label and its primary key, and by its database where that is not the default."""
        if not issubclass(model, Model):
            return None
        row = f"{model._meta.label}:{words.pk_name(model, pk)}"
        return row if database == DEFAULT_DB_ALIAS else f"{row}@{database}"

    def words(self, cache: str, key: Any, tags: Collection[str]) -> list[str]:
        """Return the words of a store's entry, or of a decorated callable's value."""
        if isinstance(key, MemoKey):
            member = _member(cache)
            if key.row is None or member is None:
                return captured_words(tags, MAX_WORDS)
            model, _, pk = key.row
            of_row = dependencies.words_of(model, member).of(pk)
            return [*of_row, *captured_words(tags, MAX_WORDS - len(of_row))]
        # The results of querysets, forms, fragments and views depend on models, and do not say on which.
        models = apps.get_models(include_auto_created=True) if _store(cache) is not None else ()
        return [
            *_store_words(cache, key, tags),
            *(words.model_word(model._meta.label_lower) for model in models),
        ]

    def words_of(self, cache: str, text: str) -> list[str]:
        """Return the words of a key that is not there, or of a row that is written as `app.Model:pk`."""
        if (keys := self.keys(cache, text, None, None)) is not None:
            return [word for key in keys for word in _store_words(cache, key, ())]
        member = _member(cache)
        label, _, pk = text.partition("(")[0].partition("@")[0].partition(":")
        if member is None or not pk:
            return []
        try:
            model = apps.get_model(label)
            if member not in rows.members_of(model):
                return []
            of_row = dependencies.words_of(model, member).of(pk)
        except (LookupError, ValueError, TypeError, ArithmeticError, ValidationError):
            return []  # no model, or no primary key of it: then nothing is known of it
        # Any row of a model moves its model's word, and nobody knows whether that is why there is no entry.
        return [word for word in of_row if not word.startswith("model:")]

    def cache_of_word(self, name: str) -> str | None:
        """Return the name of the store whose key or tag a word's name tells."""
        kind, _, rest = name.partition(":")
        if kind not in {"key", "made", "tag"}:
            return None
        places = {store.location: store.name for store in _stores() if rest.startswith(f"{store.location}:")}
        return places[max(places, key=len)] if places else None

    def _parts_of(self, cache: str) -> tuple[Any, Any] | None:
        known = self._own.get(cache)
        if known is None:
            handler = _handler(cache)
            if handler is None:
                return None
            known = self._own[cache] = (handler.key_prefix, handler.version)
        return known

    def _reset(self, *, setting: str, **_: Any) -> None:
        if setting == "CACHES":
            self._own.clear()


def _store(cache: str) -> NativeStore | None:
    if not cache.startswith(PREFIX):
        return None
    return next((store for store in _stores() if store.name == cache), None)


def _stores() -> list[NativeStore]:
    # A project that has no NativeCache does not load the backend for the sake of an operator.
    if "oxicache.django.backends" not in sys.modules:
        return []
    from oxicache.django.backends.stores import stores

    return stores()


def _store_words(cache: str, key: Any, tags: Collection[str]) -> list[str]:
    """Return the words that every entry of a store has, and those of its tags."""
    store = _store(cache)
    if store is None or store.coherence != "host":
        return []
    from oxicache.django.backends.words import key_word, store_word, tag_word, tags_word

    at = store.location
    return [key_word(at, key), store_word(at), tags_word(at), *(tag_word(at, tag) for tag in tags)]


def _alias(cache: str) -> str:
    alias = cache.removeprefix(PREFIX)
    if alias in caches.settings:
        return alias
    # Where a LOCATION was changed while the process ran, the name of the new store has a number behind it.
    return alias.rpartition("#")[0] or alias


def _handler(cache: str) -> "NativeCache | None":
    store = _store(cache)
    alias = _alias(cache)
    if store is None or alias not in caches.settings:
        return None  # made by hand, or under settings that were since overridden
    from oxicache.django.backends import NativeCache

    handler = caches[alias]
    return handler if isinstance(handler, NativeCache) and handler._memory is store else None


def _member(cache: str) -> Member | None:
    held = cache_manager._caches.get(cache)
    return next((member for member, own in memos.decorated() if own is held), None)
