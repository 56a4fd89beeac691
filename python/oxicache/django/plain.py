"""`carry_out` of what saves ask for: names of entries, everywhere or in some aliases, and nobody reads what was reached.

A few microseconds: one call for all tags of a memory, one for all named caches, and no counts. Whatever is out of the
ordinary, or fails, is left to reaching.py, which says of each cache what became of it: to reach one twice is harmless.
"""

from collections.abc import Collection, Iterable
from functools import partial

from django.core.cache import caches

from oxicache import _native
from oxicache.django import delivery, reaching
from oxicache.django.backends import NativeCache
from oxicache.invalidation import Effect, Names, Told
from oxicache.tags import expand, moved_words
from oxicache.trail import MAX_NAMES, Note, trail
from oxicache.versions import version_words

__all__ = ["carry_out"]


def carry_out(effect: Effect, note: Note | None) -> None:
    """Invalidate now what `effect` names, but for its words; raise nothing. `note` of who asked goes into the trail."""
    is_plain = not effect.also and not effect.every_tag and (note is not None or not trail.size)
    try:
        words = _reach(effect) if is_plain else None
    except Exception:  # noqa: BLE001 - the long way finds out which cache it was, counts it and reaches the others
        words = None
    if words is None:
        reaching.carry_out(effect, note=note)
    elif note is not None:
        if len(note[2]) + 2 * len(effect) <= MAX_NAMES:
            note = (*note[:2], Told(note[2], words), *note[3:])
        trail.enter((note,))


def _reach(effect: Effect) -> "partial[Iterable[str]]":
    """Reach the caches; return what tells the version words that were moved."""
    keys, globs, aliases = effect.keys, effect.globs, effect.aliases
    tags = expand(effect.tags) if effect.tags else effect.tags
    words = moved_words(tags) if tags and aliases is None else ()
    version_words.open()
    handlers: list[NativeCache] = []
    stores: list[object] = []
    foreign: list[str] = []
    unmoved: Collection[str] = words
    for alias in caches.settings if aliases is None else aliases:
        handler = caches[alias]
        if type(handler) is not NativeCache:
            foreign.append(alias)
            continue
        handlers.append(handler)
        if tags and (store := handler._memory) not in stores:  # aliases of one LOCATION are one memory
            stores.append(store)
            store._delete_by_tags(tags, unmoved)
            unmoved = ()
        if keys:
            handler.delete_many(keys)
        if globs:
            handler._outdate_patterns(globs, any_version=True)
    if unmoved:
        version_words.bump(unmoved)
    if aliases is None:
        _native._forget(tags, keys, globs)
        delivery.tell_all(tags, keys, globs)
    others: Collection[str] = ()
    if foreign:
        others = reaching.reach_aliases(
            Names(tuple(sorted(tags)), tuple(sorted(keys)), tuple(sorted(globs)), aliases=tuple(foreign))
        )
    return partial(_moved, words, tags, keys, handlers, others)


def _moved(
    words: Collection[str],
    tags: Collection[str],
    keys: Collection[str],
    handlers: list[NativeCache],
    others: Collection[str],
) -> set[str]:
    """Spell the words of what went: those of the tags, and those of the stores' entries."""
    found = {*words, *others}
    for handler in handlers:
        found |= reaching.words_of_entries(handler, tags, keys)
    return found
