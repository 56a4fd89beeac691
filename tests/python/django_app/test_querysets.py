"""The manager and the queryset that invalidate: each bulk operation, in each kind of transaction and model."""

import pickle
from typing import Any, ClassVar

import pytest
from asgiref.sync import async_to_sync
from django.contrib.auth.models import Group
from django.db import connections, models, transaction
from django.db.models import F, Q
from django.test import TestCase
from django_leftovers import unwatch_models
from project.catalogue.models import Item, Label
from project.parcels.models import Depot, Express, Parcel, ParcelQuerySet, Sender, Slip, Stop, computed
from sessions import Words

from oxicache.django import InvalidatingManager, InvalidatingQuerySet
from oxicache.trail import trail


def rows(model: type[models.Model], using: str | None = None) -> InvalidatingQuerySet[Any]:
    """The queryset of a model whose manager is Django's own."""
    return InvalidatingQuerySet(model, using=using)


class ParcelsTestCase(TestCase):
    """Three parcels of one sender, whose values are held."""

    databases: ClassVar = {"default", "other"}  # type: ignore[misc]

    def setUp(self) -> None:
        self.sender = Sender.objects.create(name="Ann")
        self.parcels = [
            Parcel.objects.create(pk=pk, code=str(pk), grams=1_000 * pk, sender=self.sender)
            for pk in (1, 2, 3)
        ]
        assert [self.weights(), self.sender.grams] == [[1, 2, 3], 6_000]
        computed.clear()

    def weights(self) -> list[float]:
        """What the next request reads of each parcel."""
        return [parcel.kilograms for parcel in Parcel.objects.order_by("pk")]


