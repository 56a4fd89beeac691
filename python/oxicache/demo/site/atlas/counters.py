"""What the caches of this process have done so far, read from `cache_manager`."""

from dataclasses import dataclass
from typing import Any

from oxicache import cache_manager

PREFIX = "oxicache.demo.site.atlas."  # a decorator's cache is named after its module and function


@dataclass(frozen=True)
class Totals:
    """Hits and misses of every cache of this process together."""

    hits: int
    misses: int

    @property
    def ratio(self) -> float:
        """Hits among all reads, 0 to 1; 0 when nothing was read."""
        reads = self.hits + self.misses
        return self.hits / reads if reads else 0.0

    def since(self, before: "Totals") -> "Totals":
        """What was read after `before` was taken."""
        return Totals(hits=self.hits - before.hits, misses=self.misses - before.misses)

    @property
    def verdict(self) -> str:
        """`HIT` when nothing had to be computed, `MISS` when something had; empty when nothing was read."""
        if self.misses:
            return "MISS"
        return "HIT" if self.hits else ""


def _short(name: str) -> str:
    """Return `Country.figures` for the cache of that property in this app; other names as they are."""
    return name.removeprefix(PREFIX).partition(".")[2] if name.startswith(PREFIX) else name


def _rows() -> dict[str, dict[str, Any]]:
    """Each cache's own statistics, without the sum that the manager adds."""
    return {name: row for name, row in cache_manager.get_global_stats().items() if name != "_global"}


def totals() -> Totals:
    """Sum hits and misses over every cache of this process."""
    rows = _rows().values()
    return Totals(hits=sum(row["hits"] for row in rows), misses=sum(row["misses"] for row in rows))


def table() -> list[dict[str, Any]]:
    """One row a cache, the most read first: what the page and /api/cache/ show."""
    rows = []
    for name, row in _rows().items():
        counted = Totals(hits=row["hits"], misses=row["misses"])
        rows.append(
            {
                "name": _short(name),
                "size": row["size"],
                "max_size": row["max_size"],
                "ttl_seconds": row["ttl_seconds"],
                "hits": counted.hits,
                "misses": counted.misses,
                "hit_ratio": round(counted.ratio, 4),
            }
        )
    return sorted(rows, key=lambda row: (-(row["hits"] + row["misses"]), row["name"]))
