"""Caches under Django's own test runner: isolated unasked, by `manage.py test` and by scripts; the runner mixin."""

import os
import subprocess
import sys
import textwrap
from collections.abc import Callable
from pathlib import Path

import project
import pytest

Run = Callable[..., subprocess.CompletedProcess[str]]

USERS_TESTS = """
    import time
    from unittest import TestCase, mock
    from django.test import SimpleTestCase, TestCase as DatabaseTestCase
    from oxicache import DELETION_SET, TTLCache, cache_manager
    from project.projects.models import Project, computed

    cache = cache_manager.get_cache("users", max_size=10, ttl=60)

    class StartsEmpty:
        @classmethod
        def setUpClass(cls):
            super().setUpClass()
            cls.own = TTLCache(max_size=10, ttl=60)
            cls.own.set("a", 1)

        def test_one(self):
            self.assertIsNone(cache.get("a"))
            self.assertNotIn(1, DELETION_SET)
            cache.set("a", 1)
            DELETION_SET.add(1)

        def test_two(self):
            self.test_one()

        def test_time(self):
            cache.set("a", 1)
            with mock.patch("time.time", return_value=time.time() + 61):
                self.assertIsNone(cache.get("a"))

        def test_a_class_fixture_lives_in_the_same_time(self):
            self.assertEqual(self.own.get("a"), 1)

    class Plain(StartsEmpty, TestCase):
        pass

    class Simple(StartsEmpty, SimpleTestCase):
        pass

    class Database(StartsEmpty, DatabaseTestCase):
        @classmethod
        def setUpTestData(cls):
            cls.project = Project.objects.create(title="Water", budget=4)
            cls.project.doubled_budget

        def test_property(self):
            computed.clear()
            self.assertEqual(self.project.doubled_budget, 8)
            self.assertEqual(computed["doubled_budget"], 1)

    class RealClock(TestCase):
        oxicache_real_clock = True

        def test_time(self):
            cache.set("a", 1)
            with mock.patch("time.time", return_value=time.time() + 61):
                self.assertEqual(cache.get("a"), 1)
"""
COUNT = 3 * 4 + 2

# As people write it who run Django's tests without manage.py.
SCRIPT = """
import sys
import django
from django.conf import settings
from django.test.utils import get_runner

django.setup()
sys.exit(bool(get_runner(settings)().run_tests(["users_tests"])))
"""

SETTINGS = """
from pathlib import Path
from project.settings import *
OXICACHE = {"RUNTIME_DIR": str(Path("runtime").resolve())}
Path("runtime").mkdir(exist_ok=True)
"""


@pytest.fixture
def run(tmp_path: Path) -> Run:
    """Run a command in a folder that holds the users' tests and settings, in a process of its own."""
    tests_folder = Path(project.__file__).parents[1]

    def execute(
        *command: str, tests: str = USERS_TESTS, settings: str = ""
    ) -> subprocess.CompletedProcess[str]:
        (tmp_path / "users_tests.py").write_text(textwrap.dedent(tests))
        (tmp_path / "users_settings.py").write_text(SETTINGS + settings)
        path = os.pathsep.join([str(tests_folder), str(tmp_path), os.environ.get("PYTHONPATH", "")])
        environment = {**os.environ, "PYTHONPATH": path, "DJANGO_SETTINGS_MODULE": "users_settings"}
        return subprocess.run(
            [sys.executable, *command],
            cwd=tmp_path,
            env=environment,
            capture_output=True,
            text=True,
            check=False,
        )

    return execute


MANAGE_TEST = ("-m", "django", "test", "users_tests")


def passed(done: subprocess.CompletedProcess[str], count: int) -> bool:
    """Whether Django's runner ran `count` tests and all passed; shows its output when not."""
    assert done.returncode == 0, done.stderr
    assert f"Ran {count} test" in done.stderr, done.stderr
    return True


def test_manage_py_test_isolates_without_configuration(run: Run) -> None:
    """With the app installed, unittest's, Django's and database test cases all start with empty caches."""
    assert passed(run(*MANAGE_TEST), COUNT)


@pytest.mark.parametrize("method", ["fork", "spawn"])
def test_parallel_runs_are_isolated_too(run: Run, method: str) -> None:
    """Worker processes of `--parallel` isolate each test, however they are started."""
    start = f"import multiprocessing\nmultiprocessing.set_start_method({method!r}, force=True)\n"
    assert passed(run(*MANAGE_TEST, "--parallel", "2", settings=start), COUNT)


