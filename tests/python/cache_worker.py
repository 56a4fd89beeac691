"""A process with Django set up and a NativeCache, told through a pipe what to do with it.

Run as a program this is the process; imported by tests, `CacheWorker` talks to it, a `RemoteCache` to one cache of it.
A worker that knows no Django is in versions_worker.py.
"""

import contextlib
import importlib
import inspect
import json
import os
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from versions_worker import Worker

__all__ = ["BACKEND", "FIRST", "CacheWorker", "RemoteCache", "caching", "spelt"]

BACKEND = "oxicache.django.backends.NativeCache"
FIRST = 1000.0  # the second that driven clocks begin at


def spelt(key: Any, key_prefix: str, version: Any) -> str:
    """A KEY_FUNCTION."""
    return f"<{key_prefix}|{key}|{version}>"


class CacheWorker(Worker):
    """One process of a site; leaving the `with` block ends it. `caches` is CACHES, without BACKEND."""

    program = __file__

    def __init__(
        self,
        directory: Path | str,
        caches: dict[str, Any] | None = None,
        *,
        seed: str = "random",
        **oxicache: Any,
    ) -> None:
        settings = {
            "CACHES": {
                alias: {"BACKEND": BACKEND, **params} for alias, params in (caches or {"default": {}}).items()
            },
            "OXICACHE": {"RUNTIME_DIR": str(directory), "VERSION_WORDS": 2**16, **oxicache},
        }
        super().__init__(directory, PYTHONHASHSEED=seed, CACHE_WORKER_SETTINGS=json.dumps(settings))

    def use(self, module: str, path: str, *arguments: Any, **keywords: Any) -> Any:
        """Call what a path leads to in a module."""
        return self.ask("use", module, path, arguments, keywords)

    def cache(self, alias: str = "default") -> "RemoteCache":
        """One of its caches."""
        return RemoteCache(self, alias)


@dataclass(frozen=True)
class RemoteCache:
    """A cache of another process."""

    worker: CacheWorker
    alias: str

    def do(self, name: str, *arguments: Any, **keywords: Any) -> Any:
        """Call a method; an async one in a loop of its own. The message, if that raises ValueError."""
        return self.worker.ask("call", self.alias, name, arguments, keywords)

    def get(self, key: Any, **keywords: Any) -> Any:
        """What it serves; None is a miss, which leaves a token."""
        return self.do("get", key, **keywords)

    def fill(self, key: Any, value: Any, **keywords: Any) -> Any:
        """Get, and on a miss set: what it serves then."""
        return self.worker.ask("fill", self.alias, key, value, keywords)


@contextlib.contextmanager
def caching(directory: Path | str, count: int = 2, **settings: Any) -> Iterator[list[CacheWorker]]:
    """So many processes of one site, each with another seed of `hash()`."""
    with contextlib.ExitStack() as stack:
        yield [
            stack.enter_context(CacheWorker(directory, seed=str(number), **settings))
            for number in range(count)
        ]


# ---------------------------------------------------------------- in the process


def call(alias: str, name: str, arguments: list[Any], keywords: dict[str, Any]) -> Any:
    import asyncio

    from django.core.cache import caches

    method = getattr(caches[alias], name)
    if not inspect.iscoroutinefunction(method):
        return method(*arguments, **keywords)

    async def main() -> Any:
        return await method(*arguments, **keywords)

    return asyncio.run(main())


def use(module: str, path: str, arguments: list[Any], keywords: dict[str, Any]) -> Any:
    """Call something of a module, such as the method of an object that it has."""
    found: Any = importlib.import_module(module)
    for name in path.split("."):
        found = getattr(found, name)
    return found(*arguments, **keywords)


def fill(alias: str, key: Any, value: Any, keywords: dict[str, Any]) -> Any:
    from django.core.cache import caches

    cache = caches[alias]
    version = keywords.get("version")
    if (found := cache.get(key, version=version)) is None:
        cache.set(key, value, **keywords)
        found = cache.get(key, version=version)
    return found


def compute(key: str) -> Any:
    """`get_or_set` with a loader that says that it runs, and returns what it is told."""
    from django.core.cache import cache

    def load() -> Any:
        print(json.dumps("loading"), flush=True)
        return json.loads(sys.stdin.readline())[0]

    return cache.get_or_set(key, load)


def write_for_ever(keys: list[str]) -> None:
    from django.core.cache import cache

    print(json.dumps("begun"), flush=True)
    while True:
        cache.set_many(dict.fromkeys(keys, "written"))
        cache.delete_many(keys)


def invalidate_for_ever(told: str) -> None:
    """Outdate one key after the other by a pattern, and write after each how many there are."""
    import itertools
    import struct

    from django.core.cache import cache

    file = os.open(told, os.O_WRONLY)
    print(json.dumps("begun"), flush=True)
    for number in itertools.count():
        cache.invalidate_patterns([f"k:{number}:*"])
        os.pwrite(file, struct.pack("=q", number + 1), 0)


def request(which: str) -> None:
    """Let Django's signal say that a request begins or ends."""
    from django.core import signals

    getattr(signals, which).send(sender=None)


def shared() -> bool:
    from oxicache.django import host

    return bool(host.state()["shared"])


def drive(at: float) -> None:
    from oxicache import _native

    _native.clock_drive(at)


COMMANDS = {
    function.__name__: function
    for function in (
        call,
        use,
        fill,
        compute,
        write_for_ever,
        invalidate_for_ever,
        request,
        shared,
        drive,
    )
}


def _main() -> None:
    import django
    from django.conf import settings

    settings.configure(
        SECRET_KEY="of the workers",  # noqa: S106 -- signs nothing
        INSTALLED_APPS=["oxicache.django"],
        **json.loads(os.environ["CACHE_WORKER_SETTINGS"]),
    )
    django.setup()
    for line in iter(sys.stdin.readline, ""):
        name, *arguments = json.loads(line)
        try:
            answer = COMMANDS[name](*arguments)
        except ValueError as error:
            answer = str(error)
        print(json.dumps(answer), flush=True)


if __name__ == "__main__":
    _main()
