"""The live workers of this project, made of its settings, and what all its processes on this host share.

What is done with them: oxicache.operations. Why processes of one project may not meet: neighbours.py.
"""

import logging
import os
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any, Final

from django.core.cache import caches
from django.core.cache.backends.locmem import LocMemCache

from oxicache import operations
from oxicache._native import KeyPattern
from oxicache.django import aliases, conf, control, dependants, marks, neighbours, transactions
from oxicache.django.backends import NativeCache
from oxicache.django.enumeration import ALL_VERSIONS, enumerator_of
from oxicache.django.labels import model_named
from oxicache.django.scope import Scope
from oxicache.django.selecting import referring, words_of
from oxicache.errors import CannotEnumerateError
from oxicache.keys import normal_pattern
from oxicache.selection import Selection
from oxicache.sites import AliasOutcome, Dependents, PatternKind, Site
from oxicache.tags import moved_words
from oxicache.workers import folder_of

logger = logging.getLogger("oxicache.jobs")

__all__ = ["SELF", "ProjectShared", "perform", "perform_here", "store_name", "this_site"]

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


def perform(selection: Selection, cascade: bool, foreign: bool) -> str:
    """Do in this worker, for all of them, what an operator scheduled; what came of it."""
    report = operations.invalidate(this_site(), selection, cascade=cascade, foreign=foreign)
    if (lacking := report.shortfall()) is not None:
        logger.warning("What was scheduled, %s, was not done everywhere: %s", selection, lacking)
    return "; ".join(line.strip() for line in report.lines())


def perform_here(
    given: Sequence[str], selection: Selection, dry_run: bool
) -> dict[str, dict[str, int | str | None]]:
    """Delete, or count, what this worker alone has of these aliases; everything where nothing is selected."""
    shared = ProjectShared()
    found = {}
    for alias in given:
        if alias in caches.settings and shared.is_private(alias):
            if selection.is_everything:
                outcome = shared.clear_alias(alias, dry_run=dry_run)
            else:
                outcome = shared.invalidate_alias(alias, selection, dry_run=dry_run)
            found[alias] = {"count": outcome.count, "failure": outcome.failure}
    return found


class ProjectShared:
    """What lies in the version words: entries of NativeCache, and what was computed from rows; and other backends."""

    def clear(self, cache: str | None) -> Sequence[str]:
        """Outdate all entries of one NativeCache, or of every one."""
        return _outdated(_named(cache), lambda handler: handler._memory.clear())

    def invalidate_keys(self, keys: Sequence[str], caches: Sequence[str]) -> Sequence[str]:
        """Outdate what each alias of NativeCache has under these keys, with its own prefix and version."""
        names: dict[str, None] = {}
        for _, handler in _native_handlers():  # each alias of a LOCATION makes keys of its own
            if _is_shared(handler, caches):
                handler.delete_many(keys)
                names[handler._memory.name or ""] = None
        return list(names)

    def invalidate_tags(self, tags: Sequence[str], caches: Sequence[str]) -> Sequence[str]:
        """Outdate the entries of NativeCache that have one of the tags."""

        def outdate(handler: NativeCache) -> None:
            for tag in tags:
                handler.delete_by_tag(tag)

        if not caches:  # what decorated callables hold under a tag is in caches of their own
            marks.bump(moved_words(tags))
        return _outdated(caches, outdate)

    def invalidate_patterns(
        self, patterns: Sequence[str], kind: PatternKind, caches: Sequence[str]
    ) -> Sequence[str]:
        """Outdate the entries of NativeCache whose key matches, of all versions."""
        names: dict[str, None] = {}
        prefixes: set[tuple[str | None, Any]] = set()
        for _, handler in _native_handlers():
            name = handler._memory.name
            if _is_shared(handler, caches) and (name, handler.key_prefix) not in prefixes:
                handler.invalidate_patterns(patterns, kind=kind, any_version=True)
                prefixes.add((name, handler.key_prefix))
                names[name or ""] = None
        return list(names)

    def invalidate_model(self, model: str, *, cascade: bool, dry_run: bool = False) -> Sequence[str]:
        """Outdate what was computed from any row of a model; with `cascade` of those that have foreign keys to it."""
        also = _referring_labels(model) if cascade else []
        for label in () if dry_run else (model, *also):
            transactions.invalidate_words(words_of(Selection(models=(label,))))
            marks.bump(dependants.effect([label], []).words)
        return also

    def invalidate_row(self, model: str, pk: Any) -> None:
        """Outdate what was computed from one row."""
        transactions.invalidate_words(words_of(Selection(rows=((model, pk),))))
        marks.bump(dependants.effect([], [(model, pk)]).words)

    def dependents(self, selection: Selection, *, cascade: bool) -> Dependents:
        """Return what rules and the map of dependencies name; below a tenant the map's patterns alone."""
        also = [
            label for model in selection.models for label in (_referring_labels(model) if cascade else ())
        ]
        models = tuple(dict.fromkeys((*selection.models, *also)))
        if selection.tenant is not None:
            below = self.tenant_prefix(selection.tenant)
            labels = (*models, *(model for model, _ in selection.rows))
            patterns = [pattern for label in labels for pattern in dependants.patterns_of(label)]
            globs = [glob for pattern in patterns for glob in normal_pattern(pattern, below)]
            return Dependents(Selection(globs=globs))  # type: ignore[arg-type]
        effect = dependants.effect(models, selection.rows)
        names = Selection(
            tags=tuple(sorted(effect.tags)),
            keys=tuple(sorted(effect.keys)),
            globs=tuple(sorted(effect.globs)),
        )
        return Dependents(names, is_wider=effect.every_tag)

    def made_keys(self, keys: Sequence[str], caches: Sequence[str]) -> Sequence[str]:
        """Return the keys, and what each NativeCache makes of them with its prefix and version."""
        made = [
            str(handler.make_key(key))
            for _, handler in _native_handlers()
            if not caches or handler._memory.name in caches
            for key in keys
        ]
        return tuple(dict.fromkeys((*keys, *made)))

    def tenant_prefix(self, tenant: Any) -> str:
        """Return how the scope of a tenant begins its keys."""
        return Scope(tenant=tenant).prefix()

    def parted(self, aliases: Sequence[str]) -> tuple[Sequence[str], Sequence[str]]:
        """Return the NativeCaches among the aliases, by the names of their stores, and the others."""
        for alias in aliases:
            if alias not in caches.settings:
                known = ", ".join(caches.settings)
                raise ValueError(f"{alias!r} is no alias of CACHES; these are: {known}")
        native = {alias: handler._memory.name or "" for alias, handler in _native_handlers()}
        named = aliases or tuple(caches.settings)
        stores = dict.fromkeys(native[alias] for alias in named if alias in native)
        return tuple(stores), tuple(alias for alias in named if alias not in native)

    def is_private(self, alias: str) -> bool:
        """Whether it is a LocMemCache, whose entries are those of each process."""
        return isinstance(caches[alias], LocMemCache)

    def require(self, alias: str, selection: Selection) -> None:
        """CannotEnumerateError where a pattern or a tag finds nothing, because the backend cannot list its entries."""
        if selection.globs or selection.regex is not None or selection.tags:
            enumerator_of(alias)

    def invalidate_alias(self, alias: str, selection: Selection, *, dry_run: bool) -> AliasOutcome:
        """Delete, or count, what an alias of another backend has of it."""
        if selection.keys:
            return _outcome_of(lambda: _keys_of(alias, selection.keys, dry_run=dry_run))
        if selection.tags:
            return _outcome_of(lambda: _tagged(alias, selection.tags, dry_run=dry_run))
        return _outcome_of(lambda: _matching(alias, _compiled(selection), dry_run=dry_run))

    def clear_alias(self, alias: str, *, dry_run: bool) -> AliasOutcome:
        """Delete, or count, all entries of an alias; those alone where its backend can tell them from others."""
        return _outcome_of(lambda: _everything(alias, dry_run=dry_run))


