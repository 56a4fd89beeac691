"""The harness of `make conformance`, on a folder of tests that is as small as Django's is large."""

import json
import os
import subprocess
import sys
import tarfile
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pytest

django = pytest.importorskip("django")

ROOT = Path(__file__).resolve().parents[2]
RUN = ROOT / "tests" / "conformance" / "run.py"
LOCMEM = "django.core.cache.backends.locmem.LocMemCache"

RUNTESTS = """
import django
ALWAYS_INSTALLED_APPS = []
def setup_run_tests(verbosity, start_at, start_after, test_labels):
    django.setup()
    return test_labels, None
def teardown_run_tests(state):
    pass
"""
SETTINGS = "SECRET_KEY = 'x'\nDATABASES = {}\nINSTALLED_APPS = []\n"
GOOD = """
import unittest
from django.core.cache import cache
class LocMemCacheTests(unittest.TestCase):
    def test_good(self):
        cache.set("key", [1])
        self.assertEqual(cache.get("key"), [1])
"""
TESTS = "cache.tests.LocMemCacheTests"
PAGE = """
<!-- counts: begin; written -->
| Django | Python | set up with | ran | passed | listed |
|---|---|---|--:|--:|--:|
{counts}<!-- counts: end -->
<!-- listed: begin -->
| test | why |
|---|---|
{listed}<!-- listed: end -->
"""


class Harness:
    """A folder of tests and a page, which `run.py` is run on."""

    def __init__(self, folder: Path) -> None:
        self.tests = folder / "tests"
        self.page = folder / "conformance.md"
        self.kept = folder / "kept"
        for name in ("cache", "sessions_tests", "template_tests/syntax_tests"):
            self.put(f"{name}/__init__.py", "")
        self.put("runtests.py", RUNTESTS)
        self.put("test_sqlite.py", SETTINGS)
        self.put("template_tests/syntax_tests/test_cache.py", "")
        self.put("cache/tests.py", GOOD)
        self.list()

    def put(self, name: str, text: str) -> None:
        path = self.tests / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text)

    def test(self, *lines: str) -> None:
        """Add `test_bad`, of these lines."""
        body = "\n".join(f"        {line}" for line in lines)
        self.put("cache/tests.py", f"{GOOD}\n    def test_bad(self):\n{body}\n")

    def list(self, *rows: str, counts: str = "") -> None:
        listed = "".join(f"| {row} |\n" for row in rows)
        self.page.write_text(PAGE.format(counts=f"| {counts} |\n" if counts else "", listed=listed))

    def run(
        self,
        *arguments: str,
        backend: str = LOCMEM,
        options: Sequence[str] = ("--options={}",),
        **environment: str,
    ) -> subprocess.CompletedProcess[str]:
        command = [sys.executable, str(RUN), f"--page={self.page}", f"--backend={backend}", *options]
        if not any(argument.startswith("--folder") for argument in arguments):
            command.append(f"--tests={self.tests}")
        return subprocess.run(
            [*command, *arguments],
            capture_output=True,
            text=True,
            timeout=120,
            check=False,
            env=os.environ | environment,
        )


@pytest.fixture
def harness(tmp_path: Path) -> Harness:
    return Harness(tmp_path)


