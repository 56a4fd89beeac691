"""Instances that cached querysets put together: nobody can tell them from those that Django makes."""

import copy
import pickle
from collections.abc import Callable
from datetime import UTC, datetime
from threading import Barrier, Event, Thread
from typing import Any

import pytest
from django.contrib.auth.models import User
from django.contrib.contenttypes.models import ContentType
from django.core.cache import cache
from django.db import connection, models
from django.db.models import Count, F, FilteredRelation, Prefetch, Q, Value, Window
from django.db.models.fields.related_descriptors import create_reverse_many_to_one_manager
from django.db.models.functions import Cast, RowNumber
from django.db.models.signals import post_init
from django.test import TestCase, override_settings
from django.test.utils import CaptureQueriesContext
from project.library.models import Novel, Reading, Remark, Subject, Work, Writer

from oxicache.django.queries import CachedManager, cached_queryset
from oxicache.django.queries.fetching import Caching, fetch

NATIVE = override_settings(CACHES={"default": {"BACKEND": "oxicache.django.backends.NativeCache"}})


@pytest.fixture(autouse=True)
def _empty() -> None:
    with NATIVE:
        cache.clear()


def laid_out(value: Any, above: tuple[int, ...] = ()) -> Any:
    """Return all that an instance is made of, and those that hang on it."""
    if isinstance(value, list | tuple):
        return [laid_out(one, above) for one in value]
    if not isinstance(value, models.Model):
        return type(value), value
    if id(value) in above:
        return type(value), "above"
    above = (*above, id(value))
    own = dict(vars(value))
    state = vars(own.pop("_state")).copy()
    related = {name: laid_out(one, above) for name, one in state.pop("fields_cache", {}).items()}
    own.pop("_prefetched_objects_cache", None)
    return type(value), {name: laid_out(one, above) for name, one in own.items()}, state, related


def statements(ask: Callable[[], Any]) -> int:
    with CaptureQueriesContext(connection) as found:
        ask()
    return len(found)


class Shouting(models.CharField):
    """Gives in capitals what a database gives."""

    def from_db_value(self, value: Any, *_: Any) -> Any:
        """Return it loudly."""
        return str(value).upper()


class Shelf(Work):
    """A proxy with a manager that caches."""

    objects = CachedManager()

    class Meta:
        app_label = "library"
        proxy = True


class OwnWay(Work):
    """Makes its instances in its own way."""

    class Meta:
        app_label = "library"
        proxy = True

    def __init__(self, *args: Any, **given: Any) -> None:
        super().__init__(*args, **given)
        self.made = True

    @classmethod
    def from_db(cls, *args: Any, **given: Any) -> Any:
        """Mark what came from a database."""
        one = super().from_db(*args, **given)
        one.came = True
        return one


