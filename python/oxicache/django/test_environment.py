"""Notices that this process runs Django's tests, so that caches are isolated between them without configuration.

A runner class for those who want to say so themselves is in test_runner.py.
"""

import sys

from oxicache.django import conf, host

__all__ = ["isolate_when_testing"]


def isolate_when_testing() -> None:
    """Isolate each test of `manage.py test`, and of scripts that call Django's runner. Called once Django is set up.

    The test environment does not exist yet when apps become ready, so unittest is prepared wherever it may come, and
    asks again at each test. A process that serves requests has not loaded `django.test`, and nothing is done in it.
    """
    runs_tests = sys.argv[1:2] == ["test"]
    if not runs_tests and "django.test.utils" not in sys.modules:
        return
    from oxicache import testing

    testing.isolate_unittest(active=_isolates, background=False)
    if runs_tests and conf.current().test_isolation:
        # From here on, so that what a setUpClass stores is still alive in its tests, and told to no other process.
        testing.follow_time()
        testing.keep_words_private()


def _isolates() -> bool:
    own_plugin = "oxicache.pytest_plugin" in sys.modules  # pytest isolates each item, TestCase or not
    return host.in_test_environment() and not own_plugin and conf.current().test_isolation
