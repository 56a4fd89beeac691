"""How results are printed: text for a terminal, markdown for the README, JSON for machines."""

import dataclasses
import datetime as dt
import os
import platform
import re
import shutil
import subprocess
import sysconfig
from collections.abc import Iterator, Sequence
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any

from hit_ratio import COLUMNS, Outcome
from rows import Result

from oxicache._native import METHODS

BEGIN = "<!-- results: written by benches/run.py --markdown -->"
END = "<!-- end of results -->"
PACKAGES = (
    "oxicache",
    *("cachebox", "cachetools", "Django"),
    *("diskcache", "redis", "django-redis", "hiredis", "pymemcache"),
    *("django-cacheops", "django-cachalot"),
    *("djangorestframework", "drf-extensions"),
)
SERVERS = ("redis-server", "memcached")
SMALL, LARGE = 0.1, 10_000
HEADINGS = ("row", "against", "target", "judged", "net", "gross", "quartiles", "ours", "theirs", "")


@dataclasses.dataclass(frozen=True)
class Run:
    """One run of the benches and where it ran."""

    command: str
    rounds: int
    quick: bool
    results: Sequence[Result]
    outcomes: Sequence[Outcome]
    load_before: float
    load_after: float

    def about(self) -> dict[str, str]:
        """What a reader needs in order to repeat the run."""
        return {
            "command": self.command,
            "date": dt.datetime.now(dt.UTC).strftime("%Y-%m-%d %H:%M UTC"),
            "processor": f"{_processor()}, {os.cpu_count()} seen by the system",
            "system": f"{platform.system()} {platform.release()} {platform.machine()}, {platform.libc_ver()[0]}"
            f" {platform.libc_ver()[1]}",
            "python": f"{platform.python_implementation()} {platform.python_version()}, {_python_build()}",
            "versions": ", ".join(f"{package} {_version(package)}" for package in PACKAGES)
            + f"; oxicache's {METHODS} methods",
            "servers": ", ".join(map(_server_version, SERVERS)),
            "rounds": f"{self.rounds}{' (quick: too short to quote)' if self.quick else ''}",
            "load": f"{self.load_before:.2f} before, {self.load_after:.2f} after (one-minute averages)",
        }

    def missed(self) -> list[Result]:
        """The results that fall short of their target."""
        return [result for result in self.results if result.verdict == "MISS"]


def _version(package: str) -> str:
    try:
        return version(package)
    except PackageNotFoundError:
        return "(not installed as a package)"


def _server_version(program: str) -> str:
    if shutil.which(program) is None:
        return f"no {program}"
    said = subprocess.run([program, "--version"], check=False, capture_output=True, text=True)  # noqa: S603 (a constant)
    found = re.search(r"\d+\.[\d.]+", said.stdout)
    return f"{program} {found[0] if found else '(version unknown)'}"


def _processor() -> str:
    cpuinfo = Path("/proc/cpuinfo")
    if cpuinfo.exists():
        for line in cpuinfo.read_text(encoding="utf-8", errors="replace").splitlines():
            if line.startswith("model name"):
                return line.partition(":")[2].strip()
    return platform.processor() or platform.machine()


def _python_build() -> str:
    # An interpreter built without profile guidance runs bytecode slower, and calls into C hardly so: ratios move.
    optimized = "--enable-optimizations" in (sysconfig.get_config_var("CONFIG_ARGS") or "")
    return f"{platform.python_compiler()}, {'with' if optimized else 'without'} profile-guided optimization"


def _cells(result: Result) -> list[str]:
    judged = _figure(result.judged) if result.unit[0] == "x" else f"{result.judged:.1f} "
    return [
        result.row,
        result.against,
        str(result.target or ""),
        f"{judged}{result.unit}",
        "" if result.net is None else f"{_figure(result.net)}x",
        "" if result.gross is None else f"{_figure(result.gross)}x",
        "" if result.spread is None else "-".join(_figure(quartile) for quartile in result.spread),
        _time(result.ours, result.per),
        "" if result.theirs is None else _time(result.theirs, result.per),
        result.verdict,
    ]


def _figure(ratio: float) -> str:
    """Two decimals, which is what rounds allow; a small ratio has its first digits further behind."""
    return f"{ratio:.2f}" if abs(ratio) >= SMALL else f"{ratio:.4f}"


