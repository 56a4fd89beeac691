"""What a test may not leave behind: the process is looked at after each test, and who left something fails by name.

Tests run in a random order, so what one leaves fails another that did nothing wrong, and only now and then. A file's
fixtures may keep things changed until its last test is done. What is still changed then is an error of that last test,
whose message names the test after which it was first seen. What Django keeps is in django_leftovers.py.
"""

import asyncio
import gc
import logging
import os
import signal
import socket
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Callable, Iterable, Iterator
from pathlib import Path
from typing import Any, Final

import pytest

from oxicache import _native, loader, rows, store
from oxicache.scheduling import scheduler
from oxicache.trail import _called_from, trail

__all__ = ["Leftovers", "State", "changes"]

State = dict[str, Any]

NOTHING: Final = "nothing"
MAX_SHOWN: Final = 300  # characters of a value
ENDING_SECONDS: Final = 30.0  # for a thread that is about to end; only one that never does reaches it

SIGNALS: Final = (signal.SIGTERM, signal.SIGINT, signal.SIGHUP, signal.SIGALRM, signal.SIGCHLD)
CONTAINERS: Final = frozenset({dict, list, set})
LOCKS: Final = (type(threading.Lock()), type(threading.RLock()))
NEW_LOGGER: Final = (logging.NOTSET, False, True)
# Threads that are kept for the next call, by the start of their names.
KEPT_THREADS: Final = ("oxicache", "ThreadPoolExecutor-", "asyncio_", "Dummy-")
# What else than the package is patched, and what is filled there at the first use.
PATCHED: Final = (asyncio, os, signal, socket, subprocess, tempfile, threading, time)
FILLED: Final = ("_name_sequence", "clock")  # of tempfile, and of time by freezegun
# What the log is told once.
SAID: Final = (
    ("oxicache.tags", "_reported"),
    ("oxicache.django.choices", "_said"),
    ("oxicache.django.execution", "_logged"),
    ("oxicache.django.fragments.guarding", "_said"),
    ("oxicache.django.queries.fetching", "_said"),
    ("oxicache.django.reaching", "_said"),
)
# What the package keeps for as long as the process lives, and what is computed anew when it is missing.
KEPT: Final = frozenset(
    {
        "oxicache.django.backends.loads._loaders",
        "oxicache.django.backends.stores._stores",
        "oxicache.django.choices._said",
        "oxicache.django.conf._resolvers",
        "oxicache.django.execution._logged",
        "oxicache.django.execution._tables",
        "oxicache.django.fragments.guarding._said",
        "oxicache.django.fragments.guarding.known",
        "oxicache.django.fragments.keying._alias",
        "oxicache.django.holding._holders",
        "oxicache.django.host._said",
        "oxicache.django.marks._executors",  # compared by their names: the first is replaced by what does the same
        "oxicache.django.probes._tries",
        "oxicache.django.queries.compiling._derived",
        "oxicache.django.queries.fetching._learned",
        "oxicache.django.queries.fetching._said",
        "oxicache.django.queries.fetching._settings",  # counts changes
        "oxicache.django.queries.plans._plans",
        "oxicache.django.reaching._said",
        "oxicache.django.responses.decorating._counts",
        "oxicache.django.responses.rest_mixins._caches",
        "oxicache.django.responses.shelves._found",
        "oxicache.django.responses.shelves._shelves",
        "oxicache.django.dependencies._unsettled",
        "oxicache.django.signals._listeners",  # the first cached queryset has all models watched, those to come too
        "oxicache.django.signals._relations",  # of models that a test defines, which nobody can undo
        "oxicache.loader._defaults",  # compared by parts: errors are named in one of two ways
        "oxicache.rows._sources",  # compared by its class: who takes it away gives a new one back
        "oxicache.store._failures",
        "oxicache.store._logged",
        "oxicache.testing._sources",  # of a test's own clock, which ends after its teardown
        "oxicache.tags._children",  # what is registered is in `_edges`
        "oxicache.tags._reported",
        "oxicache.tags._templates",
    }
)


class Leftovers:
    """The plugin. `tests/python/conftest.py` registers it."""

    def __init__(
        self,
        *probes: Callable[[State], None],
        tidy: Iterable[Callable[[], None]] = (),
        mend: Callable[[], None] = lambda: None,
    ) -> None:
        """Look with `probes`, too. `tidy` is called after each file, `mend` when something was left besides."""
        self._probes = (_process, _patches, _package, _lasting, *probes)
        tempfile.gettempdir()  # it is noted at its first use, which is nobody's fault
        self._tidy = tidy
        self._mend = mend
        self._file: object = None
        self._before: State = {}
        self._seen: dict[str, str] = {}

    @pytest.hookimpl(wrapper=True, tryfirst=True)
    def pytest_runtest_setup(self, item: pytest.Item) -> Iterator[None]:
        """Empty what every test fills, and before the first test of a file remember how things are."""
        trail.clear()
        store.forget_failures()
        for name, key in SAID:
            if (module := sys.modules.get(name)) is not None:
                vars(module)[key].clear()
        if item.path != self._file:
            # A collection looks through all there is, most of it the suite's own: spare those that tests ask for that.
            gc.freeze()
            self._file, self._before, self._seen = item.path, self._state(), {}
        return (yield)

    @pytest.hookimpl(wrapper=True, tryfirst=True)
    def pytest_runtest_teardown(self, item: pytest.Item, nextitem: pytest.Item | None) -> Iterator[None]:
        """Compare, and fail after the last test of a file."""
        result = yield
        is_last = nextitem is None or nextitem.path != item.path
        for tidy in self._tidy if is_last else ():
            tidy()
        left = changes(self._before, self._state())
        self._seen = {name: self._seen.get(name, item.nodeid) for name in left}
        if is_last:
            self._file = None
            if left:
                self._mend()
                told = [f"{name}: {text}, since {self._seen[name]}" for name, text in left.items()]
                pytest.fail("\n  ".join(["This file leaves something behind:", *told]), pytrace=False)
        return result

    def _state(self) -> State:
        found: State = {}
        for probe in self._probes:
            probe(found)
        return found