class TestVerdicts:
    def test_what_passes_is_good(self, harness: Harness) -> None:
        """A run in which every test passes ends with code 0 and an aligned table of counts."""
        done = harness.run()
        head, rule, row, left_out = done.stdout.strip().splitlines()
        assert (done.returncode, len(head)) == (0, len(row)) == (0, len(rule))
        assert row.split("|")[1].strip() == django.__version__
        assert [cell.strip() for cell in row.split("|")[4:7]] == ["1", "1", "0"]
        assert left_out.endswith(f": 0 of Django {django.__version__}")

    @pytest.mark.parametrize(
        "line",
        [
            pytest.param("self.assertEqual(1, 2)", id="failure"),
            pytest.param("raise OSError('1 != 2')", id="error"),
            pytest.param("self.skipTest('1 != 2')", id="skip"),
            pytest.param("with self.subTest('part'): self.assertEqual(1, 2)", id="subtest"),
        ],
    )
    def test_what_does_not_pass_must_be_listed(self, harness: Harness, line: str) -> None:
        """A failure, an error, a skip or a failed part is named with its cause; listed, it is counted and good."""
        harness.test(line)
        done = harness.run()
        assert done.returncode == 1
        assert f"{TESTS}.test_bad did not pass, and is not listed" in done.stdout
        assert "1 != 2" in done.stdout
        harness.list(f"`{TESTS}.test_bad` | it is about something else")
        done = harness.run()
        assert (done.returncode, done.stdout.split("|")[-4:-1]) == (0, ["   2 ", "      1 ", "      1 "])

    def test_what_is_listed_must_not_pass(self, harness: Harness) -> None:
        """A reason that is none any more fails the run."""
        harness.list(f"`{TESTS}.test_good` | it does not pass")
        done = harness.run()
        assert done.returncode == 1
        assert f"{TESTS}.test_good is listed in conformance.md, but it passes" in done.stdout

    def test_what_is_listed_must_be_there(self, harness: Harness) -> None:
        """A test that a newer Django has not any more fails the run, so that the list does not rot."""
        harness.list(f"`{TESTS}.test_gone` | it did not pass")
        done = harness.run()
        assert done.returncode == 1
        assert f"{TESTS}.test_gone is listed in conformance.md, but there is no such test" in done.stdout

    @pytest.mark.parametrize(
        ("text", "named"),
        [
            pytest.param("import nothing_of_this_name", "cache.tests", id="module"),
            pytest.param(
                f"{GOOD}\n    @classmethod\n    def setUpClass(cls): raise OSError", "setUpClass", id="class"
            ),
        ],
    )
    def test_what_cannot_begin_is_a_failure(self, harness: Harness, text: str, named: str) -> None:
        """Tests that were not reached, because their module or class could not be set up, did not pass."""
        harness.put("cache/tests.py", text)
        done = harness.run()
        assert done.returncode == 1
        assert f"{named} " in done.stdout.replace("(", "").replace(")", " ")
        assert "did not pass" in done.stdout

    def test_no_test_at_all_is_not_good(self, harness: Harness) -> None:
        """A run that found nothing to run has shown nothing."""
        harness.put("cache/tests.py", "")
        done = harness.run()
        assert (done.returncode, "no test was found" in done.stdout) == (1, True)

    def test_tests_of_other_backends_are_left_out(self, harness: Harness) -> None:
        """What says nothing about the backend under test is neither run nor counted as passed."""
        harness.put(
            "cache/tests.py",
            f"{GOOD}\nclass FileBasedCacheTests(LocMemCacheTests): pass"
            "\nclass DBCacheTests(LocMemCacheTests): pass",
        )
        harness.put("sessions_tests/tests.py", GOOD.replace("LocMemCache", "CookieSession"))
        done = harness.run("--json=-")
        (verdict,) = json.loads(done.stdout)
        assert (verdict["ran"], verdict["passed"], verdict["left_out"]) == (1, 1, 3)


class TestStandIn:
    def test_the_backend_is_in_the_place_of_locmem(self, harness: Harness) -> None:
        """Imports and dotted paths of LocMemCache lead to the backend, with the options of the run."""
        harness.test(
            "from django.core.cache.backends.locmem import LocMemCache",
            "from oxicache.django.backends import NativeCache",
            "self.assertTrue(issubclass(LocMemCache, NativeCache))",
            "self.assertIs(type(cache._connections[cache._alias]), LocMemCache)",
            "self.assertEqual(cache._store.cache.policy, 'lru')",
        )
        done = harness.run(
            backend="oxicache.django.backends.NativeCache", options=['--options={"POLICY": "lru"}']
        )
        assert done.returncode == 0, done.stdout + done.stderr

    def test_private_parts_of_locmem_are_answered_for(self, harness: Harness) -> None:
        """Deadlines, the shared store and the lock are what the backend says of itself."""
        harness.test(
            "cache.set('five', 1, timeout=300)",
            "cache.set('ever', 1, timeout=None)",
            "five = cache._expire_info[cache.make_key('five')]",
            "cache.set('hour', 1, timeout=3600)",
            "self.assertLess(five, cache._expire_info[cache.make_key('hour')])",
            "self.assertIsNone(cache._expire_info[cache.make_key('ever')])",
            "self.assertRaises(KeyError, lambda: cache._expire_info[cache.make_key('none')])",
            "self.assertFalse(cache._lock.locked())",
            "cache._cache = cache._cache",
            "self.assertRaises(AssertionError, setattr, cache, '_cache', 'elsewhere')",
            "self.assertIs(cache.incr.__func__, type(cache._connections[cache._alias]).incr)",
        )
        done = harness.run(backend="oxicache.django.backends.NativeCache")
        assert done.returncode == 0, done.stdout + done.stderr


