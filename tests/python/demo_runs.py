"""Runs of the demo in interpreters of their own, because it configures Django for itself."""

import shutil
import subprocess
import sys
from pathlib import Path

import pytest

CITIES = "300"
LIMIT_SECONDS = 600  # far beyond what a run takes on a loaded machine: only a hang reaches it

Ran = tuple[Path, subprocess.CompletedProcess[str]]  # a data directory, and the run that made it

# Every job, on fewer visits, pages and travellers: equality does not need the demo's full length.
SHORT = """
import sys
from oxicache.demo import __main__ as demo, jobs
jobs.VISITS, jobs.PAGES_PER_CONTINENT, jobs.TRAVELLERS = 2, 1, ("PT", "VN", "ZA", "IS")
sys.exit(demo.main(sys.argv[1:]))
"""

# One job instead of seven: these runs are about what is around the jobs.
QUICK = """
import sys
from oxicache.demo import __main__ as demo, jobs
jobs.JOBS = (jobs.Job("rankings", "by four criteria", jobs.rankings),)
sys.exit(demo.main(sys.argv[1:]))
"""


def run(*words: str) -> "subprocess.CompletedProcess[str]":
    return subprocess.run(
        [sys.executable, *words], capture_output=True, text=True, timeout=LIMIT_SECONDS, check=False
    )


def places(data: Path, runtime: Path | None = None) -> tuple[str, ...]:
    """Flags for a run that leaves nothing outside the directory; shared memory is kept in it too."""
    return ("--data", str(data), "--runtime-dir", str(runtime or data))


@pytest.fixture(scope="session")
def demo_run(tmp_path_factory: pytest.TempPathFactory) -> Ran:
    """A data directory, and the run that made it: every job on the largest cities, and the site looked at once."""
    base = tmp_path_factory.mktemp("a demo")  # with a space, as paths have them
    data, runtime = base / "data", base / "run time"
    runtime.mkdir()
    flags = ("--once", "--json", "--port", "0", "--cities", CITIES)
    return data, run("-c", SHORT, *flags, *places(data, runtime))


@pytest.fixture
def demo_data(demo_run: Ran, tmp_path: Path) -> Path:
    """A copy of a whole database, to be done with as one likes."""
    return Path(shutil.copytree(demo_run[0], tmp_path / "data"))
