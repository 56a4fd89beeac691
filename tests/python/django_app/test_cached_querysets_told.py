"""Cached querysets of one statement that were told different things, and prefetches of managers that look around."""

from contextvars import ContextVar
from typing import Any

from django.contrib.auth.models import Group, User
from django.core.cache import cache
from django.db import connection, models
from django.db.models import Count, FilteredRelation, Q
from django.db.models.query import ModelIterable
from django.test import TestCase, TransactionTestCase, override_settings
from django.test.utils import CaptureQueriesContext
from project.library.models import Work, Writer

from oxicache.django.queries import cached_queryset

NATIVE = override_settings(
    CACHES={"default": {"BACKEND": "oxicache.django.backends.NativeCache", "LOCATION": "told"}}
)


@NATIVE
class TestTold(TestCase):
    def setUp(self) -> None:
        cache.clear()
        self.group = Group.objects.create(name="staff")
        self.user = User.objects.create(username="ann")

    def asked(self, held: Any) -> int:
        with CaptureQueriesContext(connection) as executed:
            list(held.all())
        return len(executed)

    def test_tags(self) -> None:
        """A result that another held without tags is not the one that a tag reaches."""
        plain = cached_queryset(User.objects.all(), 60)
        tagged = cached_queryset(User.objects.all(), 60, tags=["staff"])
        assert [self.asked(plain), self.asked(tagged), self.asked(plain), self.asked(tagged)] == [1, 1, 0, 0]
        cache.delete_by_tag("staff")
        assert [self.asked(plain), self.asked(tagged)] == [0, 1]

    def test_depends_on(self) -> None:
        """Nor is one that depends on less."""
        plain = cached_queryset(User.objects.all(), 60)
        depending = cached_queryset(User.objects.all(), 60, depends_on=[Group])
        assert [self.asked(one) for one in (plain, depending, plain, depending)] == [1, 1, 0, 0]
        self.group.save()
        assert [self.asked(plain), self.asked(depending)] == [0, 1]

    def test_ttl(self) -> None:
        """Nor is one that may be older."""
        assert [self.asked(cached_queryset(User.objects.all(), ttl)) for ttl in (None, 5, 60, 5)] == [
            1,
            1,
            1,
            0,
        ]

    def test_relations_under_conditions(self) -> None:
        """An aggregate over a relation under one condition is not that over it under another."""
        self.user.groups.add(self.group)
        for name, count in (("staff", 1), ("nobody", 0), ("staff", 1)):
            relation = FilteredRelation("groups", condition=Q(groups__name=name))
            users = cached_queryset(User.objects.annotate(those=relation), 60)
            assert [users.aggregate(n=Count("those"))["n"] for _ in range(3)] == [count] * 3

    def test_what_a_queryset_knows_already(self) -> None:
        """What another caller's own instance has unsaved is not what a prefetch gives."""
        Work.objects.create(writer=Writer.objects.create(name="ann"))
        changed, plain = Writer.objects.get(), Writer.objects.get()
        changed.name = "unsaved"
        for writer in (changed, changed, plain):
            (work,) = cached_queryset(writer.works.prefetch_related("subjects"), 60)
            assert work.writer is writer

    def test_other_iterables(self) -> None:
        """Instances that a project's own iterable has changed are not those of another queryset."""
        own = User.objects.prefetch_related("groups")
        own._iterable_class = Marking
        assert [one.mark for one in list(cached_queryset(own, 60)) * 2] == [1, 1]
        plain = cached_queryset(User.objects.prefetch_related("groups"), 60)
        assert not any(hasattr(one, "mark") for _ in range(2) for one in plain.all())


class Marking(ModelIterable):  # type: ignore[type-arg]
    def __iter__(self) -> Any:
        for one in super().__iter__():
            one.mark = 1
            yield one


_asking: ContextVar[str] = ContextVar("asking", default="ann")


class OfWhoAsks(models.Manager[Any]):
    """Shows each tenant its own rows."""

    def get_queryset(self) -> Any:
        return super().get_queryset().filter(name=_asking.get())


class Owner(models.Model):
    """Its table is made here alone, as that of its things."""

    class Meta:
        app_label = "library"
        managed = False


class Thing(models.Model):
    name = models.CharField(max_length=9)
    owner = models.ForeignKey(Owner, models.CASCADE, related_name="things")
    objects = OfWhoAsks()

    class Meta:
        app_label = "library"
        managed = False


@NATIVE
class TestManagers(TransactionTestCase):
    def setUp(self) -> None:
        cache.clear()
        with connection.schema_editor() as editor:
            for model in (Owner, Thing):
                editor.create_model(model)
        owner = Owner.objects.create()
        for name in ("ann", "bob"):
            Thing.objects.create(name=name, owner=owner)

    def tearDown(self) -> None:
        _asking.set("ann")
        with connection.schema_editor() as editor:
            for model in (Thing, Owner):
                editor.delete_model(model)

    def test_what_looks_around(self) -> None:
        """What a prefetch finds by its model's manager is another result where that chooses others."""
        plain = cached_queryset(Owner.objects.prefetch_related("things"))
        within = models.Prefetch("owner", Owner.objects.prefetch_related("things"))
        inner = cached_queryset(Thing._base_manager.filter(name="ann").prefetch_related(within))
        for name in ("ann", "bob", "ann"):
            _asking.set(name)
            for _ in range(2):
                assert [thing.name for one in plain.all() for thing in one.things.all()] == [name]
                assert [thing.name for one in inner.all() for thing in one.owner.things.all()] == [name]

    def test_instances_that_cannot_be_pickled(self) -> None:
        """Are loaded, and not held."""
        owners = cached_queryset(Owner.objects.prefetch_related("things"))

        def made(instance: Any, **_: Any) -> None:
            instance.unpicklable = lambda: None

        models.signals.post_init.connect(made, sender=Owner)
        self.addCleanup(models.signals.post_init.disconnect, made, sender=Owner)
        with self.assertLogs("oxicache.queries"):
            for _ in range(2):
                assert [len(one.things.all()) for one in owners.all()] == [1]
