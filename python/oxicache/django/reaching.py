"""`carry_out`: an `Effect` reaches the caches that hold what it names, wherever these are.

Version words reach every process of the host at its next read: rows, models, entries of NativeCache, and what decorated
callables hold under a tag. Other backends of CACHES are asked here and now, named caches of this process too; those of
other workers are told by delivery.py. No cache that fails reaches the caller: it is one log line and one counter.

When an effect is carried out, at once or at a commit, is decided elsewhere: transactions.py, invalidation.py.
"""

# Long because every kind of cache is reached here, and one account is kept of what failed where.

import logging
from collections.abc import Callable, Collection, Iterable, Mapping
from contextlib import suppress
from dataclasses import dataclass, field, replace
from functools import partial
from types import MappingProxyType
from typing import Any, Final, TypeVar, cast

from django.core.cache import CacheKeyWarning, caches
from django.core.signals import setting_changed

from oxicache._native import KeyPattern
from oxicache.django import delivery, marks
from oxicache.django.backends import NativeCache
from oxicache.django.backends.words import key_word, store_word
from oxicache.django.backends.words import tag_word as store_tag_word
from oxicache.django.delivery import Round
from oxicache.django.enumeration import ALL_VERSIONS, enumerator_of
from oxicache.errors import OxicacheError
from oxicache.invalidation import Effect, Names
from oxicache.options import TAG_MAX_CHARS
from oxicache.registry import cache_manager
from oxicache.store import Store, attempt
from oxicache.tags import ANY_TAG, EVERY_TAG, checked_tags, expand, moved_words
from oxicache.trail import MAX_NAMES, Note, trail

__all__ = ["Reached", "carry_out"]

logger = logging.getLogger("oxicache.invalidation")

_T = TypeVar("_T")
STORES: Final = "django:"  # how the names of NativeCache's stores begin
PATTERN_MAX_CHARS: Final = 10_000  # as the native half has it
REFUSALS: Final = (ValueError, CacheKeyWarning)  # of a key: memcached's of one with a space
MOST_SHOWN: Final = 5  # names of one kind that a note tells


def _nothing() -> MappingProxyType[Any, Any]:
    return MappingProxyType({})


@dataclass(frozen=True, slots=True, kw_only=True)
class Reached:
    """What an invalidation has reached, as far as that is known at once.

    Counts are of entries that were there and are gone: by strategy (tags, keys, pattern, dependency), by alias of
    CACHES, by named cache of this process that had any. None is not known: what version words reach dies at its next
    read. `failures` says of aliases why they were not reached. `job` is what `cancel` takes, of one that is delayed.
    """

    counts: Mapping[str, int | None] = field(default_factory=_nothing)
    by_alias: Mapping[str, int | None] = field(default_factory=_nothing)
    by_cache: Mapping[str, int | None] = field(default_factory=_nothing)
    failures: Mapping[str, str] = field(default_factory=_nothing)
    job: str | None = None
    is_deferred: bool = False  # until a commit, or for a delay
    _round: Round | None = field(default=None, repr=False, compare=False)

    @property
    def total(self) -> int:
        """How many entries are known to be gone."""
        return sum(number or 0 for number in self.counts.values())

    @property
    def pending(self) -> bool:
        """Whether something is still to be done: at a commit, after a delay, by workers that were not asked yet."""
        return self.is_deferred or (self._round is not None and not self._round.is_done)

    @property
    def missing(self) -> Mapping[int, str]:
        """Workers that did not confirm, by pid, and why; complete once nothing is pending."""
        return {} if self._round is None else dict(self._round.missing)

    @property
    def elsewhere(self) -> int:
        """How many entries the other workers had in their named caches; complete once nothing is pending."""
        return 0 if self._round is None else self._round.removed

    def wait(self, timeout: float = 1.0) -> bool:
        """Wait until the other workers have confirmed, `timeout` seconds at most; whether everything is done.

        False at once where it is deferred: this thread may be the one that has to commit.
        """
        return not self.is_deferred and (self._round is None or self._round.wait(timeout))


