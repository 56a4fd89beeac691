"""The guard against what tests leave behind: it names who left what, and lets alone what is put back in time."""

import os
import subprocess
import sys
import textwrap
from collections.abc import Callable
from pathlib import Path

import pytest
from leftovers import changes

HERE = Path(__file__).resolve().parent

CONFTEST = """
import pytest
from leftovers import Leftovers

def pytest_configure(config):
    config.pluginmanager.register(Leftovers(), "leftovers")

@pytest.fixture(scope="module")
def around():
    import os
    os.environ["OXICACHE_AROUND"] = "yes"
    yield
    del os.environ["OXICACHE_AROUND"]
"""


@pytest.fixture
def guarded(tmp_path: Path) -> Callable[..., str]:
    """Run the tests of these files in this order under the guard; return what pytest said."""

    def run(*sources: str) -> str:
        (tmp_path / "pytest.ini").write_text("[pytest]\n")
        (tmp_path / "conftest.py").write_text(CONFTEST)
        for number, source in enumerate(sources):
            (tmp_path / f"test_{number:02}.py").write_text(textwrap.dedent(source))
        command = [sys.executable, "-m", "pytest", "-q", "-p", "no:randomly", "-p", "no:cacheprovider"]
        env = {**os.environ, "PYTHONPATH": str(HERE)}
        done = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True, check=False, env=env)
        return done.stdout

    return run


INNOCENT = "def test_innocent(): pass\n"


LEFT = {
    "import os; os.environ['OXICACHE_LEFT'] = '1'": "environment OXICACHE_LEFT: '1'",
    "from oxicache import registry; registry.DELETION_SET = 3": "oxicache.registry DELETION_SET: 3",
    "from oxicache import tags; tags._edges['a', 'b'] = 1": "oxicache.tags._edges ('a', 'b'): 1",
    "from oxicache import scheduling; scheduling.after(1000, print)": "jobs that wait: ['print']",
    "from oxicache import _native; _native.set_enabled(False)": "are caches enabled: False",
    "from oxicache.trail import trail; trail.configure(size=3)": "what is configured of the trail",
    "import time; time.thread_time = lambda: 0": "time thread_time: <function",
    "import logging; logging.getLogger('oxicache').setLevel(10)": "logging oxicache: (10,",
}


def test_who_left_something_fails_by_name(guarded: Callable[..., str]) -> None:
    """And no other test does, of the same file or the next."""
    guilty = [
        f"def test_first(): pass\ndef test_guilty():\n    {code}\ndef test_last(): pass\n" for code in LEFT
    ]
    said = guarded(*(source for each in guilty for source in (each, INNOCENT)))
    assert f"{4 * len(LEFT)} passed, {len(LEFT)} errors" in said, said
    for number, name in enumerate(LEFT.values()):
        assert f"  {name}" in said
        assert f"since test_{2 * number:02}.py::test_guilty" in said


def test_what_is_put_back_when_a_file_is_done_was_not_left(guarded: Callable[..., str]) -> None:
    """A module's fixture may keep something changed; another file's test is not measured by that."""
    said = guarded("import pytest\npytestmark = pytest.mark.usefixtures('around')\n" + 2 * INNOCENT, INNOCENT)
    assert "2 passed" in said, said
    assert "error" not in said


def test_differences_are_told_by_their_names() -> None:
    """Of dicts by key, of all else as a whole; what was not looked at before is no difference."""
    before = {"rows": {"author": 1, "item": 2}, "language": "en"}
    after = {"rows": {"author": 1, "item": 3, "label": 1}, "language": "de", "new": 1}
    assert changes(before, before) == {}
    assert changes(before, after) == {
        "rows item": "3 instead of 2",
        "rows label": "1 instead of 'nothing'",
        "language": "'de' instead of 'en'",
    }
