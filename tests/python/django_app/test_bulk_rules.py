"""Rules and bulk changes: what they ask for, of the rows where these are known, once and not twice."""

from collections.abc import Iterator
from typing import Any
from unittest import mock

import pytest
from django.db import connection, models
from django.db.migrations.state import ModelState, ProjectState
from django.test import TestCase, override_settings
from project.catalogue.models import Label
from project.parcels.models import Depot, Parcel, Sender, Slip, Stop
from sessions import Words

from oxicache.django import execution, marks
from oxicache.django.rules import Rule, register_rule
from oxicache.invalidation import NOTHING, Effect


@pytest.fixture(autouse=True)
def _ends_rules(request: pytest.FixtureRequest) -> Iterator[None]:
    ends: list[Any] = []
    if request.instance is not None:
        request.instance.ends = ends
    yield
    for end in ends:
        end()


class RulesTestCase(TestCase):
    """What rules ask for is gathered, not carried out."""

    ends: list[Any]

    def setUp(self) -> None:
        self.sender = Sender.objects.create(name="Ann")
        for pk in (1, 2):
            Parcel.objects.create(pk=pk, code=f"c{pk}", sender=self.sender)
        self.effect = NOTHING
        patched = mock.patch.object(marks, "_executors", [self.gather])
        patched.start()
        self.addCleanup(patched.stop)

    def gather(self, effect: Effect, notes: Any) -> None:
        """Take what would be carried out."""
        self.effect |= effect

    def rule(self, model: Any, **what: Any) -> None:
        """A rule that ends with the test."""
        self.ends.append(register_rule(Rule(model, **what)))

    def asked(self, change: Any) -> set[str]:
        """The tags, keys and globs that a change asks for."""
        self.effect = NOTHING
        change()
        return {name for name in self.effect.names() if not name.startswith(("row", "model:"))}


class TestManager(RulesTestCase):
    def test_rows_that_are_known(self) -> None:
        """A rule by primary keys is of those rows; of an update by something else it is of all."""
        self.rule(Parcel, on="bulk", tags="parcel:{pk}", keys="parcels")
        find = Parcel.objects.filter
        assert self.asked(lambda: find(pk=1).update(grams=1)) == {"tag:parcel:1", "key:parcels"}
        every = self.asked(lambda: find(code="c1").update(grams=1))
        assert "tag:parcel:1" not in every
        assert len(every) > 1
        changed = [Parcel(pk=2, grams=3)]
        assert self.asked(lambda: Parcel.objects.bulk_update(changed, ["grams"])) == {
            "tag:parcel:2",
            "key:parcels",
        }
        made = [Parcel(pk=7, code="7")]
        assert self.asked(lambda: Parcel.objects.bulk_create(made)) == {"tag:parcel:7", "key:parcels"}

    def test_what_rows_were_before(self) -> None:
        """Nobody knows it, so a rule that asks for more than the key is applied to all that may have been."""
        for source in ("slip:{text}", lambda slip: [f"slip:{slip.text}"]):
            slip = Slip.objects.create(text="a")
            self.rule(Slip, on="bulk", tags=source)
            find, slip.text = Slip.objects.filter(pk=slip.pk), "c"
            assert self.asked(lambda slip=slip: Slip.objects.bulk_update([slip], ["text"])) == {"tag:*"}
            assert self.asked(lambda find=find: find.update(text="d")) == {"tag:*"}
            assert self.asked(find.delete) == {"tag:*"}
            made = [Slip(text="new")]
            assert self.asked(lambda made=made: Slip.objects.bulk_create(made)) == {"tag:slip:new"}
            self.ends.pop()()

    def test_rules_that_do_not_look_back(self) -> None:
        """They are applied to the rows as they are now; of rows that are gone nobody knows that either."""
        slip, other = Slip.objects.bulk_create([Slip(text="a"), Slip(text="b")])
        self.rule(Slip, on="bulk", tags=lambda row: [f"slip:{row.text}"], previous=False)
        assert self.asked(lambda: Slip.objects.filter(pk=slip.pk).update(text="c")) == {"tag:slip:c"}
        slip.text = "d"
        assert self.asked(lambda: Slip.objects.bulk_update([slip], ["text"])) == {"tag:slip:d"}
        assert self.asked(lambda: Slip.objects.filter(pk=other.pk).delete()) == {"tag:*"}

    def test_deletions_that_signals_tell(self) -> None:
        """They are left to the signals; a rule of bulk changes alone has no receiver and is applied to all rows."""
        self.rule(Parcel, tags="parcel:{pk}")
        assert self.asked(lambda: Parcel.objects.filter(code="c1").delete()) == {"tag:parcel:1"}
        self.rule(Parcel, on="bulk", keys="parcels")
        assert self.asked(lambda: Parcel.objects.filter(code="c2").delete()) > {"tag:parcel:2", "key:parcels"}

    def test_ends_of_a_relation(self) -> None:
        """Rules of changed relations are applied at both ends."""
        depot = Depot.objects.create(name="a")
        self.rule(Depot, on="m2m", tags="depot:{pk}")
        self.rule(Parcel, on="m2m", tags="parcel:{pk}")
        stop = [Stop(parcel_id=1, depot=depot)]
        assert self.asked(lambda: Stop.objects.bulk_create(stop)) == {f"tag:depot:{depot.pk}", "tag:parcel:1"}
        assert len(self.asked(lambda: Stop.objects.update(parcel_id=2))) >= 1

    def test_a_rule_that_fails(self) -> None:
        """The update stands, and other rules are applied."""

        def fails(instance: Any) -> list[str]:
            raise RuntimeError("no such thing")

        self.rule(Parcel, on="bulk", tags=fails)
        self.rule(Parcel, on="bulk", tags="parcel:{pk}")
        with self.assertLogs("oxicache"):
            asked = self.asked(lambda: Parcel.objects.filter(pk=1).update(grams=1))
        assert "tag:parcel:1" in asked


