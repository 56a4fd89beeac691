"""`cleanup`, `clear`, `reset`, `disable`, `enable`: what went, or would go. `invalidate` is in invalidation.py."""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any, Literal

from oxicache.reports.reach import Report
from oxicache.tables import Column, Style, count, plain, table

__all__ = ["CountersReset", "Preview", "Removed", "Switched", "pending_lines", "processes_json", "total"]

Counts = Mapping[str, int | None]  # by cache; None where a worker has yet to do it


def total(processes: Mapping[int, Counts]) -> int:
    """Sum what is known; -1 stands for a cache whose cleanup failed."""
    known = (number for counts in processes.values() for number in counts.values())
    return sum(number for number in known if number is not None and number > 0)


def processes_json(counts: Mapping[int, Counts]) -> dict[str, dict[str, int | None]]:
    """Return counts by process as JSON has them."""
    return {str(pid): dict(found) for pid, found in counts.items()}


def pending_lines(pending: tuple[int, ...], style: Style) -> Iterator[str]:
    """Say who has the order and is busy: it is carried out before the caches are read again, and not counted."""
    if pending:
        pids = ", ".join(map(str, pending))
        text = f"Ordered, and not yet counted, in {pids}: done there before the next read of any cache."
        yield style.paint(text, "warning")


@dataclass(frozen=True, slots=True, kw_only=True)
class Removed(Report):
    """Entries that were swept or cleared. Source: API reference (akvo), `manage_cache cleanup` and `clear`."""

    verb: Literal["cleanup", "clear"]
    counts: Counts
    processes: Mapping[int, Counts]
    pending: tuple[int, ...] = ()
    cache: str | None = None
    outdated: tuple[
        str, ...
    ] = ()  # caches whose entries died in every process of the host, also where none answered

    def _json(self) -> dict[str, Any]:
        word = "cleaned" if self.verb == "cleanup" else "cleared"
        return {
            word: dict(self.counts),
            "total": total(self.processes),
            "pending": list(self.pending),
            "outdated": list(self.outdated),
            "processes": processes_json(self.processes),
        }

    def _lines(self, style: Style) -> Iterator[str]:
        if self.verb == "clear":
            yield f"Cleared cache '{plain(self.cache)}'" if self.cache else "Cleared all caches"
        else:
            where = f"from '{plain(self.cache)}'" if self.cache else "across all caches"
            yield f"Cleaned {total(self.processes)} expired entries {where}"
        for name, number in self.counts.items():
            if number is not None and number < 0:
                yield style.paint(f"  {plain(name)}: failed", "bad")
        yield from pending_lines(self.pending, style)

    def _host_lines(self, style: Style) -> Iterator[str]:  # noqa: ARG002 -- nothing to be painted
        if self.outdated and (not self.reach.answered or self.reach.is_partial):
            names = ", ".join(map(plain, self.outdated))
            yield f"Every process of this host finds {names} empty from now on."


@dataclass(frozen=True, slots=True, kw_only=True)
class Preview(Report):
    """What `cleanup`, `clear` or `disable` would remove. Source: API reference (akvo), `--dry-run`."""

    verb: Literal["cleanup", "clear", "disable"]
    counts: Mapping[str, int]
    processes: Mapping[int, Mapping[str, int]]
    is_exact: bool = True

    def _json(self) -> dict[str, Any]:
        return {
            "dry_run": True,
            "would_remove": dict(self.counts),
            "total": total(self.processes),
            "exact": self.is_exact,
            "processes": processes_json(self.processes),
        }

    def _lines(self, style: Style) -> Iterator[str]:
        what = {
            "cleanup": "cleanup expired cache entries",
            "clear": "clear cache entries",
            "disable": "clear and disable every cache",
        }
        yield f"DRY RUN: Would {what[self.verb]}"
        columns = (Column("cache", flexible=True), Column("entries", right=True))
        most = sorted(self.counts.items(), key=lambda one: (-one[1], one[0]))
        rows = [(name, count(number)) for name, number in most if number > 0]
        yield from table(columns, [*rows, ("together", count(total(self.processes)))], style)
        if not self.is_exact:
            yield "A worker is busy: its expired entries are those that it last counted."


@dataclass(frozen=True, slots=True, kw_only=True)
class CountersReset(Report):
    """Counters that begin again at zero."""

    caches: tuple[str, ...]

    def _json(self) -> dict[str, Any]:
        return {"reset": list(self.caches)}

    def _lines(self, style: Style) -> Iterator[str]:
        noun = "cache" if len(self.caches) == 1 else "caches"
        yield style.paint(f"Reset the counters of {len(self.caches)} {noun}", "good")


@dataclass(frozen=True, slots=True, kw_only=True)
class Switched(Report):
    """Caches that store nothing from now on, or that store again."""

    enabled: bool
    cleared: int
    is_lasting: bool  # whether workers that start later begin so too

    def _json(self) -> dict[str, Any]:
        return {"enabled": self.enabled, "cleared": self.cleared, "lasting": self.is_lasting}

    def _lines(self, style: Style) -> Iterator[str]:
        if self.enabled:
            yield style.paint("Enabled all caches", "good")
            return
        dropped = f"{self.cleared} entries dropped"
        yield style.paint(
            f"Disabled all caches: every get is a miss, nothing is stored ({dropped})", "warning"
        )

    def _host_lines(self, style: Style) -> Iterator[str]:  # noqa: ARG002 -- nothing to be painted
        if self.is_lasting and not self.enabled:
            yield "Workers that start from now on begin disabled, until `manage_cache enable`."