@dataclass(slots=True)
class _Outcome:
    """What was reached so far."""

    counts: dict[str, int | None] = field(default_factory=dict)
    by_alias: dict[str, int | None] = field(default_factory=dict)
    by_cache: dict[str, int | None] = field(default_factory=dict)
    failures: dict[str, str] = field(default_factory=dict)
    words: set[str] = field(default_factory=set)  # that were moved besides the effect's own
    told: Round | None = None

    def count(self, strategy: str, number: int | None, *, alias: str = "", cache: str = "") -> None:
        """Add what one cache has said; None where it cannot know."""
        kinds = [(self.counts, strategy), (self.by_alias, alias), (self.by_cache, cache if number else "")]
        for table, name in kinds:
            if name:
                known = table.setdefault(name, None)
                table[name] = known if number is None else (known or 0) + number


def carry_out(effect: Effect, *, note: Note | None = None, counting: bool = False) -> Reached:
    """Invalidate now what `effect` names; raise nothing.

    `note` is who asked for it, where that was before; else the trail is told of this caller. `counting` finds out how
    many entries go where that takes a walk through a whole cache of this process.
    """
    outcome = _Outcome()
    words = set(effect.words)
    parts = [_expanded(part) for part in (effect.as_names(), *effect.also) if _names_anything(part)]
    for part in parts:
        if part.caches != ():  # not only aliases
            words.update(moved_words(part.tags))
            words.update((EVERY_TAG, ANY_TAG) if part.every_tag else ())
    if effect.words:
        outcome.count("dependency", None)
    marks.bump(words)
    for part in parts:
        _reach_aliases(part, outcome, counting=counting)
        _reach_named(part, outcome)
        _tell_others(part, outcome)
    for alias in outcome.failures:
        if outcome.by_alias.get(alias, 0) is None:
            del outcome.by_alias[alias]  # None is for what goes by itself
    _enter(note, words | outcome.words, parts)
    return Reached(
        counts=MappingProxyType(outcome.counts),
        by_alias=MappingProxyType(outcome.by_alias),
        by_cache=MappingProxyType(outcome.by_cache),
        failures=MappingProxyType(outcome.failures),
        _round=outcome.told,
    )


def _names_anything(part: Names) -> bool:
    return part.every_tag or part.every_key or len(part) > 0


def _expanded(part: Names) -> Names:
    """Add the tags that die with those that are named. What a rule made that is no tag is none, and said."""
    part = _usable(part)
    if not part.tags:
        return part
    named = attempt(_named("tags"), checked_tags, None, part.tags)
    if named is None:
        given: tuple[Any, ...] = part.tags  # whatever a rule's callable gave
        named = tuple(tag for tag in given if isinstance(tag, str) and 0 < len(tag) <= TAG_MAX_CHARS)
    tags = expand(named)
    return replace(part, tags=named, every_tag=True) if tags is None else replace(part, tags=tuple(tags))


# ---------------------------------------------------------------- aliases of CACHES


def reach_aliases(part: Names) -> set[str]:
    """Reach aliases alone, for who counts nothing; return the version words that moved. What fails is counted."""
    outcome = _Outcome()
    _reach_aliases(_usable(part), outcome, counting=False)
    return outcome.words


def words_of_entries(
    handler: NativeCache, tags: Iterable[str], keys: Iterable[str], globs: Iterable[str]
) -> set[str]:
    """Spell the version words that a NativeCache has of these names; none where its processes share nothing."""
    store = handler._memory
    if store.coherence != "host":
        return set()
    place = store.location
    return {
        *[store_tag_word(place, tag) for tag in tags],
        *[key_word(place, handler._key(key)) for key in keys],
        *[store_word(place) for _ in globs],
    }


def _reach_aliases(part: Names, outcome: _Outcome, *, counting: bool) -> None:
    stores: set[int] = set()  # whose tags were moved: aliases of one LOCATION are one memory
    for alias in list(caches.settings) if part.aliases is None else part.aliases:
        handler = _tried(alias, "making it", partial(caches.__getitem__, alias), outcome)
        if isinstance(handler, NativeCache):
            reach = _Native(alias, handler, part, outcome, counting=counting)
            is_new = id(handler._memory) not in stores
            stores.add(id(handler._memory))
            if is_new:
                _tried(alias, "delete_by_tag", reach.tags, outcome)
            _tried(alias, "delete", reach.keys, outcome)
            _tried(alias, "delete_pattern", reach.patterns, outcome)
        elif handler is not None:
            _reach_foreign(alias, handler, part, outcome, counting=counting)


