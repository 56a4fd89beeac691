"""Runs Django's own cache tests in this interpreter and writes what came out as JSON; started by run.py.

Django's `runtests.py` sets up its settings, apps and databases as it does for itself. LocMemCache is replaced by the
backend under test before anything of it is imported.
"""

import argparse
import atexit
import faulthandler
import json
import os
import platform
import re
import shutil
import sys
import tempfile
import traceback
import unittest
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import stand_in

# What is run: a label as `runtests.py` takes it, and which of its classes. The rest are about other backends (dummy,
# database, files, memcached, Redis) or other sessions, and would pass whatever the backend under test did.
SUITES = {
    "cache": r"(?!(Async)?Dummy|(CreateCacheTableFor)?DBCache|FileBased|PyLibMC|PyMemcache|Redis)",
    "sessions_tests": r"Cache",
    "template_tests.syntax_tests.test_cache": r"",
}
HANG_SECONDS = 300  # the whole takes less than a minute


class Outcomes(unittest.TextTestResult):
    """What became of each test, by its id. A class or module that could not be set up counts as a test that failed."""

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self.outcomes: dict[str, dict[str, str]] = {}

    def _note(self, test: Any, outcome: str, detail: str = "") -> None:
        self.outcomes.setdefault(test.id(), {"outcome": outcome, "detail": detail})

    def addSuccess(self, test: Any) -> None:  # noqa: N802 -- unittest's name, and so are those below
        super().addSuccess(test)
        self._note(test, "passed")

    def addFailure(self, test: Any, err: Any) -> None:  # noqa: N802
        super().addFailure(test, err)
        self._note(test, "failed", "".join(traceback.format_exception(*err)))

    def addError(self, test: Any, err: Any) -> None:  # noqa: N802
        super().addError(test, err)
        self._note(test, "failed", "".join(traceback.format_exception(*err)))

    def addSubTest(self, test: Any, subtest: Any, err: Any) -> None:  # noqa: N802
        super().addSubTest(test, subtest, err)
        if err is not None:
            self._note(test, "failed", f"{subtest}\n" + "".join(traceback.format_exception(*err)))

    def addSkip(self, test: Any, reason: str) -> None:  # noqa: N802
        super().addSkip(test, reason)
        self._note(test, "skipped", reason)

    def addExpectedFailure(self, test: Any, err: Any) -> None:  # noqa: N802
        super().addExpectedFailure(test, err)
        self._note(test, "passed")

    def addUnexpectedSuccess(self, test: Any) -> None:  # noqa: N802
        super().addUnexpectedSuccess(test)
        self._note(test, "failed", "expected to fail, and did not")


def taken(test: Any) -> bool:
    """Whether a test is run: by the pattern of its label, matched against its class's name."""
    name = type(test).__module__
    if name == "unittest.loader":
        return True  # a module that could not be imported
    pattern = next((SUITES[label] for label in SUITES if f"{name}.".startswith(f"{label}.")), "")
    return re.match(pattern, type(test).__name__) is not None


def cases(suite: unittest.TestSuite) -> Iterator[Any]:
    for test in suite:
        if isinstance(test, unittest.TestSuite):
            yield from cases(test)
        else:
            yield test


def run(tests: Path, backend: str, options: dict[str, Any], apps: list[str]) -> dict[str, Any]:
    """Run the suites found in `tests`, a folder of Django's own tests, and say what became of each test."""
    os.chdir(tests)  # labels are found from here
    sys.path.insert(0, str(tests))
    os.environ["DJANGO_SETTINGS_MODULE"] = "test_sqlite"
    under_test = stand_in.put_in_place_of_locmem(stand_in.backend_class(backend), options)

    import django
    import runtests  # type: ignore[import-not-found]  # Django's
    from django.conf import settings
    from django.core.cache import caches
    from django.test.runner import DiscoverRunner

    left_out: list[Any] = []

    class Runner(DiscoverRunner):
        def get_resultclass(self) -> type[Outcomes]:
            return Outcomes

        def build_suite(self, *args: Any, **kwargs: Any) -> unittest.TestSuite:
            found = list(cases(super().build_suite(*args, **kwargs)))
            left_out.extend(test for test in found if not taken(test))
            return self.test_suite([test for test in found if taken(test)])

        def suite_result(self, suite: Any, result: Any, **kwargs: Any) -> int:
            self.outcomes = result.outcomes
            return super().suite_result(suite, result, **kwargs)

    # Words of its own, in a file as they are on a site: another run on this machine has the same SECRET_KEY.
    settings.OXICACHE = {"RUNTIME_DIR": os.environ["TMPDIR"]}
    runtests.ALWAYS_INSTALLED_APPS.extend(apps)
    labels, state = runtests.setup_run_tests(0, "", "", list(SUITES))
    if type(caches["default"]) is not under_test:
        raise RuntimeError(f"the default cache is a {type(caches['default'])}, not the backend under test")
    runner = Runner(verbosity=0, interactive=False)
    runner.run_tests(labels)
    runtests.teardown_run_tests(state)
    return {
        "django": django.__version__,
        "python": platform.python_version(),
        "backend": backend,
        "options": options,
        "apps": apps,
        "left_out": len(left_out),
        "outcomes": dict(sorted(runner.outcomes.items())),
    }


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--tests", type=Path, required=True, help="a folder of Django's own tests")
    parser.add_argument("--backend", required=True, help="dotted path of the backend under test")
    parser.add_argument("--options", type=json.loads, default={}, help="OPTIONS for it, as JSON")
    parser.add_argument("--app", action="append", default=[], help="an app to install besides Django's")
    parser.add_argument("--result", type=Path, required=True, help="the file that the outcomes go to")
    arguments = parser.parse_args()
    # As `runtests.py` does when it is the program: its settings put files there.
    tempfile.tempdir = os.environ["TMPDIR"] = tempfile.mkdtemp(prefix="conformance_")
    atexit.register(shutil.rmtree, tempfile.tempdir)
    faulthandler.dump_traceback_later(HANG_SECONDS, exit=True)
    result = arguments.result.resolve()
    found = run(arguments.tests.resolve(), arguments.backend, arguments.options, arguments.app)
    result.write_text(json.dumps(found))


if __name__ == "__main__":
    main()
