"""`carry_out` of what saves ask for: names of entries, everywhere or in some aliases; nobody reads what was reached.

A few microseconds: one call for all tags of a memory, one for all named caches, and no counts. Whatever is out of the
ordinary, or fails, is left to reaching.py, which says of each cache what became of it: to reach one twice is harmless.
"""

from collections.abc import Collection, Sequence
from functools import partial

from django.core.cache import caches

from oxicache import _native
from oxicache.django import delivery, reaching
from oxicache.django.backends import NativeCache
from oxicache.invalidation import Effect, Names
from oxicache.tags import are_alone, expand, moved_words
from oxicache.trail import MAX_NAMES, Note, Told, trail
from oxicache.versions import version_words

__all__ = ["carry_out"]


def carry_out(effect: Effect, notes: Sequence[Note]) -> None:
    """Invalidate now what `effect` names, but for its words; raise nothing. `notes` of who asked go into the trail."""
    moved: partial[set[str]] | None = None
    if not (effect.also or effect.every_tag or effect.every_key) and (notes or not trail.size):
        try:
            moved = _reach(effect)
        except Exception:  # noqa: BLE001 - the long way finds out which cache it was, counts it and reaches the others
            moved = None
    if moved is None:
        told = [*notes]
        last = told.pop() if told else None  # none where the trail is off
        trail.enter(told)
        reaching.carry_out(effect, note=last)
    elif notes:
        names = notes[-1][2]
        if type(names) is Told and len(names) + 2 * len(effect) <= MAX_NAMES:
            names.add(moved)
        trail.enter(notes)


def _reach(effect: Effect) -> "partial[set[str]] | None":
    """Reach the caches; return what tells the version words that were moved. None: it is out of the ordinary."""
    keys, globs, aliases = effect.keys, effect.globs, effect.aliases
    tags = _with_descendants(effect.tags)
    if tags is None:
        return None
    is_everywhere = aliases is None
    version_words.open()
    handlers: list[NativeCache] = []
    stores: list[object] = []
    foreign: list[str] = []
    for alias in caches.settings if aliases is None else aliases:
        handler = caches[alias]
        if type(handler) is not NativeCache:
            foreign.append(alias)
            continue
        handlers.append(handler)
        if tags and (store := handler._memory) not in stores:  # aliases of one LOCATION are one memory
            store._delete_by_tags(tags, is_everywhere and not stores)
            stores.append(store)
        if keys:
            handler.delete_many(keys)
        if globs:
            handler._outdate_patterns(globs, any_version=True)
    if is_everywhere:
        if tags and not stores:
            version_words.bump(moved_words(tags))
        _native.forget_named(tags, keys, globs)
        delivery.tell_all(tags, keys, globs)
    others: Collection[str] = ()
    if foreign:
        others = reaching.reach_aliases(
            Names(tuple(sorted(tags)), tuple(sorted(keys)), tuple(sorted(globs)), aliases=tuple(foreign))
        )
    return partial(_moved, (tags, keys, globs), handlers, others, is_everywhere=is_everywhere)


def _with_descendants(tags: frozenset[str]) -> frozenset[str] | None:
    return tags if not tags or are_alone(tags) else expand(tags)


def _moved(
    names: tuple[Collection[str], Collection[str], Collection[str]],
    handlers: list[NativeCache],
    others: Collection[str],
    *,
    is_everywhere: bool,
) -> set[str]:
    """Spell the words that moved: those of the tags, and those that the stores have of tags, keys and globs."""
    found = {*others, *(moved_words(names[0]) if is_everywhere else ())}
    for handler in handlers:
        found |= reaching.words_of_entries(handler, *names)
    return found
