"""`invalidate`: what a Selection names goes, in every worker and alias; at once, as a dry run, or later in a worker."""

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any

from oxicache import jobs, keys, workers
from oxicache._native import KeyPattern
from oxicache.operations.changes import Counts, pending, summed
from oxicache.operations.figures import ask_about
from oxicache.reports import CancelledJob, Invalidated, InvalidationPreview, Reach, Scheduled
from oxicache.selection import Selection
from oxicache.sites import AliasOutcome, PatternKind, Site, reach_of
from oxicache.workers import Answer, Answers

__all__ = ["cancel", "clear_aliases", "invalidate", "schedule"]


def invalidate(
    site: Site,
    selection: Selection,
    *,
    cascade: bool = False,
    dry_run: bool = False,
    foreign: bool = True,
) -> Invalidated | InvalidationPreview:
    """Remove the entries that have one of the tags or keys, or match a pattern, and outdate what shows the models.

    Where the selection names neither caches nor aliases these are all caches of the workers, and with `foreign` all
    aliases of other backends. A model stands for what was computed from any of its rows, and for the key patterns that
    were registered as depending on it; `cascade` adds the models that refer to it, one level. `tenant` narrows patterns,
    and alone stands for all keys of the tenant. With `dry_run` the entries are counted and stay.

    ValueError where nothing is selected (that is `clear`), for what is no model, row, pattern or alias; and
    CannotEnumerateError, before anything was done, for an alias that was named and cannot tell which entries these are.
    """
    wanted = _wanted(site, selection, cascade=cascade)
    native, others = _places(site, selection, foreign=foreign)
    for alias in selection.aliases:
        if alias in others:
            site.shared.require(alias, wanted.selection)
    models, rows = _outdate_rows(site, selection, cascade=cascade, dry_run=dry_run)
    tally = _Tally()
    if native is not None:
        _ask_workers(site, selection, native, wanted, tally, dry_run=dry_run)
    if not tally.rounds:
        tally.rounds.append(site.ask("health"))  # so that the report says who is alive
    outdated: Sequence[str] = ()
    if native is not None and site.is_whole and not dry_run:
        # After the workers have counted: an entry whose tag has moved on is nobody's any more.
        outdated = _outdate_shared(site, wanted, native)
    for alias in others if site.is_whole else ():
        tally.add_alias(alias, site.shared.invalidate_alias(alias, wanted.selection, dry_run=dry_run))
    common: dict[str, Any] = {
        "reach": reach_of(site, *tally.rounds),
        "by_strategy": tally.by_strategy,
        "counts": summed(tally.by_process),
        "processes": tally.by_process,
        "aliases": tally.aliases,
        "failures": tally.failures,
        "models": models,
        "rows": rows,
        "pending": tuple(sorted({pid for answers in tally.rounds for pid in pending(answers)})),
    }
    return InvalidationPreview(**common) if dry_run else Invalidated(**common, outdated=tuple(outdated))


def clear_aliases(site: Site, *, dry_run: bool = False) -> Mapping[str, AliasOutcome]:
    """Remove all entries of every alias that workers do not hold; with `dry_run` count them."""
    _, others = site.shared.parted(()) if site.is_whole else ((), ())
    return {alias: site.shared.clear_alias(alias, dry_run=dry_run) for alias in others}


# ---------------------------------------------------------------- what is meant, and where


@dataclass(frozen=True, slots=True)
class _Wanted:
    """What is asked of each cache, whatever its backend."""

    selection: Selection  # keys, tags, globs and regex alone, with tenant and prefix made globs
    dependent: tuple[str, ...]  # globs that the models brought


