"""`stats`: what each cache holds, in the words of document 001, and as a table that is looked at again and again."""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any

from oxicache.reports.reach import Report
from oxicache.tables import PLAIN, Column, Style, count, plain, size, table

__all__ = ["GLOBAL", "StatsReport", "percent", "ratio"]

GLOBAL = "_global"  # the name that document 001 has for the sums over all caches
RULE = "=" * 50
TABLE = (
    Column("cache", flexible=True),
    Column("entries", right=True),
    Column("full", right=True),
    Column("hits", right=True),
    Column("misses", right=True),
    Column("hit rate", right=True),
    Column("stale", right=True),
    Column("evicted", right=True),
    Column("loads", right=True),
    Column("bytes", right=True),
)


@dataclass(frozen=True, slots=True, kw_only=True)
class StatsReport(Report):
    """The figures of each cache, summed over the workers. Source: API reference (akvo), `manage_cache stats`."""

    caches: Mapping[str, Mapping[str, Any]]  # by name, those that were asked for
    totals: Mapping[str, Any]  # `_global` of document 001, of all caches
    processes: Mapping[int, Mapping[str, Mapping[str, Any]]]  # by pid, then by name
    chosen: str | None = None  # the one cache that was asked for, or "_global"
    disabled: tuple[int, ...] = ()  # pids of workers whose caches are switched off
    is_exact: bool = True  # whether no figure is one that a busy worker knew from before

    def as_json(self) -> dict[str, Any]:
        """Return `get_global_stats()` of document 001, summed; of one cache only that one."""
        caches = {name: dict(stats) for name, stats in self.caches.items()}
        if self.chosen is not None and self.chosen != GLOBAL:
            return caches
        own = {} if self.chosen == GLOBAL else caches
        return {**own, GLOBAL: self._global()}

    def _global(self) -> dict[str, Any]:
        totals = {name: value if self.reach.answered else None for name, value in self.totals.items()}
        processes = {
            str(pid): {name: dict(stats) for name, stats in caches.items()}
            for pid, caches in self.processes.items()
        }
        return {
            **totals,
            **self.reach.as_json(),
            "exact": self.is_exact,
            "disabled": list(self.disabled),
            "processes": processes,
        }

    def _lines(self, style: Style) -> Iterator[str]:
        yield style.paint("Cache Statistics", "bold")
        yield RULE
        if self.chosen is None or self.chosen == GLOBAL:
            yield f"Total Caches: {self.totals['total_caches']}"
            yield f"Total Entries: {self.totals['total_entries']}"
            yield f"Global Utilization: {self.totals['global_utilization_percent']:.1f}%"
            yield ""
        for name, stats in self.caches.items() if self.chosen != GLOBAL else ():
            yield f"Cache: {plain(name)}"
            yield f"  Size: {stats['size']}/{stats['max_size']}"
            yield f"  Utilization: {stats['utilization_percent']:.1f}%"
            yield f"  TTL: {_ttl(stats['ttl_seconds'])}"
            yield ""
        yield from self.notes(style)

    def notes(self, style: Style) -> Iterator[str]:
        """Say what makes these figures other than they seem."""
        if self.disabled:
            pids = ", ".join(map(str, self.disabled))
            yield style.paint(f"Caches are disabled in {pids}: `manage_cache enable` ends that.", "warning")
        if not self.is_exact:
            yield "A worker is busy: its expired entries are those that it last counted."

    def table(self, style: Style = PLAIN, earlier: "StatsReport | None" = None) -> Iterator[str]:
        """Yield the figures as one table; with an earlier report also how many reads there were since, by cache."""
        if self.reach.answered:
            yield from self.table_lines(style, earlier)
            yield from self.notes(style)
        yield from self.reach.lines(style)

    def table_lines(
        self, style: Style, earlier: "StatsReport | None" = None, limit: int | None = None
    ) -> Iterator[str]:
        """Yield the table alone, the caches that are read most first, at most `limit` of them."""
        columns = TABLE if earlier is None else (*TABLE, Column("reads since", right=True))
        rows = []
        for name, stats in sorted(self.caches.items(), key=lambda one: (-_reads(one[1]), one[0])):
            since = [] if earlier is None else [count(_since(stats, earlier.caches.get(name)))]
            rows.append([*_row(name, stats), *since])
        yield from table(columns, rows[:limit], style)
        if limit is not None and len(rows) > limit:
            yield f"  and {len(rows) - limit} more: see `manage_cache stats`"


def _row(name: str, stats: Mapping[str, Any]) -> list[str]:
    return [
        name,
        count(stats["size"]),
        percent(stats["utilization_percent"]),
        count(stats["hits"]),
        count(stats["misses"]),
        ratio(stats["hit_rate"]),
        count(stats["stale_hits"]),
        count(stats["evictions"]),
        count(stats.get("loads")),
        size(stats["size_bytes"]),
    ]


def _reads(stats: Mapping[str, Any]) -> int:
    return int(stats["hits"] + stats["misses"])


def _since(stats: Mapping[str, Any], earlier: Mapping[str, Any] | None) -> int | None:
    """Reads since then; None where a worker has come or gone, or was reset, since."""
    if earlier is None:
        return None
    reads = _reads(stats) - _reads(earlier)
    return reads if reads >= 0 else None


def _ttl(seconds: float | None) -> str:
    return "for ever" if seconds is None else f"{seconds}s"


def percent(share: float | None) -> str:
    """Write a share of 100; a dash for what is not known."""
    return "-" if share is None else f"{share:.1f}%"


def ratio(share: float | None) -> str:
    """Write a share of 1 as percent; a dash for what is not known."""
    return percent(None if share is None else share * 100)
