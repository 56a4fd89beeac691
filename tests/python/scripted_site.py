"""A site of scripted workers and of aliases that answer as a test says; and what a test writes for its workers."""

from collections.abc import Sequence
from typing import Any

from scripted_workers import Script, answer, says

from oxicache.reports import Report
from oxicache.selection import Selection
from oxicache.sites import AliasOutcome, Dependents, NothingShared

NONE = Dependents()


class Shared(NothingShared):
    """A project with a NativeCache `default` and other aliases, which notes what it is told."""

    def __init__(self, *, dependents: Dependents = NONE, **others: AliasOutcome) -> None:
        self.done: list[tuple[Any, ...]] = []
        self.others = others
        self._dependents = dependents

    def parted(self, aliases: Sequence[str]) -> tuple[Sequence[str], Sequence[str]]:
        named = aliases or ("default", *self.others)
        native = tuple("django:default" for alias in named if alias == "default")
        return native, tuple(alias for alias in named if alias in self.others)

    def tenant_prefix(self, tenant: Any) -> str:
        return f"tenant:{tenant}"

    def dependents(self, selection: Selection, *, cascade: bool) -> Dependents:
        return self._dependents

    def invalidate_model(self, model: str, *, cascade: bool, dry_run: bool = False) -> Sequence[str]:
        self.done.append(("model", model, dry_run))
        return ("shop.Order",) if cascade else ()

    def invalidate_row(self, model: str, pk: Any) -> None:
        self.done.append(("row", model, pk))

    def invalidate_tags(self, tags: Sequence[str], caches: Sequence[str]) -> Sequence[str]:
        self.done.append(("tags", tuple(tags), tuple(caches)))
        return ("django:default",)

    def invalidate_keys(self, keys: Sequence[str], caches: Sequence[str]) -> Sequence[str]:
        self.done.append(("keys", tuple(keys), tuple(caches)))
        return ("django:default",)

    def invalidate_patterns(self, patterns: Sequence[str], kind: Any, caches: Sequence[str]) -> Sequence[str]:
        self.done.append((kind, tuple(patterns), tuple(caches)))
        return ("django:default",)

    def is_private(self, alias: str) -> bool:
        return alias == "memory"

    def require(self, alias: str, selection: Selection) -> None:
        if self.others[alias].failure is not None:
            raise ValueError(f"{alias} cannot")

    def invalidate_alias(self, alias: str, selection: Selection, *, dry_run: bool) -> AliasOutcome:
        self.done.append((alias, str(selection), dry_run))
        return self.others[alias]

    def clear_alias(self, alias: str, *, dry_run: bool) -> AliasOutcome:
        self.done.append((alias, "everything", dry_run))
        return self.others[alias]


def invalidated(**counts: int | None) -> dict[str, Any]:
    return {"invalidated": counts, "words": 0, "done": None not in counts.values()}


def answers(result: dict[str, Any], pid: int = 1) -> Script:
    return says(answer(result, pid=pid))


def text(report: Report) -> list[str]:
    return list(report.lines())
