"""Cached functions of a process that caches nothing else, and `vary="scope"`, which only Django can tell."""

from typing import Any

import pytest
from child_process import check
from django.test import override_settings

from oxicache import cached_function, cached_method
from oxicache.django.scope import Scope, use_scope
from oxicache.errors import MissingScopeError


class TestScopeOfCachedFunction:
    """`vary="scope"` of `oxicache.cached_function` and `cached_method`, which is Django's to tell."""

    def test_tenants_share_nothing(self) -> None:
        """Whoever is in another scope has another entry; the same again has the same."""
        calls: list[Any] = []

        @cached_function(vary="scope")
        def figures(year: int) -> int:
            calls.append(year)
            return len(calls)

        class Report:
            @cached_method(identity="class", vary=("scope", "language"))
            def total(self) -> int:
                calls.append("total")
                return len(calls)

        found = []
        for tenant in (1, 2, 1):
            with use_scope(Scope(tenant=tenant)):
                found.append((figures(2024), Report().total()))
        assert found == [(1, 2), (3, 4), (1, 2)]
        assert figures(2024) == 5  # no scope at all is one of its own

    def test_an_unknown_tenant(self) -> None:
        """Where the settings want one and nobody can say which, the call raises rather than share."""

        @cached_function(vary="scope")
        def figures() -> int:
            return 1

        with override_settings(OXICACHE={"TENANT": lambda: None}), pytest.raises(MissingScopeError):
            figures()


def test_a_process_with_nothing_else() -> None:
    """What a transaction has written is noticed where nothing else is cached, by functions and fragments."""
    printed = check("""
        import django
        from django.conf import settings

        settings.configure(
            INSTALLED_APPS=["django.contrib.auth", "django.contrib.contenttypes", "oxicache.django"],
            DATABASES={"default": {"ENGINE": "django.db.backends.sqlite3", "NAME": ":memory:"}},
            CACHES={"default": {"BACKEND": "oxicache.django.backends.NativeCache"}},
            SECRET_KEY="functions",
            OXICACHE={"CONTROL": False},
        )
        django.setup()
        from django.core.management import call_command
        from django.db import connection, transaction

        call_command("migrate", verbosity=0)
        from django.contrib.auth.models import Group
        from oxicache.django import cached_in

        @cached_in()
        def count():
            return Group.objects.count()

        from django.template import Context, Engine

        engine = Engine(libraries={"cache_tags": "oxicache.django.templatetags.cache_tags"})
        source = "{% load cache_tags %}{% cache_fragment 'g' %}{{ groups.count }}{% endcache_fragment %}"
        template = engine.from_string(source)

        def shown():
            return template.render(Context({"groups": Group.objects.all()}))

        with transaction.atomic():
            Group.objects.create(name="a")
            print(count(), shown())
            transaction.set_rollback(True)
        print(count(), shown())
        with transaction.atomic():
            with connection.cursor() as cursor:
                cursor.execute("INSERT INTO auth_group (name) VALUES ('b')")
            print(count())
            transaction.set_rollback(True)
        print(count())
    """)
    assert printed.split() == ["1", "1", "0", "0", "1", "0"]
