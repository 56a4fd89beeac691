"""What the app wires when Django is set up, and again when a setting changes."""

import os
import subprocess
import sys
import threading
from pathlib import Path
from unittest import mock

import project
import pytest
from django.apps import apps
from django.core.exceptions import ImproperlyConfigured
from django.db import connections, transaction
from django.test import TransactionTestCase, override_settings
from django.utils.translation import get_language
from users_site import Site

from oxicache import TTLCache, _native, loader, scheduling
from oxicache.django import apps as wiring
from oxicache.django.apps import OxicacheConfig


def test_the_app_is_labelled_oxicache() -> None:
    """`"oxicache.django"` in INSTALLED_APPS is the app `oxicache`."""
    config = apps.get_app_config("oxicache")
    assert isinstance(config, OxicacheConfig)
    assert (config.name, list(config.get_models())) == ("oxicache.django", [])


def test_a_changed_setting_reaches_the_engine_and_the_loader() -> None:
    """What they cannot ask for is passed on again when a setting changes, and when it changes back."""
    with (
        mock.patch.object(_native, "set_default_cleanup_interval") as engine,
        mock.patch.object(loader, "configure") as load,
    ):
        changed = {
            "CLEANUP_INTERVAL": 7,
            "LOCK_TIMEOUT": 3,
            "GRACE_ERRORS": [LookupError],
            "GRACE_THROTTLE": 4,
        }
        with override_settings(OXICACHE=changed):
            engine.assert_called_once_with(7)
            load.assert_called_once_with(lock_timeout=3, grace_errors=(LookupError,), grace_throttle=4)
        assert engine.call_args.args == (300,)
        assert load.call_args.kwargs["lock_timeout"] == 10


def test_a_cache_that_names_nothing_asks_the_settings_when_it_is_made() -> None:
    """The resolver gives max_size and ttl as they are set at that moment."""
    assert wiring.cache_defaults() == (1000, 3600)
    with override_settings(OXICACHE={"DEFAULT_MAX_SIZE": 7, "DEFAULT_TTL": 8}):
        assert wiring.cache_defaults() == (7, 8)
        cache: TTLCache[str, int] = TTLCache()
    assert (cache.max_size, cache.ttl) == (7, 8)


def test_the_caches_of_models_have_the_settings_defaults(tmp_path: Path) -> None:
    """Models are imported before apps are ready; a decorator without parameters asks the settings all the same."""
    (tmp_path / "users_settings.py").write_text("from project.settings import *\nRSR_CACHE_TTL = 77\n")
    source = f"""
import sys
sys.path[:0] = [{str(tmp_path)!r}, {str(Path(project.__file__).parents[1])!r}]
import django
django.setup()
from oxicache import cache_manager
print(cache_manager._caches["project.projects.models.Project.label"].ttl)
"""
    environment = {**os.environ, "DJANGO_SETTINGS_MODULE": "users_settings"}
    done = subprocess.run(
        [sys.executable, "-c", source], env=environment, capture_output=True, text=True, check=False
    )
    assert (done.stdout, done.stderr) == ("77\n", "")


def test_members_that_were_added_to_models_are_watched_once_all_apps_are_loaded(tmp_path: Path) -> None:
    """A command that saves a row and asks for no member of it tells the workers all the same."""
    (tmp_path / "users_settings.py").write_text(
        "from project.settings import *\nINSTALLED_APPS = [*INSTALLED_APPS, 'patches']\n"
    )
    (tmp_path / "patches").mkdir()
    (tmp_path / "patches" / "models.py").write_text(
        "from django.contrib.auth.models import Group\nfrom oxicache import ttl_cached_property\n"
        "Group.add_to_class('shown', ttl_cached_property(lambda self: self.name))\n"
    )
    source = f"""
import sys
sys.path[:0] = [{str(tmp_path)!r}, {str(Path(project.__file__).parents[1])!r}]
import django
django.setup()
from django.contrib.auth.models import Group, Permission
from django.db.models.signals import post_save
print(post_save.has_listeners(Group), post_save.has_listeners(Permission))
"""
    environment = {**os.environ, "DJANGO_SETTINGS_MODULE": "users_settings"}
    done = subprocess.run(
        [sys.executable, "-c", source], env=environment, capture_output=True, text=True, check=False
    )
    assert (done.stdout, done.stderr) == ("True False\n", "")


def python(source: str) -> str:
    """Run `source` in a process that knows no settings; return what it printed."""
    environment = {name: value for name, value in os.environ.items() if not name.startswith("DJANGO_")}
    done = subprocess.run(
        [sys.executable, "-W", "error", "-c", source],
        env=environment,
        capture_output=True,
        text=True,
        check=False,
    )
    assert (done.returncode, done.stderr) == (0, "")
    return done.stdout


