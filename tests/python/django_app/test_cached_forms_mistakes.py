# ruff: noqa: RUF012 -- as users write their forms
"""What is wrong in cached_dropdown_fields is said when the class is made, by a check, or at the first use."""

from typing import Any

import pytest
from django import forms
from django.core import checks
from django.core.exceptions import ImproperlyConfigured
from django.test import override_settings
from dropdown_forms import (
    DropdownCase,
    StaffForm,
    labels,
    of,
)
from project.catalogue.models import Author, Book, Item, Label

from oxicache.django import dropdowns
from oxicache.django.forms import CachedDropdownMixin, OptimizedDropdownForm, OptimizedModelForm

ENTRY = {"model": Author}


class TestMistakes(DropdownCase):
    """Each is said when the class is made, else by `manage.py check` and at the first use, in words that help."""

    def test_the_mixin_behind_the_form_class(self) -> None:
        """Would never run, and is refused."""
        given = {"Meta": type("Meta", (), {"model": Item, "fields": ["author"]})}
        with pytest.raises(TypeError, match=r"Wrong: .* write class Wrong\(CachedDropdownMixin, \.\.\.\)"):
            type("Wrong", (forms.ModelForm, CachedDropdownMixin), given)

    def test_an_unknown_field_of_a_model_form_is_told_those_of_the_model(self) -> None:
        """The names in Meta, or the model's where it names none."""
        for meta, known in (
            ({"fields": ("title", "author")}, "it has title, author$"),
            ({"exclude": ("title",)}, "it has (?!.*title).*author"),
        ):
            given = {
                "Meta": type("Meta", (), {"model": Item, **meta}),
                "cached_dropdown_fields": {"autor": ENTRY},
            }
            with pytest.raises(ValueError, match=known):
                type("Wrong", (CachedDropdownMixin, forms.ModelForm), given)

    def test_an_alias_that_caches_has_not(self) -> None:
        """Is named with those that there are."""
        given = {
            "who": forms.ModelChoiceField(Author.objects),
            "cached_dropdown_fields": {"who": ENTRY},
            "dropdown_cache_alias": "nope",
        }
        form: Any = type("Wrong", (OptimizedDropdownForm,), given)
        with pytest.raises(ImproperlyConfigured, match=r"Wrong.dropdown_cache_alias is 'nope'.*\(default"):
            form()

    def test_when_a_class_is_made(self) -> None:
        """What its text tells: fields, models, methods, words and types."""
        plain = type(
            "Plain", (forms.Form,), {"who": forms.ModelChoiceField(Author.objects), "n": forms.IntegerField()}
        )
        of_model = {"Meta": type("Meta", (), {"model": Item, "fields": ("title", "author")})}
        for field, given, error, text in (
            ("whom", ENTRY, ValueError, "the form has no such field; it has who, n"),
            ("n", ENTRY, TypeError, "IntegerField chooses no row of a model"),
            (
                "who",
                {"model": Author, "filter_method": "nothing"},
                ValueError,
                "Manager, has no method 'nothing'",
            ),
            (
                "who",
                {"model": Author, "filtre": "x", "site": 1},
                ValueError,
                "has filtre, site; known are model, ",
            ),
            ("who", {}, ValueError, "names no model"),
            (
                "who",
                {"model": Label},
                TypeError,
                "model is catalogue.Label, and its rows are of catalogue.Author",
            ),
            ("who", {"model": int}, TypeError, "is no model"),
            ("who", {"model": 5}, TypeError, "5 is no model"),
            ("who", [Author], TypeError, "must be a dict, not"),
            ("who", {**ENTRY, "filter_method": print}, TypeError, "must be the name of a method"),
            ("who", {**ENTRY, "sitewise": "no"}, TypeError, "sitewise must be True or False, not 'no'"),
            ("who", {**ENTRY, "sitewise": True}, ValueError, "names no filter_method"),
            ("who", {**ENTRY, "version": ()}, TypeError, "version must be a str or a number"),
            ("who", {**ENTRY, "depends_on": Label}, TypeError, "depends_on must be a list of models"),
            ("who", {**ENTRY, "depends_on": [5]}, TypeError, "5 is no model"),
            ("who", None, ValueError, "takes back what is inherited: nothing is"),
        ):
            with pytest.raises(error, match=r"Wrong.cached_dropdown_fields\['\w+'\]") as raised:
                type("Wrong", (CachedDropdownMixin, plain), {"cached_dropdown_fields": {field: given}})
            assert text in str(raised.value)
        for field, error, text in (
            ("labels", ValueError, "no such field"),
            ("title", TypeError, "CharField chooses no row"),
            ("author", TypeError, "its rows are of catalogue.Author"),
        ):
            own = {**of_model, "cached_dropdown_fields": {field: {"model": Label}}}
            with pytest.raises(error, match=text):
                type("Wrong", (OptimizedModelForm,), own)
        with pytest.raises(ValueError, match="dropdown_cache_timeout must be at least 0 seconds, not -1"):
            type("Wrong", (OptimizedDropdownForm,), {"dropdown_cache_timeout": -1})
        with pytest.raises(TypeError, match="must be a dict by names of fields"):
            type("Wrong", (OptimizedDropdownForm,), {"cached_dropdown_fields": ["who"]})

    def test_what_is_no_mistake(self) -> None:
        """A parent's rows, a field that an `__init__` adds, a base without fields, one that a `Meta` names later."""

        class Adds(forms.Form):
            def __init__(self, *args: Any, **kwargs: Any) -> None:
                super().__init__(*args, **kwargs)
                self.fields["late"] = forms.ModelChoiceField(Author.objects)

        class Late(CachedDropdownMixin, Adds):
            cached_dropdown_fields = {"late": ENTRY}

        class Base(CachedDropdownMixin):
            cached_dropdown_fields = {"author": ENTRY}

        class OfModel(Base, forms.ModelForm):  # type: ignore[type-arg]
            class Meta:
                model = Item
                fields = ("author",)

        class OfBooks(OptimizedDropdownForm):
            of = forms.ModelChoiceField(Book.objects.all())
            cached_dropdown_fields = {"of": {"model": Item}}

        for form, field in ((Late(), "late"), (OfModel(), "author"), (OfBooks(), "of")):
            assert labels(form, field) == []

    def test_when_a_form_is_used(self) -> None:
        """What a method returns, and what only a string names."""
        for form, error, text in (
            (of("names"), TypeError, "names returned list; it must return a queryset"),
            (of("locked"), TypeError, "leave select_for_update"),
            (of("others"), TypeError, "its rows are of facilities.Job"),
        ):
            with pytest.raises(error, match=text):
                form()

    def test_what_a_check_says(self) -> None:
        """A model by name is looked for once all are there; a cache that holds no choices is one of the mistakes."""

        def found(number: str, form: Any = None) -> list[str]:
            messages = checks.run_checks(tags=[checks.Tags.caches])
            name = None if form is None else dropdowns._name(form)
            return [one.msg for one in messages if one.id == f"oxicache.{number}" and name in {None, one.obj}]

        assert found("E006") == []
        for entry, text in (
            ({"model": "no.Such"}, "'no.Such' is no model"),
            (
                {"model": "projects.Project"},
                "model is projects.Project, and its rows are of catalogue.Author",
            ),
            ({"model": "catalogue.Author", "filter_method": "nothing"}, "has no method 'nothing'"),
            ({"model": "catalogue.Author", "depends_on": ["no.Such"]}, "'no.Such' is no model"),
        ):
            own = {
                "who": forms.ModelChoiceField(Author.objects.all()),
                "cached_dropdown_fields": {"who": entry},
            }
            wrong = type("Wrong", (OptimizedDropdownForm,), own)
            try:
                (message,) = found("E006", wrong)
            finally:
                dropdowns._forms.discard(wrong)
            assert text in message
            with pytest.raises((TypeError, ValueError), match=r"Wrong.cached_dropdown_fields\['who'\]"):
                wrong()
        assert found("W014", StaffForm) == []
        with override_settings(
            CACHES={"default": {"BACKEND": "django.core.cache.backends.dummy.DummyCache"}}
        ):
            (message,) = found("W014", StaffForm)
        assert "CACHES['default'] is no NativeCache" in message
