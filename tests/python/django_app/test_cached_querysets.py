"""`cached()`: querysets whose results are held until what they read changes."""

import asyncio
import pickle
from collections.abc import Callable
from datetime import timedelta
from functools import partial
from typing import Any

import pytest
from asgiref.sync import async_to_sync
from django.contrib import admin
from django.contrib.auth.models import Group, User
from django.core.cache import cache
from django.core.exceptions import ImproperlyConfigured
from django.core.paginator import Paginator
from django.db import connection, transaction
from django.db.models import Count, Exists, Max, OuterRef, Prefetch, Sum
from django.db.models.expressions import RawSQL
from django.test import RequestFactory, TestCase, TransactionTestCase, override_settings
from django.test.utils import CaptureQueriesContext

from oxicache.django.queries import CachedManager, CachedQuerySet, cached_queryset


def queries(ask: Callable[[], Any]) -> int:
    with CaptureQueriesContext(connection) as found:
        ask()
    return len(found)


def copied(one: Any) -> Any:
    return pickle.loads(pickle.dumps(one))  # noqa: S301 -- made here


NATIVE = override_settings(CACHES={"default": {"BACKEND": "oxicache.django.backends.NativeCache"}})
WITH_PLAIN: Any = {
    "default": {"BACKEND": "oxicache.django.backends.NativeCache"},
    "plain": {"BACKEND": "django.core.cache.backends.dummy.DummyCache"},
}


@pytest.fixture(autouse=True)
def _empty() -> None:
    with NATIVE:
        cache.clear()


