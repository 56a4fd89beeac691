"""Forms with cached dropdowns: no query for the choices after a hit, and what is submitted is still checked."""

from collections.abc import Callable
from typing import Any

import pytest
from django import forms
from django.contrib.auth.models import Group, User
from django.core.cache import cache
from django.db import connection
from django.test import RequestFactory, TestCase, override_settings
from django.test.utils import CaptureQueriesContext
from project.catalogue.models import Author, Item

from oxicache.django.choices import _HeldSelect
from oxicache.django.forms import CachedDropdownMixin, OptimizedDropdownForm

NATIVE = override_settings(CACHES={"default": {"BACKEND": "oxicache.django.backends.NativeCache"}})


@pytest.fixture(autouse=True)
def _empty() -> None:
    with NATIVE:
        cache.clear()


def queries(ask: Callable[[], Any]) -> int:
    with CaptureQueriesContext(connection) as found:
        ask()
    return len(found)


class Plain(forms.ModelForm):
    class Meta:
        model = Item
        fields = ("title", "author", "labels")


class Cached(CachedDropdownMixin, Plain):
    cached_dropdown_fields = {
        "author": {"model": Author, "version": "1.0"},
        "labels": {"model": "catalogue.Label"},
    }


@NATIVE
class TestDropdowns(TestCase):
    @classmethod
    def setUpTestData(cls) -> None:
        cls.authors = [Author.objects.create(name=name) for name in ("Ann", "Bob & <Sons>", "Ann")]
        cls.item = Item.objects.create(title="one", author=cls.authors[1])

    def test_the_same_html_without_a_query(self) -> None:
        """Of an empty form, a bound one, one of an instance, one with another prefix."""
        for given in (
            {},
            {"instance": self.item},
            {"initial": {"author": self.authors[0].pk}},
            {"data": {"title": "x", "author": str(self.authors[2].pk)}},
            {"data": {"title": "x", "author": "nobody"}},
            {"prefix": "other"},
            {"auto_id": False},
        ):
            expected = str(Plain(**given))
            assert str(Cached(**given)) == expected
            if "data" not in given:  # which is looked for in the database
                with CaptureQueriesContext(connection) as found:
                    str(Cached(**given)["author"])
                assert [
                    sql for one in found if 'author"' in (sql := one["sql"]) and "item_labels" not in sql
                ] == []
            assert str(Cached(**given)) == expected

    def test_a_change_is_seen(self) -> None:
        """Of a row, of what its label is made of."""
        for change in (
            lambda: Author.objects.create(name="Cleo"),
            lambda: Author.objects.filter(name="Cleo").get().delete(),
        ):
            str(Cached())
            change()
            assert str(Cached()) == str(Plain())

    def test_what_is_submitted_is_looked_for(self) -> None:
        """Whatever is held."""
        gone = Author.objects.create(name="Gone")
        str(Cached())
        data = {"title": "x", "author": str(gone.pk), "labels": []}
        assert "author" not in Cached(data=data).errors
        with connection.cursor() as cursor:
            cursor.execute("DELETE FROM catalogue_author WHERE name = 'Gone'")
        assert "author" in Cached(data=data).errors

    def test_methods_and_requests(self) -> None:
        """Rows that depend on who asks are held apart, by what is asked of the database."""

        def of(manager: Any, request: Any, sitewise: bool) -> Any:
            assert sitewise
            return Group.objects.filter(user=request.user)

        ann, bob = (User.objects.create(username=name) for name in ("ann", "bob"))
        ann.groups.create(name="hers")
        request = RequestFactory().get("/")
        with pytest.MonkeyPatch.context() as patch:
            patch.setattr(type(Group._default_manager), "of", of, raising=False)

            class Groups(OptimizedDropdownForm):
                group = forms.ModelChoiceField(Group.objects.none())
                cached_dropdown_fields = {"group": {"model": Group, "filter_method": "of", "sitewise": True}}

            for user, count in ((ann, 2), (bob, 1), (ann, 2)):
                request.user = user
                assert str(Groups(request=request)).count("<option") == count
            assert queries(lambda: str(Groups(request=request))) == 0
            with pytest.raises(ValueError, match="sitewise"):
                Groups()

    def test_formsets(self) -> None:
        """Each form has them."""
        formset = forms.formset_factory(OptimizedDropdownForm, extra=2)
        assert len(formset(form_kwargs={"request": None}).forms) == 2

    def test_instances_for_widgets(self) -> None:
        """A widget that looks at the rows gets them, by one query."""
        str(Cached())
        values = [value for value, _ in Cached().fields["author"].choices][1:]
        assert queries(lambda: [value.instance.name for value in values]) <= 1 + len(values)

    def test_what_is_wrong(self) -> None:
        """Is said when the class is made, or used."""
        for given, what in (
            ({"model": Author, "filter_method": "nothing"}, "no method 'nothing'"),
            ({"model": Author, "filtre": "x"}, "filtre"),
            ({}, "name a model"),
        ):
            with pytest.raises(ValueError, match=what):
                type("Wrong", (CachedDropdownMixin, Plain), {"cached_dropdown_fields": {"author": given}})
        wrong = type(
            "Wrong", (CachedDropdownMixin, Plain), {"cached_dropdown_fields": {"writer": {"model": Author}}}
        )
        with pytest.raises(ValueError, match="no such field"):
            wrong()

    def test_the_widget(self) -> None:
        """Is the field's own, of a derived class."""
        assert type(Cached().fields["author"].widget) is _HeldSelect
        assert type(Plain().fields["author"].widget) is forms.Select

    def test_invalidation_by_hand(self) -> None:
        """Finds the keys by their form and field."""
        str(Cached())
        assert Cached.invalidate_dropdown_cache("author") > 0
        assert queries(lambda: str(Cached()["author"])) == 1
        with pytest.raises(ValueError, match="caches no"):
            Cached.invalidate_dropdown_cache("title")
