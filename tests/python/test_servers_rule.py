"""What tests/python/servers/conftest.py promises, tried on a folder of its own."""

import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

TESTS = Path(__file__).parent
CONFTEST = TESTS / "servers" / "conftest.py"
SKIPPING = """
import pytest

@pytest.fixture
def redis():
    pytest.skip("no Redis")

def test_it(redis):
    pass
"""


def run_pytest(folder: Path, *arguments: str, **environment: str) -> subprocess.CompletedProcess[str]:
    shutil.copy(CONFTEST, folder)
    (folder / "test_skipping.py").write_text(SKIPPING)
    (folder / "pytest.ini").write_text("[pytest]\nmarkers = server: needs a server\n")
    inherited = {name: value for name, value in os.environ.items() if name != "OXICACHE_SERVERS"}
    return subprocess.run(
        [sys.executable, "-m", "pytest", "-q", *arguments, "."],
        capture_output=True,
        text=True,
        cwd=folder,
        env={**inherited, "PYTHONPATH": str(TESTS), **environment},
        timeout=120,
        check=False,
    )


class TestServers:
    @pytest.mark.parametrize(
        ("environment", "outcome", "code"),
        [
            pytest.param({}, "1 skipped", 0, id="wanted"),
            pytest.param({"OXICACHE_SERVERS": "required"}, "1 error", 1, id="required"),
        ],
    )
    def test_a_missing_server_fails_where_servers_are_required(
        self, tmp_path: Path, environment: dict[str, str], outcome: str, code: int
    ) -> None:
        """A test that skips for want of a server is a skip, and an error under OXICACHE_SERVERS=required."""
        done = run_pytest(tmp_path, "-m", "server", **environment)
        assert outcome in done.stdout
        assert done.returncode == code

    def test_server_tests_are_left_out_of_the_others(self, tmp_path: Path) -> None:
        """`-m "not server"`, as `make test` runs it, collects nothing from the folder."""
        assert run_pytest(tmp_path, "-m", "not server").returncode == pytest.ExitCode.NO_TESTS_COLLECTED
