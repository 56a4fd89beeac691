# ruff: noqa: RUF012 -- as users write their forms
"""Cached dropdowns show what Django shows, without a query after a hit, and check what is submitted as ever."""

import functools
import itertools
import operator
import tempfile
from collections.abc import Callable, Iterator
from importlib.util import find_spec
from pathlib import Path
from typing import Any
from unittest import mock

import pytest
from django import forms
from django.contrib.admin.sites import AdminSite
from django.contrib.admin.widgets import (
    AutocompleteSelect,
    FilteredSelectMultiple,
    ForeignKeyRawIdWidget,
    RelatedFieldWidgetWrapper,
)
from django.core.cache import cache
from django.db import connection, transaction
from django.db.models import Prefetch
from django.forms.models import ModelChoiceIterator
from django.forms.renderers import DjangoTemplates, Jinja2
from django.test import TestCase, override_settings
from django.test.utils import CaptureQueriesContext
from django.utils import translation
from django.utils.safestring import mark_safe
from project.catalogue.models import Author, Item, Label
from project.projects.models import Project

from oxicache.django.forms import CachedDropdownMixin, OptimizedDropdownForm, OptimizedModelForm

NATIVE = override_settings(CACHES={"default": {"BACKEND": "oxicache.django.backends.NativeCache"}})


@pytest.fixture(autouse=True)
def _empty() -> None:
    with NATIVE:
        cache.clear()


def queries(ask: Callable[[], Any]) -> int:
    with CaptureQueriesContext(connection) as found:
        ask()
    return len(found)


def labels(form: forms.BaseForm, field: str = "of") -> list[str]:
    return [str(label) for _, label in form.fields[field].choices]  # type: ignore[attr-defined]


def cached(plain: type[forms.BaseForm], model: Any = Author, field: str = "of") -> Any:
    """The same form with this field cached."""
    return type(
        plain.__name__, (CachedDropdownMixin, plain), {"cached_dropdown_fields": {field: {"model": model}}}
    )


def one(field: Any) -> type[forms.Form]:
    """A form of this field."""
    return type("One", (forms.Form,), {"of": field})


class ByFirstLetter(ModelChoiceIterator):  # type: ignore[type-arg]
    """Groups, as an iterator of a project makes them."""

    def __init__(self, field: Any, key: Callable[[Any], str] = operator.attrgetter("name")) -> None:
        super().__init__(field)
        self.key = key

    def __iter__(self) -> Iterator[Any]:
        yield "", [("", "nobody"), ("x", "<anybody>")]
        for letter, rows in itertools.groupby(self.queryset.order_by("name"), lambda row: self.key(row)[0]):
            yield f"<{letter}>", [self.choice(row) for row in rows]


class Grouped(forms.ModelChoiceField):
    iterator = ByFirstLetter


class Named(forms.ModelChoiceField):
    def label_from_instance(self, row: Any) -> Any:
        return row.name


class Marked(forms.ModelChoiceField):
    def label_from_instance(self, row: Any) -> Any:
        return mark_safe(f"<i>{row.pk}</i>")  # noqa: S308 -- as a project writes it


class Priced(forms.ModelChoiceField):
    """Its labels are numbers, which templates localise."""

    def label_from_instance(self, row: Any) -> Any:
        return len(row.name) * 1000


class Disabling(forms.Select):
    """A widget of a project, which looks at the rows."""

    def create_option(self, *args: Any, **kwargs: Any) -> Any:
        option = super().create_option(*args, **kwargs)
        if option["value"]:
            option["attrs"]["data-name"] = option["value"].instance.name
        return option


authors = Author.objects.order_by("name", "pk")
admin_site = AdminSite()