class _Native:
    """A NativeCache: what other processes hold dies at its next read."""

    def __init__(
        self, alias: str, handler: NativeCache, part: Names, outcome: _Outcome, *, counting: bool
    ) -> None:
        self._alias = alias
        self._handler = handler
        self._part = part
        self._outcome = outcome
        self._counting = counting

    def tags(self) -> None:
        store = self._handler._memory
        for tag in self._part.tags:
            self._outcome.count("tags", store.delete_by_tag(tag), alias=self._alias)
        if self._part.every_tag:
            store.clear()
            self._outcome.count("tags", None, alias=self._alias)
        if store.coherence == "host":
            self._outcome.words.update(store_tag_word(store.location, tag) for tag in self._part.tags)

    def keys(self) -> None:
        version, store = self._part.version, self._handler._memory
        for key in self._part.keys:
            self._outcome.count("keys", _deleted(self._handler, (key,), version), alias=self._alias)
            if store.coherence == "host":
                with suppress(*REFUSALS):
                    self._outcome.words.add(key_word(store.location, self._handler._key(key, version)))

    def patterns(self) -> None:
        part, handler = _with_every_key(self._part), self._handler
        patterns = _patterns(part)
        if not patterns:
            return
        gone, store = None, handler._memory
        if self._counting:  # of the alias's own version, where all are meant
            around = handler._around(part.version, None)
            gone = sum(store.remove_matching(pattern, *around) for pattern in patterns)
        if gone is None or part.version is None:
            is_any = part.version is None
            if part.globs:
                handler._outdate_patterns(part.globs, "glob", part.version, any_version=is_any)
            if part.regexes:
                handler._outdate_patterns(part.regexes, "regex", part.version, any_version=is_any)
        self._outcome.count("pattern", gone, alias=self._alias)
        if store.coherence == "host":
            self._outcome.words.add(store_word(store.location))


def _reach_foreign(alias: str, handler: Any, part: Names, outcome: _Outcome, *, counting: bool) -> None:
    """Ask a backend that is not NativeCache, here and now."""
    version = part.version
    if part.keys:
        if counting:
            deleted = _tried(alias, "delete", lambda: _deleted(handler, part.keys, version), outcome)
        else:
            deleted = None
            _tried(alias, "delete_many", lambda: _delete(handler, part.keys, version), outcome)
        outcome.count("keys", deleted, alias=alias)
    if part.tags:
        gone = _tried(alias, "delete_by_tag", lambda: enumerator_of(alias).delete_by_tag(part.tags), outcome)
        outcome.count("tags", gone, alias=alias)
    for is_every, kind in ((part.every_tag, "tags"), (part.every_key, "keys")):
        if is_every:
            _tried(alias, f"all {kind}", partial(_refuse_every, kind), outcome)
    if part.globs or part.regexes:
        gone = _tried(
            alias,
            "delete_matching",
            lambda: enumerator_of(alias).delete_matching(
                _patterns(part), ALL_VERSIONS if version is None else version
            ),
            outcome,
        )
        outcome.count("pattern", gone, alias=alias)


def _refuse_every(kind: str) -> None:
    raise NotImplementedError(
        f"it is not known which {kind} a transaction invalidated that changed very many rows, and it is not emptied: "
        "it may hold what is no copy, as sessions"
    )


def _with_every_key(part: Names) -> Names:
    return replace(part, globs=(*part.globs, "*")) if part.every_key else part


def _delete(handler: Any, keys: Collection[str], version: int | None) -> None:
    try:
        handler.delete_many(keys, version)
    except REFUSALS:
        _deleted(handler, keys, version)


def _deleted(handler: Any, keys: Iterable[str], version: int | None) -> int:
    """Delete one after another; how many there were. Under a key that a backend refuses it has nothing."""
    count = 0
    for key in keys:
        with suppress(*REFUSALS):
            count += bool(handler.delete(key, version=version))
    return count