class TestUpdate(ParcelsTestCase):
    def test_a_filter_by_something_else_is_all_rows(self) -> None:
        """Which rows it found only the database knows, and a key read before might not be all of them."""
        with self.assertNumQueries(1):
            assert Parcel.objects.filter(code="1").update(grams=5_000) == 1
        assert [self.weights(), computed["kilograms"]] == [[5, 2, 3], 3]

    def test_a_filter_that_the_update_itself_changes(self) -> None:
        """What was found does not satisfy the filter any more, and is invalidated all the same."""
        assert Parcel.objects.filter(grams__gt=1_500).update(grams=F("grams") - 1_000) == 2
        assert self.weights() == [1, 1, 2]

    def test_a_filter_by_primary_keys_is_those_rows(self) -> None:
        """One or several, alone or beside other conditions."""
        for update, after in (
            (lambda: Parcel.objects.filter(pk=2).update(grams=7_000), [1, 7, 3]),
            (lambda: Parcel.objects.filter(id="2", code="2").update(grams=8_000), [1, 8, 3]),
            (lambda: Parcel.objects.filter(pk__in=(2,)).exclude(code="9").update(grams=9_000), [1, 9, 3]),
            (lambda: Parcel.objects.filter(Q(pk=2) & Q(grams__gt=0)).update(grams=4_000), [1, 4, 3]),
        ):
            computed.clear()
            assert update() == 1
            assert [self.weights(), computed["kilograms"]] == [after, 1]

    def test_keys_of_a_filter_that_finds_others_too(self) -> None:
        """After OR and NOT a key says nothing of the rows that are found."""
        for found in (
            Q(pk=1) | Q(code="2"),
            ~Q(pk=1),
            Q(pk__in=Parcel.objects.filter(pk=2).values("pk")),
            Q(sender__pk=self.sender.pk),
            Q(stop__pk=1) | Q(pk__gt=0),
        ):
            computed.clear()
            assert Parcel.objects.filter(found).update(grams=2_000)
            assert self.weights()[1] == 2
            assert computed["kilograms"] == 3, found

    def test_a_change_of_the_key_itself(self) -> None:
        """The row is another one then: all of them."""
        words = Words("rows:parcels.parcel")
        Parcel.objects.filter(pk=3).update(id=30)
        assert words.moved

    def test_what_depends_on_the_model(self) -> None:
        """A value of another row that names the relation in `depends_on`."""
        Parcel.objects.filter(pk=1).update(grams=0)
        assert Sender.objects.get().grams == 5_000

    def test_nothing_found_is_nothing_invalidated(self) -> None:
        """A claim that another worker has won must not empty the cache."""
        words = Words("rows:parcels.parcel", "model:parcels.parcel")
        assert Parcel.objects.filter(code="9").update(grams=0) == 0
        assert Parcel.objects.none().update(grams=0) == 0
        assert words.moved == []

    def test_a_method_of_a_queryset_and_of_a_related_manager(self) -> None:
        """Both end in `update`."""
        assert Parcel.objects.filter(pk=1).lost() == 1
        assert self.weights() == [0, 2, 3]
        assert self.sender.parcels.update(grams=3_000) == 3
        assert self.weights() == [3, 3, 3]

    def test_a_related_manager_that_parts_rows(self) -> None:
        """`remove()` and `clear()` of a reverse foreign key are an update."""
        self.sender.parcels.clear()
        assert Sender.objects.get().grams == 0

    def test_a_related_manager_that_takes_rows_in(self) -> None:
        """`add()` and `set()` are an update by the base manager, which is Django's own here."""
        assert not isinstance(Parcel._base_manager, InvalidatingManager)
        other = Sender.objects.create(name="Bob")
        assert other.grams == 0
        for take, parcels in (
            (other.parcels.add, [self.parcels[0]]),
            (async_to_sync(other.parcels.aadd), [self.parcels[1]]),
            (lambda one: other.parcels.set([*other.parcels.all(), one]), [self.parcels[2]]),
        ):
            words = Words("rows:parcels.parcel", "model:parcels.parcel")
            take(*parcels)
            assert words.moved, take
        assert [one.grams for one in Sender.objects.order_by("pk")] == [0, 6_000]
        words = Words("rows:parcels.parcel", "model:parcels.parcel")
        other.parcels.add()
        assert words.moved == []
        with pytest.raises(TypeError, match="Parcel"):
            other.parcels.add(other)

    def test_a_proxy_is_the_row_of_its_model(self) -> None:
        """Whichever of both updates."""
        Express.objects.filter(pk=1).update(grams=4_000)
        assert self.weights() == [4, 2, 3]

    def test_a_slice_is_refused_as_by_django(self) -> None:
        """And nothing is invalidated."""
        words = Words("rows:parcels.parcel")
        with pytest.raises(TypeError, match="slice"):
            Parcel.objects.all()[:1].update(grams=0)
        with pytest.raises(TypeError, match="limit"):
            Parcel.objects.all()[:1].delete()
        assert words.moved == []

    def test_the_trail_names_it(self) -> None:
        """An operator sees that it was a bulk operation, and from which line."""
        trail.clear()
        Parcel.objects.filter(pk=1).update(grams=0)
        (event,) = trail.events()
        assert event["kind"] == "bulk"
        assert str(event["where"]).rpartition(":")[0].endswith("test_querysets.py")


