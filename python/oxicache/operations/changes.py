"""`cleanup`, `clear`, `reset`, `disable`, `enable`, `warm`: what changes what the workers keep.

`invalidate` is in invalidation.py.
"""

from collections.abc import Callable, Mapping
from dataclasses import replace
from typing import Any, Literal, NoReturn

from oxicache import workers
from oxicache.errors import NotConfiguredError
from oxicache.operations.figures import ask_about, stats, the_cache
from oxicache.reports import CountersReset, Preview, Removed, Switched
from oxicache.selection import EVERYTHING, Selection
from oxicache.sites import Site, reach_of
from oxicache.workers import Answers

__all__ = ["Counts", "cleanup", "clear", "disable", "enable", "pending", "reset", "summed", "warm"]

Counts = dict[str, int | None]


def cleanup(site: Site, selection: Selection = EVERYTHING, *, dry_run: bool = False) -> Removed | Preview:
    """Remove expired entries; with `dry_run` say how many there are."""
    if dry_run:
        return _preview(site, selection, "cleanup", lambda figures: figures["expired_entries"] or 0)
    return _remove(site, selection, "cleanup", "cleaned")


def clear(site: Site, selection: Selection = EVERYTHING, *, dry_run: bool = False) -> Removed | Preview:
    """Remove every entry; with `dry_run` say how many there are.

    What processes share is outdated too, so that a worker which cannot be asked serves none of it any more.
    """
    if dry_run:
        return _preview(site, selection, "clear", lambda figures: figures["size"])
    report = _remove(site, selection, "clear", "cleared")
    if site.is_whole:
        report = replace(report, outdated=tuple(site.shared.clear(the_cache(selection))))
    return report


def _remove(site: Site, selection: Selection, verb: Literal["cleanup", "clear"], counted: str) -> Removed:
    answers = ask_about(site, selection, verb)
    by_process = {answer.pid: dict(answer.result[counted]) for answer in answers.answers}
    return Removed(
        reach=reach_of(site, answers),
        verb=verb,
        counts=summed(by_process),
        processes=by_process,
        pending=pending(answers),
        cache=the_cache(selection),
    )


def _preview(
    site: Site,
    selection: Selection,
    verb: Literal["cleanup", "clear", "disable"],
    count: Callable[[Mapping[str, Any]], int],
) -> Preview:
    figures = stats(site, selection)

    def counted(caches: Mapping[str, Mapping[str, Any]]) -> dict[str, int]:
        return {name: count(found) for name, found in caches.items() if name in figures.caches}

    return Preview(
        reach=figures.reach,
        verb=verb,
        counts=counted(figures.caches),
        processes={pid: counted(caches) for pid, caches in figures.processes.items()},
        is_exact=figures.is_exact,
    )


def reset(site: Site, selection: Selection = EVERYTHING) -> CountersReset:
    """Let counters begin again at zero."""
    answers = ask_about(site, selection, "reset")
    names = dict.fromkeys(name for answer in answers.answers for name in answer.result["reset"])
    return CountersReset(reach=reach_of(site, answers), caches=tuple(names))


def disable(site: Site, *, dry_run: bool = False) -> Switched | Preview:
    """Have every get miss and nothing stored, also in workers that start later; with `dry_run` say what would go."""
    if dry_run:
        return _preview(site, EVERYTHING, "disable", lambda figures: figures["size"])
    return _switch(site, on=False)


def enable(site: Site) -> Switched:
    """Undo `disable`."""
    return _switch(site, on=True)


def _switch(site: Site, *, on: bool) -> Switched:
    before = {folder: workers.is_disabled(folder) for folder in site.marked_folders}
    for folder in before if site.is_whole else ():
        workers.keep_disabled(folder, not on)  # first: a worker that starts meanwhile is one of those to come
    answers = site.ask("enable" if on else "disable")
    for folder, was_disabled in {} if site.is_whole else before.items():
        workers.keep_disabled(folder, was_disabled)  # a worker marks what it is told for those to come
    return Switched(
        reach=reach_of(site, answers),
        enabled=on,
        cleared=sum(answer.result.get("cleared") or 0 for answer in answers.answers),
        is_lasting=site.is_whole and bool(before),
    )


def warm(site: Site, selection: Selection = EVERYTHING) -> NoReturn:  # noqa: ARG001 -- what a later warming takes
    """NotConfiguredError: nothing says yet what is to be warmed."""
    raise NotConfiguredError("warming is not configured: no warmer is registered in this project")


def summed(by_process: Mapping[int, Mapping[str, int | None]]) -> Counts:
    """Sum counts by cache. A cleanup that failed somewhere, -1, is not hidden by what others cleaned."""
    sums: Counts = {}
    for counts in by_process.values():
        for name, number in counts.items():
            before = sums.get(name)
            if number is None or before is None:
                sums[name] = number if before is None else before
            else:
                sums[name] = -1 if -1 in {before, number} else before + number
    return sums


def pending(answers: Answers) -> tuple[int, ...]:
    """Return the workers that have the order, and have not carried it out yet."""
    return tuple(answer.pid for answer in answers.answers if not answer.result.get("done", True))