class Names(dict[str, Any]):
    """What a module names. A name that is new is of what was loaded since, and a lock is made anew after a fork."""


def changes(before: State, after: State) -> dict[str, str]:
    """Return what has changed, by name. What was not looked at before has not."""
    found = {}
    for name, value in after.items():
        was = before.get(name, value)
        if was is value or was == value:
            continue
        for part, old, new in _parts(name, was, value):
            found[f"{name}{part}"] = f"{_shown(new)} instead of {_shown(old)}"
    return found


def _parts(name: str, was: Any, value: Any) -> Iterator[tuple[str, Any, Any]]:
    if not (isinstance(was, dict) and isinstance(value, dict)):
        yield "", was, value
        return
    for key in {**was, **value}:
        old, new = was.get(key, NOTHING), value.get(key, NOTHING)
        if isinstance(was, Names) and (old is NOTHING or isinstance(old, LOCKS) or f"{name}.{key}" in KEPT):
            continue
        if old is not new and old != new:
            yield f" {key}", old, new


def _shown(value: object) -> str:
    text = repr(value)
    return text if len(text) <= MAX_SHOWN else f"{text[:MAX_SHOWN]}..."


# ---------------------------------------------------------------- what is looked at


def _process(found: State) -> None:
    found["environment"] = {key: text for key, text in os.environ.items() if key != "PYTEST_CURRENT_TEST"}
    found["working directory"] = Path.cwd()
    found["sys.path"] = sys.path.copy()
    found["signals' handlers"] = {one.name: signal.getsignal(one) for one in SIGNALS}
    found["switch interval"] = sys.getswitchinterval()
    found["tracing"] = (sys.gettrace(), sys.getprofile())
    found["logging"] = {
        name: state
        for name, one in [("root", logging.root), *logging.root.manager.loggerDict.items()]
        if isinstance(one, logging.Logger)
        and name.startswith(("oxicache", "django"))
        and (state := _of_logger(one)) != NEW_LOGGER
    }
    found["logging.disable"] = logging.root.manager.disable
    found["threads"] = _threads()


def _of_logger(one: logging.Logger) -> tuple[object, ...]:
    # By their classes: who sets Django up again gets the same ones anew.
    handlers = [type(handler) for handler in one.handlers if type(handler).__module__[:7] != "_pytest"]
    return one.level, one.disabled, one.propagate, *handlers, *one.filters


def _threads() -> list[str]:
    """Return those that do not end."""
    own = {threading.main_thread(), threading.current_thread()}
    for thread in set(threading.enumerate()) - own:
        if not thread.name.startswith(KEPT_THREADS):
            thread.join(ENDING_SECONDS)
    return sorted(
        thread.name for thread in set(threading.enumerate()) - own if not thread.name.startswith(KEPT_THREADS)
    )


def _patches(found: State) -> None:
    for module in PATCHED:
        found[module.__name__] = names = vars(module).copy()
        for key in FILLED:
            names.pop(key, None)


_containers: dict[
    str, tuple[int, list[str]]
] = {}  # of each module, when it had so many names: they are looked for once


def _package(found: State) -> None:
    """Find what the package's modules name, and what is in their own lists, dicts and sets."""
    for name, module in list(sys.modules.items()):
        if name == "oxicache" or name.startswith("oxicache."):
            found[name] = names = Names(vars(module))
            size, keys = _containers.get(name, (0, []))
            if size != len(names):
                keys = [key for key, value in names.items() if _is_container(name, key, value)]
                _containers[name] = len(names), keys
            for key in keys:
                value: Any = names.get(key)
                found[f"{name}.{key}"] = value.copy() if type(value) in CONTAINERS else value


def _is_container(name: str, key: str, value: object) -> bool:
    return type(value) in CONTAINERS and not key.startswith("__") and f"{name}.{key}" not in KEPT


def _lasting(found: State) -> None:
    """Find what the package's own objects hold."""
    found["jobs that wait"] = [job.name for _, _, job in list(scheduler._queue) if not job.is_cancelled]
    found["how loads wait"] = (loader._defaults.lock_timeout, loader._defaults.grace_throttle)
    found["where rows are from"] = [type(source) for source in rows._sources]
    found["are caches enabled"] = _native.is_enabled()
    found["what is configured of the trail"] = (trail.size, trail._rules, trail._actor)
    found["where the trail says that calls come from"] = _called_from.get()
    if (locks := sys.modules.get("oxicache.django.backends.locks")) is not None:
        now = time.monotonic()
        found["locks"] = {name: 1 for name, held in list(locks._table.held.items()) if held.deadline > now}