class TestBulkOperations(ParcelsTestCase):
    def test_bulk_create(self) -> None:
        """What depends on the model; rows that were there stay."""
        Parcel.objects.bulk_create(Parcel(code=f"new {n}", grams=500, sender=self.sender) for n in range(2))
        assert Sender.objects.get().grams == 7_000
        assert [self.weights()[:3], computed["kilograms"]] == [[1, 2, 3], 2]

    def test_bulk_create_that_updates(self) -> None:
        """Which rows were there, and under which key, only the database knows."""
        Parcel.objects.bulk_create(
            [Parcel(code="2", grams=8_000), Parcel(code="4", grams=9_000)],
            update_conflicts=True,
            update_fields=["grams"],
            unique_fields=["code"],
        )
        assert self.weights() == [1, 8, 3, 9]

    def test_bulk_create_that_updates_a_row_of_another_key(self) -> None:
        """Before Django 6.1 the instance goes on saying the key that it was given."""
        rows = [Parcel(pk=77, code="2", grams=8_000)]
        Parcel.objects.bulk_create(
            rows, update_conflicts=True, update_fields=["grams"], unique_fields=["code"]
        )
        assert self.weights() == [1, 8, 3]

    def test_bulk_create_that_ignores(self) -> None:
        """A row that was there is as it was."""
        Parcel.objects.bulk_create([Parcel(code="2", grams=8_000)], ignore_conflicts=True)
        assert [self.weights(), computed["kilograms"]] == [[1, 2, 3], 0]

    def test_bulk_create_of_nothing(self) -> None:
        """No query, and no word."""
        words = Words("model:parcels.parcel")
        assert Parcel.objects.bulk_create([]) == []
        assert words.moved == []

    def test_bulk_update(self) -> None:
        """These rows, given as anything that can be read once."""
        for parcel in self.parcels[:2]:
            parcel.grams = 7_000
        assert Parcel.objects.bulk_update((one for one in self.parcels[:2]), ["grams"], batch_size=1) == 2
        assert [self.weights(), computed["kilograms"]] == [[7, 7, 3], 2]
        assert Sender.objects.get().grams == 17_000

    def test_a_table_between_a_relation(self) -> None:
        """A row of it changes the rows at both ends, which `m2m_changed` would say."""
        one, two = (Depot.objects.create(name=name) for name in "ab")
        assert [one.parcels_here, two.parcels_here] == [0, 0]
        Stop.objects.bulk_create([Stop(parcel=self.parcels[0], depot=one)])
        assert [Depot.objects.get(pk=depot.pk).parcels_here for depot in (one, two)] == [1, 0]
        assert computed["parcels_here"] == 3
        Stop.objects.update(depot=two)
        assert [Depot.objects.get(pk=depot.pk).parcels_here for depot in (one, two)] == [0, 1]
        Stop.objects.filter(depot=two).delete()
        assert [Depot.objects.get(pk=depot.pk).parcels_here for depot in (one, two)] == [0, 0]

    def test_the_table_that_django_makes_between_a_relation(self) -> None:
        """Its own manager is Django's: named here by its queryset."""
        label, item = Label.objects.create(slug="a"), Item.objects.create()
        assert label.count() == 0
        between = Item.labels.through
        words = Words(f"row:catalogue.item:{item.pk}", "row:catalogue.label:a", "rows:catalogue.label")
        rows(between).bulk_create([between(item=item, label=label)])
        assert words.moved == [f"row:catalogue.item:{item.pk}", "row:catalogue.label:a"]
        assert Label.objects.get().count() == 1

    def test_async_twins(self) -> None:
        """They are the same methods in another thread."""

        async def change() -> None:
            await Parcel.objects.filter(pk=1).aupdate(grams=0)
            await Parcel.objects.abulk_create([Parcel(code="4", grams=4_000, sender=self.sender)])
            self.parcels[1].grams = 0
            await Parcel.objects.abulk_update([self.parcels[1]], ["grams"])
            await Parcel.objects.filter(pk=3).adelete()

        async_to_sync(change)()
        assert self.weights() == [0, 0, 4]
        assert Sender.objects.get().grams == 4_000


