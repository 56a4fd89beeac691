"""`explain` and `top`: where a key is and what became of it; which keys and key patterns are used most."""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any

from oxicache.reports.reach import Report
from oxicache.tables import Column, Style, count, duration, plain, size, table

__all__ = ["ExplainReport", "TopReport"]

STATES = {"fresh": "good", "grace": "warning", "expired": "bad", "outdated": "bad"}


@dataclass(frozen=True, slots=True, kw_only=True)
class ExplainReport(Report):
    """Every entry of a key, in whichever cache and worker, and who invalidated what it was computed from."""

    key: str
    found: Sequence[Mapping[str, Any]]  # as the workers answered, each with the `pid` of its worker
    absent: Mapping[str, int]  # caches that were looked into and have no entry: in how many workers
    trail: Sequence[Mapping[str, Any]]  # newest first

    @property
    def is_found(self) -> bool:
        """Whether any cache has the key."""
        return bool(self.found)

    def _json(self) -> dict[str, Any]:
        return {
            "key": self.key,
            "found": [dict(entry) for entry in self.found],
            "absent": dict(self.absent),
            "trail": [dict(event) for event in self.trail],
        }

    def _lines(self, style: Style) -> Iterator[str]:
        yield style.paint(f"Key: {plain(self.key)}", "bold")
        if not self.found:
            yield f"No entry in {len(self.absent)} caches of {len(self.reach.answered)} workers."
        for entry in self.found:
            yield ""
            yield from _entry_lines(entry, style)
        if self.found and self.absent:
            yield ""
            yield "No entry in:"
            for name, workers in self.absent.items():
                yield f"  {plain(name)} ({_workers(workers)})"
        yield ""
        yield from self._trail_lines(style)
        yield ""

    def _trail_lines(self, style: Style) -> Iterator[str]:
        if not self.trail:
            yield "No invalidation of it is recorded."
            return
        yield style.paint("Invalidations, newest first:", "bold")
        columns = (
            Column("last"),
            Column("times", right=True),
            Column("worker", right=True),
            Column("what"),
            Column("where", flexible=True),
            Column("who"),
            Column("detail", flexible=True),
        )
        rows: dict[tuple[str, ...], list[float]] = {}
        for event in self.trail:  # one line of code may have run a hundred times
            rows.setdefault(_what_happened(event), []).append(event["at"])
        yield from table(
            columns, [(_moment(times[0]), str(len(times)), *what) for what, times in rows.items()], style
        )


def _what_happened(event: Mapping[str, Any]) -> tuple[str, ...]:
    return (
        str(event["pid"]),
        str(event["kind"]),
        str(event.get("where") or "-"),
        str(event.get("actor") or "-"),
        str(event.get("detail") or ", ".join(map(str, event.get("names") or ())) or "-"),
    )


def _entry_lines(entry: Mapping[str, Any], style: Style) -> Iterator[str]:
    alias = f" (CACHES[{entry['alias']!r}])" if entry.get("alias") else ""
    yield f"{plain(entry['cache'])}{alias}, worker {entry['pid']}"
    state = str(entry["state"])
    why = f": {plain(entry['why'])}" if entry.get("why") else ""
    facts: list[tuple[str, str]] = [("state", style.paint(state, STATES.get(state, "quiet")) + why)]
    facts += [("key", plain(str(entry["key"])))] if entry.get("key") is not None else []
    facts += [
        ("age", duration(entry.get("age_seconds"))),
        ("time left", duration(_left(entry))),
        ("size", size(entry.get("size_bytes"))),
        ("value", "sensitive" if entry.get("sensitive") else plain(str(entry.get("type") or "-"))),
        ("tags", ", ".join(map(plain, entry.get("tags") or ())) or "-"),
        ("hits", _hits(entry)),
    ]
    for name, text in facts:
        yield f"  {name + ':':<11}{text}"
    for word in entry.get("words") or ():
        moved = word["held"] != word["now"]
        name = plain(str(word.get("name") or f"word {word['word']}"))
        note = f"{word['held']} when stored, {word['now']} now" if moved else "unchanged since stored"
        yield style.paint(f"  depends on {name}: {note}", "bad" if moved else "quiet")