@NATIVE
class TestReads(TestCase):
    @classmethod
    def setUpTestData(cls) -> None:
        cls.ann = User.objects.create(username="ann", last_login=None)
        cls.bob = User.objects.create(username="bob")
        cls.staff = Group.objects.create(name="staff")
        cls.ann.groups.add(cls.staff)

    def check(self, ask: Callable[[], Any], change: Callable[[], Any]) -> None:
        """The second time nothing is asked, and after a change the database is."""
        first = ask()
        assert queries(lambda: self.assertEqual(ask(), first)) == 0
        change()
        assert queries(ask) > 0

    def users(self) -> Any:
        return cached_queryset(User.objects.order_by("pk"), 60)

    def rename(self) -> None:
        self.ann.username += "a"
        self.ann.save()

    def test_instances(self) -> None:
        """Each hit builds its own."""
        self.check(lambda: list(self.users()), self.rename)
        one, other = self.users()[0], self.users()[0]
        assert one == other
        one.username = "changed"
        assert self.users()[0].username == self.ann.username

    def test_what_is_derived(self) -> None:
        """Filters, slices, values, counts, existence, aggregates, pages."""
        for ask in (
            lambda: list(self.users().filter(username__startswith="a")),
            lambda: list(self.users()[:1]),
            lambda: list(self.users().values("username")),
            lambda: list(self.users().values_list("username", flat=True)),
            lambda: list(self.users().values_list("username", "pk", named=True)),
            lambda: self.users().count(),
            lambda: self.users()[:1].count(),  # noqa: PLW0108 -- a new queryset each time
            lambda: self.users().distinct().count(),
            lambda: self.users().exists(),
            lambda: self.users().filter(pk=-1).exists(),
            lambda: self.users().first(),
            lambda: self.users().get(pk=self.bob.pk),
            lambda: self.users().aggregate(most=Max("username"), all=Count("*")),
            lambda: [user.n for user in self.users().annotate(n=Count("groups"))],
            lambda: self.users().annotate(n=Count("groups")).aggregate(sum=Sum("n")),
            lambda: list(Paginator(self.users(), 1).page(2)),
            lambda: Paginator(self.users(), 1).num_pages,
            lambda: self.users().in_bulk([self.ann.pk]),
            lambda: list(self.users().dates("date_joined", "year")),
            lambda: list(self.users().only("username")),
            lambda: self.users().earliest("date_joined"),
            lambda: self.users().latest("pk"),
            lambda: self.users().last(),
            lambda: self.users().contains(self.bob),
            lambda: list(self.users().reverse()[1:].values_list("pk", flat=True)),
            lambda: [user.one for user in self.users().annotate(one=RawSQL("SELECT %s", [1]))],
            lambda: [
                user.pk for user in self.users().order_by().difference(User.objects.filter(username="x"))
            ],
            lambda: [user.pk for user in self.users().order_by().intersection(User.objects.order_by())],
            lambda: sorted(user.pk for user in self.users().order_by().union(User.objects.order_by())),
            lambda: list(self.users().extra(select={"one": "1"}).values_list("one", "pk")),
        ):
            self.check(ask, self.rename)

    def test_joins_and_subqueries(self) -> None:
        """A change of any model that is read is a change."""

        def rename_group() -> None:
            self.staff.name += "s"
            self.staff.save()

        through = User.groups.through
        for ask in (
            lambda: list(self.users().filter(groups__name__startswith="staff")),
            lambda: list(self.users().filter(groups__in=Group.objects.filter(name__startswith="s"))),
            lambda: list(
                self.users().filter(Exists(Group.objects.filter(user=OuterRef("pk"), name__startswith="s")))
            ),
            lambda: list(cached_queryset(through.objects.select_related("group", "user"), 60)),
            lambda: self.users().aggregate(Max("groups__name")),
        ):
            ask()  # what an aggregate joins is known once it has run
            self.check(ask, rename_group)

    def test_m2m(self) -> None:
        """So is one of the relation between."""
        self.check(
            lambda: self.users().filter(groups=self.staff).count(), lambda: self.bob.groups.add(self.staff)
        )
        assert self.users().filter(groups=self.staff).count() == 2

    def test_prefetches(self) -> None:
        """Their instances are held with them."""

        def names() -> list[list[str]]:
            return [
                [group.name for group in user.groups.all()]
                for user in self.users().prefetch_related("groups")
            ]

        names()
        self.check(names, lambda: Group.objects.create(name="new").user_set.add(self.ann))
        assert names() == [["staff", "new"], []]

        def chosen() -> list[list[str]]:
            chosen = Prefetch("groups", Group.objects.filter(name="new"), to_attr="chosen")
            return [[group.name for group in user.chosen] for user in self.users().prefetch_related(chosen)]

        chosen()
        self.check(chosen, self.ann.groups.clear)
        assert chosen() == [[], []]

    def test_prefetches_of_other_filters(self) -> None:
        """Are other results."""
        for name in ("staff", "none"):
            chosen = Prefetch("groups", Group.objects.filter(name=name), to_attr="chosen")
            found = [len(user.chosen) for user in self.users().prefetch_related(chosen)]
            assert found == ([1, 0] if name == "staff" else [0, 0])

    def test_parameters_apart(self) -> None:
        """And types: nothing is found by a value that only looks alike."""
        assert [self.users().filter(username=name).count() for name in ("ann", "bob", "None", "1")] == [
            1,
            1,
            0,
            0,
        ]

    def test_nothing_to_ask(self) -> None:
        """An empty result that Django knows is asked of nobody."""
        assert queries(lambda: list(self.users().none())) == 0
        assert self.users().filter(pk__in=[]).count() == 0
        assert self.users().filter(pk__in=[]).aggregate(Count("pk")) == {"pk__count": 0}

    def test_the_admin_s_list(self) -> None:
        """Its rows and both of its counts are found."""

        class Cached(admin.ModelAdmin):  # type: ignore[type-arg]
            list_filter = ("is_active",)

            def get_queryset(self, request: Any) -> Any:
                return cached_queryset(super().get_queryset(request), 60)

        asked = RequestFactory().get("/", {"is_active__exact": "1"})
        asked.user = User(is_superuser=True, is_active=True)

        def shown() -> tuple[int, int, list[Any]]:
            found = Cached(User, admin.site).get_changelist_instance(asked)
            return found.result_count, found.full_result_count, list(found.result_list)

        self.check(shown, self.rename)

    def test_managers(self) -> None:
        """Of a queryset class of one's own have `cached()` as well, and its methods."""

        class Own(CachedQuerySet):
            def called(self, name: str) -> Any:
                return self.filter(username=name)

        for manager in (Own.as_manager(), CachedManager.from_queryset(Own)()):
            manager.model = User
            self.check(lambda manager=manager: manager.called("bob").cached(60).count(), self.rename)
            self.check(lambda manager=manager: len(manager.cached(60).called("bob")), self.rename)

    def test_decisions_ask_the_database(self) -> None:
        """What writes is not told by what is held."""
        users = self.users()
        for ask in (users.all, users.count, users.filter(username="rob").exists):
            ask()
        with connection.cursor() as cursor:  # past every signal
            cursor.execute("UPDATE auth_user SET username = 'rob' WHERE id = %s", [self.bob.pk])
        assert users.get_or_create(username="rob") == (self.bob, False)
        assert users.update_or_create(username="rob", defaults={"first_name": "R"}) == (self.bob, False)
        assert users.filter(username="rob").update(last_name="B") == 1
        self.bob.refresh_from_db()
        assert (self.bob.first_name, self.bob.last_name) == ("R", "B")
        assert users.bulk_update([self.bob], ["last_name"]) == 1
        assert len(users.bulk_create([User(username="new")])) == 1
        assert users.create(username="newer").pk
        assert users.filter(username="rob").delete()[0] == 1
        assert [user.username for user in users] == [self.ann.username, "new", "newer"]

    def test_pickles(self) -> None:
        """As querysets do."""
        again = copied(self.users())
        assert list(again) == [self.ann, self.bob]
        assert list(again.all()) == [self.ann, self.bob]
        query = copied(self.users().query)
        unevaluated = User.objects.all()
        unevaluated.query = query
        assert list(unevaluated) == [self.ann, self.bob]