class TestPage:
    @pytest.mark.parametrize(
        "rows",
        [
            pytest.param([f"`{TESTS}.test_bad` | "], id="no reason"),
            pytest.param([f"{TESTS}.test_bad | because"], id="no backquotes"),
            pytest.param([f"`{TESTS}.test_bad` | because"] * 2, id="twice"),
        ],
    )
    def test_a_reason_is_asked_for(self, harness: Harness, rows: list[str]) -> None:
        """A page that lists a test without a reason, or unreadably, ends the run before it begins."""
        harness.list(*rows)
        done = harness.run()
        assert (done.returncode, "with its reason" in done.stderr) == (2, True)

    def test_counts_of_the_page_are_compared_and_written(self, harness: Harness) -> None:
        """Counts that are said of this very Django must be what came out; `--write` puts them there."""
        python = ".".join(map(str, sys.version_info[:2]))
        harness.list(counts=f"{django.__version__} | {python} | nothing else | 7 | 7 | 0")
        done = harness.run()
        assert done.returncode == 1
        assert "| 7 | 7 | 0, but it is" in done.stderr
        assert harness.run("--write").returncode == 0
        assert "|   1 |      1 |      0 |" in harness.page.read_text()
        assert harness.run().returncode == 0

    def test_counts_of_another_django_are_not_compared(self, harness: Harness) -> None:
        """Each release adds tests, so a page that knows nothing of this one is not wrong."""
        harness.list(counts="4.2.1 | 3.11 | nothing else | 7 | 7 | 0")
        assert harness.run().returncode == 0

    def test_what_shows_the_same_is_there(self) -> None:
        """The page names a test of oxicache beside each of Django's that does not pass, and it exists."""
        page = (ROOT / "docs" / "conformance.md").read_text()
        rows = page.partition("<!-- listed: begin")[2].partition("<!-- listed: end")[0].splitlines()[3:]
        tests = (ROOT / "tests" / "python" / "django_app" / "test_native_culling.py").read_text()
        named = [row.split("|")[-2].strip().strip("`").removeprefix("TestCulling::") for row in rows]
        assert named
        assert [name for name in named if f"    def {name}(" not in tests] == []


class TestSources:
    def archive(self, harness: Harness, name: str) -> None:
        harness.kept.mkdir()
        with tarfile.open(harness.kept / f"{name}.tar.gz", "w:gz") as distribution:
            distribution.add(harness.tests, f"{name}/tests")

    @pytest.mark.parametrize("name", ["django", "Django"])
    def test_what_is_kept_is_not_fetched_again(self, harness: Harness, name: str) -> None:
        """A distribution that lies in the folder is unpacked and run, without a network."""
        self.archive(harness, f"{name}-{django.__version__}")
        for _ in range(2):
            done = harness.run(f"--folder={harness.kept}", **OFFLINE)
            assert done.returncode == 0, done.stderr
        assert (harness.kept / f"django-{django.__version__}" / "tests" / "runtests.py").is_file()

    def test_without_an_index_the_message_says_what_was_wanted(self, harness: Harness) -> None:
        """Offline, the run ends with code 2 and names the file, the folder and what pip said."""
        done = harness.run(f"--folder={harness.kept}", **OFFLINE)
        assert done.returncode == 2
        for said in (f"django-{django.__version__}.tar.gz", str(harness.kept), "No matching distribution"):
            assert said in done.stderr

    def test_an_archive_without_tests_is_refused(self, harness: Harness) -> None:
        """What holds no tests is no source distribution, and nothing of it is kept."""
        (harness.tests / "runtests.py").unlink()
        self.archive(harness, f"django-{django.__version__}")
        done = harness.run(f"--folder={harness.kept}", **OFFLINE)
        assert (done.returncode, "holds no tests/runtests.py" in done.stderr) == (2, True)


OFFLINE: dict[str, Any] = {"PIP_NO_INDEX": "1", "PIP_FIND_LINKS": "", "PIP_CONFIG_FILE": os.devnull}


class TestRuns:
    def test_a_run_that_dies_says_so(self, harness: Harness) -> None:
        """An interpreter that ends without a result ends the run with code 2 and what it said last."""
        harness.test("import os, sys; print('the end', file=sys.stderr, flush=True); os._exit(3)")
        done = harness.run()
        assert done.returncode == 2
        assert "ended with code 3" in done.stderr
        assert "the end" in done.stderr

    def test_two_set_ups_are_run_on_each_python(self, harness: Harness) -> None:
        """Without `--options` each interpreter runs the tests twice: with nothing else, and with other options."""
        done = harness.run(
            f"--python={sys.executable}",
            "--json=-",
            backend="oxicache.django.backends.NativeCache",
            options=(),
        )
        setups = [verdict["setup"] for verdict in json.loads(done.stdout)]
        assert setups == ["", "oxicache.django, POLICY lru, ISOLATION pickle, COHERENCE process"]
