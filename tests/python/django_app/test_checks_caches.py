"""System checks of what CACHES says of a NativeCache, and of what it is used for."""

import sys
from collections.abc import Iterator
from pathlib import Path
from types import ModuleType
from typing import Any
from unittest import mock

import pytest
from django.contrib.sessions.backends import cache as cache_sessions
from django.core.cache import caches
from django.test import override_settings
from rest_framework.throttling import AnonRateThrottle, ScopedRateThrottle
from users_site import Site

from oxicache.django import aliases, checks
from oxicache.django import cache as handle
from oxicache.django.backends import NativeCache

NATIVE = {"BACKEND": "oxicache.django.backends.NativeCache"}
LOCMEM = {"BACKEND": "django.core.cache.backends.locmem.LocMemCache"}
REDIS = {"BACKEND": "django.core.cache.backends.redis.RedisCache", "LOCATION": "redis://127.0.0.1:1"}


class Subclass(NativeCache):
    """A site's own."""


class Throttle(AnonRateThrottle):
    """A site's own, with a cache of its own."""

    rate = "5/min"


class SessionStore(cache_sessions.SessionStore):
    """A site's own: this file is its SESSION_ENGINE."""


OWN = {"BACKEND": f"{__name__}.Subclass"}


@pytest.fixture(autouse=True)
def _runtime(tmp_path: Path) -> Iterator[None]:
    with override_settings(OXICACHE={"RUNTIME_DIR": tmp_path}):
        yield


def found(number: str, **settings: Any) -> list[str]:
    """What is said under the id `oxicache.<number>`, where it is said, with these settings."""
    with override_settings(**settings):
        # Django's own check of caches makes every one of them, and only a command that checks lets wrong ones pass.
        messages = [message for check in checks.CHECKS for message in check()]
    chosen = [one for one in messages if one.id == f"oxicache.{number}"]
    assert all(one.hint for one in chosen)
    return [f"{one.obj}: {one.msg}" for one in chosen]


class TestOptions:
    """E004."""

    @pytest.mark.parametrize(
        ("params", "message"),
        [
            (
                {"default": NATIVE | {"OPTIONS": {"MAX_ENTRYS": 5}}},
                "CACHES['default'] (LOCATION ''): OPTIONS has no key",
            ),
            (
                {"default": LOCMEM, "pages": NATIVE | {"LOCATION": "p", "OPTIONS": {"POLICY": "fifo"}}},
                "CACHES['pages'] (LOCATION 'p'): the option POLICY is 'fifo'; it must be",
            ),
            ({"default": OWN | {"OPTIONS": {"MAX_BYTES": -1}}}, "the option MAX_BYTES is -1; it must be"),
            (
                {
                    "default": NATIVE | {"OPTIONS": {"MAX_ENTRIES": 5}},
                    "pages": NATIVE | {"OPTIONS": {"MAX_ENTRIES": 6}},
                },
                "but CACHES['default'] says 5 of the same LOCATION",
            ),
        ],
        ids=["unknown", "value", "subclass", "one location"],
    )
    def test_wrong_options_are_an_error(self, params: dict[str, Any], message: str) -> None:
        """The message is what a handler would raise; nothing is made to find it."""
        (said,) = found("E004", CACHES=params)
        assert message in said

    def test_each_mistake_is_said_once(self) -> None:
        """Of two aliases with one LOCATION that both are wrong, each is named."""
        both = {
            "default": NATIVE | {"OPTIONS": {"POLICY": "fifo"}},
            "pages": NATIVE | {"OPTIONS": {"GRACE": "long"}},
        }
        assert len(found("E004", CACHES=both)) == 2

    @pytest.mark.parametrize(
        "params",
        [
            {"default": NATIVE | {"OPTIONS": {"MAX_ENTRIES": 5, "CULL_FREQUENCY": 3}}},
            {"default": NATIVE | {"OPTIONS": {"MAX_ENTRIES": 5}}, "pages": NATIVE | {"VERSION": 2}},
            {
                "default": NATIVE | {"OPTIONS": {"MAX_ENTRIES": 5}},
                "pages": NATIVE | {"LOCATION": "pages", "OPTIONS": {"MAX_ENTRIES": 6}},
            },
            {"default": LOCMEM | {"OPTIONS": {"MAX_ENTRYS": 5}}},
            {"default": {"BACKEND": "no.such.Cache"}},
        ],
        ids=["right", "one says nothing", "two locations", "LocMemCache", "no backend"],
    )
    def test_right_options_are_none(self, params: dict[str, Any]) -> None:
        """Nor are those of other backends, which are not looked at."""
        assert found("E004", CACHES=params) == []

    @pytest.mark.parametrize("command", [("check",), ("migrate", "--plan")], ids=["check", "migrate"])
    def test_the_commands_say_it_without_a_traceback(self, tmp_path: Path, command: tuple[str, ...]) -> None:
        """Also where Django's own check makes every cache, as it does with MEDIA_ROOT."""
        wrong = (
            f"MEDIA_ROOT = {str(tmp_path)!r}\nCACHES = {{'default': {NATIVE | {'OPTIONS': {'MAX': 5}}!r}}}"
        )
        done = Site(tmp_path, wrong).manage(*command)
        assert done.returncode == 1
        assert "(oxicache.E004) CACHES['default'] (LOCATION ''): OPTIONS has no key MAX" in done.stderr
        assert "Traceback" not in done.stderr

    def test_a_server_meets_it_at_the_first_use(self, tmp_path: Path) -> None:
        """What runs no checks raises ImproperlyConfigured."""
        site = Site(tmp_path, f"CACHES = {{'default': {NATIVE | {'OPTIONS': {'MAX': 5}}!r}}}")
        done = site.run(
            "-c", "import django; django.setup(); from django.core.cache import cache; cache.get('a')"
        )
        assert done.returncode == 1
        assert "ImproperlyConfigured: CACHES['default'] (LOCATION ''): OPTIONS has no key MAX" in done.stderr