class TestDelete(ParcelsTestCase):
    def test_rows_whose_signals_tell(self) -> None:
        """Those and no others, and what depends on them."""
        assert Parcel.objects.filter(code="1").delete()[0] == 1
        assert [self.weights(), computed["kilograms"]] == [[2, 3], 0]
        assert Sender.objects.get().grams == 5_000

    def test_rows_without_signals(self) -> None:
        """Django deletes them by one statement."""
        unwatch_models([Slip])
        slips = [Slip.objects.create(text=text, parcel=self.parcels[0]) for text in "ab"]
        words = Words(f"row:parcels.slip:{slips[0].pk}", "rows:parcels.slip", "model:parcels.slip")
        with self.assertNumQueries(1):
            Slip.objects.filter(pk=slips[0].pk).delete()
        assert words.moved == [f"row:parcels.slip:{slips[0].pk}", "model:parcels.slip"]
        with self.assertNumQueries(1):
            assert Slip.objects.all()._raw_delete("default") == 1
        assert "rows:parcels.slip" in words.moved

    def test_rows_of_a_cascade_without_signals(self) -> None:
        """Whoever began it: a queryset, or an instance, by the base manager of what is deleted."""
        unwatch_models([Slip])
        for delete in (
            lambda: Parcel.objects.filter(pk=1).delete(),
            lambda: Parcel.objects.get(pk=2).delete(),
        ):
            Slip.objects.bulk_create([Slip(parcel_id=pk) for pk in (1, 2) if Parcel.objects.filter(pk=pk)])
            words = Words("rows:parcels.slip", "model:parcels.slip")
            delete()
            assert len(words.moved) == 2

    def test_nothing_deleted(self) -> None:
        """Is nothing invalidated."""
        words = Words("rows:parcels.slip", "model:parcels.slip", "model:parcels.parcel")
        assert Slip.objects.filter(pk=9).delete()[0] == 0
        assert Parcel.objects.filter(code="9").delete()[0] == 0
        assert words.moved == []

    def test_the_queryset_forgets_what_it_has_read(self) -> None:
        """As Django's does."""
        found = Parcel.objects.all()
        assert len(found) == 3
        found.delete()
        assert len(found) == 0

    def test_the_manager_has_no_delete(self) -> None:
        """`Parcel.objects.delete()` would be a slip of the pen."""
        assert not hasattr(Parcel.objects, "delete")
        for name in ("delete", "update", "bulk_create", "bulk_update", "_raw_delete"):
            assert getattr(InvalidatingQuerySet, name).alters_data


class TestManager:
    def test_a_queryset_that_would_not_invalidate_is_refused(self) -> None:
        """The error says how to derive one that does."""

        class Plain(models.QuerySet[Any, Any]):
            pass

        with pytest.raises(TypeError, match=r"class Plain\(InvalidatingQuerySet, ...\)"):
            InvalidatingManager.from_queryset(Plain)

    def test_derived_querysets(self) -> None:
        """Another library's queryset stands behind this one; its methods reach the manager."""

        class Theirs(models.QuerySet[Any, Any]):
            def update(self, **kwargs: Any) -> int:
                return 10 + super().update(**kwargs)

            def heavy(self) -> Any:
                return self.filter(grams__gt=1_000)

        class Mine(InvalidatingQuerySet[Any], Theirs):
            pass

        manager = InvalidatingManager.from_queryset(Mine)()
        manager.model = Group
        assert isinstance(manager.get_queryset(), Mine)
        assert hasattr(manager, "heavy")
        words = Words("model:auth.group")
        assert manager.filter(name="nobody").update(name="somebody") == 10
        assert words.moved
        assert isinstance(Mine.as_manager().get_queryset, object)

    def test_copies_and_pickles_go_on_telling(self) -> None:
        """A queryset that was cloned, chained, combined or pickled still invalidates."""
        found = ParcelQuerySet(Parcel).filter(pk=1)
        for one in (
            found.all(),
            found | found,
            pickle.loads(pickle.dumps(found.none())),  # noqa: S301
            found.using("other"),
        ):
            assert one._is_telling

    def test_saving_an_instance_is_not_told_twice(self) -> None:
        """A base manager is what `save()` works by, and its signal tells of the row alone."""
        with transaction.atomic():
            slip = Slip.objects.create(text="a")
            words = Words("rows:parcels.slip")
            slip.text = "b"
            slip.save()
            assert words.moved == []
            transaction.set_rollback(True)
        assert connections["default"].run_on_commit == []