def _named(cache: str | None) -> Sequence[str]:
    return () if cache is None else (cache,)


def _is_shared(handler: NativeCache, names: Sequence[str]) -> bool:
    store = handler._memory
    return store.coherence == "host" and (not names or store.name in names)


def _keys_of(alias: str, keys: Sequence[str], *, dry_run: bool) -> int:
    cache = caches[alias]
    do = cache.has_key if dry_run else cache.delete
    return sum(bool(do(key)) for key in keys)


def _tagged(alias: str, tags: Sequence[str], *, dry_run: bool) -> int:
    one = enumerator_of(alias)
    return len(one.keys_of(tags)) if dry_run else one.delete_by_tag(tags)


def _compiled(selection: Selection) -> list[KeyPattern]:
    patterns = [KeyPattern(glob) for glob in selection.globs]
    return patterns if selection.regex is None else [*patterns, KeyPattern(selection.regex, kind="regex")]


def _matching(alias: str, patterns: Sequence[KeyPattern] | None, *, dry_run: bool) -> int:
    one = enumerator_of(alias)
    return (one.count if dry_run else one.delete_matching)(patterns, ALL_VERSIONS)


def _everything(alias: str, *, dry_run: bool) -> int | None:
    try:
        return _matching(alias, None, dry_run=dry_run)
    except CannotEnumerateError:
        if not dry_run:
            caches[alias].clear()
        return None


def _outcome_of(act: Callable[[], int | None]) -> AliasOutcome:
    """Do it, and say how many entries that were, or why it failed."""
    try:
        return AliasOutcome(act())
    except Exception as error:  # noqa: BLE001 -- whatever a backend raises; the other aliases are still to be done
        return AliasOutcome(None, str(error) or type(error).__name__)


def _outdated(caches: Sequence[str], outdate: Callable[[NativeCache], object]) -> list[str]:
    """Do it once for each store that processes share; their names."""
    names: dict[str, None] = {}
    for _, handler in _native_handlers():
        name = handler._memory.name or ""
        if _is_shared(handler, caches) and name not in names:
            outdate(handler)
            names[name] = None
    return list(names)


def _referring_labels(model: str) -> list[str]:
    return sorted({related._meta.label for related in referring(model_named(model))})
