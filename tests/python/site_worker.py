"""A worker of a site that operators reach, told through a pipe what to do; and a command of that site.

Run as a program this is the worker, or with arguments `manage.py` of the site; imported by tests, `SiteWorker` talks to
a worker and `manage` runs a command. A worker without sockets is in cache_worker.py.
"""

import contextlib
import functools
import json
import os
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from cache_worker import BACKEND, CacheWorker
from versions_worker import Worker

from oxicache.sites import Site
from oxicache.workers import folder_of

LIMIT_SECONDS = 90  # only a hang reaches it
NAMESPACE = "shop"
SECRET_KEY = "of the site"  # noqa: S105 -- signs nothing


@dataclass
class LiveSite:
    """A folder where workers meet, and the settings they share."""

    directory: Path
    settings: dict[str, Any] = field(default_factory=dict)

    @property
    def folder(self) -> Path:
        """Where the sockets are."""
        return folder_of(self.directory, NAMESPACE)

    @property
    def site(self) -> Site:
        """What operations take."""
        return Site(folders=(self.folder,))

    def environment(self) -> dict[str, str]:
        """What tells a process its settings."""
        caches = self.settings.get("CACHES", {"default": {"BACKEND": BACKEND}})
        own = {"RUNTIME_DIR": str(self.directory), "NAMESPACE": NAMESPACE, "VERSION_WORDS": 2**16}
        own |= self.settings.get("OXICACHE", {})
        return {
            **{name: value for name, value in os.environ.items() if not name.startswith("PYTEST_")},
            "SITE_SETTINGS": json.dumps({**self.settings, "CACHES": caches, "OXICACHE": own}),
        }

    def manage(self, *arguments: str, **environment: str) -> subprocess.CompletedProcess[str]:
        """Run `manage.py` with these arguments, off a terminal."""
        return subprocess.run(
            [sys.executable, __file__, *arguments],
            capture_output=True,
            text=True,
            env={**self.environment(), **environment},
            stdin=subprocess.DEVNULL,
            timeout=LIMIT_SECONDS,
            check=False,
        )

    @contextlib.contextmanager
    def serving(self, count: int = 2) -> Iterator[list["SiteWorker"]]:
        """So many workers that serve their sockets."""
        with contextlib.ExitStack() as stack:
            workers = [stack.enter_context(SiteWorker(self)) for _ in range(count)]
            for worker in workers:
                assert worker.ask("serve") is None
            yield workers


@contextlib.contextmanager
def a_site(**settings: Any) -> Iterator[LiveSite]:
    """A site in a folder whose path leaves room for a socket's name."""
    directory = Path(tempfile.mkdtemp(prefix="ox"))
    try:
        yield LiveSite(directory, settings)
    finally:
        shutil.rmtree(directory, ignore_errors=True)


class SiteWorker(CacheWorker):
    """One worker; leaving the `with` block ends it."""

    program = __file__

    def __init__(self, site: LiveSite) -> None:
        self.site = site
        Worker.__init__(self, site.directory, NAMESPACE, **site.environment())

    def fill(
        self, name: str, count: int, *, ttl: float = 60, max_size: int = 100, tags: Sequence[str] = ()
    ) -> None:
        """Store `count` entries under key:0, key:1, ... in a cache of the manager."""
        self.ask("fill", name, count, ttl, max_size, list(tags))

    def size(self, name: str) -> int:
        """How many live entries a cache of the manager holds."""
        return int(self.ask("size", name))


# ---------------------------------------------------------------- in the process


def serve() -> None:
    from oxicache.django import control

    control.serve("test")


def become(user: int) -> None:
    os.setgid(user)
    os.setuid(user)


def fill(name: str, count: int, ttl: float, max_size: int, tags: list[str]) -> None:
    from oxicache import cache_manager

    cache = cache_manager.get_cache(name, max_size=max_size, ttl=ttl)
    for number in range(count):
        cache.set(f"key:{number}", number, tags=tags or None)


def add(name: str, key: str, value: Any = 1) -> None:
    from oxicache import cache_manager

    cache_manager.get_cache(name, max_size=100).set(key, value, ttl=60)


def read(name: str, hits: int, misses: int) -> None:
    from oxicache import cache_manager

    cache = cache_manager.get_cache(name)
    for _ in range(hits):
        assert cache.get("key:0") is not None
    for _ in range(misses):
        assert cache.get("nothing") is None


