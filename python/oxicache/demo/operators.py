"""What an operator does: `manage_cache` in a process of its own, against the two workers of the running site.

Each command is one that a shell would run, and what it prints is shown. What is checked is what the workers then do.
"""

import json
import os
import shlex
import subprocess
import sys
from dataclasses import dataclass, field
from http import HTTPStatus
from pathlib import Path
from typing import Any

from .changes import PAGE as SEARCH
from .connections import answer, connected, open_form, rounds, worker
from .console import Console
from .data import data_directory
from .deletions import Check
from .edits import COUNTRY, EDITED
from .edits import FORM as EDIT_FORM
from .edits import PAGE as COUNTRY_PAGE
from .server import ServerError

SETTINGS = "oxicache.demo.site.settings"
SEARCHES = "django:default"  # where the site keeps its searches
FIGURES = "oxicache.demo.site.atlas.models.Country.figures"
LIMIT_SECONDS = 60  # for a command; one takes less than a second, and most of that is Django's start

# What somebody who keeps the demo running may try from another shell.
SUGGESTED = (
    "stats",
    "stats --watch",
    "top --by misses",
    f"explain atlas.Country:3017382 --cache-name {FIGURES}",
    "clear --dry-run",
    "monitor --export=prometheus",
)


@dataclass(frozen=True)
class Ran:
    """One command: what it was, how it ended and what it printed."""

    words: tuple[str, ...]
    exit_code: int
    output: str

    @property
    def is_whole(self) -> bool:
        """Whether it was done by all workers, and at least two there were."""
        said = self.output.rpartition(" workers answered")[0].rpartition("\n")[2].split(" of ")
        return self.exit_code == 0 and len(set(said)) == 1 and said[0] not in {"0", "1"}


@dataclass
class Operations:
    """What was found."""

    ran: list[Ran] = field(default_factory=list)
    checks: list[Check] = field(default_factory=list)

    def check(self, claim: str, *, holds: bool) -> None:
        """Note what should be so, and whether it is."""
        self.checks.append(Check(claim, holds))


def unreachable_because(port: int) -> str:
    """Ask a worker why commands cannot reach it; empty when they can."""
    with connected(port, 1) as (connection,), answer(connection, "GET", "/api/cache/") as response:
        return str(json.loads(response.read())["unreachable_because"] or "")


def check_operations(port: int, console: Console) -> Operations:
    """Look at what both workers hold, have one save a country and ask why its figures are stale, clear the searches."""
    found = Operations()
    workers = _both_hit(port, SEARCH)
    _both_hit(port, COUNTRY_PAGE)
    _run(console, found, "manage_cache", "stats", "--cache-name", SEARCHES)
    held = _sizes(workers)
    found.check(
        f"workers {_named(workers)} answer, and each tells of its own searches",
        holds=workers == held.keys() and all(held.values()),
    )
    _run(console, found, "manage_cache", "top", "--limit", "4")
    _check_explain(port, console, found)
    _both_hit(port, SEARCH)  # the save has dropped the searches too
    held = _sizes(workers)
    _run(console, found, "manage_cache", "clear", "--dry-run", "--cache-name", SEARCHES)
    found.check("after a dry run the searches are still there", holds=_sizes(workers) == held)
    _run(console, found, "manage_cache", "clear", "--cache-name", SEARCHES)
    found.check("after clear no worker holds a search", holds=not any(_sizes(workers).values()))
    found.check("each worker's next search is a miss", holds=_first_answers(port, SEARCH, workers) == {False})
    _run(console, found, "cleanup_deletion_tracker", "--stats")
    found.check("every command reached all workers", holds=all(ran.is_whole for ran in found.ran))
    return found