def _wanted(site: Site, selection: Selection, *, cascade: bool) -> _Wanted:
    """Say in globs what is meant by prefix, tenant and models. ValueError as `invalidate` has it."""
    if replace(selection, caches=(), aliases=(), version=None).is_everything:
        raise ValueError(
            "nothing is selected: name tags, keys, patterns or models; `clear` removes everything"
        )
    below = "" if selection.tenant is None else f"{site.shared.tenant_prefix(selection.tenant)}:"
    if below and selection.regex is not None:
        raise ValueError("tenant narrows globs and prefixes; in a regular expression write the tenant itself")
    start = keys.glob_literal(below)
    globs = [start + glob for glob in selection.globs]
    if selection.prefix is not None:
        globs.append(f"{start}{keys.glob_literal(selection.prefix)}*")
    dependent = [
        glob
        for model in selection.models
        for pattern in site.shared.dependent_patterns(model, cascade=cascade)
        for glob in keys.normal_pattern(pattern, below.removesuffix(":"))
    ]
    if below and not globs and not selection.models:
        globs.append(f"{start}*")
    for pattern in (*globs, *dependent):
        KeyPattern(pattern)  # refused here, and not by each worker
    if selection.regex is not None:
        KeyPattern(selection.regex, kind="regex")
    return _Wanted(
        Selection(keys=selection.keys, tags=selection.tags, globs=tuple(globs), regex=selection.regex),
        tuple(dict.fromkeys(glob for glob in dependent if glob not in globs)),
    )


def _places(
    site: Site, selection: Selection, *, foreign: bool
) -> tuple[tuple[str, ...] | None, Sequence[str]]:
    """Return the caches that workers are asked about, () for all and None for none of them, and the other aliases."""
    if selection.aliases:
        native, others = site.shared.parted(selection.aliases)
        named = tuple(dict.fromkeys((*selection.caches, *native)))
        return named or None, others
    _, others = site.shared.parted(()) if foreign and not selection.caches else ((), ())
    return selection.caches, others


def _outdate_rows(
    site: Site, selection: Selection, *, cascade: bool, dry_run: bool
) -> tuple[dict[str, tuple[str, ...]], tuple[str, ...]]:
    if not dry_run:
        for model, pk in selection.rows:
            site.shared.invalidate_row(model, pk)
    return (
        {
            model: tuple(site.shared.invalidate_model(model, cascade=cascade, dry_run=dry_run))
            for model in selection.models
        },
        tuple(f"{model}:{pk}" for model, pk in selection.rows),
    )


# ---------------------------------------------------------------- asked, and added up


@dataclass(slots=True)
class _Tally:
    """What came of it, as the answers come in."""

    rounds: list[Answers] = field(default_factory=list)
    by_strategy: dict[str, int | None] = field(default_factory=dict)
    by_process: dict[int, Counts] = field(default_factory=dict)
    aliases: dict[str, Mapping[str, int | None]] = field(default_factory=dict)
    failures: dict[str, str] = field(default_factory=dict)

    def add_round(self, strategy: str, answers: Answers) -> None:
        """Count what the workers answered; what one has only noted yet is unknown, and not in the sum."""
        self.rounds.append(answers)
        found = {answer.pid: dict(answer.result["invalidated"]) for answer in answers.answers}
        self._count(strategy, sum(number or 0 for number in summed(found).values()))
        for pid, counts in found.items():
            self.by_process[pid] = summed({0: self.by_process.get(pid, {}), 1: counts})

    def add_alias(self, alias: str, outcome: AliasOutcome) -> None:
        """Count what another backend answered."""
        if outcome.failure is not None:
            self.failures[alias] = outcome.failure
        if outcome.failure is None or outcome.counts:
            self.aliases[alias] = outcome.counts
        for strategy, number in outcome.counts.items():
            self._count(strategy, number)

    def _count(self, strategy: str, number: int | None) -> None:
        before = self.by_strategy.get(strategy)
        self.by_strategy[strategy] = before if number is None else (before or 0) + number


def _requests(site: Site, wanted: _Wanted, caches: Sequence[str]) -> Iterator[tuple[str, dict[str, Any]]]:
    named = wanted.selection
    if named.tags:
        yield "tags", {"tags": list(named.tags)}
    if named.keys:
        yield "keys", {"keys": list(site.shared.made_keys(named.keys, caches))}
    for strategy, patterns, kind in _patterns(wanted):
        yield strategy, {"patterns": list(patterns), "kind": kind}