class TestSessions:
    """W008."""

    @pytest.mark.parametrize(
        ("engine", "params", "alias"),
        [
            ("django.contrib.sessions.backends.cache", {"default": NATIVE}, "default"),
            ("django.contrib.sessions.backends.cache", {"default": OWN}, "default"),
            ("django.contrib.sessions.backends.cache", {"default": LOCMEM, "s": NATIVE}, "s"),
            (__name__, {"default": NATIVE}, "default"),
            (
                "django.contrib.sessions.backends.cached_db",
                {"default": NATIVE | {"OPTIONS": {"COHERENCE": "process"}}},
                "default",
            ),
        ],
        ids=["cache", "subclass of the backend", "alias", "subclass of the store", "cached_db, process"],
    )
    def test_sessions_that_other_workers_do_not_find(
        self, engine: str, params: dict[str, Any], alias: str
    ) -> None:
        """The warning names the alias."""
        settings = {"CACHES": params, "SESSION_ENGINE": engine, "SESSION_CACHE_ALIAS": alias}
        (said,) = found("W008", **settings)
        assert said.startswith(f"CACHES['{alias}']: A session that one worker ")

    @pytest.mark.parametrize(
        ("engine", "params", "alias"),
        [
            ("django.contrib.sessions.backends.db", {"default": NATIVE}, "default"),
            ("django.contrib.sessions.backends.cached_db", {"default": NATIVE}, "default"),
            ("django.contrib.sessions.backends.signed_cookies", {"default": NATIVE}, "default"),
            ("django.contrib.sessions.backends.cache", {"default": NATIVE, "s": REDIS}, "s"),
            ("django.contrib.sessions.backends.cache", {"default": LOCMEM}, "default"),
            ("no.such.engine", {"default": NATIVE}, "default"),
        ],
        ids=["db", "cached_db", "cookies", "Redis", "LocMemCache", "no engine"],
    )
    def test_sessions_that_they_find(self, engine: str, params: dict[str, Any], alias: str) -> None:
        """Or that are not ours to look at."""
        assert found("W008", CACHES=params, SESSION_ENGINE=engine, SESSION_CACHE_ALIAS=alias) == []


def installed(*names: str) -> Any:
    """Let these apps be installed beside those that are."""
    real = aliases.apps.is_installed
    return mock.patch.object(aliases.apps, "is_installed", lambda name: name in names or real(name))


@pytest.fixture
def axes(monkeypatch: pytest.MonkeyPatch) -> None:
    """The two handlers of django-axes that matter."""
    for name in ("axes", "axes.handlers", "axes.handlers.cache", "axes.handlers.database"):
        monkeypatch.setitem(sys.modules, name, ModuleType(name))
    handlers = {"cache": "AxesCacheHandler", "database": "AxesDatabaseHandler"}
    for module, name in handlers.items():
        setattr(sys.modules[f"axes.handlers.{module}"], name, type(name, (), {}))


