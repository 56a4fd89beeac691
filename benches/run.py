"""Every bench of the Python side: `python benches/run.py`. README.md beside this file says how to read the table."""

import argparse
import json
import os
import sys
from collections.abc import Callable, Iterable
from functools import partial
from pathlib import Path
from time import monotonic

try:
    import backend_memory
    import backend_rows
    import backends
    import cache_rows
    import chunking
    import control
    import decorator_rows
    import hit_ratio
    import invalidation
    import memory
    import page
    import page_parts
    import pauses
    import querysets
    import report
    import responses
    import save_cost
    import threads
    import version_rows
    import visibility
    from rows import Result, TimedRow
except ImportError as error:
    sys.exit(
        f"{error}. The benches need oxicache with its extra dev, or: pip install Django cachebox cachetools"
    )

LEAST_ROUNDS = 15
ROUNDS = 31
SAMPLE_NS = 10_000_000  # long beside a timer's tick and short beside the scheduler's disturbances
QUICK_ROUNDS = 3
QUICK_SAMPLE_NS = 500_000
QUICK_COUNT = 20_000  # entries where a full run has a million
QUICK_ENTRIES = 5_000  # and where it has a hundred thousand
QUICK_MEMBERS = 200  # of a tag
SIGHTINGS = 2_000  # invalidations that another process is to see
QUICK_SIGHTINGS = 20
PAUSES = 15  # collections a child measures
BUSY_LOAD = 0.5  # of one processor, over the minute before: half a core of somebody else's work

Job = tuple[str, Callable[[], Iterable[Result]]]


class Progress:
    """One line on a terminal that says what runs and how far it is; silent elsewhere."""

    def __init__(self, total: int) -> None:
        self.total = total
        self.done = 0
        self.started = monotonic()
        self.shown = sys.stderr.isatty()

    def say(self, what: str) -> None:
        """Show `what` as the thing that runs now."""
        if self.shown:
            spent = monotonic() - self.started
            print(
                f"\r\x1b[K[{self.done}/{self.total}, {spent:.0f} s] {what}",
                end="",
                file=sys.stderr,
                flush=True,
            )

    def finish_one(self) -> None:
        """Count one job as done."""
        self.done += 1

    def end(self) -> None:
        """Leave a clean line."""
        if self.shown:
            print("\r\x1b[K", end="", file=sys.stderr, flush=True)


def jobs(options: argparse.Namespace) -> list[Job]:
    """What is to be measured, by the names that --only chooses from."""
    rounds, sample = options.rounds, QUICK_SAMPLE_NS if options.quick else SAMPLE_NS
    count = QUICK_COUNT if options.quick else memory.MILLION
    timed: tuple[TimedRow, ...] = (
        *cache_rows.ROWS,
        *decorator_rows.ROWS,
        *version_rows.ROWS,
        *backend_rows.ROWS,
    )
    found: list[Job] = [
        (row.name, partial(row.results, rounds, sample)) for row in timed if not (options.quick and row.slow)
    ]
    found.append((save_cost.ROW, partial(save_cost.results, rounds, sample)))
    found.append((invalidation.SAVE_ROW, partial(invalidation.saves, rounds, sample)))
    held = (QUICK_MEMBERS, QUICK_ENTRIES) if options.quick else (invalidation.MEMBERS, invalidation.KEYS)
    found.append((invalidation.MANY_ROW, partial(invalidation.many, rounds, *held)))
    if visibility.available():
        sightings = QUICK_SIGHTINGS if options.quick else SIGHTINGS
        found.append((visibility.ROW, partial(visibility.results, sightings)))
    if control.available():
        asked = QUICK_ROUNDS if options.quick else rounds
        found.append((control.STATS, partial(control.results, asked)))
    found.append(("four threads", partial(threads.results, rounds, sample)))
    in_threads = partial(threads.results, rounds, sample, backend_rows.in_threads)
    found.append((f"four threads, {backends.OURS}", in_threads))
    found.append((page.ROW, partial(page.results, rounds, sample)))
    if responses.available():
        found += [
            (f"{responses.ROW}, {group}", partial(responses.results, group, rounds, sample))
            for group in responses.GROUPS
            if not (options.quick and group in responses.SLOW)
        ]
    found += [(group, partial(page_parts.results, group, rounds, sample)) for group in page_parts.GROUPS]
    found.append((querysets.ROW, partial(querysets.results, rounds, sample)))
    found.append((pauses.ROW, partial(pauses.results, QUICK_ROUNDS if options.quick else PAUSES, count)))
    if memory.available():
        found.append((memory.ROW, partial(memory.results, count)))
        entries = QUICK_ENTRIES if options.quick else backend_memory.COUNT
        found.append((backend_memory.ROW, partial(backend_memory.results, entries)))
        found.append((f"{chunking.ROW}, {chunking.STREAM}", partial(chunking.results, count)))
    return [(name, job) for name, job in found if options.only in name]


