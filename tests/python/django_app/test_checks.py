"""System checks: each is triggered once and stays silent once, and SILENCED_SYSTEM_CHECKS takes each by its id."""

import gc
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any
from unittest import mock

import pytest
from django.core import checks as django_checks
from django.core.checks import CheckMessage
from django.test import override_settings
from project.projects.models import Project
from users_site import Site

from oxicache import TTLCache, cache_manager, cached_function, cached_method, memos, ttl_cached_property
from oxicache.django import checks, dropdowns

ROOT = Path(__file__).resolve().parents[3]


_before: set[str] = set()  # what other tests have left behind: their callables, caches and forms


def found(number: str) -> list[CheckMessage]:
    """What the checks say under the id `oxicache.<number>`."""
    messages = django_checks.run_checks(tags=[django_checks.Tags.caches])
    return [one for one in messages if one.id == f"oxicache.{number}" and one.obj not in _before]


def ids() -> list[str]:
    """The ids in checks.py, and in modules that check what they alone know, without `oxicache.`."""
    texts = "".join(path.read_text() for path in Path(checks.__file__).parent.glob("*.py"))
    return sorted(set(re.findall(r'id="oxicache\.(\w+)"', texts)))


@pytest.fixture(autouse=True)
def runtime(tmp_path: Path) -> Iterator[Path]:
    """A runtime directory of this test: no process of the machine that runs the tests is looked at."""
    gc.collect()
    _before.update(member.name for member, _ in memos.decorated())
    _before.update(cache_manager.names())
    _before.update(map(dropdowns._name, dropdowns._forms))
    with override_settings(OXICACHE={"RUNTIME_DIR": tmp_path}):
        yield tmp_path
    _before.clear()


class TestRegistered:
    def test_the_test_project_gives_nothing_to_say(self) -> None:
        """A site without mistakes passes `manage.py check` without a line."""
        assert [number for number in ids() if found(number)] == []

    def test_they_run_as_part_of_the_checks_of_caches(self) -> None:
        """`manage.py check --tag caches` runs all of them."""
        registered = django_checks.registry.registry.get_checks()
        of_caches = [check for check in registered if django_checks.Tags.caches in check.tags]
        assert set(checks.CHECKS) <= set(of_caches)

    def test_each_has_an_entry_in_the_documentation(self) -> None:
        """The table in docs/checks.md lists these ids, and nothing else."""
        page = (ROOT / "docs" / "checks.md").read_text()
        table = page.partition("<!-- checks: begin")[2].partition("<!-- checks: end")[0]
        assert re.findall(r"^\| `oxicache\.(\w+)`", table, re.MULTILINE) == ids()

    def test_each_is_silenced_by_its_id(self, runtime: Path) -> None:
        """SILENCED_SYSTEM_CHECKS = ["oxicache.W001"] is how one says that it is meant."""
        with override_settings(OXICACHE={"RUNTIME_DIR": runtime / "none"}):
            (message,) = found("W001")
            assert not message.is_silenced()
            with override_settings(SILENCED_SYSTEM_CHECKS=["oxicache.W001"]):
                assert message.is_silenced()


class TestSettings:
    """E001 and E002: beside them every other check is silent, and nothing raises."""

    @pytest.mark.parametrize(
        ("wrong", "message"),
        [
            ('OXICACHE = {"DEFAULT_TLL": 5}', "(oxicache.E001) OXICACHE has no key DEFAULT_TLL"),
            ('OXICACHE = {"NAMESPACE": "my-site"}', "(oxicache.E001) OXICACHE['NAMESPACE'] is 'my-site'"),
            ("RSR_CACHE_TTL = -1", "(oxicache.E001) RSR_CACHE_TTL is -1"),
            (
                'OXICACHE = {"TENANT": "no.such.tenant"}',
                "(oxicache.E002) OXICACHE['TENANT'] is 'no.such.tenant'",
            ),
        ],
        ids=["key", "namespace", "flat", "tenant"],
    )
    @pytest.mark.parametrize("command", [("check",), ("migrate", "--plan")], ids=["check", "migrate"])
    def test_a_wrong_setting_is_an_error_of_check(
        self, tmp_path: Path, wrong: str, message: str, command: tuple[str, ...]
    ) -> None:
        """`manage.py check` says it as an error with its id, without a traceback, and ends with 1."""
        done = Site(tmp_path, wrong).manage(*command)
        assert done.returncode == 1
        assert message in done.stderr
        assert "HINT: " in done.stderr
        assert done.stderr.count("oxicache.") == 1
        assert "Traceback" not in done.stderr

    def test_a_server_does_not_begin_with_a_wrong_setting(self, tmp_path: Path) -> None:
        """A process that runs no checks raises when Django is set up."""
        done = Site(tmp_path, 'OXICACHE = {"LOCK_TIMEOUT": "long"}').run(
            "-c", "import django; django.setup()"
        )
        assert done.returncode == 1
        assert "ImproperlyConfigured: OXICACHE['LOCK_TIMEOUT'] is 'long'" in done.stderr

    def test_right_settings_are_no_error(self, tmp_path: Path) -> None:
        """With every setting right `manage.py check` ends with 0, makes nothing and says nothing."""
        site = Site(tmp_path, 'OXICACHE |= {"TENANT": "django.utils.translation.get_language"}')
        done = site.manage("check")
        assert (done.returncode, done.stderr) == (0, "")
        assert "no issues" in done.stdout
        assert list(site.runtime.iterdir()) == []