# What a form may choose with; `first` and `second` are put in for rows.
FIELDS: dict[str, Callable[[], Any]] = {
    "one": lambda: forms.ModelChoiceField(authors),
    "named": lambda: Named(authors),
    "optional": lambda: Named(authors, required=False, empty_label="<none>"),
    "without an empty one": lambda: Named(authors, empty_label=None),
    "by another value": lambda: Named(authors, to_field_name="name"),
    "disabled": lambda: Named(authors, disabled=True),
    "several": lambda: forms.ModelMultipleChoiceField(authors),
    "radio": lambda: Named(authors, widget=forms.RadioSelect),
    "radio blank": lambda: Named(authors, widget=forms.RadioSelect, blank=True, required=False),
    "boxes": lambda: forms.ModelMultipleChoiceField(authors, widget=forms.CheckboxSelectMultiple),
    "attributes": lambda: Named(authors, widget=forms.Select(attrs={"class": "a<b", "data-x": 1})),
    "hidden initial": lambda: Named(authors, show_hidden_initial=True),
    "hidden": lambda: Named(authors, widget=forms.HiddenInput),
    "grouped": lambda: Grouped(authors),
    "marked": lambda: Marked(authors),
    "priced": lambda: Priced(authors),
    "looking": lambda: Named(authors, widget=Disabling),
    "filtered": lambda: forms.ModelMultipleChoiceField(authors, widget=FilteredSelectMultiple("them", False)),
    "wrapped": lambda: Named(
        authors,
        widget=RelatedFieldWidgetWrapper(
            forms.Select(), Item._meta.get_field("author").remote_field, admin_site
        ),
    ),
    "raw": lambda: Named(
        authors, widget=ForeignKeyRawIdWidget(Item._meta.get_field("author").remote_field, admin_site)
    ),
    "prefetched": lambda: Named(authors.prefetch_related("items")),
    "none": lambda: Named(authors.none()),
}


