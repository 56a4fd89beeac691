"""Whom an operation asked and who answered, and what every report has in common."""

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

from oxicache.tables import PLAIN, Style, plain

__all__ = ["Missing", "Reach", "Report"]

Lines = Iterator[str]


@dataclass(frozen=True, slots=True)
class Missing:
    """A worker that has not done what it was asked, and why."""

    pid: int
    why: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Reach:
    """Which processes were asked: those that answered by pid, and those that did not."""

    answered: tuple[int, ...] = ()
    missing: tuple[Missing, ...] = ()
    place: str = ""  # where the workers' sockets were looked for; empty for this very process
    siblings: tuple[str, ...] = ()  # who belongs to this site and meets elsewhere, a sentence each

    @property
    def workers(self) -> int:
        """How many were asked."""
        return len(self.answered) + len(self.missing)

    @property
    def is_partial(self) -> bool:
        """Whether some did not answer."""
        return bool(self.missing)

    @property
    def is_nobody(self) -> bool:
        """Whether there was nobody to ask."""
        return not self.workers

    def as_json(self) -> dict[str, Any]:
        """Return who was asked, as every report has it."""
        said: dict[str, Any] = {"workers": self.workers, "answered": len(self.answered)}
        if self.missing:
            said["missing"] = [{"pid": one.pid, "why": one.why} for one in self.missing]
        if self.place:
            said["folder"] = self.place
        if self.siblings:
            said["siblings"] = list(self.siblings)
        return said

    def summary(self) -> str:
        """Say how many answered, in one line."""
        if self.is_nobody:
            return f"No live worker of this site was found in {self.place}."
        noun = "worker" if self.workers == 1 else "workers"
        where = f" in {self.place}" if self.place else ""
        return f"{len(self.answered)} of {self.workers} {noun} answered{where}."

    def shortfall(self) -> str:
        """Say how many answered, and who did not."""
        noun = "worker" if self.workers == 1 else "workers"
        pids = ", ".join(str(one.pid) for one in self.missing)
        return f"{len(self.answered)} of {self.workers} {noun} answered; not {pids}"

    def lines(self, style: Style = PLAIN) -> Lines:
        """Say who did not answer, and who was not asked. Nothing where this process asked itself."""
        if self.place:
            colour = "bad" if self.is_partial else "warning" if self.is_nobody else "quiet"
            yield style.paint(plain(self.summary()), colour)
        for one in self.missing:
            yield style.paint(plain(f"  Worker {one.pid}: {one.why}"), "bad")
        if self.is_nobody:
            yield "A worker opens its socket there with its first request or task; `--process self` asks this process."
        for sibling in self.siblings:
            yield style.paint(plain(f"Warning: {sibling}"), "warning")


@dataclass(frozen=True, slots=True, kw_only=True)
class Report:
    """What an operation did. Subclasses say it in words and as plain values."""

    reach: Reach

    def as_json(self) -> dict[str, Any]:
        """Return the report as plain values, in the documented shape."""
        return {**self._json(), **self.reach.as_json()}

    def lines(self, style: Style = PLAIN) -> Lines:
        """Yield the report line by line; where nobody answered that is said instead of zeros."""
        if self.reach.answered:
            yield from self._lines(style)
        yield from self._host_lines(style)
        yield from self.reach.lines(style)

    def shortfall(self) -> str | None:
        """Say what was not done, None where all was."""
        return self.reach.shortfall() if self.reach.is_partial else None

    def _json(self) -> dict[str, Any]:
        """Return what the report has beside `reach`."""
        raise NotImplementedError

    def _lines(self, style: Style) -> Lines:
        """Yield what the workers answered."""
        raise NotImplementedError

    def _host_lines(self, style: Style) -> Lines:  # noqa: ARG002 -- some paint what they say
        """Yield what was done without the workers, and holds where none is alive too."""
        return iter(())