def _time(figure: float, unit: str) -> str:
    return f"{figure:.{0 if figure >= LARGE else 1}f} {unit}"


def _outcome_cells(outcome: Outcome) -> list[str]:
    return [
        outcome.trace,
        f"{outcome.accesses:_}",
        f"{outcome.capacity:_} ({outcome.percent} %)",
        *(f"{outcome.ratios[column]:.1f}" for column in COLUMNS),
    ]


OUTCOME_HEADINGS = ("trace", "accesses", "capacity", *COLUMNS)


def _aligned(headings: Sequence[str], lines: Sequence[Sequence[str]]) -> Iterator[str]:
    widths = [max(len(line[place]) for line in [headings, *lines]) for place in range(len(headings))]
    for line in [headings, *lines]:
        yield "  ".join(cell.ljust(width) for cell, width in zip(line, widths, strict=True)).rstrip()


def text(run: Run) -> str:
    """The whole run for a terminal: ratios first, then times, then what missed its target."""
    parts = [f"{name:10}{value}" for name, value in run.about().items()]
    if run.results:
        parts += ["", *_aligned(HEADINGS, [_cells(result) for result in run.results])]
        judged = [result for result in run.results if result.target]
        parts += ["", f"{len(judged) - len(run.missed())} of {len(judged)} targets met."]
        parts += [
            f"  missed: {result.row} against {result.against}: {_cells(result)[3]}, {result.target}"
            for result in run.missed()
        ]
        notes = [f"  {result.row}: {result.note}" for result in run.results if result.note]
        parts += ["", "notes (of memory: bytes an entry, by measure):", *notes] if notes else []
    if run.outcomes:
        lines = [_outcome_cells(outcome) for outcome in run.outcomes]
        parts += ["", "hit ratio, percent:", *_aligned(OUTCOME_HEADINGS, lines)]
    return "\n".join(parts)


def _table(headings: Sequence[str], lines: Sequence[Sequence[str]]) -> Iterator[str]:
    yield f"| {' | '.join(headings)} |"
    yield f"|{'|'.join('---' for _ in headings)}|"
    for line in lines:
        yield f"| {' | '.join(line)} |"


def markdown(run: Run) -> str:
    """The whole run for the README, between the markers it is found by."""
    parts = [BEGIN, "", *(f"- {name}: {value}" for name, value in run.about().items()), ""]
    if run.results:
        parts += [
            *_table(HEADINGS, [_cells(result) for result in run.results]),
            "",
            "Rows that miss their target:",
            "",
        ]
        parts += [
            f"- {result.row} against {result.against}: {_cells(result)[3]}, target {result.target}"
            for result in run.missed()
        ] or ["- none"]
        notes = [f"- {result.row}: {result.note}" for result in run.results if result.note]
        parts += ["", "Notes (of memory: bytes an entry, by measure):", "", *notes] if notes else []
    if run.outcomes:
        lines = [_outcome_cells(outcome) for outcome in run.outcomes]
        parts += ["", "Hit ratio in percent:", "", *_table(OUTCOME_HEADINGS, lines)]
    return "\n".join([*parts, "", END])


def write_markdown(run: Run, path: Path) -> None:
    """Put the run between the markers in `path`, or make `path` when it is not there.

    A file without the markers is a ValueError: it is somebody's text.
    """
    if not path.exists():
        path.write_text(markdown(run) + "\n", encoding="utf-8")
        return
    page = path.read_text(encoding="utf-8")
    before, begin, rest = page.partition(BEGIN)
    _, end, after = rest.partition(END)
    if not begin or not end:
        message = f"{path} has no place for results: it needs the lines {BEGIN!r} and {END!r}"
        raise ValueError(message)
    path.write_text(before + markdown(run) + after, encoding="utf-8")


def as_json(run: Run) -> dict[str, Any]:
    """The run as plain data; the fields are those of Result and Outcome, and `verdict`."""
    return {
        "about": run.about(),
        "results": [{**dataclasses.asdict(result), "verdict": result.verdict} for result in run.results],
        "hit_ratios": [dataclasses.asdict(outcome) for outcome in run.outcomes],
    }
