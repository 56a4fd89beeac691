"""What the run found, as an aligned table for people and as JSON for programs."""

from collections.abc import Sequence
from typing import Any

from oxicache.tables import duration

from .changes import Changes
from .comparison import Outcome
from .console import Console
from .deletions import Check
from .edits import Edits
from .jobs import Job
from .operators import Operations
from .server import Answer

HEADINGS = ("without", "with", "ratio", "hit ratio", "equal")
WIDTH = 10  # the widest heading and a gap


class Table:
    """The table of jobs, printed row by row as they finish: the names, hence the widths, are known before."""

    def __init__(self, console: Console, jobs: Sequence[Job]) -> None:
        self._console = console
        self._names = max(len("job"), *(len(job.name) for job in jobs))

    def head(self) -> None:
        """Print the headings."""
        line = f"{'job':<{self._names}}" + "".join(f"{heading:>{WIDTH}}" for heading in HEADINGS)
        self._console.say(self._console.paint(line, "quiet"))

    def begin(self, job: Job) -> None:
        """Show which job is running."""
        self._console.transient(f"{job.name:<{self._names}}  running")

    def row(self, outcome: Outcome) -> None:
        """Print one job's line."""
        cells = (
            duration(outcome.without_seconds),
            duration(outcome.with_seconds),
            f"{outcome.speedup:.1f}x",
            f"{outcome.hit_ratio:.1%}",
        )
        equal = self._console.paint(f"{'yes' if outcome.equal else 'NO':>{WIDTH}}", _style(outcome.equal))
        line = f"{outcome.job.name:<{self._names}}" + "".join(f"{cell:>{WIDTH}}" for cell in cells) + equal
        self._console.say(line)

    def foot(self, outcomes: Sequence[Outcome]) -> None:
        """Print the sum, and how to read the table."""
        without = sum(outcome.without_seconds for outcome in outcomes)
        taken = sum(outcome.with_seconds for outcome in outcomes)
        cells = (duration(without), duration(taken), f"{without / taken:.1f}x" if taken else "")
        line = f"{'together':<{self._names}}" + "".join(f"{cell:>{WIDTH}}" for cell in cells)
        self._console.say(self._console.paint(line, "bold"))
        self._console.say()
        for outcome in outcomes:
            self._console.say(f"  {outcome.job.name + ':':<{self._names + 1}} {outcome.job.about}")
        self._console.say()
        self._console.say(NOTE)


NOTE = """\
"without" is the same code with the decorators taken off, "with" starts with empty caches: its misses are in the time.
Each job loads its own instances. An entry belongs to the row, so every later instance of that row hits it; a miss
loads the row afresh, which is one query more."""


def _style(good: bool) -> str:
    return "good" if good else "bad"


def print_checks(console: Console, checks: Sequence[Check]) -> None:
    """Print each check of the deletions, good or bad."""
    for check in checks:
        mark = console.paint("ok  " if check.holds else "BAD ", _style(check.holds))
        console.say(f"{mark}{check.claim}")


def print_unchecked(console: Console, private_because: str) -> None:
    """Print why nothing could be checked between the workers, and how to mend that."""
    console.say(f"Not checked: the workers share no memory here, because {private_because}.")
    console.say(
        "An edit through one worker is seen by the other when its entry expires. "
        "Name a directory that can be written with --runtime-dir DIR, and run again."
    )


def print_edits(console: Console, edits: Edits) -> None:
    """Print what came of the edits."""
    ok = not edits.stale
    mark = console.paint("ok  " if ok else "BAD ", _style(ok))
    by = ", ".join(f"{count} through worker {worker}" for worker, count in sorted(edits.saved_by.items()))
    console.say(f"{mark}{edits.example}")
    console.say(
        f"{mark}{edits.made} edits ({by}), each read through the other worker next: "
        f"{len(edits.stale)} stale of {edits.reads} answers"
    )


def print_changes(console: Console, changes: Changes) -> None:
    """Print what came of the changes of Django's cache."""
    ok = not changes.stale
    mark = console.paint("ok  " if ok else "BAD ", _style(ok))
    calls = ", ".join(f"{count} {call}" for call, count in changes.calls.items())
    console.say(f"{mark}{changes.example}")
    console.say(
        f"{mark}{changes.made} changes ({calls}), each read through the other worker next: "
        f"{len(changes.stale)} stale of {changes.reads} answers"
    )


def operations_as_json(operations: Operations) -> dict[str, Any]:
    """Return the commands and what was checked after them as plain values."""
    return {
        "checked": True,
        "unreachable_because": "",
        "commands": [{"command": " ".join(ran.words), "exit_code": ran.exit_code} for ran in operations.ran],
        "checks": [{"claim": check.claim, "holds": check.holds} for check in operations.checks],
    }


def unchecked_as_json(private_because: str) -> dict[str, Any]:
    """Return why nothing could be checked between the workers."""
    return {"checked": False, "private_because": private_because}


def changes_as_json(changes: Changes) -> dict[str, Any]:
    """Return what came of the changes as plain values."""
    return {
        "checked": True,
        "private_because": "",
        "changes": changes.made,
        "calls": dict(changes.calls),
        "made_by": {str(worker): count for worker, count in sorted(changes.made_by.items())},
        "answers": changes.reads,
        "stale": changes.stale,
    }


def edits_as_json(edits: Edits) -> dict[str, Any]:
    """Return what came of the edits as plain values."""
    return {
        "checked": True,
        "private_because": "",
        "edits": edits.made,
        "saved_by": {str(worker): count for worker, count in sorted(edits.saved_by.items())},
        "answers": edits.reads,
        "stale": edits.stale,
    }


def site_as_json(answers: Sequence[Answer]) -> list[dict[str, Any]]:
    """Return the answers of the site as plain values."""
    return [
        {"path": answer.path, "status": answer.status, "cache": answer.headers["X-Cache"]}
        for answer in answers
    ]


def failures(outcomes: Sequence[Outcome], checks: Sequence[Check]) -> list[str]:
    """Name everything that is not as it should be, one line each."""
    wrong = [
        f"{outcome.job.name}: the results with and without the cache differ"
        for outcome in outcomes
        if not outcome.equal
    ]
    return wrong + [f"deletions: not so: {check.claim}" for check in checks if not check.holds]


def as_json(outcomes: Sequence[Outcome], checks: Sequence[Check], counts: dict[str, int]) -> dict[str, Any]:
    """Return the table, the checks and the size of the data as plain values."""
    return {
        "data": counts,
        "jobs": [
            {
                "job": outcome.job.name,
                "about": outcome.job.about,
                "without_seconds": outcome.without_seconds,
                "with_seconds": outcome.with_seconds,
                "ratio": outcome.speedup,
                "reads": outcome.reads,
                "hit_ratio": outcome.hit_ratio,
                "equal": outcome.equal,
            }
            for outcome in outcomes
        ],
        "deletions": [{"claim": check.claim, "holds": check.holds} for check in checks],
    }
