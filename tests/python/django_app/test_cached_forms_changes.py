# ruff: noqa: RUF012 -- as users write their forms
"""Cached dropdowns follow what they are made of, and tell apart what is made in different ways."""

import functools
import operator
from typing import Any

import pytest
from django import forms
from django.db import connection, transaction
from django.db.models import Prefetch
from django.utils import translation
from dropdown_forms import (
    ByFirstLetter,
    DropdownCase,
    Grouped,
    Named,
    authors,
    cached,
    labels,
    one,
    queries,
)
from project.catalogue.models import Author, Item, Label
from project.projects.models import Project

from oxicache.django.forms import OptimizedDropdownForm, OptimizedModelForm
from oxicache.django.queries import cached_queryset


class Priced(forms.ModelChoiceField):
    """Its labels take what a row's own cache holds."""

    def label_from_instance(self, row: Any) -> str:
        return f"{row.name} {row.worth}"


class TestChanges(DropdownCase):
    """Choices are held until a row changes that they are made of, whatever they are made of it by."""

    @classmethod
    def setUpTestData(cls) -> None:
        cls.rows = [Author.objects.create(name=name) for name in ("Ann", "Bob")]

    def test_rows_come_and_go(self) -> None:
        """And change; a form that is rendered again sees it too."""
        held = cached(one(Named(authors)))
        form = held()
        for change, expected in (
            (lambda: Author.objects.create(name="Cleo"), ["Ann", "Bob", "Cleo"]),
            (self.rows[0].delete, ["Bob", "Cleo"]),
            (
                lambda: Author.objects.update_or_create({"name": "Zoe"}, name="Bob"),
                ["Cleo", "Zoe"],
            ),
        ):
            str(held()), str(form)
            change()
            assert labels(held()) == labels(form) == expected
            assert str(held()).count("<option") == len(expected) + 1

    def test_what_a_label_reads_counts(self) -> None:
        """A related row that only the label looks at."""

        class ByAuthor(forms.ModelChoiceField):
            def label_from_instance(self, row: Any) -> str:
                return f"{row.title} by {row.author.name}"

        Item.objects.create(title="one", author=self.rows[0])
        held = cached(one(ByAuthor(Item.objects.all())), Item)
        for _ in range(3):
            assert labels(held()) == ["one by Ann"]
            assert "one by Ann" in str(held())
        assert queries(lambda: str(held())) == 0
        self.rows[0].name = "Anna"
        self.rows[0].save()
        assert "one by Anna" in str(held())

    def test_what_a_related_manager_knows(self) -> None:
        """Rows of `author.items` have that author already, and a label that reads it follows its changes."""

        class ByAuthor(forms.ModelChoiceField):
            def label_from_instance(self, row: Any) -> str:
                return f"{row.title} by {row.author.name}"

        held = cached(one(ByAuthor(Item.objects.none())), Item)
        Item.objects.create(title="one", author=self.rows[0])
        old = Author.objects.get(pk=self.rows[0].pk)

        def shown(author: Author) -> Any:
            form = held()
            form.fields["of"].queryset = author.items.all()
            return form

        for _ in range(3):
            assert labels(shown(old)) == ["one by Ann"]
            assert "one by Ann" in str(shown(old))
        assert queries(lambda: str(shown(old))) == 0
        self.rows[0].name = "Anna"
        self.rows[0].save()
        for _ in range(3):
            assert labels(shown(old)) == ["one by Anna"]
            assert "one by Anna" in str(shown(old))

    def test_what_no_query_tells(self) -> None:
        """`depends_on` names what a label takes from a cache of its own."""
        held = cached(one(Priced(authors)), depends_on=["catalogue.Item"])
        for price in (1, 2):
            Item.objects.update_or_create({"price": price}, title="one", author=self.rows[0])
            assert [row.worth for row in authors.all()] == [price, 0]  # asks once, and not for the labels
            for _ in range(3):
                assert labels(held())[0] == f"Ann {price}"

    def test_nothing_is_held_of_what_is_rolled_back(self) -> None:
        """A form that is rendered after a write of its own transaction sees it, and nobody else does."""
        held = cached(one(Named(authors)))
        assert str(held()) == str(held())
        with transaction.atomic():
            Author.objects.create(name="never")
            assert "never" in str(held())
            assert "never" in labels(held())
            transaction.set_rollback(True)
        assert "never" not in str(held())
        assert "never" not in labels(held())

    def test_what_is_submitted_is_looked_for(self) -> None:
        """A row that has gone past all signals is refused, one that has come so is accepted, whatever is shown."""
        held = cached(one(Named(authors)))
        several = cached(one(forms.ModelMultipleChoiceField(authors)))
        # Whatever the queryset itself would take from a cache.
        of_held = cached(one(Named(cached_queryset(authors))))
        gone, new = Author(name="Gone"), Author(name="New")
        gone.save()
        str(held()), str(several()), str(of_held())
        assert of_held({"of": str(gone.pk)}).is_valid()
        with connection.cursor() as cursor:
            cursor.execute("DELETE FROM catalogue_author WHERE name = 'Gone'")
            cursor.execute("INSERT INTO catalogue_author (id, name) VALUES (%s, 'New')", [new.pk.hex])
        assert not held({"of": str(gone.pk)}).is_valid()
        assert not of_held({"of": str(gone.pk)}).is_valid()
        assert not several({"of": [str(gone.pk), str(self.rows[0].pk)]}).is_valid()
        assert held({"of": str(new.pk)}).is_valid()
        assert several({"of": [str(new.pk), str(self.rows[0].pk)]}).is_valid()

    def test_by_hand(self) -> None:
        """`invalidate_dropdown_cache`, of a field or of all, of the class or of a form, and of what is derived."""

        class Two(OptimizedModelForm):
            cached_dropdown_fields = {"author": {"model": Author}, "labels": {"model": "catalogue.Label"}}

            class Meta:
                model = Item
                fields = ("author", "labels")

        class Derived(Two):
            pass

        Label.objects.create(slug="a")
        for call, expected in (
            (lambda: Two.invalidate_dropdown_cache("author"), 1),
            (lambda: Two().invalidate_dropdown_cache(), 2),
            (lambda: Derived.invalidate_dropdown_cache("labels"), 1),
        ):
            str(Two()), str(Two())
            assert queries(lambda: str(Two())) == 0
            assert call() >= expected
            assert queries(lambda: str(Two())) == expected
        with pytest.raises(ValueError, match="caches no 'title'; it caches author, labels"):
            Two.invalidate_dropdown_cache("title")


