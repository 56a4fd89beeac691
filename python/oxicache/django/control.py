"""The control socket of a process that serves: opened with its first request or task, closed for a fork and at exit.

Never at import, nor by a master that only forks, by a command or by a test: none of them handles a request of its own.
What the socket answers is native, or in oxicache.live; who asks is in oxicache.workers.
"""

import atexit
import json
import logging
import os
import platform
import sys
import threading
import time
from pathlib import Path
from typing import Any

import django
from django.core.exceptions import ImproperlyConfigured
from django.core.signals import request_finished, request_started

from oxicache import _native
from oxicache.django import conf, host
from oxicache.errors import UnsafeFolderError
from oxicache.versions import version_words
from oxicache.workers import folder_of, is_disabled

__all__ = ["begin", "failure", "is_testing", "serve"]

logger = logging.getLogger("oxicache")

DISPATCH_UID = "oxicache.django.control"
# Between two looks at whether the socket is still there: systemd empties /dev/shm at a logout.
LOOK_SECONDS = 10.0
OPENING_SECONDS = 1.0  # that a fork waits for another thread, at most
# CPython 3.13 counts threads when the hooks after a fork have run: a thread that one of them starts is warned of, too.
RESUMES_IN_HOOK = sys.version_info < (3, 13)
TEST_CLIENT = "django.test.client"
TEST_PLUGIN = "oxicache.pytest_plugin"  # loaded where pytest runs, and nowhere else
# What tells which server runs this process, first match first: gunicorn runs uvicorn's workers, too.
SERVERS = {
    "uwsgi": "uwsgi",
    "gunicorn": "gunicorn.arbiter",
    "uvicorn": "uvicorn.server",
    "hypercorn": "hypercorn.run",
    "daphne": "daphne.server",
    "granian": "granian.server",
    "waitress": "waitress.server",
    "mod_wsgi": "mod_wsgi",
    "runserver": "django.core.management.commands.runserver",
}


class _Process:
    """What is known of this process, and of no other: a child that was forked begins with a new one."""

    def __init__(self) -> None:
        self.pid = 0  # none yet
        self.look_at = 0.0  # in seconds of the monotonic clock
        self.lock = threading.Lock()
        self.role: str | None = None
        self.forks = 0  # that are under way, by threads of this process
        self.was_serving = False
        self.said: str | None = None


_process = _Process()


def begin() -> None:
    """Have the socket opened with the first request or task of a process."""
    request_started.connect(_meet_request, dispatch_uid=DISPATCH_UID)
    request_finished.connect(_resume, dispatch_uid=DISPATCH_UID)
    celery = sys.modules.get("celery.signals")  # a worker has loaded it before it sets Django up
    if celery is not None:
        celery.worker_process_init.connect(_meet_tasks, weak=False, dispatch_uid=DISPATCH_UID)
        celery.task_prerun.connect(_meet_tasks, weak=False, dispatch_uid=DISPATCH_UID)
        celery.task_postrun.connect(_resume, weak=False, dispatch_uid=DISPATCH_UID)
        # A child of a pool ends without the functions of atexit.
        celery.worker_process_shutdown.connect(_end, weak=False, dispatch_uid=DISPATCH_UID)


def serve(role: str | None = None) -> None:
    """Serve the socket in this process from now on. For workers that know neither requests nor celery's tasks.

    Calling it again is cheap, and opens the socket anew where it is gone. Nothing is raised: what stands in the way is
    logged once. `role` is what operators are told that this process is; None is a guess.
    """
    process = _process
    if _is_known(process):
        return
    if is_testing() or process.forks or not process.lock.acquire(blocking=False):
        return
    try:
        if process.forks > 0:  # since the look above
            return
        if process.pid != os.getpid():
            process.role = role or _role()
            _begin(process)
        if conf.current().control:
            process.was_serving = False
            _open(process)
        process.pid = os.getpid()  # at last: uWSGI forks without Python's hooks, so only a look at it tells
        process.look_at = time.monotonic() + LOOK_SECONDS
    finally:
        process.lock.release()


def failure() -> str | None:
    """Why operators do not reach this process although they should; None also before its first request."""
    return _process.said if _process.pid == os.getpid() else None