def _patterns(wanted: _Wanted) -> Iterator[tuple[str, Sequence[str], PatternKind]]:
    if wanted.selection.globs:
        yield "pattern", wanted.selection.globs, "glob"
    if wanted.selection.regex is not None:
        yield "pattern", [wanted.selection.regex], "regex"
    if wanted.dependent:
        yield "dependency", wanted.dependent, "glob"


def _ask_workers(
    site: Site, selection: Selection, caches: Sequence[str], wanted: _Wanted, tally: _Tally, *, dry_run: bool
) -> None:
    # A worker that has one of several caches answers for none of them: each is asked about by itself.
    for cache in caches or (None,):
        asked = () if cache is None else (cache,)
        for strategy, request in _requests(site, wanted, asked):
            if cache in {None, *selection.caches}:
                answers = ask_about(
                    site, Selection(caches=asked), "invalidate", **request, count=dry_run or None
                )
            else:  # of an alias, which there is, whether or not a worker has used it yet
                answers = site.ask("invalidate", **request, caches=list(asked), count=dry_run or None)
            tally.add_round(strategy, answers)


def _outdate_shared(site: Site, wanted: _Wanted, caches: Sequence[str]) -> Sequence[str]:
    """Reach the processes of this host that serve no socket, and workers that did not answer."""
    shared, named = site.shared, wanted.selection
    outdated: list[str] = []
    if named.tags:
        outdated += shared.invalidate_tags(named.tags, caches)
    if named.keys:
        outdated += shared.invalidate_keys(named.keys, caches)
    for _, patterns, kind in _patterns(wanted):
        outdated += shared.invalidate_patterns(patterns, kind, caches)
    return tuple(dict.fromkeys(outdated))


# ---------------------------------------------------------------- later


def schedule(
    site: Site, selection: Selection, delay: float, *, cascade: bool = False, foreign: bool = True
) -> Scheduled:
    """Have one live worker do what `invalidate` does, `delay` seconds from now.

    One is enough: from there it reaches all the others. ValueError and CannotEnumerateError as `invalidate` has them.
    """
    wanted = _wanted(site, selection, cascade=cascade)
    _, others = _places(site, selection, foreign=foreign)
    for alias in selection.aliases:
        if alias in others:
            site.shared.require(alias, wanted.selection)
    job = {
        "operation": "invalidate",
        "delay": delay,
        "selection": jobs.spelt(selection),
        "cascade": cascade,
        "foreign": foreign,
    }
    reach, taken = _first(site, job, lambda answer: bool(answer.result.get("job")))
    report = Scheduled(reach=reach, what=f"invalidation of {selection}", delay=delay)
    if taken is None:
        return report
    return replace(report, job=str(taken.result["job"]), pid=taken.pid, due=taken.result["due"])


def cancel(site: Site, job: str) -> CancelledJob:
    """Take a job back that `schedule` handed to a worker, unless it has begun."""
    answers = site.ask("schedule", operation="cancel", job=job)
    had = next((answer.pid for answer in answers.answers if answer.result.get("cancelled")), None)
    return CancelledJob(reach=reach_of(site, answers), job=job, pid=had)


def _first(
    site: Site, request: Mapping[str, Any], is_taken: Callable[[Answer], bool]
) -> tuple[Reach, Answer | None]:
    """Ask one worker after another until one takes it: the youngest first, which is likely to live longest."""
    if site.is_local:
        answers = site.ask("schedule", **request)
        return reach_of(site, answers), next(filter(is_taken, answers.answers), None)
    rounds: list[Answers] = []
    for worker in sorted(site.live(), key=lambda worker: -worker.started):
        answers = workers.ask([worker], {"verb": "schedule", **request}, site.deadline)
        rounds.append(answers)
        for answer in filter(is_taken, answers.answers):
            # Those that were asked before it and are silent are no loss: it does what they were asked to do.
            return reach_of(site, answers), answer
    return reach_of(site, *rounds), None
