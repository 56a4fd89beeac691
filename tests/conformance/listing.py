"""docs/conformance.md, which lists each test that does not pass with its reason, and how a run compares with it."""

import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

COUNTS_HEAD = ("Django", "Python", "set up with", "ran", "passed", "listed")


class ListingError(Exception):
    """The page cannot be read: the message says what is wrong with it."""


@dataclass(frozen=True)
class Verdict:
    """One run of the tests on one Django, compared with the list."""

    django: str
    python: str
    setup: str  # OPTIONS and apps besides those of the tests
    ran: int
    passed: int
    listed: int
    left_out: int
    unlisted: Mapping[str, str]  # what did not pass and is not listed, with its traceback
    surplus: Mapping[str, str]  # what is listed without need, and why it must go

    @property
    def good(self) -> bool:
        return self.ran > 0 and not self.unlisted and not self.surplus

    @property
    def counts(self) -> tuple[str, ...]:
        minor = ".".join(self.python.split(".")[:2])
        return (
            self.django,
            minor,
            self.setup or "nothing else",
            str(self.ran),
            str(self.passed),
            str(self.listed),
        )


def compared(run: Mapping[str, Any], listed: Mapping[str, str]) -> Verdict:
    """What a run came to: a test passes, or is listed and does not; anything else is unexpected."""
    outcomes: Mapping[str, Mapping[str, str]] = run["outcomes"]
    failed = {name: found for name, found in outcomes.items() if found["outcome"] != "passed"}
    surplus = {name: "it passes" for name in listed if name in outcomes and name not in failed}
    surplus |= {name: "there is no such test" for name in listed if name not in outcomes}
    return Verdict(
        django=run["django"],
        python=run["python"],
        setup=", ".join([*run["apps"], *(f"{name} {value}" for name, value in run["options"].items())]),
        ran=len(outcomes),
        passed=len(outcomes) - len(failed),
        listed=len(failed.keys() & listed.keys()),
        left_out=run["left_out"],
        unlisted={
            name: f"{found['outcome']}: {found['detail'].strip()}"
            for name, found in failed.items()
            if name not in listed
        },
        surplus=surplus,
    )


def aligned(rows: Iterable[tuple[str, ...]]) -> str:
    """The rows as a table of Markdown, its numbers to the right."""
    rows = list(rows)
    widths = [max(len(row[column]) for row in (COUNTS_HEAD, *rows)) for column in range(len(COUNTS_HEAD))]
    numbers = [all(row[column].isdigit() for row in rows) for column in range(len(COUNTS_HEAD))]

    def line(row: tuple[str, ...]) -> str:
        cells = zip(row, widths, numbers, strict=True)
        return "| " + " | ".join(c.rjust(w) if n else c.ljust(w) for c, w, n in cells) + " |"

    rule = (
        "|"
        + "|".join("-" * (w + 1) + (":" if n else "-") for w, n in zip(widths, numbers, strict=True))
        + "|"
    )
    return "\n".join([line(COUNTS_HEAD), rule, *map(line, rows)])


class Page:
    """The page's two tables: `counts`, which a run can write, and `listed`, which people write."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self._text = path.read_text()

    def _between(self, name: str) -> tuple[int, int]:
        match = re.search(rf"<!-- {name}: begin.*?-->\n(.*?)<!-- {name}: end -->", self._text, re.DOTALL)
        if match is None:
            raise ListingError(f"{self.path} has no `<!-- {name}: begin -->` with its end")
        return match.span(1)

    def _rows(self, name: str) -> list[tuple[str, ...]]:
        start, end = self._between(name)
        lines = [line for line in self._text[start:end].splitlines() if line.startswith("|")]
        return [tuple(cell.strip() for cell in line.strip("|").split("|")) for line in lines[2:]]

    def listed(self) -> dict[str, str]:
        """The reason of each test that does not pass, by the test's id."""
        found: dict[str, str] = {}
        for name, *cells in self._rows("listed"):
            reason = cells[0] if cells else ""
            if not re.fullmatch(r"`[\w.]+`", name) or not reason or name.strip("`") in found:
                raise ListingError(
                    f"{self.path}: a test in backquotes, once, with its reason; found: {name} {reason}"
                )
            found[name.strip("`")] = reason
        return found

    def outdated(self, verdicts: Iterable[Verdict]) -> list[str]:
        """What the page says about these very versions, where it is not what they came to."""
        said = {row[:3]: row for row in self._rows("counts")}
        return [
            f"{self.path.name} says {' | '.join(said[verdict.counts[:3]])}, but it is {' | '.join(verdict.counts)}"
            for verdict in verdicts
            if said.get(verdict.counts[:3], verdict.counts) != verdict.counts
        ]

    def write_counts(self, verdicts: Iterable[Verdict]) -> None:
        start, end = self._between("counts")
        table = aligned(verdict.counts for verdict in verdicts)
        self._text = f"{self._text[:start]}{table}\n{self._text[end:]}"
        self.path.write_text(self._text)