def size(name: str) -> int:
    from oxicache import cache_manager

    return len(list(cache_manager._caches[name].keys()))


def track(pks: list[int], seconds: float) -> None:
    """Say that these are being deleted, since `seconds` ago."""
    import time

    from oxicache import DELETION_SET

    for pk in pks:
        DELETION_SET.add(pk)
        DELETION_SET._timestamps[pk] = time.time() - seconds


def is_enabled() -> bool:
    from oxicache import _native

    return _native.is_enabled()


def drive(at: float) -> None:
    from oxicache import _native

    _native.clock_drive(at)


def advance(seconds: float) -> None:
    """Move on the clock of this process, which is driven by hand."""
    from oxicache import _native

    _native.clock_drive(_native.now() + seconds)


def page(path: str, token: str) -> tuple[int, str]:
    """Status and text of a page of oxicache.django.urls, asked for by somebody who sends this token."""
    from django.test import RequestFactory
    from django.urls import resolve

    view = resolve(path.partition("?")[0], "oxicache.django.urls").func
    response = view(RequestFactory().get(path, headers={"authorization": f"Bearer {token}"}))
    return response.status_code, response.content.decode()


def endpoint(method: str, path: str, body: dict[str, Any] | None, user: dict[str, bool]) -> list[Any]:
    """Status and JSON of an endpoint of oxicache.django.endpoints, asked for by such a user."""
    from types import SimpleNamespace

    from django.test import RequestFactory
    from django.urls import resolve

    request = RequestFactory().generic(method, path, json.dumps(body or {}), content_type="application/json")
    request.user = SimpleNamespace(is_authenticated=True, is_active=True, **user)  # type: ignore[assignment]
    request._dont_enforce_csrf_checks = True  # type: ignore[attr-defined]  # as Django's test client does
    response = resolve(path, "oxicache.django.endpoints.urls").func(request)
    return [response.status_code, json.loads(response.content)]


_loaded: list[str] = []  # what `report` computed, in order


def report(name: str) -> int:
    """What a decorated function of this process returns, tagged with its argument; how often it computed that."""
    _report()(name)
    return _loaded.count(name)


@functools.cache
def _report() -> Any:
    from oxicache.decorators import cached_function

    @cached_function(tags=lambda name: [f"report:{name}"])
    def report(name: str) -> str:
        _loaded.append(name)
        return name

    return report


def invalidate(names: dict[str, Any], timeout: float = 5.0) -> list[Any]:
    """Invalidate in this process; whether everybody has confirmed, how many they had, and who has not."""
    from oxicache.django import invalidate

    reached = invalidate(**names)
    return [reached.wait(timeout), reached.elsewhere, sorted(reached.missing)]


def announce(names: dict[str, Any]) -> None:
    """Invalidate in this process, and do not wait."""
    from oxicache.django import invalidate

    invalidate(**names)


def rounds() -> int:
    """How many requests were sent to other workers."""
    return _asked[0]


_asked = [0]


def count_requests() -> None:
    from oxicache import workers

    ask = workers.ask

    def counted(*args: Any, **kwargs: Any) -> Any:
        _asked[0] += 1
        return ask(*args, **kwargs)

    workers.ask = counted


def call(alias: str, name: str, arguments: list[Any], keywords: dict[str, Any]) -> Any:
    from django.core.cache import caches

    return getattr(caches[alias], name)(*arguments, **keywords)


COMMANDS = {
    function.__name__: function
    for function in (
        serve,
        become,
        fill,
        add,
        read,
        size,
        track,
        is_enabled,
        drive,
        advance,
        page,
        endpoint,
        call,
        report,
        invalidate,
        announce,
        rounds,
        count_requests,
    )
}


def _configure() -> None:
    import django
    from django.conf import settings

    given = {"SECRET_KEY": SECRET_KEY, "INSTALLED_APPS": ["oxicache.django"]}
    settings.configure(**{**given, **json.loads(os.environ["SITE_SETTINGS"])})
    django.setup()


def _main() -> None:
    _configure()
    if len(sys.argv) > 1:
        from django.core.management import execute_from_command_line

        execute_from_command_line(["manage.py", *sys.argv[1:]])
        return
    for line in iter(sys.stdin.readline, ""):
        name, *arguments = json.loads(line)
        print(json.dumps(COMMANDS[name](*arguments)), flush=True)


if __name__ == "__main__":
    _main()
