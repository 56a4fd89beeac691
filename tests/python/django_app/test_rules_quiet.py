"""Rows that change without a signal of their own, and what rows were before: rules hear of it nevertheless."""

from collections.abc import Iterator
from contextlib import contextmanager

import pytest
from django.core import serializers
from django.db import connection, models, transaction
from django.db.models.signals import pre_delete
from django.test.utils import CaptureQueriesContext, isolate_apps
from project.catalogue.models import Author
from ruled import Register, keys_in

from oxicache.invalidation import Effect


@contextmanager
def tables(*made: type[models.Model]) -> Iterator[None]:
    """Their tables, for a while."""
    with connection.schema_editor() as editor:
        for model in made:
            editor.create_model(model)
    try:
        yield
    finally:
        with connection.schema_editor() as editor:
            for model in reversed(made):
                editor.delete_model(model)


class TestReferring:
    @pytest.mark.parametrize(
        ("on_delete", "after"),
        [(models.SET_NULL, {"of:None", "of:none"}), (models.SET(7), set()), (models.SET_DEFAULT, set())],
        ids=["null", "value", "default"],
    )
    @isolate_apps("project.catalogue")
    def test_a_deletion_changes_rows_that_refer_to_it(
        self, register: Register, carried: list[Effect], on_delete: models.Field, after: set[str]
    ) -> None:
        """Django updates them by a statement: what shows them showed the row that is gone."""

        class Owner(models.Model):
            class Meta:
                app_label = "catalogue"

        class Pet(models.Model):
            owner = models.ForeignKey(Owner, on_delete, null=True, default=None, db_constraint=False)

            class Meta:
                app_label = "catalogue"

        with tables(Owner, Pet):
            end = register(Pet, keys=["pet:{pk}", "of:{owner_id}"], on=["save", "bulk"])
            owner, other = Owner.objects.create(), Owner.objects.create()
            pet = Pet.objects.create(owner=owner)
            Pet.objects.create(owner=other)
            keys_in(carried)
            with transaction.atomic():
                number = owner.pk
                owner.delete()
                assert not carried
            globs = {glob for effect in carried for glob in effect.globs}
            assert keys_in(carried) == {f"pet:{pet.pk}", f"of:{number}", *after}
            assert globs == (set() if after else {"of:*"})
            end()
            assert not pre_delete.has_listeners(Owner)

    @isolate_apps("project.catalogue")
    def test_without_rules_of_bulk_changes_nobody_asks(self, register: Register) -> None:
        """Nor where a deletion takes these rows with it, which tells of each."""

        class Owner(models.Model):
            class Meta:
                app_label = "catalogue"

        class Pet(models.Model):
            owner = models.ForeignKey(Owner, models.CASCADE)
            friend = models.ForeignKey(Owner, models.SET_NULL, null=True, related_name="+")

            class Meta:
                app_label = "catalogue"

        end = register(Pet, keys="pet:{pk}", on="save")
        assert not pre_delete.has_listeners(Owner)
        end()
        register(Pet, keys="pet:{pk}", on="bulk")
        assert pre_delete.has_listeners(Owner)


class TestBefore:
    def test_a_fixture_over_a_row_that_is_there(self, register: Register, carried: list[Effect]) -> None:
        """Where keys have a default Django inserts without looking, save for what `loaddata` loads."""
        register(Author, keys="{name}")
        one = Author.objects.create(name="quiet-old")
        text = serializers.serialize("json", [Author(pk=one.pk, name="quiet-new")])
        keys_in(carried)
        for loaded in serializers.deserialize("json", text):
            loaded.save()
        assert keys_in(carried) == {"quiet-old", "quiet-new"}
        one.delete()

    @isolate_apps("project.catalogue")
    def test_a_row_that_moves_to_another_tenant(self, register: Register, carried: list[Effect]) -> None:
        """The first tenant's lists show it no more."""

        class Note(models.Model):
            tenant_id = models.IntegerField()
            text = models.TextField()

            class Meta:
                app_label = "catalogue"

        with tables(Note):
            register(Note, globs="notes", per_tenant=True)
            register(Note, keys="of{tenant}", previous=False)
            note = Note.objects.create(tenant_id=1)
            keys_in(carried)
            note.tenant_id = 2
            note.save(update_fields=["tenant_id"])
            moved = keys_in(carried)
            assert {"tenant:1:notes", "tenant:2:notes", "of2"} <= moved
            assert "of1" not in moved
            with CaptureQueriesContext(connection) as queries:
                note.save(update_fields=["text"])
            assert not any("SELECT" in query["sql"] for query in queries)
            assert not any(key.startswith("tenant:1") for key in keys_in(carried))
