"""The pytest plugin, as a user gets it who has only installed the package."""

import subprocess
import sys
import textwrap
from collections.abc import Callable
from pathlib import Path

import pytest

RunPytest = Callable[..., subprocess.CompletedProcess[str]]


@pytest.fixture
def run_pytest(tmp_path: Path) -> RunPytest:
    """Run pytest on a file of its own, as a user who has only installed the package would."""

    def run(source: str, *options: str, ini: str = "") -> subprocess.CompletedProcess[str]:
        (tmp_path / "pytest.ini").write_text(f"[pytest]\n{ini}\n")
        (tmp_path / "test_users_own.py").write_text(textwrap.dedent(source))
        command = [
            sys.executable,
            "-m",
            "pytest",
            "-q",
            "-p",
            "no:randomly",
            "-p",
            "no:cacheprovider",
            *options,
        ]
        return subprocess.run(command, cwd=tmp_path, capture_output=True, text=True, check=False)

    return run


ISOLATED_TESTS = """
    import time
    from unittest import TestCase, mock
    import pytest
    from oxicache import DELETION_SET, TTLCache, cache_manager

    cache = cache_manager.get_cache("users", max_size=10, ttl=60)

    @pytest.mark.parametrize("round", [1, 2])
    def test_it_starts_empty(round):
        assert cache.get("a") is None and 1 not in DELETION_SET
        cache.set("a", 1)
        DELETION_SET.add(1)

    @pytest.fixture(scope="module")
    def module_cache():
        made = TTLCache(max_size=10, ttl=60)
        made.set("a", 1)
        return made

    def test_a_module_fixture_lives_in_the_same_time(module_cache):
        assert module_cache.get("a") == 1

    class Case(TestCase):
        def test_time(self):
            cache.set("a", 1)
            with mock.patch("time.time", return_value=time.time() + 61):
                assert cache.get("a") is None

    @pytest.mark.oxicache_real_clock
    def test_real_clock():
        cache.set("a", 1)
        with mock.patch("time.time", return_value=time.time() + 61):
            assert cache.get("a") == 1

    def test_the_clock(oxicache_clock):
        cache.set("a", 1)
        oxicache_clock.advance(60)
        assert cache.get("a") is None
"""


class TestPlugin:
    def test_a_users_tests_are_isolated_without_configuration(self, run_pytest: RunPytest) -> None:
        """Installed is enough: caches and deletions are empty before each test, and time follows time.time."""
        done = run_pytest(ISOLATED_TESTS, "--strict-markers", "-W", "error")
        assert "6 passed" in done.stdout, done.stdout

    def test_the_ini_option_switches_it_off(self, run_pytest: RunPytest) -> None:
        """With `oxicache_isolation = false` entries stay from test to test and time is the engine's own."""
        source = """
            import time
            from unittest import mock
            from oxicache import cache_manager

            cache = cache_manager.get_cache("users", max_size=10, ttl=60)

            def test_one():
                cache.set("a", 1)

            def test_two():
                with mock.patch("time.time", return_value=time.time() + 61):
                    assert cache.get("a") == 1
        """
        assert "2 passed" in run_pytest(source, ini="oxicache_isolation = false").stdout
        assert "1 failed, 1 passed" in run_pytest(source).stdout

    def test_switched_off_it_is_off_for_djangos_tests_too(self, run_pytest: RunPytest) -> None:
        """The app notices Django's test environment by itself, and leaves a run under pytest to the plugin."""
        pytest.importorskip("django")
        source = """
            import unittest
            import django
            from django.conf import settings
            from django.test.utils import setup_test_environment

            settings.configure(INSTALLED_APPS=["oxicache.django"])
            django.setup()
            setup_test_environment()

            from oxicache import cache_manager
            cache = cache_manager.get_cache("users", max_size=10, ttl=60)

            class Case(unittest.TestCase):
                def test_one(self):
                    self.assertIsNone(cache.get("a"))
                    cache.set("a", 1)

                test_two = test_one
        """
        assert "1 failed, 1 passed" in run_pytest(source, ini="oxicache_isolation = false").stdout
        assert "2 passed" in run_pytest(source).stdout

    def test_a_project_that_does_not_use_it_sees_nothing(self, run_pytest: RunPytest) -> None:
        """The plugin imports no Django, adds no autouse fixture, and leaves no line in the output."""
        source = """
            import sys

            def test_nothing(request):
                assert "django" not in sys.modules
                assert not [name for name in request.fixturenames if "oxicache" in name]
        """
        done = run_pytest(source, "-W", "error")
        assert "1 passed" in done.stdout, done.stdout
        assert "oxicache" not in done.stdout

    @pytest.mark.skipif(sys.platform != "linux", reason="words are shared on Linux only")
    @pytest.mark.parametrize(("ini", "shared"), [("", False), ("oxicache_isolation = false", True)])
    def test_words_are_private_while_tests_run(
        self, run_pytest: RunPytest, tmp_path: Path, ini: str, shared: bool
    ) -> None:
        """Whoever shared words before a test does not in it, with Django or without; switched off, it does."""
        source = f"""
            import sys
            from oxicache import _native
            from oxicache.versions import version_words

            def share():
                assert _native.versions_share({str(tmp_path)!r}, "site", 2**16)["shared"]
                return lambda: None

            version_words.opened_by(share)
            before = version_words.capture(["a"])

            def test_one():
                assert "django" not in sys.modules
                assert before.is_current() is {shared}
                assert version_words.bump(["a"]) == 1
                found = _native.versions_state()
                assert found["shared"] is {shared}
                assert found["reason"] == {None if shared else "tests run in this process"!r}
        """
        done = run_pytest(source, ini=ini)
        assert "1 passed" in done.stdout, done.stdout

    def test_after_the_run_the_engine_has_its_own_clock_again(self, tmp_path: Path) -> None:
        """A process that goes on after pytest.main() counts by the monotonic clock, and may share its words."""
        (tmp_path / "test_one.py").write_text("import oxicache\ndef test_one(): pass\n")
        source = f"""
import time, pytest
from unittest import mock
from oxicache._native import now
assert pytest.main(["-q", "-p", "no:cacheprovider", {str(tmp_path)!r}]) == 0
with mock.patch("time.time", return_value=5.0) as patched:
    before = now()
    patched.return_value = 5000.0
    assert now() - before < 1000
from oxicache.versions import version_words
assert not version_words.is_private
"""
        done = subprocess.run(
            [sys.executable, "-c", source], cwd=tmp_path, capture_output=True, text=True, check=False
        )
        assert done.returncode == 0, done.stdout + done.stderr