def test_a_script_that_calls_the_runner_is_isolated_too(run: Run, tmp_path: Path) -> None:
    """Scripts that set Django up and call its runner need no configuration either."""
    (tmp_path / "runtests.py").write_text(SCRIPT)
    assert passed(run("runtests.py"), COUNT)


def test_the_setting_switches_it_off(run: Run) -> None:
    """OXICACHE["TEST_ISOLATION"] = False leaves tests as they were."""
    done = run(*MANAGE_TEST, settings='OXICACHE |= {"TEST_ISOLATION": False}')
    assert done.returncode == 1
    assert "test_two" in done.stderr
    assert "test_time" in done.stderr


@pytest.mark.parametrize("app", ["installed", "not installed"])
def test_the_ready_made_runner_isolates(run: Run, app: str) -> None:
    """TEST_RUNNER = OxicacheDiscoverRunner isolates where nothing else does."""
    settings = 'TEST_RUNNER = "oxicache.django.test_runner.OxicacheDiscoverRunner"\n'
    if app == "installed":
        settings += 'OXICACHE |= {"TEST_ISOLATION": False}\n'
    else:
        settings += 'INSTALLED_APPS.remove("oxicache.django")\n'
    assert passed(run(*MANAGE_TEST, settings=settings), COUNT)


def test_the_mixin_isolates_a_runner_of_ones_own(run: Run) -> None:
    """OxicacheRunnerMixin goes before any runner class, and leaves what that one does in place."""
    runner = """
OXICACHE |= {"TEST_ISOLATION": False}
TEST_RUNNER = "users_runner.Runner"
"""
    source = """
from django.test.runner import DiscoverRunner
from oxicache.django.test_runner import OxicacheRunnerMixin

class Mine(DiscoverRunner):
    def setup_test_environment(self, **kwargs):
        super().setup_test_environment(**kwargs)
        print("my own set-up")

    def teardown_test_environment(self, **kwargs):
        super().teardown_test_environment(**kwargs)
        print("my own tear-down")

class Runner(OxicacheRunnerMixin, Mine):
    pass
"""
    done = run("-c", f"open('users_runner.py', 'w').write({source!r})")
    assert done.returncode == 0
    done = run(*MANAGE_TEST, settings=runner)
    assert passed(done, COUNT)
    assert "my own set-up" in done.stdout
    assert "my own tear-down" in done.stdout


ROWS = """
    import os
    from pathlib import Path
    from django.test import TestCase
    from oxicache import _native
    from project.projects.models import Project, computed

    class Rows(TestCase):
        @classmethod
        def setUpTestData(cls):
            cls.project = Project.objects.create(title="Water", budget=4)
            cls.project.doubled_budget

        def test_one(self):
            computed.clear()
            for budget in (5, 6):
                self.project.budget = budget
                self.project.save()
                found = Project.objects.get(pk=self.project.pk)
                self.assertEqual([found.doubled_budget, found.doubled_budget], [2 * budget] * 2)
            self.assertEqual(computed["doubled_budget"], 2)
            self.assertFalse(_native.versions_state()["shared"])

        def test_two(self):
            self.assertEqual(Project.objects.get(pk=self.project.pk).doubled_budget, 8)
            self.test_one()
"""


@pytest.mark.parametrize("how", ["manage.py", "parallel", "script", "mixin"])
def test_rows_are_isolated_and_no_other_process_is_told(run: Run, tmp_path: Path, how: str) -> None:
    """A save invalidates at once, a rollback leaves nothing behind, and nothing is shared on this host."""
    (tmp_path / "runtests.py").write_text(SCRIPT)
    commands = {
        "parallel": (*MANAGE_TEST, "--parallel", "2"),
        "script": ("runtests.py",),
    }
    settings = ""
    if how == "mixin":
        settings = 'TEST_RUNNER = "oxicache.django.test_runner.OxicacheDiscoverRunner"\n'
    assert passed(run(*commands.get(how, MANAGE_TEST), tests=ROWS, settings=settings), 2)
    assert list((tmp_path / "runtime").iterdir()) == []