@NATIVE
class TestShown(TestCase):
    """The same, to the byte, as from Django alone: cold, warm, and with whatever is selected."""

    @classmethod
    def setUpTestData(cls) -> None:
        cls.rows = [Author.objects.create(name=name) for name in ("Ann", "Bob & <Sons>", "Ann ", "Cleo")]

    def states(self, field: Any) -> Iterator[dict[str, Any]]:
        first, second = self.rows[1], self.rows[3]
        yield {}
        yield {"data": {"of": ["x"] if isinstance(field, forms.ModelMultipleChoiceField) else "x"}}
        yield {"data": {"of": [str(first.pk), str(second.pk)]}}
        if isinstance(field, forms.ModelMultipleChoiceField):
            yield {"initial": {"of": [first, second.pk]}, "prefix": "other", "auto_id": False}
        else:
            yield {"initial": {"of": first}, "prefix": "other", "auto_id": False}
            yield {"data": {"of": first.name if field.to_field_name else str(first.pk)}}

    def test_whatever_chooses(self) -> None:
        """Any field, widget and state of a form; warm, rendering makes no query for the choices."""
        for name, field in FIELDS.items():
            plain = one(field())
            held = cached(plain)
            for given in self.states(field()):
                shown, made = [], []
                for kind in (plain, held, held):
                    form = kind(**given)
                    form.full_clean()
                    with CaptureQueriesContext(connection) as found:
                        shown.append(str(form["of"]))
                    made.append(len(found))
                    shown[-1] += f"{form.errors} {form.changed_data}"
                assert shown[1] == shown[2] == shown[0], (name, given)
                assert made[2] == 0 or (name, made[2]) == ("raw", 1), (name, given)

    def test_by_any_renderer(self) -> None:
        """Django's own, of Jinja2 too, and a project's, which makes something else of them."""

        class Own(DjangoTemplates):
            def render(self, template_name: str, context: Any, request: Any = None) -> str:
                return super().render(template_name, context, request).replace("<option", "<option data-own")

        plain = one(FIELDS["named"]())
        held = cached(plain)
        others = [Jinja2()] if find_spec("jinja2") else []
        for renderer in (DjangoTemplates(), Own(), *others, DjangoTemplates()):
            for _ in range(2):
                given = {"renderer": renderer, "initial": {"of": self.rows[1].pk}}
                assert str(held(**given)) == str(plain(**given))

    def test_by_a_template_that_takes_the_place_of_djangos(self) -> None:
        """Then nobody knows what else it looks at: options are rendered as ever."""
        with tempfile.TemporaryDirectory() as folder:
            path = Path(folder, "django/forms/widgets/select_option.html")
            path.parent.mkdir(parents=True)
            path.write_text(
                "<option value={{ widget.value }} data-of={{ widget.name }}>{{ widget.label }}</option>"
            )
            options = {"BACKEND": "django.template.backends.django.DjangoTemplates", "DIRS": [folder]}
            plain = one(FIELDS["named"]())
            held = cached(plain)
            assert "data-of" not in str(held())
            with override_settings(
                TEMPLATES=[{**options, "APP_DIRS": True}],
                INSTALLED_APPS=["django.forms", "project.catalogue", "oxicache.django"],
                FORM_RENDERER="django.forms.renderers.TemplatesSetting",
            ):
                for prefix in ("a", "b"):
                    assert str(held(prefix=prefix)) == str(plain(prefix=prefix))
                    assert f"data-of={prefix}-of" in str(held(prefix=prefix))

    def test_options_are_rendered_once(self) -> None:
        """Rendering them is what a long dropdown costs: none is made for a form that is rendered again."""
        Author.objects.bulk_create(Author(name=f"{number}") for number in range(1000))
        held = cached(one(FIELDS["named"]()))
        expected = str(held(initial={"of": self.rows[1].pk}))
        with (
            mock.patch.object(forms.Select, "create_option", side_effect=AssertionError),
            self.assertNumQueries(0),
        ):
            assert str(held(initial={"of": self.rows[1].pk})) == expected
        assert expected.count("<option") == 1005

    def test_the_widget_is_called_as_ever(self) -> None:
        """Templates and libraries tell fields apart by the name of their widget's class."""
        form = cached(one(FIELDS["named"]()))()
        assert form["of"].widget_type == "select"
        assert isinstance(form.fields["of"].widget, forms.Select)
        assert type(one(FIELDS["named"]())().fields["of"].widget) is forms.Select

    def test_choices_are_those_of_django(self) -> None:
        """`field.choices` compares, counts and gives the rows; what is assigned to it is what is shown."""
        for name in ("named", "without an empty one", "grouped", "none"):
            plain = one(FIELDS[name]())
            held = cached(plain)
            for _ in range(2):
                theirs, ours = plain().fields["of"].choices, held().fields["of"].choices
                assert list(ours) == list(theirs)
                assert (len(ours), bool(ours)) == (len(theirs), bool(theirs))
                assert isinstance(ours, type(theirs))
        values = [value for value, _ in cached(one(FIELDS["named"]()))().fields["of"].choices][1:]
        assert [value.instance for value in values] == list(authors)
        form = held()
        form.fields["of"].choices = [("x", "assigned")]
        assert "assigned" in str(form)

    def test_autocompletion_asks_for_what_is_chosen(self) -> None:
        """A widget that looks for its options itself goes on to: the rows, which may be millions, are not loaded."""
        Author.objects.bulk_create(Author(name=f"{number}") for number in range(20))
        plain = one(Named(authors, widget=AutocompleteSelect(Item._meta.get_field("author"), admin_site)))
        shown, asked = [], []
        for kind in (plain, cached(plain), cached(plain)):
            with (
                mock.patch.object(AutocompleteSelect, "get_url", return_value="/"),
                CaptureQueriesContext(connection) as found,
            ):
                shown.append(str(kind(initial={"of": self.rows[1].pk})["of"]))
            asked.append([query["sql"] for query in found])
        assert shown[0] == shown[1] == shown[2]
        assert asked[0] == asked[1] == asked[2] != []