@pytest.mark.parametrize("part", ["CLIENT", "UNIT", "USER", "LANGUAGE"])
def test_a_path_to_no_resolver_is_an_error(part: str) -> None:
    """Each part of a scope has a setting; E002 says which one leads to nothing."""
    with override_settings(OXICACHE={part: "no.such.path"}):
        (message,) = found("E002")
        assert message.msg.startswith(f"OXICACHE['{part}'] is 'no.such.path'")


class TestTenants:
    """E003."""

    def test_a_tenant_app_without_a_resolver_is_an_error(self, tmp_path: Path) -> None:
        """With django-tenants, rows of two tenants have one primary key: nothing says whose a cached value is."""
        (tmp_path / "django_tenants").mkdir()
        (tmp_path / "django_tenants" / "__init__.py").touch()
        site = Site(tmp_path, 'INSTALLED_APPS = ["django_tenants", *INSTALLED_APPS]')
        done = site.manage("check")
        assert done.returncode == 1
        assert "(oxicache.E003) django_tenants is installed" in done.stderr
        site.settings += '\nOXICACHE |= {"TENANT": "django.utils.translation.get_language"}'
        assert site.manage("check").returncode == 0

    def test_a_resolver_that_needs_a_request_is_none_for_rows(self) -> None:
        """A connection has no request, so rows of two tenants would still share what is cached."""
        with mock.patch.object(checks.apps, "is_installed", lambda name: name == "django_tenants"):
            for resolver, wrong in ((lambda request: 1, 1), (lambda request=None: 1, 0), (lambda: 1, 0)):
                with override_settings(OXICACHE={"TENANT": resolver}):
                    assert len(found("E003")) == wrong

    def test_without_cached_rows_nothing_is_wrong(self) -> None:
        """A project that caches no member of a model needs no resolver."""
        with (
            mock.patch.object(checks.apps, "is_installed", lambda name: name == "django_tenants"),
            mock.patch.object(checks.apps, "get_models", list),
        ):
            assert found("E003") == []


class Router:
    """Reads from a replica."""

    def __init__(self, reads: str) -> None:
        self.reads = reads

    def db_for_read(self, model: type, **hints: object) -> str:
        return self.reads

    def db_for_write(self, model: type, **hints: object) -> str:
        return "default"


class TestReplicas:
    """W003."""

    @pytest.mark.parametrize(
        ("reads", "hold", "count"), [("other", 0, 1), ("other", 5, 0), ("default", 0, 0)]
    )
    def test_a_replica_without_a_hold_is_named(
        self, runtime: Path, reads: str, hold: int, count: int
    ) -> None:
        """A row that is read from a replica too early would be cached for its whole TTL."""
        with override_settings(
            DATABASE_ROUTERS=[Router(reads)], OXICACHE={"RUNTIME_DIR": runtime, "REPLICA_HOLD": hold}
        ):
            messages = found("W003")
        assert len(messages) == count
        assert all("is written to 'default' and read from 'other'" in message.msg for message in messages)


SET_UP = """
import sys
sys.path[:0] = PATH
import logging
logging.basicConfig(stream=sys.stdout, format="logged: %(message)s")
import django
django.setup()
from django.core import checks
print([message.id for message in checks.run_checks(tags=["caches"])], flush=True)
"""
SUBINTERPRETER = f"""
import sys
try:
    import _interpreters as interpreters
    made = interpreters.create("legacy")  # with the GIL of all, as servers make them
except ImportError:
    import _xxsubinterpreters as interpreters
    made = interpreters.create(isolated=False)
found = interpreters.run_string(made, {SET_UP!r}.replace("PATH", repr(sys.path)))
print(found or "")
"""


class TestInterpreters:
    """W007."""

    def test_an_application_in_a_subinterpreter_is_warned(self, tmp_path: Path) -> None:
        """mod_wsgi runs no checks, so that the log says it when Django is set up."""
        done = Site(tmp_path).run("-c", SUBINTERPRETER)
        assert "['oxicache.W007']" in done.stdout, done
        assert "logged: This application runs in a sub-interpreter" in done.stdout

    def test_the_main_interpreter_is_not(self, tmp_path: Path) -> None:
        """Every other server runs applications there."""
        done = Site(tmp_path).run("-c", SET_UP.replace("PATH", "[]"))
        assert (done.stdout, done.stderr) == ("[]\n", "")


