"""The live workers of this project, made of its settings, and what all its processes on this host share.

What is done with them: oxicache.operations. Why processes of one project may not meet: neighbours.py.
"""

import os
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Final

from django.apps import apps
from django.core.cache import caches
from django.db.models import Model

from oxicache.django import aliases, conf, control, neighbours
from oxicache.django.backends import NativeCache
from oxicache.django.invalidation import invalidate
from oxicache.sites import Site
from oxicache.workers import folder_of

__all__ = ["SELF", "ProjectShared", "store_name", "this_site"]

SELF: Final = "self"  # what `--process` takes for the process that asks


def this_site(process: int | str | None = None) -> Site:
    """Return the workers of this project, one of them by its pid, or for "self" this very process.

    While tests run it is always this process, unless TEST_ISOLATION is off: none must reach a site that runs on this
    host.
    """
    is_test = control.is_testing() and conf.current().test_isolation
    if is_test or str(process) in {SELF, str(os.getpid())}:
        return Site(is_local=True, shared=ProjectShared())
    return Site(
        folders=tuple(_folders()),
        process=None if process is None else int(process),
        siblings=tuple(_siblings()),
        shared=ProjectShared(),
    )


def _folders() -> Iterator[Path]:
    directory, namespace = conf.runtime_directory(), conf.namespace()
    yield folder_of(directory, namespace)
    if _is_root():
        # Root may ask everybody's workers, but what anybody may write into says nothing of them.
        yield from (folder for folder, _, is_safe in neighbours.of_other_users() if is_safe)


def _siblings() -> Iterator[str]:
    reason = neighbours.obstacle()
    if reason is not None:
        yield f"workers cannot be reached here: {reason}."
    yield from (f"{one.what} {one.remedy}" for one in neighbours.parted())
    for folder, _, is_safe in neighbours.of_other_users() if _is_root() else ():
        if not is_safe:
            yield f"{folder} has not the mode 0700, and is left out."


def _is_root() -> bool:
    return hasattr(os, "geteuid") and os.geteuid() == 0


def store_name(cache: str | None) -> str | None:
    """Return the name under which workers know a cache.

    Aliases of one LOCATION are one memory, known as `django:` and the first of them; any of them may be given.
    """
    if cache is not None and cache.startswith("django:"):
        for alias, handler in _native_handlers():
            if cache == f"django:{alias}":
                return handler._memory.name
    return cache


def _native_handlers() -> Iterator[tuple[str, NativeCache]]:
    for alias in aliases.native():
        handler = caches[alias]
        assert isinstance(handler, NativeCache), f"{alias} is one by its BACKEND"
        yield alias, handler


class ProjectShared:
    """What lies in the version words: entries of NativeCache, and what was computed from rows."""

    def clear(self, cache: str | None) -> Sequence[str]:
        """Outdate all entries of one NativeCache, or of every one."""
        return _outdated(cache, lambda handler: handler._memory.clear())

    def invalidate_tags(self, tags: Sequence[str], caches: Sequence[str]) -> Sequence[str]:
        """Outdate the entries of NativeCache that have one of the tags."""

        def outdate(handler: NativeCache) -> None:
            for tag in tags:
                handler.delete_by_tag(tag)

        names = [name for cache in (caches or (None,)) for name in _outdated(cache, outdate)]
        return tuple(dict.fromkeys(names))

    def invalidate_model(self, model: str, *, cascade: bool) -> Sequence[str]:
        """Outdate what was computed from any row of a model; with `cascade` of those that have foreign keys to it."""
        invalidate(model)
        also = sorted({related._meta.label for related in _referring(model)}) if cascade else []
        for label in also:
            invalidate(label)
        return also


def _outdated(cache: str | None, outdate: Callable[[NativeCache], object]) -> list[str]:
    names: dict[str, None] = {}
    for _, handler in _native_handlers():
        store = handler._memory
        if store.coherence == "host" and cache in {None, store.name} and store.name not in names:
            outdate(handler)
            names[store.name or ""] = None
    return list(names)


def _referring(model: str) -> Iterator[type[Model]]:
    """Models with a foreign key to this one: one level, whichever way the relation is named."""
    named = apps.get_model(model)
    for relation in named._meta.related_objects:
        if relation.related_model is not named and not relation.related_model._meta.auto_created:
            yield relation.related_model
