"""The caches of Django that are compared: NativeCache, LocMemCache, and those that people install besides.

What needs a server has one of its own, started when it is first asked for and ended with the process. What cannot be
had on this machine is named with the reason, and the others are compared without it.
"""

import atexit
import contextlib
import shutil
import sys
import tempfile
from collections.abc import Callable
from dataclasses import dataclass
from functools import cache
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import django

sys.path.append(str(Path(__file__).resolve().parents[1] / "tests" / "python"))
import server_process

OURS = "NativeCache"
LOCMEM = "LocMemCache"
ENTRIES = 10_000  # NativeCache's own default; Django's 300 would evict while a row runs
TIMEOUT = 3_600  # nothing expires while a row runs

Entry = dict[str, Any]  # of CACHES


class AbsentError(Exception):
    """A backend cannot be had here; the message says why in a few words."""


@dataclass(frozen=True)
class Server:
    """A program that holds the entries of a backend."""

    program: str
    start: Callable[[], contextlib.AbstractContextManager[server_process.Listening]]


REDIS = Server("redis-server", server_process.redis)
MEMCACHED = Server("memcached", server_process.memcached)


@dataclass(frozen=True)
class Backend:
    """One contender. `entry` makes its entry of CACHES from a folder of its own or from its server's address."""

    package: str
    entry: Callable[[str], Entry]
    server: Server | None = None
    in_folder: bool = False

    def absence(self) -> str | None:
        """Why it cannot be had here, as far as that shows without a start; None when it can."""
        if find_spec(self.package) is None:
            return f"no {self.package}"
        if self.server is not None and shutil.which(self.server.program) is None:
            return f"no {self.server.program}"
        return None


def _in_process(backend: str) -> Callable[[str], Entry]:
    return lambda _: {
        "BACKEND": backend,
        "LOCATION": "benches",
        "TIMEOUT": TIMEOUT,
        "OPTIONS": {"MAX_ENTRIES": ENTRIES},
    }


def _served(backend: str, location: str) -> Callable[[str], Entry]:
    return lambda address: {
        "BACKEND": backend,
        "LOCATION": location.format(address=address),
        "TIMEOUT": TIMEOUT,
    }


# A database of Redis each, because `clear` empties a whole one.
BACKENDS = {
    OURS: Backend("oxicache", _in_process("oxicache.django.backends.NativeCache")),
    LOCMEM: Backend("django", _in_process("django.core.cache.backends.locmem.LocMemCache")),
    "diskcache.DjangoCache": Backend(
        "diskcache", _served("diskcache.DjangoCache", "{address}"), in_folder=True
    ),
    "RedisCache": Backend(
        "redis", _served("django.core.cache.backends.redis.RedisCache", "redis://{address}/0"), REDIS
    ),
    "django-redis": Backend(
        "django_redis", _served("django_redis.cache.RedisCache", "redis://{address}/1"), REDIS
    ),
    "PyMemcacheCache": Backend(
        "pymemcache", _served("django.core.cache.backends.memcached.PyMemcacheCache", "{address}"), MEMCACHED
    ),
}
RIVALS = tuple(name for name in BACKENDS if name != OURS)

_open = contextlib.ExitStack()
atexit.register(_open.close)


def address(server: server_process.Listening) -> str:
    """Where it listens, as CACHES has it."""
    return f"{server.host}:{server.port}"


@cache
def _running(server: Server) -> server_process.Listening:
    return _open.enter_context(server.start())


def folder() -> str:
    """A new folder, removed with this process."""
    made = tempfile.mkdtemp(prefix="oxicache-benches-")
    _open.callback(shutil.rmtree, made, ignore_errors=True)
    return made


def entry(name: str) -> Entry:
    """The entry of CACHES for the backend `name`, its server running. AbsentError says why there is none."""
    backend = BACKENDS[name]
    reason = backend.absence()
    if reason is not None:
        raise AbsentError(reason)
    where = address(_running(backend.server)) if backend.server else folder() if backend.in_folder else ""
    return backend.entry(where)


def entries(names: tuple[str, ...]) -> tuple[dict[str, Entry], dict[str, str]]:
    """The entries of CACHES for those of `names` that can be had, and why the others cannot."""
    found: dict[str, Entry] = {}
    absent: dict[str, str] = {}
    for name in names:
        try:
            found[name] = entry(name)
        except AbsentError as error:
            absent[name] = str(error)
    return found, absent


def connected(find: Callable[[], Any]) -> Any:
    """The backend's object, once it has answered. AbsentError when it does not work with this Django."""
    try:
        handler = find()
        handler.set("probe", {"value": 1})
        assert handler.get("probe") == {"value": 1}
    # Another project's code on a Django it may not know: whatever it raises, the others are compared.
    except Exception as error:
        message = f"fails on Django {django.get_version()}: {type(error).__name__}"
        raise AbsentError(message) from error
    return handler