def _patterns(part: Names) -> list[KeyPattern]:
    return [
        *[KeyPattern(glob) for glob in part.globs],
        *[KeyPattern(regex, kind="regex") for regex in part.regexes],
    ]


def _usable(part: Names) -> Names:
    """Leave out the globs that are none, as a rule may make of a long text: the others are to reach what they name."""
    if all(len(glob) <= PATTERN_MAX_CHARS for glob in part.globs):
        return part
    named = _named("patterns")
    usable = [glob for glob in part.globs if attempt(named, KeyPattern, None, glob) is not None]
    return replace(part, globs=tuple(usable))


# ---------------------------------------------------------------- named caches


def _reach_named(part: Names, outcome: _Outcome) -> None:
    """Named caches of this process, those that decorated callables made included."""
    if part.caches == ():
        return
    found = _with_every_key(replace(part, every_key=part.every_key or part.every_tag))
    patterns: list[KeyPattern] = attempt(_named("patterns"), _patterns, [], found)
    for name, cache in list(cache_manager._caches.items()):
        if name.startswith(STORES) or (part.caches is not None and name not in part.caches):
            continue
        for tag in part.tags:
            outcome.count("tags", attempt(cache, cache.delete_by_tag, None, tag), cache=name)
        for key in part.keys:
            outcome.count("keys", int(attempt(cache, cache.delete, False, key)), cache=name)
        for pattern in patterns:
            gone = attempt(cache, cache._remove_matching, None, pattern)
            outcome.count("pattern", gone, cache=name)


def _tell_others(part: Names, outcome: _Outcome) -> None:
    if part.caches != ():
        globs = (*part.globs, "*") if part.every_tag or part.every_key else part.globs
        names = {"tags": part.tags, "keys": part.keys, "globs": globs, "regexes": part.regexes}
        told = attempt(_named("workers"), delivery.announce, None, part.caches, names)
        outcome.told = told or outcome.told


# ---------------------------------------------------------------- what fails, what is noted


class _Named:
    """Whose failures `store.attempt` counts and logs here."""

    __slots__ = ("name",)

    def __init__(self, name: str) -> None:
        self.name = name


def _named(name: str) -> Store:
    return cast("Store", _Named(name))


def _tried(alias: str, operation: str, call: Callable[[], _T], outcome: _Outcome) -> _T | None:
    """Return what a cache says; None where it failed, which is noted, counted and logged."""

    def tried() -> _T | None:
        try:
            return call()
        except (OxicacheError, NotImplementedError) as error:  # it cannot, and will not the next time
            outcome.failures[alias] = str(error)
            _say_once(alias, operation, error)
            return None
        except Exception as error:  # passed on to `attempt`, which counts it
            outcome.failures[alias] = f"{type(error).__name__}: {error}"
            raise

    tried.__name__ = operation
    return attempt(_named(alias), tried, None)


_said: set[tuple[str, str]] = set()  # what the log knows that an alias cannot do


def _say_once(alias: str, operation: str, error: Exception) -> None:
    if (alias, operation) not in _said:
        _said.add((alias, operation))
        logger.warning("CACHES[%r] is not reached by invalidations that need %s: %s", alias, operation, error)


def _forget(*, setting: str, **_: Any) -> None:
    if setting == "CACHES":
        _said.clear()


setting_changed.connect(_forget, dispatch_uid="oxicache.django.reaching")


def _enter(note: Note | None, names: Collection[str], parts: Iterable[Names]) -> None:
    if note is None:
        note = trail.note("invalidate", names, described(parts))
    elif len(note[2]) + len(names) <= MAX_NAMES:
        note = (*note[:2], {*note[2], *names}, *note[3:])
    if note is not None:
        trail.enter([note])


def described(parts: Iterable[Names]) -> str | None:
    """Say what is named, for a note; None for nothing."""
    told = [
        f"{kind} {', '.join(map(repr, names[:MOST_SHOWN]))}{' ...' if len(names) > MOST_SHOWN else ''}"
        for part in parts
        for kind, names in (
            ("tags", part.tags),
            ("keys", part.keys),
            ("patterns", part.globs),
            ("regular expressions", part.regexes),
        )
        if names
    ]
    return "; ".join(told) or None
