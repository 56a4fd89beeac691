"""`make conformance`: Django's own cache tests on oxicache's backend, on each Django that is installed.

Every test passes or is listed with its reason in docs/conformance.md. A test that does not pass and is not listed fails
the run; so does one that is listed and passes, or is not there. Exit code 0 when all is as the page says, 1 when not, 2
when the tests could not be run.
"""

import argparse
import json
import subprocess
import sys
import tempfile
from collections.abc import Mapping
from concurrent.futures import ThreadPoolExecutor
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from listing import ListingError, Page, Verdict, aligned, compared
from sources import SourcesError, unpacked_tests

ROOT = Path(__file__).resolve().parents[2]
BACKEND = "oxicache.django.backends.NativeCache"
AT_ONCE = 2  # Django's tests of expiry sleep, so a run leaves its core alone most of the time
RUN_SECONDS = 600  # one run takes about half a minute


@dataclass(frozen=True)
class Setup:
    """What a run has besides the settings of Django's tests."""

    options: Mapping[str, Any]
    apps: tuple[str, ...] = ()


# One line in CACHES and nothing else; then as far from that as OPTIONS go.
SETUPS = (
    Setup({}),
    Setup({"POLICY": "lru", "ISOLATION": "pickle", "COHERENCE": "process"}, ("oxicache.django",)),
)


class RunError(Exception):
    """A run ended without saying what became of its tests."""


def one_run(python: str, tests: Path, backend: str, setup: Setup) -> dict[str, Any]:
    """What became of each test, run by this interpreter in a process of its own."""
    with tempfile.TemporaryDirectory() as folder:
        result = Path(folder) / "result.json"
        command = [python, str(Path(__file__).with_name("suite.py")), "--tests", str(tests)]
        command += ["--backend", backend, "--options", json.dumps(dict(setup.options))]
        command += ["--result", str(result), *(f"--app={app}" for app in setup.apps)]
        try:
            done = subprocess.run(command, capture_output=True, text=True, timeout=RUN_SECONDS, check=False)
        except subprocess.TimeoutExpired as error:
            raise RunError(f"{python} had not ended the tests after {RUN_SECONDS} seconds") from error
        if not result.is_file():
            raise RunError(
                f"{python} ended with code {done.returncode}:\n{done.stdout[-4000:]}{done.stderr[-4000:]}"
            )
        outcomes: dict[str, Any] = json.loads(result.read_text())
        return outcomes


def installed_django(python: str) -> str:
    command = [python, "-c", "import django; print(django.__version__)"]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    if done.returncode != 0:
        raise RunError(f"{python} has no Django: {done.stderr.strip().splitlines()[-1]}")
    return done.stdout.strip()


def verdicts_of(arguments: argparse.Namespace, listed: Mapping[str, str]) -> list[Verdict]:
    pythons = arguments.python or [sys.executable]
    setups = [Setup(options) for options in arguments.options or ()] or SETUPS
    tests = {
        python: arguments.tests or unpacked_tests(python, installed_django(python), arguments.folder)
        for python in pythons
    }
    with ThreadPoolExecutor(AT_ONCE) as pool:
        runs = [
            pool.submit(one_run, python, tests[python], arguments.backend, setup)
            for python in pythons
            for setup in setups
        ]
        return [compared(run.result(), listed) for run in runs]


def explain(verdict: Verdict, page: Path) -> None:
    """Print what was not expected of one run."""
    where = f"Django {verdict.django}, Python {verdict.python}, with {verdict.counts[2]}"
    if not verdict.ran:
        print(f"\n{where}: no test was found")
    for name, detail in verdict.unlisted.items():
        print(f"\n{where}: {name} did not pass, and is not listed in {page.name}\n{detail}")
    for name, why in verdict.surplus.items():
        print(f"\n{where}: {name} is listed in {page.name}, but {why}: take it out")


def parsed(arguments: list[str] | None = None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument(
        "--python", action="append", help="an interpreter with oxicache and a Django; repeat for more"
    )
    parser.add_argument("--backend", default=BACKEND, help="the backend under test (default: %(default)s)")
    parser.add_argument(
        "--options",
        action="append",
        type=json.loads,
        help="OPTIONS as JSON, instead of the two set-ups; repeat for more",
    )
    parser.add_argument(
        "--tests", type=Path, help="the tests of a checkout of Django, instead of those that pip fetches"
    )
    parser.add_argument(
        "--folder", type=Path, default=ROOT / "build" / "conformance", help="where what pip fetched is kept"
    )
    parser.add_argument(
        "--page", type=Path, default=ROOT / "docs" / "conformance.md", help="the page with the list"
    )
    parser.add_argument("--write", action="store_true", help="write the counts into the page")
    parser.add_argument(
        "--json", type=Path, metavar="FILE", help="write the verdicts there as JSON; - for the output"
    )
    return parser.parse_args(arguments)


def main() -> int:
    arguments = parsed()
    try:
        page = Page(arguments.page)
        verdicts = verdicts_of(arguments, page.listed())
        if arguments.write:
            page.write_counts(verdicts)
        outdated = page.outdated(verdicts)
    except (ListingError, RunError, SourcesError) as error:
        print(error, file=sys.stderr)
        return 2
    if arguments.json == Path("-"):
        json.dump([asdict(verdict) for verdict in verdicts], sys.stdout, indent=2)
        print()
    else:
        if arguments.json:
            arguments.json.write_text(json.dumps([asdict(verdict) for verdict in verdicts], indent=2))
        for verdict in verdicts:
            explain(verdict, arguments.page)
        print(f"\n{aligned(verdict.counts for verdict in verdicts)}")
        left_out = dict.fromkeys(f"{verdict.left_out} of Django {verdict.django}" for verdict in verdicts)
        print(f"Left out of these runs, being about other backends and sessions: {', '.join(left_out)}")
    for line in outdated:
        print(f"{line}: run `make conformance CONFORMANCE_ARGS=--write`", file=sys.stderr)
    return 0 if not outdated and all(verdict.good for verdict in verdicts) else 1


if __name__ == "__main__":
    raise SystemExit(main())
