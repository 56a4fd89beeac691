"""What a Selection asks of any cache, taken apart: tags, keys and patterns, each with the name it is counted under."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from typing import Any, TypeAlias

from oxicache._native import KeyPattern
from oxicache.options import TAG_MAX_EXPANDED
from oxicache.selection import Selection
from oxicache.sites import Site
from oxicache.tags import expand

__all__ = ["Part", "Wanted", "outdate", "request", "wanted"]

Part: TypeAlias = tuple[str, Selection]  # what it is counted under, and a selection of one kind


@dataclass(frozen=True, slots=True)
class Wanted:
    """What is asked of each cache, whatever its backend."""

    parts: tuple[Part, ...]
    is_wider: bool = False  # rules of the models name tags of rows that nobody named

    @property
    def globs(self) -> tuple[str, ...]:
        """The globs of all parts."""
        return tuple(glob for _, part in self.parts for glob in part.globs)


def wanted(site: Site, selection: Selection, *, cascade: bool) -> Wanted:
    """Say in tags, keys and patterns what is selected.

    ValueError where nothing is selected, and for what is no pattern or model.
    """
    if replace(selection, caches=(), aliases=(), version=None).is_everything:
        raise ValueError(
            "nothing is selected: name tags, keys, patterns or models; `clear` removes everything"
        )
    below = "" if selection.tenant is None else site.shared.tenant_prefix(selection.tenant)
    dependents = site.shared.dependents(selection, cascade=cascade)
    named = replace(
        selection,
        tags=_with_descendants(selection.tags),
        globs=selection.whole_globs(below),
    )
    dependent = replace(
        dependents.selection,
        tags=_with_descendants(dependents.selection.tags),
        globs=tuple(glob for glob in dependents.selection.globs if glob not in named.globs),
    )
    parts = (*_apart(named), *_apart(dependent, "dependency"))
    for _, part in parts:
        _refuse_bad_patterns(part)
    return Wanted(parts, dependents.is_wider)


def _with_descendants(tags: Sequence[str]) -> tuple[str, ...]:
    found = expand(tags)
    if found is None:
        raise ValueError(
            f"the tags {', '.join(tags)} have more than {TAG_MAX_EXPANDED} descendants; `clear` removes everything"
        )
    return tuple(sorted(found))


def _apart(named: Selection, strategy: str | None = None) -> Iterator[Part]:
    """Yield selections of one kind each; `strategy` for all of them, or each kind's own."""
    kinds: tuple[tuple[str, dict[str, Any], Any], ...] = (
        ("tags", {"tags": named.tags}, named.tags),
        ("keys", {"keys": named.keys}, named.keys),
        ("pattern", {"globs": named.globs}, named.globs),
        ("pattern", {"regex": named.regex}, named.regex),
    )
    for kind, given, value in kinds:
        if value:
            yield kind if strategy is None else strategy, Selection(**given)


def _refuse_bad_patterns(part: Selection) -> None:
    """ValueError here, and not from each worker."""
    for glob in part.globs:
        KeyPattern(glob)
    if part.regex is not None:
        KeyPattern(part.regex, kind="regex")


def request(site: Site, part: Selection, caches: Sequence[str]) -> dict[str, Any]:
    """Return what workers are asked for a part, in these caches or in all."""
    if part.tags:
        return {"tags": list(part.tags)}
    if part.keys:
        return {"keys": list(site.shared.made_keys(part.keys, caches))}
    if part.regex is not None:
        return {"patterns": [part.regex], "kind": "regex"}
    return {"patterns": list(part.globs), "kind": "glob"}


def outdate(site: Site, part: Selection, caches: Sequence[str]) -> Sequence[str]:
    """Reach the processes of this host that serve no socket, and workers that do not answer: the caches of these."""
    shared = site.shared
    if part.tags:
        return shared.invalidate_tags(part.tags, caches)
    if part.keys:
        return shared.invalidate_keys(part.keys, caches)
    if part.regex is not None:
        return shared.invalidate_patterns([part.regex], "regex", caches)
    return shared.invalidate_patterns(part.globs, "glob", caches)