def parsed(arguments: list[str]) -> argparse.Namespace:
    """The command line; exits with 2 when it is wrong."""
    parser = argparse.ArgumentParser(prog="benches/run.py", description=__doc__)
    parser.add_argument(
        "--json", metavar="FILE", help="write the results as JSON; - for standard output, and no table"
    )
    parser.add_argument(
        "--markdown", metavar="FILE", help="write them between the markers of a page; - prints them"
    )
    parser.add_argument(
        "--only", metavar="TEXT", default="", help="only rows whose name contains TEXT; 'hit ratio' too"
    )
    parser.add_argument(
        "--rounds", type=int, help=f"at least {LEAST_ROUNDS} without --quick (default {ROUNDS})"
    )
    parser.add_argument(
        "--quick", action="store_true", help="a run of seconds: shows that it works, not how fast"
    )
    parser.add_argument(
        "--traces", metavar="DIR", type=Path, help=f"also the recorded traces *{hit_ratio.SUFFIX} in DIR"
    )
    options = parser.parse_args(arguments)
    if options.rounds is None:
        options.rounds = QUICK_ROUNDS if options.quick else ROUNDS
    if options.rounds < (1 if options.quick else LEAST_ROUNDS):
        parser.error(
            f"--rounds {options.rounds}: a median needs at least {LEAST_ROUNDS} rounds (1 with --quick)"
        )
    if options.traces and not hit_ratio.recorded(options.traces):
        parser.error(f"--traces {options.traces}: no *{hit_ratio.SUFFIX} there")
    return options


def command(options: argparse.Namespace) -> str:
    """The command that repeats this run, without the paths of this machine."""
    words = ["python benches/run.py"]
    words += ["--quick"] if options.quick else []
    words += [f"--rounds {options.rounds}"] if options.rounds != ROUNDS and not options.quick else []
    words += [f"--only {options.only!r}"] if options.only else []
    words += ["--traces DIR"] if options.traces else []
    return " ".join(words)


def measured(options: argparse.Namespace) -> report.Run:
    """Run what `options` choose, one thing after another."""
    chosen = jobs(options)
    traced = options.only in "hit ratio"
    progress = Progress(len(chosen) + traced)
    load_before = os.getloadavg()[0]
    results: list[Result] = []
    outcomes: list[hit_ratio.Outcome] = []
    for name, job in chosen:
        progress.say(name)
        for result in job():
            results.append(result)
            progress.say(f"{name}: {result.against}")
        progress.finish_one()
    if traced:
        outcomes += hit_ratio.every_outcome(options.traces, options.quick, progress.say)
    progress.end()
    return report.Run(
        command=command(options),
        rounds=options.rounds,
        quick=options.quick,
        results=results,
        outcomes=outcomes,
        load_before=load_before,
        load_after=os.getloadavg()[0],
    )


def main(arguments: list[str]) -> int:
    """Measure, print, write. 0 also when a target is missed: the table says so. 2 for wrong use."""
    options = parsed(arguments)
    run = measured(options)
    if not run.results and not run.outcomes:
        print(f"no row contains {options.only!r}", file=sys.stderr)
        return 2
    if run.load_before > BUSY_LOAD:
        print("This machine was busy when the run began: trust no figure of this run.", file=sys.stderr)
    printed = {options.json, options.markdown} & {"-"}
    if options.json == "-":
        print(json.dumps(report.as_json(run), indent=2))
    elif options.json:
        Path(options.json).write_text(json.dumps(report.as_json(run), indent=2) + "\n", encoding="utf-8")
    if options.markdown == "-":
        print(report.markdown(run))
    elif options.markdown:
        report.write_markdown(run, Path(options.markdown))
    if not printed:
        print(report.text(run))
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