CACHES = """
NATIVE = "oxicache.django.backends.NativeCache"
CACHES = {"default": {"BACKEND": NATIVE}, "other": {"BACKEND": NATIVE, "LOCATION": "other", "TIMEOUT": None}}
"""
CACHES_TESTS = """
    import time
    import django
    django.setup()
    from unittest import TestCase, mock
    from django.core.cache import cache, caches
    from django.test import SimpleTestCase, TestCase as DatabaseTestCase, override_settings
    from oxicache import _native
    from oxicache.django import cache as handle

    OWN = {"default": {"BACKEND": "oxicache.django.backends.NativeCache", "LOCATION": "own"}}
    kept = []

    class Caches:
        def test_one(self):
            for one in (cache, caches["other"]):
                self.assertIsNone(one.get("a"))
                self.assertEqual(one.stats()["hits"], 0)
                one.set("a", 1, tags=["t"])
                self.assertEqual(one.get("a"), 1)
            self.assertEqual(handle.get("a"), 1)
            with override_settings(CACHES=OWN):
                for one in (cache, handle):
                    self.assertEqual(one.get("a"), None if one is cache else 5)
                    one.set("a", 5)
                kept.append(caches["default"])
            self.assertEqual([one.get("a") for one in (cache, handle)], [1, 1])
            cache.delete_by_tag("t")
            self.assertIsNone(handle.get("a"))

        def test_two(self):
            self.test_one()

        def test_three(self):
            for one in kept:
                self.assertIsNone(one.get("a"))
            self.test_one()

        def test_private(self):
            cache.set("a", 1)
            cache.clear()
            self.assertFalse(_native.versions_state()["shared"])

        def test_time(self):
            cache.set("a", 1, 60)
            caches["other"].set("a", 1)
            with mock.patch("time.time", return_value=time.time() + 61):
                self.assertIsNone(cache.get("a"))
                self.assertEqual(caches["other"].get("a"), 1)

    class Plain(Caches, TestCase):
        pass

    class Simple(Caches, SimpleTestCase):
        pass

    class Database(Caches, DatabaseTestCase):
        pass
"""


@pytest.mark.parametrize("how", ["manage.py", "fork", "spawn", "script", "mixin", "pytest"])
def test_a_native_cache_is_isolated_too(run: Run, tmp_path: Path, how: str) -> None:
    """Each test finds every alias empty, also under override_settings, by its own clock, and no other process hears."""
    (tmp_path / "runtests.py").write_text(SCRIPT)
    parallel = (*MANAGE_TEST, "--parallel", "2")
    commands = {"fork": parallel, "spawn": parallel, "script": ("runtests.py",)}
    settings = CACHES
    if how in {"fork", "spawn"}:
        settings += f"import multiprocessing\nmultiprocessing.set_start_method({how!r}, force=True)\n"
    if how == "mixin":
        settings += 'TEST_RUNNER = "oxicache.django.test_runner.OxicacheDiscoverRunner"\n'
    if how == "pytest":
        plain = CACHES_TESTS.partition("    class Database")[
            0
        ]  # that one needs a database, as pytest-django makes it
        done = run("-m", "pytest", "-q", "users_tests.py", tests=plain, settings=settings)
        assert "10 passed" in done.stdout, done.stdout
        return  # in collecting tests pytest looks at `cache`, which makes it, before any test is isolated
    assert passed(run(*commands.get(how, MANAGE_TEST), tests=CACHES_TESTS, settings=settings), 15)
    assert list((tmp_path / "runtime").iterdir()) == []


def test_without_isolation_a_native_cache_keeps_what_a_test_stored(run: Run) -> None:
    """OXICACHE["TEST_ISOLATION"] = False is for those who empty their caches themselves."""
    done = run(*MANAGE_TEST, tests=CACHES_TESTS, settings=CACHES + 'OXICACHE |= {"TEST_ISOLATION": False}\n')
    assert done.returncode == 1
    assert "test_two" in done.stderr


def test_after_the_runner_words_are_shared_again(run: Run, tmp_path: Path) -> None:
    """A process that goes on after its tests shares its invalidations, and tells nobody to look until then."""
    source = """
import django
django.setup()
from oxicache.django import host
from oxicache.django.test_runner import OxicacheDiscoverRunner

before = host.capture(["a"])
runner = OxicacheDiscoverRunner()
runner.setup_test_environment()
print(before.is_current(), host.state()["shared"], host.failure())
during = host.capture(["a"])
runner.teardown_test_environment()
print(during.is_current(), host.bump(["a"]), host.state()["shared"])
"""
    done = run("-c", source)
    assert (done.stdout, done.stderr) == ("False False None\nTrue 1 True\n", "")


def test_a_process_that_runs_no_tests_is_left_alone(run: Run) -> None:
    """Setting Django up for a server or a command loads neither unittest nor oxicache.testing."""
    source = """
import sys, django
django.setup()
print([name for name in ("unittest", "oxicache.testing", "django.test") if name in sys.modules])
"""
    assert run("-c", source).stdout == "[]\n"