HOURS = 3600


class TestLongTtls:
    """W004."""

    def named(self) -> list[Any]:
        return [message.obj for message in found("W004")]

    def test_a_function_that_nothing_invalidates_is_named(self) -> None:
        """More than 4 hours without tags is longer than a source may be forgotten."""

        @cached_function(ttl=4 * HOURS + 1)
        def long() -> int:
            return 1

        @cached_function(ttl=4 * HOURS)
        def short() -> int:
            return 1

        @cached_function(ttl=24 * HOURS, tags=["prices"])
        def tagged() -> int:
            return 1

        (message,) = found("W004")
        assert message.obj == f"{long.__module__}.{long.__qualname__}"
        assert "4 hours, longer than 4 hours" in message.msg.replace("4.0003", "4")
        assert (short(), tagged()) == (1, 1)

    def test_members_of_a_class_are_named_where_their_values_outlive_the_object(self) -> None:
        """identity="class" or a callable; an instance's values go with it, and a row's are invalidated by saving it."""

        class Report:
            @cached_method(ttl=24 * HOURS, identity="class")
            def of_class(self) -> int:
                return 1

            @cached_method(ttl=24 * HOURS, identity=lambda self: 1)
            def of_callable(self) -> int:
                return 1

            @ttl_cached_property(ttl=24 * HOURS)
            def of_instance(self) -> int:
                return 1

        assert [name.rpartition(".")[2] for name in self.named()] == ["of_callable", "of_class"]
        assert Report().of_instance == 1

    def test_a_long_default_is_named_once(self, runtime: Path) -> None:
        """The setting is what is wrong, not each cache that takes it."""
        with override_settings(OXICACHE={"RUNTIME_DIR": runtime, "DEFAULT_TTL": 5 * HOURS}):

            @cached_function
            def by_default() -> int:
                return 1

            assert self.named() == ['OXICACHE["DEFAULT_TTL"]']
            assert by_default() == 1
        assert self.named() == [f"{by_default.__module__}.{by_default.__qualname__}"]


class TestForEver:
    """W005."""

    def named(self) -> list[Any]:
        return [message.obj for message in found("W005")]

    def test_a_cache_whose_entries_never_expire_is_named(self) -> None:
        """By name or by decorator, with tags or without: one missed invalidation lasts as long as the process."""
        cache_manager.get_cache("for ever", max_size=5, ttl=None)
        try:

            @cached_function(ttl=None, tags=["prices"])
            def tagged() -> int:
                return 1

            assert self.named() == ["for ever", f"{tagged.__module__}.{tagged.__qualname__}"]
        finally:
            cache_manager.remove("for ever")

    def test_what_dies_with_its_object_is_not(self) -> None:
        """Django's own cached_property keeps its value as long."""

        class Report:
            @ttl_cached_property(ttl=None)
            def total(self) -> int:
                return 1

        assert self.named() == []
        assert Report().total == 1

    def test_a_row_is(self, monkeypatch: pytest.MonkeyPatch) -> None:
        """Saving invalidates it, update() and SQL do not."""

        @cached_method(ttl=None)
        def total(self: Project) -> int:
            return 1

        monkeypatch.setattr(Project, "total", total, raising=False)
        assert [name.rpartition(".")[2] for name in self.named()] == ["total"]

    def test_the_default_is(self, runtime: Path) -> None:
        """RSR_CACHE_TTL or DEFAULT_TTL None makes every cache one that keeps its entries for ever."""
        with override_settings(OXICACHE={"RUNTIME_DIR": runtime, "DEFAULT_TTL": None}):
            assert self.named() == ['OXICACHE["DEFAULT_TTL"]']


class TestUnlimitedSizes:
    """W006."""

    def named(self) -> list[Any]:
        return [message.obj for message in found("W006")]

    def test_a_size_that_limits_nothing_is_named(self) -> None:
        """More than a million entries, unless their bytes are limited."""
        made: dict[str, TTLCache[Any, Any]] = {}
        try:
            for name, size, max_bytes in (
                ("huge", 2**32 - 4, None),
                ("large", 1_000_001, None),
                ("limit", 1_000_000, None),
                ("bytes", 2**32 - 4, 2**26),
            ):
                made[name] = cache_manager.get_cache(name, max_size=size, ttl=60, max_bytes=max_bytes)
            assert self.named() == ["huge", "large"]
        finally:
            for name, cache in made.items():
                cache_manager.remove(name, cache)

    def test_so_is_a_default(self, runtime: Path) -> None:
        """The setting is named, not each cache that takes it."""
        with override_settings(OXICACHE={"RUNTIME_DIR": runtime, "DEFAULT_MAX_SIZE": 2_000_000}):

            @cached_function
            def by_default() -> int:
                return 1

            assert self.named() == ['OXICACHE["DEFAULT_MAX_SIZE"]']
            assert by_default() == 1