def _left(entry: Mapping[str, Any]) -> float | None:
    if "seconds_left" in entry and entry["seconds_left"] is None:
        return float("inf")  # JSON has no infinity
    left: float | None = entry.get("seconds_left")
    return None if left is None else max(left, 0.0)


def _hits(entry: Mapping[str, Any]) -> str:
    """Hits are counted by key pattern; of a single entry a policy knows no more than how lately it was used."""
    pattern = entry.get("pattern_hits")
    if pattern is None:
        return "-"
    name = f" {plain(str(entry['pattern']))}" if entry.get("pattern") else ""
    return f"{count(pattern)} of its key pattern{name}"


def _workers(number: int) -> str:
    return f"{number} {'worker' if number == 1 else 'workers'}"


def _moment(at: float) -> str:
    """When something was, in the time zone of who reads it."""
    return datetime.fromtimestamp(at, UTC).astimezone().strftime("%Y-%m-%d %H:%M:%S")


@dataclass(frozen=True, slots=True, kw_only=True)
class TopReport(Report):
    """The key patterns, and where that can be said the entries, that are first by one measure."""

    by: str
    patterns: Sequence[
        Mapping[str, Any]
    ]  # figures of key patterns, each with its `cache`, summed over the workers
    entries: Sequence[Mapping[str, Any]]  # single entries, each with the `pid` of its worker

    def _json(self) -> dict[str, Any]:
        return {
            "by": self.by,
            "patterns": [dict(one) for one in self.patterns],
            "entries": [dict(one) for one in self.entries],
        }

    def _lines(self, style: Style) -> Iterator[str]:
        yield style.paint(f"Top Key Patterns by {self.by}:", "bold")
        if self.patterns:
            yield from pattern_table(self.patterns, style)
            yield "Figures of patterns are estimates by sampling, exact for the first operations of a cache."
        else:
            yield "  none was used yet"
        if self.entries:
            yield ""
            yield style.paint(f"Top Entries by {self.by}:", "bold")
            yield from self._entry_table(style)
        yield ""

    def _entry_table(self, style: Style) -> Iterator[str]:
        columns = (
            Column("key", flexible=True),
            Column("cache", flexible=True),
            Column("worker", right=True),
            Column("size", right=True),
            Column("type"),
            Column("time left", right=True),
        )
        rows = [
            (
                str(entry["key"]),
                str(entry["cache"]),
                str(entry["pid"]),
                size(entry.get("weight")),
                str(entry.get("type") or "-"),
                duration(_left(entry)),
            )
            for entry in self.entries
        ]
        yield from table(columns, rows, style)


def pattern_table(patterns: Sequence[Mapping[str, Any]], style: Style) -> Iterator[str]:
    """Yield the figures of key patterns as a table."""
    columns = (
        Column("pattern", flexible=True),
        Column("cache", flexible=True),
        Column("hits", right=True),
        Column("misses", right=True),
        Column("hit rate", right=True),
        Column("sets", right=True),
        Column("loads", right=True),
        Column("load time", right=True),
        Column("mean size", right=True),
    )
    rows = []
    for one in patterns:
        reads = one["hits"] + one["misses"]
        rows.append(
            (
                str(one["pattern"]),
                str(one["cache"]),
                count(one["hits"]),
                count(one["misses"]),
                f"{one['hits'] / reads:.1%}" if reads else "-",
                count(one["sets"]),
                count(one["loads"]),
                duration(one["load_seconds"] / one["loads"] if one["loads"] else None),
                size(one["avg_size"] or None),
            )
        )
    return table(columns, rows, style)