class TestToldApart(DropdownCase):
    """One queryset, and what is made of it differs: nobody is shown what was made for another."""

    @classmethod
    def setUpTestData(cls) -> None:
        cls.ann, cls.bob = (Author.objects.create(name=name) for name in ("Ann", "Bob"))

    def test_languages(self) -> None:
        """Labels, groups and what stands for nothing are in the language of who looks."""

        class Greeted(forms.ModelChoiceField):
            def label_from_instance(self, row: Any) -> Any:
                return translation.gettext_lazy("Yes")

        held = cached(one(Greeted(authors, empty_label=translation.gettext_lazy("No"))))
        for language, expected in (("de", "Ja"), ("fr", "Oui"), ("de", "Ja")):
            with translation.override(language):
                assert labels(held())[0] == expected
                assert str(held()).count(f">{expected}<") == 2

    def test_functions_on_a_field(self) -> None:
        """`label_from_instance` that a form's own `__init__` sets: by its code, and by what it holds on to."""

        class Own(OptimizedDropdownForm):
            of = forms.ModelChoiceField(authors)
            cached_dropdown_fields = {"of": {"model": Author}}

            def __init__(self, ending: Any, *args: Any, **kwargs: Any) -> None:
                super().__init__(*args, **kwargs)
                self.fields["of"].label_from_instance = lambda row: f"{row.name}{ending}"  # type: ignore[attr-defined]

        class OwnField(OptimizedDropdownForm):
            cached_dropdown_fields = {"of": {"model": Author}}

            def __init__(self, ending: Any, *args: Any, **kwargs: Any) -> None:
                super().__init__(*args, **kwargs)
                self.fields["of"].ending = ending  # type: ignore[attr-defined]

            class Ending(forms.ModelChoiceField):
                def label_from_instance(self, row: Any) -> str:
                    return f"{row.name}{self.ending}"  # type: ignore[attr-defined]

            of = Ending(authors)

        for form in (Own, OwnField):
            for ending in ("!", "?", "!"):
                assert labels(form(ending)) == [f"Ann{ending}", f"Bob{ending}"]
            assert queries(lambda: str(form("?")) + str(form("?"))) <= 1  # noqa: B023 -- called here
            assert queries(lambda: str(form("?"))) == 0  # noqa: B023 -- called here

    def test_what_cannot_be_spelt_is_not_held(self) -> None:
        """A label that looks at a request, a form or a row may be anybody's; the log says which, once."""

        class Who:
            name = "me"

        class Own(OptimizedDropdownForm):
            of = forms.ModelChoiceField(authors)
            cached_dropdown_fields = {"of": {"model": Author}}

            def __init__(self, who: Any) -> None:
                super().__init__()
                self.fields["of"].label_from_instance = lambda row: f"{row.name} {who.name}"  # type: ignore[attr-defined]

        with self.assertLogs("oxicache.forms", "WARNING") as log:
            for name in ("me", "you"):
                who = Who()
                who.name = name
                assert labels(Own(who))[0] == f"Ann {name}"
                assert f"Ann {name}" in str(Own(who))
        assert len(log.output) == 1
        assert "its label_from_instance is a Who, which cannot be part of a key" in log.output[0]
        # By its primary key a row could be spelt, and a label may tell anything else of it.
        for name in ("Bob", "Bert"):
            self.bob.name = name
            assert labels(Own(self.bob))[0] == f"Ann {name}"

    def test_classes_that_a_function_makes(self) -> None:
        """They are called the same, and are not."""

        def form(ending: str) -> Any:
            class Ending(forms.ModelChoiceField):
                def label_from_instance(self, row: Any) -> str:
                    return f"{super().label_from_instance(row)[:0]}{row.name}{ending}"

            return cached(one(Ending(authors)))

        for ending in ("!", "?", "!"):
            assert labels(form(ending)()) == [f"Ann{ending}", f"Bob{ending}"]
        assert queries(lambda: labels(form("!")())) == 0

    def test_iterators_with_arguments(self) -> None:
        """A partial, as projects group choices by whatever they like."""
        for key in (operator.attrgetter("name"), lambda row: row.name[::-1], operator.attrgetter("name")):
            field = Grouped(authors)
            field.iterator = functools.partial(ByFirstLetter, key=key)  # type: ignore[assignment]
            plain = one(field)
            assert list(cached(plain)().fields["of"].choices) == list(plain().fields["of"].choices)

    def test_prefetched_rows(self) -> None:
        """Whose text the queryset's own does not show."""

        class Counted(forms.ModelChoiceField):
            def label_from_instance(self, row: Any) -> str:
                return f"{row.name} {len(row.mine)}"

        Item.objects.create(title="one", author=self.ann, price=1)
        for price, expected in ((1, "Ann 1"), (2, "Ann 0"), (1, "Ann 1")):
            mine = Prefetch("items", Item.objects.filter(price=price), to_attr="mine")
            held = cached(one(Counted(authors.prefetch_related(mine))))
            for _ in range(3):
                assert labels(held())[0] == expected
            assert queries(lambda: str(held()) + str(held())) <= 2  # noqa: B023 -- called here
            assert queries(lambda: str(held())) == 0  # noqa: B023 -- called here

    def test_proxies(self) -> None:
        """One table, and two ways to be called."""
        Project.objects.create(title="one")

        class Loud(Project):
            class Meta:
                proxy = True
                app_label = "projects"

            def __str__(self) -> str:
                return self.title.upper()

        held = cached(one(forms.ModelChoiceField(Project.objects.all())), Project)
        form = held()
        assert labels(form)[0] == "one"
        form.fields["of"].queryset = Loud.objects.all()
        assert labels(form)[0] == "ONE"
        assert "ONE" in str(form)

    def test_a_queryset_that_is_set_later(self) -> None:
        """Narrowed down by a form's own code: what it is then counts."""
        held = cached(one(Named(authors)))
        for name in ("Ann", "Bob", "Ann"):
            form = held()
            form.fields["of"].queryset = Author.objects.filter(name=name)
            assert labels(form) == [name]
            assert str(form).count("<option") == 2
            assert not held().fields["of"].queryset.query.where