class TestCounters:
    """W009."""

    @pytest.mark.parametrize("params", [{"default": NATIVE}, {"default": OWN}], ids=["native", "subclass"])
    def test_axes(self, axes: None, params: dict[str, Any]) -> None:
        """Failed logins, where they are counted in the cache."""
        handler = "axes.handlers.cache.AxesCacheHandler"
        with installed("axes"):
            (said,) = found("W009", CACHES=params, AXES_HANDLER=handler)
            assert said.startswith(
                "CACHES['default']: django-axes (AXES_HANDLER) counts in CACHES['default']"
            )
            params = params | {"logins": REDIS}
            assert found("W009", CACHES=params, AXES_HANDLER=handler, AXES_CACHE="logins") == []
            database = "axes.handlers.database.AxesDatabaseHandler"
            assert found("W009", CACHES=params, AXES_HANDLER=database) == []
            assert found("W009", CACHES=params) == []
        assert found("W009", CACHES=params, AXES_HANDLER=handler) == []

    def test_ratelimit(self, monkeypatch: pytest.MonkeyPatch) -> None:
        """Requests, where the app is installed or its decorator was imported."""
        params = {"default": NATIVE, "limits": REDIS}
        assert found("W009", CACHES=params) == []
        with installed("django_ratelimit"):
            (said,) = found("W009", CACHES=params)
            assert said.startswith("CACHES['default']: django-ratelimit counts")
            assert found("W009", CACHES=params, RATELIMIT_USE_CACHE="limits") == []
            assert found("W009", CACHES=params, RATELIMIT_ENABLE=False) == []
        monkeypatch.setitem(sys.modules, "django_ratelimit.core", ModuleType("django_ratelimit.core"))
        assert len(found("W009", CACHES=params)) == 1

    def test_defender(self) -> None:
        """It can only use Redis, so that an alias of another backend is a mistake."""
        params = {"default": REDIS, "logins": NATIVE}
        with installed("defender"):
            assert len(found("W009", CACHES=params, DEFENDER_REDIS_NAME="logins")) == 1
            assert found("W009", CACHES=params, DEFENDER_REDIS_NAME="default") == []
            assert found("W009", CACHES=params) == []

    def test_throttles(self, monkeypatch: pytest.MonkeyPatch) -> None:
        """Those of all views, in the alias that the class names, which by default is the default one."""
        params = {"default": NATIVE, "limits": LOCMEM}
        by_class = {"DEFAULT_THROTTLE_CLASSES": [f"{__name__}.Throttle"]}
        (said,) = found("W009", CACHES=params, REST_FRAMEWORK=by_class)
        assert said.startswith("CACHES['default']: Django REST framework (Throttle) counts")
        monkeypatch.setattr(Throttle, "cache", handle)
        assert len(found("W009", CACHES=params, REST_FRAMEWORK=by_class)) == 1
        with override_settings(CACHES=params):
            monkeypatch.setattr(Throttle, "cache", caches["limits"])
            assert list(self.counters(by_class)) == []
            monkeypatch.setattr(Throttle, "cache", caches["default"])
            assert len(self.counters(by_class)) == 1

    def counters(self, framework: dict[str, Any]) -> list[Any]:
        with override_settings(REST_FRAMEWORK=framework):
            return list(aliases.counters())

    def test_rates(self) -> None:
        """Rates alone say that some view is throttled; those that the framework itself has are None."""
        params = {"default": NATIVE}
        rates = {"DEFAULT_THROTTLE_RATES": {"contacts": "1000/day"}}
        (said,) = found("W009", CACHES=params, REST_FRAMEWORK=rates)
        assert "DEFAULT_THROTTLE_RATES" in said
        assert found("W009", CACHES=params, REST_FRAMEWORK={}) == []
        assert found("W009", CACHES={"default": LOCMEM}, REST_FRAMEWORK=rates) == []
        with mock.patch.object(aliases.apps, "is_installed", return_value=False):
            assert found("W009", CACHES=params, REST_FRAMEWORK=rates) == []

    def test_a_default_class_that_counts_nothing_is_none(self) -> None:
        """Only what is made of SimpleRateThrottle counts in a cache."""
        with override_settings(CACHES={"default": NATIVE}):
            nothing = {"DEFAULT_THROTTLE_CLASSES": ["rest_framework.throttling.BaseThrottle"]}
            assert self.counters(nothing) == []
            scoped = {
                "DEFAULT_THROTTLE_CLASSES": [f"rest_framework.throttling.{ScopedRateThrottle.__name__}"]
            }
            assert len(self.counters(scoped)) == 1


class TestUnbounded:
    """W010."""

    @pytest.mark.parametrize(
        ("params", "count"),
        [
            (NATIVE | {"TIMEOUT": None, "OPTIONS": {"MAX_BYTES": None}}, 1),
            (OWN | {"TIMEOUT": None, "OPTIONS": {"MAX_BYTES": None}}, 1),
            (NATIVE | {"TIMEOUT": None}, 0),
            (NATIVE | {"TIMEOUT": 300, "OPTIONS": {"MAX_BYTES": None}}, 0),
            (NATIVE | {"OPTIONS": {"MAX_BYTES": None}}, 0),
            (LOCMEM | {"TIMEOUT": None}, 0),
        ],
        ids=["both", "subclass", "bytes are limited", "time is", "time is by default", "LocMemCache"],
    )
    def test_what_is_limited_by_neither_time_nor_bytes(self, params: dict[str, Any], count: int) -> None:
        """One of the two is enough."""
        said = found("W010", CACHES={"default": params})
        assert [one.partition(": ")[0] for one in said] == ["CACHES['default']"] * count