def _is_known(process: _Process) -> bool:
    """Whether there is nothing to do for now."""
    return process.pid == os.getpid() and not process.was_serving and time.monotonic() < process.look_at


def _meet_request(sender: Any = None, **_: object) -> None:
    if _is_known(_process):
        return
    # A command that asks its own views is no server.
    if not any(base.__module__ == TEST_CLIENT for base in getattr(sender, "__mro__", ())):
        serve()


def _meet_tasks(sender: Any = None, **_: object) -> None:
    # A task that runs where it is called says nothing of the process that calls it.
    if not getattr(getattr(sender, "request", None), "is_eager", False):
        serve("celery")


def is_testing() -> bool:
    """Whether this process runs tests, which reach no process of a site, and are reached by nobody."""
    return version_words.is_private or TEST_PLUGIN in sys.modules or host.in_test_environment()


def _begin(process: _Process) -> None:
    """What a process does once, before it serves."""
    if _is_marked():
        _native.set_enabled(False)
    if not conf.current().control:
        return
    from oxicache import live  # what commands and tests need not load

    _native.control_answer(live.answer)
    _native.control_describe(json.dumps(_facts(process)))
    # Here, and not when Django is set up: multiprocessing forgets what its parent had registered.
    atexit.unregister(_end)
    atexit.register(_end)


def _is_marked() -> bool:
    """Whether an operator has disabled the caches of this site until further notice."""
    try:
        return is_disabled(folder_of(conf.runtime_directory(), conf.namespace()))
    except (ImproperlyConfigured, UnsafeFolderError, OSError):  # `_open` says what is wrong with the folder
        return False


def _open(process: _Process) -> None:
    found = _native.control_state()
    if found["serving"] and not os.path.lexists(found["path"]):
        _native.control_stop()
    try:
        found = _native.control_start(conf.runtime_directory(), conf.namespace())
    except (ImproperlyConfigured, ValueError) as error:  # no SECRET_KEY
        found = {"serving": False, "reason": str(error)}
    _say(process, None if found["serving"] else found["reason"])


def _say(process: _Process, reason: str | None) -> None:
    """Log why nobody reaches this process, once."""
    if reason not in {None, process.said}:
        # Elsewhere than on Linux nothing can be done about it.
        level = logging.WARNING if sys.platform == "linux" else logging.INFO
        logger.log(
            level,
            "Commands do not reach this process: %s. See `manage.py check`, or set %s['CONTROL'] to False.",
            reason,
            conf.DICT,
        )
    process.said = reason


def _end(**_: object) -> None:
    _native.control_stop(for_good=True)


# ---------------------------------------------------------------- what operators are told of this process


def _facts(process: _Process) -> dict[str, Any]:
    return {
        "role": process.role,
        "program": Path(sys.argv[0]).name if sys.argv and sys.argv[0] else "",
        "python": platform.python_version(),
        "django": django.get_version(),
        "master": os.getppid(),
    }


def _role() -> str:
    return next((role for role, module in SERVERS.items() if module in sys.modules), "other")


# ---------------------------------------------------------------- forks


def _before_fork() -> None:
    """End the threads: a fork beside any of them may copy a lock that nobody will release, and warns of it."""
    process = _process
    process.forks += 1
    # Another thread may be opening the socket just now. None begins from here on; one that is stuck is not waited for.
    is_ours = process.lock.acquire(timeout=OPENING_SECONDS)
    try:
        if process.pid == os.getpid() and _native.control_state()["serving"]:
            process.was_serving = True
            _native.control_stop()
    finally:
        if is_ours:
            process.lock.release()


def _after_fork_in_parent() -> None:
    _process.forks -= 1
    if RESUMES_IN_HOOK:
        _resume()


def _resume(**_: object) -> None:
    """Serve again what was served before a fork: at once, or at the end of the request or task that forked."""
    process = _process
    if process.was_serving and not process.forks and process.lock.acquire(blocking=False):
        try:
            process.was_serving = False
            _open(process)
        finally:
            process.lock.release()


def _after_fork_in_child() -> None:
    global _process  # noqa: PLW0603 -- another process, of which nothing is known
    _process = _Process()


if hasattr(os, "register_at_fork"):  # not on Windows
    os.register_at_fork(
        before=_before_fork, after_in_parent=_after_fork_in_parent, after_in_child=_after_fork_in_child
    )
