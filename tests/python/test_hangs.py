"""A test that hangs, under this project's own configuration of pytest."""

import subprocess
import sys
from pathlib import Path

CONFIGURATION = Path(__file__).resolve().parents[2] / "pyproject.toml"
HANGING = """
import threading

def test_before():
    pass

def test_that_hangs():
    threading.Event().wait()
"""


def test_a_hanging_test_ends_the_run_with_its_stack(tmp_path: Path) -> None:
    """Past `faulthandler_timeout` every thread's stack is printed and the run fails; here past one second."""
    (tmp_path / "test_hanging.py").write_text(HANGING)
    done = subprocess.run(
        [
            *(sys.executable, "-m", "pytest", "-c", str(CONFIGURATION), "--rootdir", str(tmp_path)),
            *("-p", "no:randomly", "-p", "no:cacheprovider", "-o", "faulthandler_timeout=1", str(tmp_path)),
        ],
        capture_output=True,
        text=True,
        timeout=120,
        check=False,
    )
    assert done.returncode not in {0, 5}
    assert "Timeout (0:00:01)!" in done.stderr
    assert "test_that_hangs" in done.stderr
