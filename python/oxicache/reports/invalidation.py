"""`invalidate`, at once, later or not at all: which entries went, would go, or are to go."""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import Any, Final

from oxicache.reports.changes import pending_lines, processes_json, total
from oxicache.reports.reach import Report
from oxicache.tables import PLAIN, Column, Style, count, duration, plain, table

__all__ = ["CancelledJob", "Invalidated", "InvalidationPreview", "Scheduled"]

Counts = Mapping[str, int | None]  # None where nobody knows
TAGS_OF_ROWS: Final = "tags that rules make of each row; name the rows with --rows"


def _known(counts: Counts) -> int:
    return sum(number for number in counts.values() if number is not None)


@dataclass(frozen=True, slots=True, kw_only=True)
class _Selected(Report):
    """What both reports about selected entries have."""

    by_strategy: Counts  # tags, keys, pattern, dependency: how many entries, as far as that is known
    counts: Counts  # of the live workers, by cache
    processes: Mapping[int, Counts]
    aliases: Mapping[str, Counts] = field(default_factory=dict)  # of other backends, by strategy
    failures: Mapping[str, str] = field(default_factory=dict)  # aliases where not all of it was done, and why
    models: Mapping[str, tuple[str, ...]]  # each model that was named, and those that --cascade added
    rows: tuple[str, ...] = ()
    patterns: tuple[str, ...] = ()  # the globs that were looked for
    pending: tuple[int, ...] = ()
    is_wider: bool = False  # rules of the models name tags of rows that nobody named

    @property
    def total(self) -> int:
        """How many entries that are, as far as it is known."""
        return _known(self.by_strategy)

    @property
    def has_acted(self) -> bool:
        """Whether anybody said how many."""
        return bool(self.reach.answered or self.aliases)

    def shortfall(self) -> str | None:
        """Say what was not done, None where all was."""
        missing = [self.reach.shortfall()] if self.reach.is_partial else []
        missing += [f"{alias}: {why}" for alias, why in self.failures.items()]
        return "; ".join(missing) or None

    def lines(self, style: Style = PLAIN) -> Iterator[str]:
        """Yield the report line by line; where nobody could say how many, that is said instead of zeros."""
        if self.has_acted:
            yield from self._lines(style)
        yield from self._host_lines(style)
        yield from self.reach.lines(style)

    def unasked_lines(self, style: Style) -> Iterator[str]:
        """Yield what holds without the workers."""
        raise NotImplementedError

    def alias_lines(self, style: Style) -> Iterator[str]:
        """Yield what was found in other backends."""
        for alias, counts in self.aliases.items():
            unknown = any(number is None for number in counts.values())
            said = "an unknown number of entries" if unknown else f"{_known(counts)} entries"
            yield f"  in {plain(alias)}: {said}"
        for alias, why in self.failures.items():
            yield style.paint(f"  {plain(alias)}: {plain(why)}", "bad")

    def _json(self) -> dict[str, Any]:
        return {
            "total": self.total,
            "by_strategy": dict(self.by_strategy),
            "aliases": {alias: dict(counts) for alias, counts in self.aliases.items()},
            "failures": dict(self.failures),
            "models": {model: list(cascade) for model, cascade in self.models.items()},
            "rows": list(self.rows),
            "patterns": list(self.patterns),
            "pending": list(self.pending),
            "left_out": [TAGS_OF_ROWS] if self.is_wider else [],
            "processes": processes_json(self.processes),
        }

    def _strategy_lines(self) -> Iterator[str]:
        for strategy, number in self.by_strategy.items():
            yield f"  {strategy}: {'an unknown number of' if number is None else number} entries"


@dataclass(frozen=True, slots=True, kw_only=True)
class Invalidated(_Selected):
    """Entries whose source has changed. Source: EnterpriseLand, `manage_cache invalidate`."""

    outdated: tuple[str, ...] = ()  # caches where they died in every process of the host, asked or not

    def _json(self) -> dict[str, Any]:
        said = _Selected._json(self)  # `super()` does not find its way through slots
        return {**said, "invalidated": dict(self.counts), "outdated": list(self.outdated)}

    def _lines(self, style: Style) -> Iterator[str]:
        yield f"Invalidated {self.total} cache entries"
        yield from self._strategy_lines()
        yield from self.alias_lines(style)
        yield from pending_lines(self.pending, style)

    def _host_lines(self, style: Style) -> Iterator[str]:
        if not self.has_acted:
            yield from self.alias_lines(style)
        yield from self.unasked_lines(style)

    def unasked_lines(self, style: Style) -> Iterator[str]:
        """Yield what was done without the workers."""
        # How many entries these are is not known: each dies when it is next read, in whichever process.
        for model, cascade in self.models.items():
            also = f", and of {', '.join(cascade)}" if cascade else ""
            yield f"  {model}: what was computed from its rows{also} is outdated in every process of this host"
        for row in self.rows:
            yield f"  {plain(row)}: what was computed from it is outdated in every process of this host"
        if self.is_wider:
            yield style.paint(f"  Left out: {TAGS_OF_ROWS}", "warning")
        if self.outdated and (not self.reach.answered or self.reach.is_partial):
            names = ", ".join(map(plain, self.outdated))
            yield f"Every process of this host finds none of it in {names} from now on."