class TestExports:
    def test_what_users_import_is_loaded_when_it_is_asked_for(self) -> None:
        """`import oxicache.django` alone loads no Django, so that a settings module may do it."""
        source = """
import sys
import oxicache.django
print("django" in sys.modules, [name for name in ("invalidate", "track_deletions") if name in dir(oxicache.django)])
from oxicache.django import invalidate, track_deletions
print(invalidate.__module__, track_deletions.__module__, oxicache.django.invalidate is invalidate)
"""
        assert python(source) == (
            "False ['invalidate', 'track_deletions']\n"
            "oxicache.django.invalidation oxicache.django.invalidation True\n"
        )

    def test_a_name_that_is_not_there_is_an_attribute_error(self) -> None:
        """As with any module; submodules are imported by name as ever."""
        source = """
import oxicache.django
try:
    oxicache.django.nothing
except AttributeError as error:
    print(error)
from oxicache.django import conf
print(conf.__name__, hasattr(oxicache.django, "nothing"))
"""
        assert python(source) == (
            "module 'oxicache.django' has no attribute 'nothing'\noxicache.django.conf False\n"
        )


class TestWrongSettings:
    @pytest.mark.parametrize("command", ["check", "migrate", "runserver"])
    def test_where_checks_follow_the_defaults_stand_in(
        self, monkeypatch: pytest.MonkeyPatch, command: str
    ) -> None:
        """The check says what is wrong; until then models and their caches are made with the defaults."""
        monkeypatch.setattr(sys, "argv", ["manage.py", command])
        wrong = mock.patch.object(wiring.conf, "current", side_effect=ImproperlyConfigured)
        with override_settings(OXICACHE={"DEFAULT_TTL": 5}), wrong:
            assert wiring.cache_defaults() == (1000, 3600)

    @pytest.mark.parametrize("argv", [["gunicorn", "site.wsgi"], ["manage.py", "shell"], ["manage.py"]])
    def test_where_none_follow_they_raise(self, monkeypatch: pytest.MonkeyPatch, argv: list[str]) -> None:
        """A server or a shell would go on with other settings than those that were written."""
        monkeypatch.setattr(sys, "argv", argv)
        message = r"OXICACHE\['LOCK_TIMEOUT'\] is 'long'"
        with (
            pytest.raises(ImproperlyConfigured, match=message),
            override_settings(OXICACHE={"LOCK_TIMEOUT": "long"}),
        ):
            wiring.cache_defaults()


def test_the_tenant_is_asked_as_the_settings_say() -> None:
    """TENANT reaches the keys of rows when the setting changes, and leaves them when it changes back."""
    with mock.patch.object(_native, "set_row_scope") as scope:
        with override_settings(OXICACHE={"TENANT": "django.utils.translation.get_language"}):
            assert scope.call_args.args == (get_language,)
        assert scope.call_args.args == (None,)


def test_caches_are_disabled_as_the_settings_say() -> None:
    """ENABLED = False leaves every cache empty, from the change of the setting to its change back."""
    cache: TTLCache[str, int] = TTLCache(9, 60)
    cache.set("a", 1)
    with override_settings(OXICACHE={"ENABLED": False}):
        cache.set("a", 2)
        assert (_native.is_enabled(), cache.get("a")) == (False, None)
    cache.set("a", 3)
    assert (_native.is_enabled(), cache.get("a")) == (True, 3)


@pytest.mark.parametrize(
    ("setting", "before", "after"),
    [(False, True, False), (True, True, True), (True, False, False)],
    ids=["switched off", "as it is", "an operator was first"],
)
def test_a_process_may_start_disabled(tmp_path: Path, setting: bool, before: bool, after: bool) -> None:
    """ENABLED = False holds from the start; True, which is the default, enables nothing that was disabled before."""
    site = Site(tmp_path, settings=f'OXICACHE["ENABLED"] = {setting}')
    source = f"""
    from django.apps import apps
    from oxicache import _native

    _native.set_enabled({before})
    apps.get_app_config("oxicache").ready()
    print(_native.is_enabled())
    """
    assert site.python(source) == f"{after}\n"


def test_a_switch_is_on_or_off() -> None:
    """ENABLED takes True and False, and nothing that is merely as good as one."""
    with (
        pytest.raises(ImproperlyConfigured, match="ENABLED"),
        override_settings(OXICACHE={"ENABLED": "no"}),
    ):
        wiring.configure()


def test_a_background_job_leaves_no_connection_open() -> None:
    """The background thread belongs to no request, so its connections are closed after each job."""
    closed = threading.Event()

    def job() -> None:
        connections["default"].close = closed.set  # type: ignore[method-assign]

    scheduling.submit(job)
    assert closed.wait(30)


class TestWaiting(TransactionTestCase):
    def test_a_caller_in_a_transaction_does_not_wait_for_anothers_load(self) -> None:
        """Whoever holds row locks computes by itself: the one it would wait for may be waiting for those locks."""
        cache: TTLCache[str, str] = TTLCache(max_size=10, ttl=60)
        begun, go_on = threading.Event(), threading.Event()

        def slow() -> str:
            begun.set()
            go_on.wait(30)  # whoever waits for this load nevertheless gets its value then, and the test fails
            return "slow"

        thread = threading.Thread(target=cache.get_or_set, args=("a", slow))
        thread.start()
        try:
            assert begun.wait(30)
            with transaction.atomic():
                assert cache.get_or_set("a", lambda: "mine") == "mine"
        finally:
            go_on.set()
            thread.join(30)