@override_settings(OXICACHE={"WATCH_STATEMENTS": True})
class TestStatements(RulesTestCase):
    def execute(self, sql: str) -> None:
        with connection.cursor() as cursor:
            cursor.execute(sql)

    def test_raw_sql(self) -> None:
        """Of rows that it names, and of any row where it does not."""
        self.rule(Parcel, on="bulk", tags="parcel:{pk}")
        assert self.asked(lambda: self.execute("UPDATE parcels_parcel SET grams = 1 WHERE id = 2")) == {
            "tag:parcel:2"
        }
        assert self.asked(lambda: self.execute("DELETE FROM parcels_parcel WHERE id = 2")) == {"tag:parcel:2"}
        insert = "INSERT INTO parcels_parcel (code, grams) VALUES ('n', 1)"
        assert self.asked(lambda: self.execute(insert)) == self.asked(
            lambda: self.execute("UPDATE parcels_parcel SET grams = 1")
        )

    def test_rules_that_look_back(self) -> None:
        """A statement does not say what its rows were."""
        self.rule(Parcel, on="bulk", tags="code:{code}")
        for sql in (
            "UPDATE parcels_parcel SET grams = 1 WHERE id = 2",
            "DELETE FROM parcels_parcel WHERE id = 2",
        ):
            assert self.asked(lambda sql=sql: self.execute(sql)) == {"tag:*"}

    def test_what_a_signal_tells(self) -> None:
        """`save()` and `delete()` are left to their signals, whatever the key's type."""
        self.rule(Label, on="bulk", tags="labels")
        self.rule(Label, on=("save", "delete"), tags="label:{pk}")
        label = Label(slug="a")
        words = Words("rows:catalogue.label")
        for change in (label.save, label.save, label.delete):
            assert self.asked(change) == {"tag:label:a"}
        assert words.moved == []
        Label.objects.create(slug="b")
        assert self.asked(lambda: Label.objects.all().delete()) == {"tag:label:b"}
        Label.objects.create(slug="c")
        assert self.asked(lambda: Label.objects.update(slug="d")) == {"tag:labels"}

    def test_what_runs_inside_of_a_save(self) -> None:
        """A field's own statement is nobody's signal."""
        self.rule(Parcel, on="bulk", tags="parcel:{pk}")

        def change(field: Any, instance: Any, add: bool) -> Any:
            self.execute("UPDATE parcels_parcel SET grams = 1 WHERE id = 1")
            models.QuerySet(Parcel).filter(pk=2).update(grams=5)
            return instance.code

        third = Parcel.objects.create(code="c3")
        with mock.patch.object(models.CharField, "pre_save", change):
            for change_by in (third.save, Parcel(code="c4").save):
                assert self.asked(change_by) == {"tag:parcel:1", "tag:parcel:2"}

    def test_models_of_a_migration(self) -> None:
        """They only look like the models, and their signals tell nobody: their statements do."""
        self.rule(Parcel, on="bulk", tags="parcel:{pk}")
        state = ProjectState()
        fields = [("id", models.BigAutoField(primary_key=True)), ("code", models.CharField(max_length=20))]
        state.add_model(ModelState("parcels", "Parcel", fields))
        row = state.apps.get_model("parcels", "Parcel")(pk=2, code="old")
        assert self.asked(lambda: row.save(force_update=True)) == {"tag:parcel:2"}

    def test_without_the_frames_of_django(self) -> None:
        """Statements would be looked at, not overlooked."""
        self.rule(Parcel, on="bulk", tags="parcel:{pk}")
        with mock.patch.object(execution, "MAX_FRAMES", 1):
            assert self.asked(Parcel.objects.get(pk=1).save) == {"tag:parcel:1"}