@dataclass(frozen=True, slots=True, kw_only=True)
class InvalidationPreview(_Selected):
    """What `invalidate` would remove: nothing was. An entry that several strategies find counts for each of them."""

    def _json(self) -> dict[str, Any]:
        said = _Selected._json(self)
        return {"dry_run": True, "would_remove": dict(self.counts), "exact": self.is_exact, **said}

    @property
    def is_exact(self) -> bool:
        """Whether the number is known: what was computed from rows is found out when it is next read."""
        known = all(number is not None for number in (*self.by_strategy.values(), *self.counts.values()))
        return known and not self.models and not self.rows and not self.pending

    def _lines(self, style: Style) -> Iterator[str]:
        yield "DRY RUN: Would invalidate cache entries"
        yield from self.table_lines(style)
        yield from self._strategy_lines()

    def table_lines(self, style: Style) -> Iterator[str]:
        """Yield how many entries of which cache."""
        columns = (Column("cache", flexible=True), Column("entries", right=True))
        found = {name: number or 0 for name, number in self.counts.items()}
        found |= {alias: _known(counts) for alias, counts in self.aliases.items()}
        most = sorted(found.items(), key=lambda one: (-one[1], one[0]))
        rows = [(name, count(number)) for name, number in most if number > 0]
        together = total(self.processes) + sum(_known(counts) for counts in self.aliases.values())
        yield from table(columns, [*rows, ("together", count(together))], style)
        for alias, why in self.failures.items():
            yield style.paint(f"  {plain(alias)}: {plain(why)}", "bad")
        if self.pending:
            pids = ", ".join(map(str, self.pending))
            yield style.paint(f"Not counted to the end in {pids}.", "warning")

    def _host_lines(self, style: Style) -> Iterator[str]:
        if not self.has_acted:
            yield from self.alias_lines(style)
        yield from self.unasked_lines(style)

    def unasked_lines(self, style: Style) -> Iterator[str]:
        """Yield what would be done without the workers."""
        unknown = "how many entries that are, nobody knows before they are read"
        for model, cascade in self.models.items():
            also = f", and of {', '.join(cascade)}" if cascade else ""
            yield f"  {model}: what was computed from its rows{also}; {unknown}"
        for row in self.rows:
            yield f"  {plain(row)}: what was computed from it; {unknown}"
        if self.is_wider:
            yield style.paint(f"  Left out: {TAGS_OF_ROWS}", "warning")


@dataclass(frozen=True, slots=True, kw_only=True)
class Scheduled(Report):
    """A job that a live worker has taken on, or that none took."""

    what: str
    delay: float  # seconds
    job: str | None = None  # None: nobody took it
    pid: int | None = None
    due: float | None = None  # seconds since 1970, by the worker's clock

    def shortfall(self) -> str | None:
        """Say that nobody took it on."""
        if self.job is not None:
            return None
        return f"Nothing was scheduled: no live worker took the {self.what}"

    def _json(self) -> dict[str, Any]:
        return {
            "scheduled": self.job,
            "what": self.what,
            "delay_seconds": self.delay,
            "process": self.pid,
            "due": None if self.due is None else datetime.fromtimestamp(self.due, UTC).isoformat(),
        }

    def lines(self, style: Style = PLAIN) -> Iterator[str]:
        """Yield who has taken it on; the others were not asked."""
        yield from self.reach.lines(style) if self.job is None else self._lines(style)

    def _lines(self, style: Style) -> Iterator[str]:
        yield style.paint(f"Scheduled {plain(self.what)} in {duration(self.delay)}", "good")
        yield f"  job {plain(self.job or '')} of worker {self.pid}, lost if that ends before"


@dataclass(frozen=True, slots=True, kw_only=True)
class CancelledJob(Report):
    """A job that was waiting, and will not run; or that no worker has."""

    job: str
    pid: int | None = None  # of the worker that had it; None: no worker that answered

    def shortfall(self) -> str | None:
        """Say that nobody had it."""
        return None if self.pid is not None else f"No live worker that answered has the job {self.job}"

    def _json(self) -> dict[str, Any]:
        return {"cancelled": self.pid is not None, "job": self.job, "process": self.pid}

    def _lines(self, style: Style) -> Iterator[str]:
        if self.pid is not None:
            yield style.paint(f"Cancelled job {plain(self.job)} of worker {self.pid}", "good")
