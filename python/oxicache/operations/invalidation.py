"""`invalidate`: what a Selection names goes, in every worker and alias; at once, as a dry run, or later in a worker."""

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from functools import partial
from typing import Any, Final

from oxicache import jobs, workers
from oxicache.operations import parts
from oxicache.operations.changes import Counts, clear, pending, summed
from oxicache.operations.figures import ask_about
from oxicache.operations.parts import Part, Wanted
from oxicache.reports import (
    CancelledJob,
    Invalidated,
    InvalidationPreview,
    Preview,
    Reach,
    Removed,
    Scheduled,
)
from oxicache.reports.changes import total
from oxicache.selection import EVERYTHING, Selection
from oxicache.sites import AliasOutcome, Site, reach_of
from oxicache.workers import Answer, Answers

__all__ = ["cancel", "clear_all", "invalidate", "schedule"]

ENTRIES: Final = "entries"  # what is counted where all are meant, and no strategy finds them


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
    aliases of other backends. A model or a row stands for what was computed from it, and for what rules and
    dependencies name; `cascade` adds the models that refer to a model, one level. `tenant` narrows globs, prefix and
    patterns of models, and alone stands for all keys of the tenant. With `dry_run` entries are counted, and stay.

    ValueError where nothing is selected (that is `clear`), for what is no model, row, pattern or alias; and
    CannotEnumerateError, before anything was done, for an alias that was named and cannot tell which entries these are.
    """
    wanted, native, others = _checked(site, selection, cascade=cascade, foreign=foreign)
    models = _outdate_rows(site, selection, cascade=cascade, dry_run=dry_run)
    tally = _Tally()
    if native is not None:
        _ask_workers(site, selection, native, wanted, tally, dry_run=dry_run)
    outdated: dict[str, None] = {}
    if native is not None and site.is_whole and not dry_run:
        # After the workers have counted: an entry whose tag has moved on is nobody's any more.
        for _, part in wanted.parts:
            outdated |= dict.fromkeys(parts.outdate(site, part, native))
    _reach_others(site, others, wanted.parts, tally, dry_run=dry_run)
    if not tally.rounds:
        tally.rounds.append(site.ask("health"))  # so that the report says who is alive
    common: dict[str, Any] = {
        "reach": reach_of(site, *tally.rounds),
        "by_strategy": tally.by_strategy,
        "counts": summed(tally.by_process),
        "processes": tally.by_process,
        "aliases": tally.aliases,
        "failures": tally.failures,
        "models": models,
        "rows": tuple(f"{model}:{pk}" for model, pk in selection.rows),
        "patterns": wanted.globs,
        "is_wider": wanted.is_wider,
        "pending": tuple(sorted({pid for answers in tally.rounds for pid in pending(answers)})),
    }
    return InvalidationPreview(**common) if dry_run else Invalidated(**common, outdated=tuple(outdated))


def clear_all(
    site: Site, aliases: Sequence[str] = (), *, dry_run: bool = False
) -> Invalidated | InvalidationPreview:
    """Remove every entry of every cache and alias, whatever its backend, or of these aliases; `dry_run` counts them.

    Where a backend cannot tell an alias' entries from others, all that it holds goes, and how many that are is unknown.
    """
    native, others = site.shared.parted(aliases)
    if not aliases:
        report = _emptied(clear(site, dry_run=dry_run))
    elif native:
        everything = Selection(globs=("*",), caches=tuple(native))
        report = invalidate(site, everything, dry_run=dry_run, foreign=False)
    else:
        nothing: dict[str, Any] = {"reach": reach_of(site, site.ask("health")), "counts": {}, "processes": {}}
        report = _emptied((Preview if dry_run else Removed)(verb="clear", **nothing))
    tally = _Tally(by_strategy=dict(report.by_strategy))
    _reach_others(site, others, [(ENTRIES, EVERYTHING)], tally, dry_run=dry_run)
    return replace(report, by_strategy=tally.by_strategy, aliases=tally.aliases, failures=tally.failures)


def _emptied(done: Removed | Preview) -> Invalidated | InvalidationPreview:
    common: dict[str, Any] = {
        "reach": done.reach,
        "by_strategy": {ENTRIES: total(done.processes)} if done.processes else {},
        "counts": done.counts,
        "processes": done.processes,
        "models": {},
    }
    if isinstance(done, Preview):
        return InvalidationPreview(**common)
    return Invalidated(**common, pending=done.pending, outdated=done.outdated)


# ---------------------------------------------------------------- what is meant, and where


def _checked(
    site: Site, selection: Selection, *, cascade: bool, foreign: bool
) -> tuple[Wanted, tuple[str, ...] | None, Sequence[str]]:
    """Return what is asked for; the caches that workers are asked about, () for all and None for none; other aliases.

    Raises as `invalidate` does.
    """
    wanted = parts.wanted(site, selection, cascade=cascade)
    if not selection.aliases:
        _, others = site.shared.parted(()) if foreign and not selection.caches else ((), ())
        return wanted, selection.caches, others
    native, others = site.shared.parted(selection.aliases)
    for alias in others:
        for _, part in wanted.parts:
            site.shared.require(alias, part)
    return wanted, tuple(dict.fromkeys((*selection.caches, *native))) or None, others


def _outdate_rows(
    site: Site, selection: Selection, *, cascade: bool, dry_run: bool
) -> dict[str, tuple[str, ...]]:
    for model, pk in () if dry_run else selection.rows:
        site.shared.invalidate_row(model, pk)
    return {
        model: tuple(site.shared.invalidate_model(model, cascade=cascade, dry_run=dry_run))
        for model in selection.models
    }


# ---------------------------------------------------------------- asked, and added up


@dataclass(slots=True)
class _Tally:
    """What came of it, as the answers come in."""

    rounds: list[Answers] = field(default_factory=list)
    by_strategy: dict[str, int | None] = field(default_factory=dict)
    by_process: dict[int, Counts] = field(default_factory=dict)
    aliases: dict[str, Counts] = field(default_factory=dict)
    failures: dict[str, str] = field(default_factory=dict)

    def add_round(self, strategy: str, answers: Answers) -> None:
        """Count what the workers answered; what one has only noted yet is unknown, and not in the sum."""
        self.rounds.append(answers)
        found = {answer.pid: dict(answer.result["invalidated"]) for answer in answers.answers}
        self.count(strategy, sum(number or 0 for number in summed(found).values()))
        for pid, counts in found.items():
            self.by_process[pid] = summed({0: self.by_process.get(pid, {}), 1: counts})

    def add_alias(self, alias: str, strategy: str, outcome: AliasOutcome) -> None:
        """Count what another backend answered."""
        if outcome.failure is not None:
            self.failures[alias] = outcome.failure
            return
        self.aliases.setdefault(alias, {})[strategy] = outcome.count
        self.count(strategy, outcome.count)

    def add_here(self, strategy: str, answers: Answers) -> None:
        """Count what workers had of aliases of which each process has its own."""
        self.rounds.append(answers)
        for answer in answers.answers:
            for alias, found in answer.result["here"].items():
                if found["failure"] is not None:
                    self.failures[alias] = f"worker {answer.pid}: {found['failure']}"
                    continue
                known = self.aliases.setdefault(alias, {})
                known[strategy] = _plus(known.get(strategy), found["count"])
                self.count(strategy, found["count"])

    def count(self, strategy: str, number: int | None) -> None:
        """Add to a strategy's number what is known."""
        self.by_strategy[strategy] = _plus(self.by_strategy.get(strategy), number)