@NATIVE
class TestTwins(TestCase):
    def test_find_what_is_held(self) -> None:
        """The async twins ask once and then nothing, and what they hold the others find."""
        ann = User.objects.create(username="ann")
        users = cached_queryset(User.objects.order_by("pk"), 60)

        async def names() -> list[str]:
            return [one.username async for one in users.all()]

        for ask, given in (
            (names, ["ann"]),
            (users.acount, 1),
            (users.aexists, True),
            (users.afirst, ann),
            (users.alast, ann),
            (partial(users.aget, username="ann"), ann),
            (partial(users.aaggregate, most=Max("username")), {"most": "ann"}),
            (partial(users.ain_bulk, [ann.pk]), {ann.pk: ann}),
        ):
            for count in (1, 0):
                with CaptureQueriesContext(connection) as found:
                    assert async_to_sync(ask)() == given
                assert len(found) == count
        assert queries(lambda: list(users.all())) == 0
        with CaptureQueriesContext(connection) as found:
            for _ in range(2):
                assert async_to_sync(users.aget_or_create)(username="ann") == (ann, False)
        assert len(found) == 2

    def test_ask_once_together(self) -> None:
        """Of tasks that ask at the same time one asks the database."""
        users = cached_queryset(User.objects.all(), 60)

        async def together() -> list[int]:
            return await asyncio.gather(*[users.acount() for _ in range(5)])

        with CaptureQueriesContext(connection) as found:
            assert async_to_sync(together)() == [0] * 5
        assert len(found) == 1