@NATIVE
class TestInstances(TestCase):
    @classmethod
    def setUpTestData(cls) -> None:
        cls.ann, cls.bob = (Writer.objects.create(name=name) for name in ("ann", "bob"))
        noon = datetime(2026, 3, 1, 12, tzinfo=UTC)
        cls.first = Work.objects.create(
            title="first", facts={"a": [1, {"b": None}]}, writer=cls.ann, written_at=noon
        )
        cls.novel = Novel.objects.create(title="novel", writer=cls.bob, sequel=cls.first, pages=7)
        cls.last = Work.objects.create(title="last", rank=3)
        cls.tea = Subject.objects.create(slug="tea", weight=2)
        cls.first.subjects.add(cls.tea)
        Reading.objects.create(work=cls.first, reader=cls.bob, stars=5)
        Remark.objects.create(text="well", target=cls.first)

    def test_are_as_django_makes_them(self) -> None:
        """Found and loaded alike: their attributes and types, what is deferred, and what is related to them."""
        works = Work.objects.order_by("pk")
        ready = Window(RowNumber(), order_by="title")
        for plain in (
            works,
            works[1:2],
            works.filter(title__in=["first", "novel"], writer__name="ann"),
            works.filter(pk__in=[]),
            works.filter(Q(rank__gte=3) | ~Q(writer=self.ann)),
            works.filter(facts__a__0=1),
            works.filter(written_at__year=2026),
            works.select_related("writer", "sequel__writer"),
            works.select_related("novel"),
            works.only("title", "writer__name").select_related("writer"),
            works.defer("facts"),
            works.annotate(n=Count("subjects"), loud=Value("x"), row=ready),
            works.annotate(of=Cast("title", Shouting())),
            works.annotate(chosen=FilteredRelation("subjects", condition=Q(subjects__weight=2))).filter(
                chosen__isnull=False
            ),
            works.extra(select={"one": "1"}),
            works.distinct().order_by("-title", F("rank").desc()),
            works.order_by().union(works.order_by().filter(rank=3)).order_by("pk"),
            works.none(),
            Novel.objects.select_related("work_ptr", "writer"),
            Reading.objects.select_related("work__writer", "reader"),
            Subject.objects.filter(works=self.first),
            Remark.objects.select_related("content_type"),
            OwnWay.objects.order_by("pk"),
            works.prefetch_related("subjects", Prefetch("reading_set", to_attr="seen")),
            Remark.objects.prefetch_related("target"),
        ):
            own = cached_queryset(plain.all(), 60)
            given = laid_out(list(plain.all()))
            assert laid_out(list(own.all())) == given, str(plain.query)
            list(own.all())  # a prefetch is held once it is known what it reads
            assert (
                statements(lambda own=own, given=given: self.assertEqual(laid_out(list(own.all())), given))
                == 0
            )

    def test_rows_of_values(self) -> None:
        """Are what Django makes of them too, converted by whom they may be."""
        works = Work.objects.order_by("pk")
        loud = works.annotate(of=Cast("title", Shouting()))
        for plain in (
            works.values(),
            works.values("written_at", "writer__name", "facts"),
            works.values_list("rank", "title"),
            works.values_list("written_at", flat=True),
            works.values_list("pk", "title", named=True),
            loud.values_list("of", "title"),
            works.values("writer").annotate(n=Count("pk")).order_by("n", "writer"),
            works.datetimes("written_at", "day"),
        ):
            own = cached_queryset(plain.all(), 60)
            given = list(plain.all())
            assert [list(own.all()), list(own.all())] == [given, given]
            assert [type(one) for one in own.all()] == [type(one) for one in given]
            assert statements(lambda own=own: list(own.all())) == 0

    def test_belong_to_who_asked(self) -> None:
        """Whatever is done to one, and to what it holds, the next caller gets what the database has."""
        own = cached_queryset(Work.objects.filter(pk=self.first.pk).select_related("writer"), 60)
        for _ in range(3):
            one = own.all().get()
            assert one.facts == {"a": [1, {"b": None}]}
            assert (one.title, one.writer.name) == ("first", "ann")
            one.facts["a"][1]["b"] = one
            one.title = one.writer.name = "changed"
            one.writer = self.bob
        for _ in range(3):
            row = own.values("facts").get()
            assert row == {"facts": {"a": [1, {"b": None}]}}
            row["facts"]["a"].clear()

    def test_belong_to_who_asked_of_a_cache_that_keeps_nothing_apart(self) -> None:
        """Too: ISOLATION "none" is for values that nobody changes, and instances are changed."""
        backend = {"BACKEND": "oxicache.django.backends.NativeCache", "LOCATION": "shared"}
        with override_settings(CACHES={"default": {**backend, "OPTIONS": {"ISOLATION": "none"}}}):
            self.test_belong_to_who_asked()
            self.test_rows_of_values()

    def test_can_be_saved_and_deleted(self) -> None:
        """They are rows like any other, and a hit is gone once one has been saved."""
        own = cached_queryset(Work.objects.filter(rank=3), 60)
        own.get()
        one = own.get()
        one.title = "again"
        one.save()
        assert own.get().title == "again"
        assert own.only("rank").get().title == "again"  # fetched when it is asked for
        own.get().delete()
        assert not own.exists()

    def test_receivers_hear_of_each(self) -> None:
        """Of the making of an instance, found or loaded."""
        heard: list[str] = []

        def hear(instance: Any, **_: Any) -> None:
            heard.append(instance.title)

        own = cached_queryset(Work.objects.filter(title="last"), 60)
        own.get()
        post_init.connect(hear, sender=Work)
        try:
            own.get()
            own.get()
        finally:
            post_init.disconnect(hear, sender=Work)
        assert heard == ["last", "last"]

    def test_of_related_managers_know_what_they_belong_to(self) -> None:
        """As `author.books` does; a manager derived from a CachedManager has `cached()` too."""
        for works in (
            cached_queryset(self.ann.works.all(), 60),
            create_reverse_many_to_one_manager(CachedManager, Writer._meta.get_field("works"))(
                self.ann
            ).cached(60),
        ):
            assert [one.writer is self.ann for one in works.all()] == [True]
            assert (
                statements(lambda works=works: self.assertIs(next(iter(works.all())).writer, self.ann)) == 0
            )
        assert [one.pk for one in cached_queryset(self.first.subjects.all())] == ["tea"]
        assert [one.pk for one in cached_queryset(self.bob.works.all())] == [self.novel.pk]

    def test_of_managers(self) -> None:
        """`cached` of a manager takes all rows."""
        assert [one.title for one in Shelf.objects.cached(60).order_by("pk")] == ["first", "novel", "last"]
        assert type(Shelf.objects.cached(60).first()) is Shelf
        assert statements(lambda: list(Shelf.objects.cached(60).order_by("pk"))) == 0
        self.first.delete()
        assert Shelf.objects.cached(60).count() == 2

    def test_copies_of_querysets(self) -> None:
        """Pickled, copied, combined: what has `cached()` on its left is cached."""
        own = cached_queryset(Work.objects.order_by("pk"), 60)
        plain = Work.objects.order_by("pk")
        for one in (copy.deepcopy(own), pickle.loads(pickle.dumps(own.query)), copy.copy(own)):  # noqa: S301
            assert getattr(one, "query", one).caching == own.query.caching
        few, many = own.filter(rank=3), plain.filter(rank=0)
        for both, count in ((few | many, 0), (own & many, 0), (many | few, 1), (plain & few, 1)):
            given = [one.pk for one in both.all()]
            assert given == sorted(given)
            assert statements(lambda both=both: list(both.all())) == count

    def test_explain_asks_the_database(self) -> None:
        """Nobody wants to hear how it would have been."""
        own = cached_queryset(Work.objects.all(), 60)
        assert [statements(own.explain), statements(own.explain)] == [1, 1]

    def test_whose_they_are(self) -> None:
        """TENANT is part of the key, as it is for rows; so is a connection's schema."""
        own = cached_queryset(Work.objects.filter(rank=3), 60)
        whose = ["a"]
        with override_settings(OXICACHE={"TENANT": lambda: whose[0]}):
            for tenant, count in (("a", 1), ("a", 0), ("b", 1), ("a", 0)):
                whose[0] = tenant
                assert [statements(own.all().get), statements(own.all().count)] == [count, count]
        own.all().get()
        for schema, count in (("one", 1), ("two", 1), ("one", 0)):
            connection.schema_name = schema
            try:
                assert statements(own.all().get) == count
            finally:
                del connection.schema_name

    @pytest.mark.skipif(not hasattr(models, "FETCH_PEERS"), reason="fetch modes came with Django 6.1")
    def test_fetch_what_is_missing_as_told(self) -> None:
        """Each in the mode of his own queryset, however the instances are held."""
        for plain in (Work.objects.order_by("pk"), Work.objects.order_by("pk").prefetch_related("subjects")):
            for mode in (models.FETCH_ONE, models.FETCH_PEERS, models.FETCH_RAISE):
                own = cached_queryset(plain.fetch_mode(mode), 60)
                for _ in range(3):
                    assert [one._state.fetch_mode for one in own.all()] == [mode] * 3
                    assert [one._state.fetch_mode for one in own.select_related("writer")] == [mode] * 3
        peers = cached_queryset(Work.objects.defer("title").fetch_mode(models.FETCH_PEERS), 60)
        for _ in range(2):
            assert statements(lambda: [one.title for one in list(peers.all())]) <= 2

    def test_of_content_types(self) -> None:
        """A generic foreign key is prefetched with what it leads to, and outdated with it."""
        own = cached_queryset(Remark.objects.prefetch_related("target"), 60)
        ContentType.objects.get_for_model(Work)
        for _ in range(2):
            assert [one.target.title for one in own.all()] == ["first"]
        self.first.title = "other"
        self.first.save()
        assert [one.target.title for one in own.all()] == ["other"]


class TestSharing:
    def test_who_waited_gets_his_own(self) -> None:
        """Of one load that two asked for neither gets what the other has."""
        started, go, given = Event(), Event(), []
        barrier = Barrier(2)

        class Asked:
            using, model, is_all = "default", User, True

            def key(self) -> str:
                return "query:auth.user:instances:x"

            def reads(self) -> frozenset[type[models.Model]]:
                return frozenset({User})

        def run() -> Any:
            started.set()
            assert go.wait(30)
            return [[{"a": []}]]

        def ask() -> None:
            barrier.wait(30)
            given.append(fetch(Caching(60, "default"), Asked(), run, copy.deepcopy))

        with NATIVE:
            threads = [Thread(target=ask) for _ in range(2)]
            for one in threads:
                one.start()
            assert started.wait(30)
            go.set()
            for one in threads:
                one.join(30)
            given.append(fetch(Caching(60, "default"), Asked(), run, copy.deepcopy))
        assert given == [[[{"a": []}]]] * 3
        assert len({id(one[0][0]["a"]) for one in given}) == 3