def _plus(before: int | None, number: int | None) -> int | None:
    """Add what is known; None where nothing is."""
    return before if number is None else (before or 0) + number


def _reach_others(
    site: Site, aliases: Sequence[str], wanted: Iterable[Part], tally: _Tally, *, dry_run: bool
) -> None:
    """Reach aliases of other backends: from here, or where each process has entries of its own, in each worker."""
    private = [] if site.is_local else [alias for alias in aliases if site.shared.is_private(alias)]
    for strategy, part in wanted:
        for alias in aliases if site.is_whole else ():
            if alias not in private:
                do = (
                    site.shared.clear_alias
                    if part is EVERYTHING
                    else partial(site.shared.invalidate_alias, selection=part)
                )
                tally.add_alias(alias, strategy, do(alias, dry_run=dry_run))
        if private:
            request = {
                "operation": "here",
                "aliases": private,
                "selection": jobs.spelt(part),
                "dry_run": dry_run,
            }
            tally.add_here(strategy, site.ask("schedule", **request))


def _ask_workers(
    site: Site, selection: Selection, caches: Sequence[str], wanted: Wanted, tally: _Tally, *, dry_run: bool
) -> None:
    # A worker that has one of several caches answers for none of them: each is asked about by itself.
    for cache in caches or (None,):
        asked = () if cache is None else (cache,)
        for strategy, part in wanted.parts:
            request = parts.request(site, part, asked)
            if cache in {None, *selection.caches}:
                answers = ask_about(
                    site, Selection(caches=asked), "invalidate", **request, count=dry_run or None
                )
            else:  # of an alias, which there is, whether or not a worker has used it yet
                answers = site.ask("invalidate", **request, caches=list(asked), count=dry_run or None)
            tally.add_round(strategy, answers)


# ---------------------------------------------------------------- later


def schedule(
    site: Site, selection: Selection, delay: float, *, cascade: bool = False, foreign: bool = True
) -> Scheduled:
    """Have one live worker do what `invalidate` does, `delay` seconds from now.

    One is enough: from there it reaches all the others. ValueError and CannotEnumerateError as `invalidate` has them.
    """
    _checked(site, selection, cascade=cascade, foreign=foreign)
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