@NATIVE
class TestChanges(TestCase):
    """Choices are held until a row changes that they are made of, whatever they are made of it by."""

    @classmethod
    def setUpTestData(cls) -> None:
        cls.rows = [Author.objects.create(name=name) for name in ("Ann", "Bob")]

    def test_rows_come_and_go(self) -> None:
        """And change; a form that is rendered again sees it too."""
        held = cached(one(FIELDS["named"]()))
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
            assert labels(held())[1:] == labels(form)[1:] == expected
            assert str(held()).count("<option") == len(expected) + 1

    def test_what_a_label_reads_counts(self) -> None:
        """A related row that only the label looks at."""

        class ByAuthor(forms.ModelChoiceField):
            def label_from_instance(self, row: Any) -> str:
                return f"{row.title} by {row.author.name}"

        Item.objects.create(title="one", author=self.rows[0])
        held = cached(one(ByAuthor(Item.objects.all())), Item)
        for _ in range(3):
            assert labels(held())[1:] == ["one by Ann"]
            assert "one by Ann" in str(held())
        assert queries(lambda: str(held())) == 0
        self.rows[0].name = "Anna"
        self.rows[0].save()
        assert "one by Anna" in str(held())

    def test_nothing_is_held_of_what_is_rolled_back(self) -> None:
        """A form that is rendered after a write of its own transaction sees it, and nobody else does."""
        held = cached(one(FIELDS["named"]()))
        with transaction.atomic():
            Author.objects.create(name="never")
            assert "never" in str(held())
            assert "never" in labels(held())
            transaction.set_rollback(True)
        assert "never" not in str(held())
        assert "never" not in labels(held())

    def test_what_is_submitted_is_looked_for(self) -> None:
        """A row that has gone past all signals is refused, one that has come so is accepted, whatever is shown."""
        held = cached(one(FIELDS["named"]()))
        several = cached(one(FIELDS["several"]()))
        gone, new = Author(name="Gone"), Author(name="New")
        gone.save()
        str(held()), str(several())
        with connection.cursor() as cursor:
            cursor.execute("DELETE FROM catalogue_author WHERE name = 'Gone'")
            cursor.execute("INSERT INTO catalogue_author (id, name) VALUES (%s, 'New')", [new.pk.hex])
        assert not held({"of": str(gone.pk)}).is_valid()
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


@NATIVE
class TestToldApart(TestCase):
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
                assert labels(held())[1] == expected
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
                assert labels(form(ending))[1:] == [f"Ann{ending}", f"Bob{ending}"]
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
                assert labels(Own(who))[1] == f"Ann {name}"
                assert f"Ann {name}" in str(Own(who))
        assert len(log.output) == 1
        assert "its label_from_instance is a Who, which cannot be part of a key" in log.output[0]
        assert labels(Own(self.bob))[1] == "Ann Bob"

    def test_classes_that_a_function_makes(self) -> None:
        """They are called the same, and are not."""

        def form(ending: str) -> Any:
            class Ending(forms.ModelChoiceField):
                def label_from_instance(self, row: Any) -> str:
                    return f"{super().label_from_instance(row)[:0]}{row.name}{ending}"

            return cached(one(Ending(authors)))

        for ending in ("!", "?", "!"):
            assert labels(form(ending)())[1:] == [f"Ann{ending}", f"Bob{ending}"]
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
                assert labels(held())[1] == expected
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
        assert labels(form)[1] == "one"
        form.fields["of"].queryset = Loud.objects.all()
        assert labels(form)[1] == "ONE"
        assert "ONE" in str(form)

    def test_a_queryset_that_is_set_later(self) -> None:
        """Narrowed down by a form's own code: what it is then counts."""
        held = cached(one(FIELDS["named"]()))
        for name in ("Ann", "Bob", "Ann"):
            form = held()
            form.fields["of"].queryset = Author.objects.filter(name=name)
            assert labels(form)[1:] == [name]
            assert str(form).count("<option") == 2
            assert not held().fields["of"].queryset.query.where
