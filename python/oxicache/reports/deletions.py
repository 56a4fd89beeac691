"""`cleanup_deletion_tracker`: which ids are being deleted, and which are so no longer."""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Literal

from oxicache.reports.reach import Report
from oxicache.tables import Style, plain

__all__ = ["TrackerReport"]

LONGEST_NUMBER = 20  # digits; longer ids are text


@dataclass(frozen=True, slots=True, kw_only=True)
class TrackerReport(Report):
    """The trackers of all workers. Source: API reference (akvo), "cleanup_deletion_tracker Command"."""

    action: Literal["stats", "dry", "cleanup"]
    processes: Mapping[int, Mapping[str, Any]]  # what each answered, by pid

    def _sum(self, name: str) -> int:
        return sum(found[name] for found in self.processes.values())

    @property
    def stale(self) -> Sequence[str]:
        """Ids that have been tracked for longer than the threshold, each once, in order."""
        return sorted({pk for found in self.processes.values() for pk in found["stale"]}, key=_by_number)

    @property
    def threshold(self) -> float:
        """Seconds after which an id is stale: the longest where workers differ."""
        return max((found["threshold"] for found in self.processes.values()), default=0)

    @property
    def last_cleanup(self) -> float:
        """When a tracker was last cleaned, in seconds since the epoch: the latest."""
        return max((float(found["last_cleanup"]) for found in self.processes.values()), default=0.0)

    def _json(self) -> dict[str, Any]:
        if not self.reach.answered:
            return {"processes": {}}
        return {
            "active": self._sum("active"),
            "timestamps": self._sum("timestamps"),
            "threshold": self.threshold,
            "last_cleanup": self.last_cleanup,
            "stale": list(self.stale),
            "removed": self._sum("removed"),
            "dry_run": self.action == "dry",
            "processes": {str(pid): dict(found) for pid, found in self.processes.items()},
        }

    def _lines(self, style: Style) -> Iterator[str]:
        if self.action == "stats":
            yield style.paint("Deletion tracker stats:", "bold")
            yield f"  Active deletions: {self._sum('active')}"
            yield f"  Tracked timestamps: {self._sum('timestamps')}"
            yield f"  Cleanup threshold: {self.threshold:g}s"
            yield f"  Last cleanup: {self.last_cleanup}"
        elif self.action == "dry" and self.stale:
            yield f"Would clean up {len(self.stale)} stale deletion tracker entries:"
            yield f"  Project IDs: {', '.join(map(plain, self.stale))}"
        elif self.action == "cleanup" and self._sum("removed"):
            yield f"Successfully cleaned up {self._sum('removed')} stale deletion tracker entries"
        elif self.processes:
            yield "No stale entries found - deletion tracker is clean"


def _by_number(pk: str) -> tuple[bool, int, str]:
    """Numbers in their own order, then the rest."""
    is_number = len(pk) < LONGEST_NUMBER and pk.isascii() and pk.isdigit()
    return not is_number, int(pk) if is_number else 0, pk
