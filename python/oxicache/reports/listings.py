"""What `invalidate_caches --list-patterns` and `--list-models` show: what may be named, and what depends on what."""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from oxicache.reports.reach import Report
from oxicache.tables import PLAIN, Column, Style, count, plain, table

__all__ = ["ModelsListed", "PatternsListed"]


@dataclass(frozen=True, slots=True, kw_only=True)
class PatternsListed(Report):
    """The key patterns that were registered, and those under which the live workers count. Source: 004."""

    registered: Mapping[str, tuple[str, ...]]  # each with the models that it depends on
    used: Sequence[Mapping[str, Any]]  # figures of key patterns, each with its `cache`, those hit most first

    def _json(self) -> dict[str, Any]:
        return {
            "registered": {pattern: list(models) for pattern, models in self.registered.items()},
            "used": [dict(one) for one in self.used],
        }

    def _lines(self, style: Style) -> Iterator[str]:
        yield ""
        yield style.paint("Used by the live workers:", "bold")
        if not self.used:
            yield "  none was used yet"
        else:
            columns = (
                Column("pattern", flexible=True),
                Column("cache", flexible=True),
                Column("hits", right=True),
            )
            rows = [(str(one["pattern"]), str(one["cache"]), count(one["hits"])) for one in self.used]
            yield from table(columns, rows, style)

    def lines(self, style: Style = PLAIN) -> Iterator[str]:
        """Yield what was registered, in which no worker has a say, then the rest."""
        yield style.paint("Available Cache Patterns:", "bold")
        if not self.registered:
            yield "  none is registered: see oxicache.django.rules.register_dependency"
        widest = max(map(len, self.registered), default=0)
        for pattern, models in self.registered.items():
            yield f"  {plain(pattern):<{widest}}  {', '.join(models)}"
        yield from Report.lines(self, style)


@dataclass(frozen=True, slots=True, kw_only=True)
class ModelsListed(Report):
    """The models that caches depend on. Source: 004."""

    models: Mapping[str, tuple[str, ...]]  # each with its key patterns
    rules: Mapping[str, tuple[str, ...]]  # each with what its rules are called

    def as_json(self) -> dict[str, Any]:
        """Return them as plain values."""
        return {
            "models": {model: list(patterns) for model, patterns in self.models.items()},
            "rules": {model: list(names) for model, names in self.rules.items()},
        }

    def lines(self, style: Style = PLAIN) -> Iterator[str]:
        """Yield each model with what depends on it. No worker is asked: all have read the same settings."""
        yield style.paint("Models with Cache Dependencies:", "bold")
        names = sorted({*self.models, *self.rules})
        for model in names:
            yield f"  {model}:"
            yield from (f"    - {plain(pattern)}" for pattern in self.models.get(model, ()))
            yield from (f"    - rule {plain(rule)}" for rule in self.rules.get(model, ()))
        if not names:
            yield "  none is registered: see oxicache.django.rules.register_dependency"