def _check_explain(port: int, console: Console, found: Operations) -> None:
    """Save a country through one worker, and ask where its figures went before anybody has computed them again."""
    from .site.atlas.models import Country

    form = open_form(port, EDIT_FORM, EDITED)
    before = form.values[EDITED]
    try:
        with connected(port, 1) as (connection,):
            saver = form.send(connection, **{EDITED: str(int(before) + 1)})
        key = f"atlas.Country:{Country.objects.get(iso=COUNTRY).pk}"
        ran = _run(console, found, "manage_cache", "explain", key, "--cache-name", FIGURES)
    finally:
        with connected(port, 1) as (connection,):
            form.send(connection, **{EDITED: before})
    told = [line for line in ran.output.splitlines() if "outdated" in line]
    place = "oxicache/demo/site/atlas/views.py:"
    found.check(
        f"explain tells that the figures are outdated by the save of worker {saver}, and its line",
        holds=bool(told)
        and all(f"save at {place}" in line and f"(process {saver})" in line for line in told),
    )


def _run(console: Console, found: Operations, *words: str) -> Ran:
    """Run a command as a shell would, and show it and what it prints."""
    done = _manage(*words)
    ran = Ran(words, done.returncode, done.stdout + done.stderr)
    found.ran.append(ran)
    console.say(console.paint(f"$ python -m django {shlex.join(words)}", "bold"))
    for line in ran.output.rstrip().splitlines():
        console.say(f"    {line}".rstrip())
    console.say()
    return ran


def _manage(*words: str) -> "subprocess.CompletedProcess[str]":
    # The environment names the settings and the data already, as open_directory has set it.
    return subprocess.run(  # noqa: S603 - this interpreter and words of this file
        [sys.executable, "-m", "django", *words],
        capture_output=True,
        text=True,
        timeout=LIMIT_SECONDS,
        check=False,
        stdin=subprocess.DEVNULL,
        env=os.environ | {"DJANGO_SETTINGS_MODULE": SETTINGS, "NO_COLOR": "1"},
    )


def _sizes(workers: set[int]) -> dict[int, int]:
    """How many searches each of these workers holds, by process id. Another demo may run on this host."""
    done = _manage("manage_cache", "stats", "--json")
    if done.returncode:
        raise ServerError(f"manage_cache stats failed: {done.stderr.strip()}")
    found: dict[str, Any] = json.loads(done.stdout)
    processes: dict[str, Any] = found["_global"]["processes"]
    return {
        int(pid): caches[SEARCHES]["size"]
        for pid, caches in processes.items()
        if int(pid) in workers and SEARCHES in caches
    }


def _both_hit(port: int, page: str) -> set[int]:
    """Ask for a page until both workers answer it from their caches; return which they are."""
    hits: set[int] = set()
    for _ in rounds():
        with connected(port, 2) as connections:
            for connection in connections:
                with answer(connection, "GET", page) as response:
                    response.read()
                    if response.headers["X-Cache"] == "HIT":
                        hits.add(worker(response))
        if len(hits) > 1:
            return hits
    raise ServerError(f"the two workers did not both answer {page} from their caches")


def _first_answers(port: int, page: str, workers: set[int]) -> set[bool]:
    """Whether the first answer of each of the workers comes from its cache."""
    first: dict[int, bool] = {}
    for _ in rounds():
        with connected(port, 2) as connections:
            for connection in connections:
                with answer(connection, "GET", page) as response:
                    response.read()
                    if response.status != HTTPStatus.OK:
                        raise ServerError(f"{page} was answered with {response.status}")
                    first.setdefault(worker(response), response.headers["X-Cache"] == "HIT")
        if workers <= first.keys():
            return {first[pid] for pid in workers}
    raise ServerError("only one of the two workers answers")


def _named(workers: set[int]) -> str:
    return " and ".join(map(str, sorted(workers)))


def suggested(directory: Path, runtime_directory: str | None) -> list[str]:
    """The commands to try in another shell, as they are to be typed there."""
    given = {}
    if directory != data_directory(None):
        given["OXICACHE_DEMO_DATA"] = str(directory)
    if runtime_directory is not None:
        given["OXICACHE_DEMO_RUNTIME_DIR"] = os.environ["OXICACHE_DEMO_RUNTIME_DIR"]
    before = "".join(f"{name}={shlex.quote(value)} " for name, value in given.items())
    return [f"{before}python -m django manage_cache {words} --settings {SETTINGS}" for words in SUGGESTED]
