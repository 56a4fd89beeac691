"""Cached querysets of several databases, and who notices what changes: replicas, other processes, tags."""

import subprocess
import sys
from collections.abc import Callable
from typing import Any, ClassVar

import pytest
from django.contrib.auth.models import Group, User
from django.core.cache import cache
from django.db import connection, connections
from django.test import TestCase, override_settings
from django.test.utils import CaptureQueriesContext

from oxicache import _native
from oxicache.django import invalidate
from oxicache.django.queries import cached_queryset
from oxicache.testing import clock

NATIVE = override_settings(CACHES={"default": {"BACKEND": "oxicache.django.backends.NativeCache"}})


@pytest.fixture(autouse=True)
def _empty() -> None:
    with NATIVE:
        cache.clear()


def queries(ask: Callable[[], Any]) -> int:
    with CaptureQueriesContext(connection) as found:
        ask()
    return len(found)


class Replica:
    """`other` is a replica that lags behind `default`."""

    def db_for_read(self, *_: Any, **__: Any) -> str:
        return "other"

    def db_for_write(self, *_: Any, **__: Any) -> str:
        return "default"

    def allow_relation(self, *_: Any, **__: Any) -> bool:
        return True


@NATIVE
class TestDatabases(TestCase):
    databases: ClassVar = {"default", "other"}  # type: ignore[misc]

    def test_are_told_apart(self) -> None:
        """By `using()`, and by the router."""
        User.objects.create(username="ann")
        users = cached_queryset(User.objects.all(), 60)
        for _ in range(2):
            assert [
                users.count(),
                users.using("other").count(),
                len(users.using("other")),
                len(users.all()),
            ] == [
                1,
                0,
                0,
                1,
            ]
        with override_settings(DATABASE_ROUTERS=[Replica()]):
            assert [cached_queryset(User.objects.all(), 60).count(), users.count()] == [0, 0]

    def test_what_a_replica_says_is_not_held_for_a_while_after_a_change(self) -> None:
        """It may be older; later it is held, and what is read where it is written always is."""
        with clock() as now, override_settings(DATABASE_ROUTERS=[Replica()], OXICACHE={"REPLICA_HOLD": 10}):
            for alias, later, count in (("other", 9, 1), ("default", 0, 0), ("other", 11, 0)):
                users = cached_queryset(User.objects.using(alias), 60)  # from now on changes are noticed
                User.objects.using("default").create(username=f"{alias}{later}")
                now.advance(later)
                list(users)
                with CaptureQueriesContext(connections[alias]) as found:
                    list(users.all())
                assert len(found) == count, (alias, later)

    def test_another_process_is_heard(self) -> None:
        """At the next read: a word of the model is all that it moves."""
        users = cached_queryset(User.objects.all(), 60)
        for ask in (users.count, users.exists, lambda: list(users.all()), lambda: list(users.values("pk"))):
            ask()
            assert queries(ask) == 0
            _native.bump(["model:auth.user"])
            assert queries(ask) == 1

    def test_what_changes_meanwhile_is_not_held(self) -> None:
        """What is read may be older than the change."""
        users = cached_queryset(User.objects.all(), 60)

        def change(execute: Any, *args: Any) -> Any:
            rows = execute(*args)
            _native.bump(["model:auth.user"])
            return rows

        for ask in (users.count, lambda: list(users.all()), lambda: list(users.values("pk"))):
            with connection.execute_wrapper(change):
                ask()
            assert queries(ask) == 1
            assert queries(ask) == 0

    def test_dependencies_and_tags(self) -> None:
        """What no text of SQL names can be named."""
        users = cached_queryset(User.objects.all(), 60, depends_on=["auth.Group"], tags=["people"])
        for change in (
            lambda: Group.objects.create(name="staff"),
            lambda: invalidate(tags=["people"]),
            lambda: invalidate(User),
        ):
            list(users.all())
            assert queries(lambda: list(users.all())) == 0
            change()
            assert queries(lambda: list(users.all())) == 1

    def test_models_are_watched_from_the_start(self) -> None:
        """By a setting, where no CachedManager is imported: those that are there, and those to come."""
        code = (
            "import django, sys; from django.conf import settings; settings.configure(SECRET_KEY='x',"
            "INSTALLED_APPS=['oxicache.django', 'django.contrib.contenttypes', 'django.contrib.auth'],"
            "OXICACHE={'WATCH_MODELS': sys.argv[1] == 'all', 'CONTROL': False}); django.setup();"
            "from django.contrib.auth.models import User, Group; from django.db import models;"
            "from django.db.models.signals import m2m_changed, post_save;"
            "Meta = type('Meta', (), {'app_label': 'auth'});"
            "Late = type('Late', (models.Model,), {'__module__': 'x', 'Meta': Meta});"
            "print([bool(post_save.has_listeners(one)) for one in (User, Late)],"
            "bool(m2m_changed.has_listeners(User.groups.through)))"
        )
        for given, said in (("all", "[True, True] True"), ("none", "[False, False] False")):
            found = subprocess.run(
                [sys.executable, "-c", code, given], capture_output=True, text=True, check=False
            )
            assert found.stdout.strip() == said, found.stderr
