"""Isolation of caches between tests under Django's own test runner: on request, and unasked for `manage.py test`.

What happens around a test is `oxicache.testing.isolated`; pytest has a plugin of its own.
"""

from typing import Any

from django.test.runner import DiscoverRunner

from oxicache.testing import (
    follow_time,
    isolate_unittest,
    keep_words_private,
    release_words,
    stop_following,
)

__all__ = ["OxicacheDiscoverRunner", "OxicacheRunnerMixin"]


class OxicacheRunnerMixin:
    """For a runner class: each test starts with empty caches, whose clock follows `time.time`; no thread runs, and no
    other process is told of an invalidation.

    `class Runner(OxicacheRunnerMixin, DiscoverRunner)` is the order. Only needed where TEST_ISOLATION is off, or where
    `oxicache.django` is not in INSTALLED_APPS.
    """

    def setup_test_environment(self, **kwargs: Any) -> None:
        """Isolate every test from here on."""
        super().setup_test_environment(**kwargs)  # type: ignore[misc]
        follow_time()
        keep_words_private()
        self._undo_isolation = isolate_unittest(background=False)

    def teardown_test_environment(self, **kwargs: Any) -> None:
        """Leave unittest, the engine's clock and its words as they were."""
        self._undo_isolation()
        release_words()
        stop_following()
        super().teardown_test_environment(**kwargs)  # type: ignore[misc]


class OxicacheDiscoverRunner(OxicacheRunnerMixin, DiscoverRunner):
    """Django's runner with isolated caches: `TEST_RUNNER = "oxicache.django.test_runner.OxicacheDiscoverRunner"`."""