@NATIVE
class TestRefusals(TestCase):
    def test_what_must_ask_the_database(self) -> None:
        """Says so where it is called."""
        users = cached_queryset(User.objects.all())
        for ask in (
            users.select_for_update,
            users.iterator,
            users.aiterator,
            lambda: users.raw("SELECT 1"),
            lambda: cached_queryset(User.objects.select_for_update()),
        ):
            with pytest.raises(TypeError, match="database"):
                ask()
        with pytest.raises(TypeError, match=r"raw\(\) has no results"):
            cached_queryset(User.objects.raw("SELECT 1"))
        with pytest.raises(TypeError, match=r"pass User\._default_manager\.all\(\)"):
            cached_queryset(User)  # type: ignore[arg-type]
        with pytest.raises(TypeError, match=r"call all\(\)"):
            cached_queryset(User.objects)

    def test_the_remedies_that_refusals_name_work(self) -> None:
        """What must ask the database does so after `uncached()`."""
        users = cached_queryset(User.objects.all())
        with pytest.raises(TypeError, match=r"call uncached\(\) first; a field of a form takes"):
            users.iterator()
        assert list(users.uncached().iterator()) == []
        with transaction.atomic():
            assert list(users.uncached().select_for_update()) == []

    def test_wrong_arguments(self) -> None:
        """Are named, with their values and what would be right, where `cached()` is called."""
        users: Any = cached_queryset(User.objects.all())
        for error, said, given in (
            (TypeError, "ttl must be a number of seconds or a timedelta, not 'x'", {"ttl": "x"}),
            (TypeError, "ttl must be", {"ttl": True}),
            (ValueError, "ttl must be at least 0 seconds, not -1", {"ttl": -1}),
            (ValueError, "ttl must be at least 0 seconds, not nan", {"ttl": float("nan")}),
            (TypeError, "tags must be an iterable of strings, not 'a'", {"tags": "a"}),
            (TypeError, "tags must be an iterable of strings", {"tags": [1]}),
            (ValueError, "tag must not be empty", {"tags": [""]}),
            (TypeError, "depends_on must be a list of models, not 'auth.User'", {"depends_on": "auth.User"}),
            (TypeError, "depends_on must be a list of models", {"depends_on": User}),
            (TypeError, "5 is no model", {"depends_on": [5]}),
            (ValueError, "'auth.Nobody' is no model", {"depends_on": ["auth.Nobody"]}),
            (
                ImproperlyConfigured,
                r"'nowhere' is no alias of CACHES \(default, plain\)",
                {"alias": "nowhere"},
            ),
            (ImproperlyConfigured, "None is no alias", {"alias": None}),
            (ImproperlyConfigured, "'plain'.* is no NativeCache.*alias='default' is one", {"alias": "plain"}),
        ):
            with override_settings(CACHES=WITH_PLAIN), pytest.raises(error, match=said):
                users.cached(**given)

    def test_what_may_be_cached_late(self) -> None:
        """A slice, and a queryset whose rows are there already: its copy asks anew."""
        for name in "abc":
            User.objects.create(username=name)
        plain = User.objects.order_by("pk")[1:3]
        for users in (plain, cached_queryset(plain).cached(None)):
            assert len(users) == 2
            again: Any = cached_queryset(users, timedelta(minutes=1))
            assert [one.username for one in again] == ["b", "c"]
            assert (again.count(), again.exists(), again[0].username) == (2, True, "b")

    def test_uncached(self) -> None:
        """Asks the database again."""
        users = cached_queryset(User.objects.all())
        list(users)
        assert queries(lambda: list(users.uncached())) == 1


@NATIVE
class TestTransactions(TransactionTestCase):
    def test_who_has_written_reads_his_own(self) -> None:
        """And stores nothing that a rollback takes back."""
        users = cached_queryset(User.objects.all())
        assert users.all().count() == 0
        with transaction.atomic():
            User.objects.create(username="ann")
            assert users.all().count() == 1
            transaction.set_rollback(True)
        assert users.all().count() == 0
        with transaction.atomic():
            User.objects.create(username="ann")
        assert users.all().count() == 1
