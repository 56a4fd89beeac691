"""Cached dropdowns show what Django shows, to the byte, without a query after a hit."""

import tempfile
from collections.abc import Callable, Iterator
from importlib.util import find_spec
from pathlib import Path
from typing import Any
from unittest import mock

from django import forms
from django.contrib.admin.sites import AdminSite
from django.contrib.admin.widgets import (
    AutocompleteSelect,
    FilteredSelectMultiple,
    ForeignKeyRawIdWidget,
    RelatedFieldWidgetWrapper,
)
from django.core.cache import cache
from django.db import connection
from django.forms.renderers import DjangoTemplates, Jinja2
from django.test import override_settings
from django.test.utils import CaptureQueriesContext
from django.utils.safestring import mark_safe
from dropdown_forms import (
    DropdownCase,
    Grouped,
    Named,
    authors,
    cached,
    one,
)
from project.catalogue.models import Author, Item


class Marked(forms.ModelChoiceField):
    def label_from_instance(self, row: Any) -> Any:
        return mark_safe(f"<i>{row.pk}</i>")  # noqa: S308 -- as a project writes it


class Html(str):
    """Text that knows how it is written in HTML."""

    __slots__ = ()

    def __html__(self) -> str:
        return f"<b>{self}</b>"


class Title:
    """Is no text."""

    def __str__(self) -> str:
        return "<title>"


class Bold(forms.ModelChoiceField):
    def label_from_instance(self, row: Any) -> Any:
        return Html(row.pk) if row.name != "Ann" else Title()


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
    "bold": lambda: Bold(authors),
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


class TestShown(DropdownCase):
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

    @override_settings(USE_THOUSAND_SEPARATOR=True)
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
                '<option value="{{ widget.value }}">{{ widget.label }} of {{ widget.name }}</option>'
            )
            others = Path(forms.__file__).parent / "templates"
            engine = {"BACKEND": "django.template.backends.django.DjangoTemplates", "DIRS": [folder, others]}
            plain = one(FIELDS["named"]())
            held = cached(plain)
            assert " of name" not in str(held())
            with override_settings(
                TEMPLATES=[engine], FORM_RENDERER="django.forms.renderers.TemplatesSetting"
            ):
                for prefix in ("a", "b"):
                    assert str(held(prefix=prefix)) == str(plain(prefix=prefix))
                    assert f" of {prefix}-of</option>" in str(held(prefix=prefix))

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

    def test_a_widget_that_somebody_has_changed(self) -> None:
        """What is put on one widget, to make its options in another way, makes them."""
        held = cached(one(FIELDS["named"]()))
        str(held())
        form = held()
        widget = form.fields["of"].widget
        made = widget.create_option
        widget.create_option = lambda *args, **kwargs: made(*args, **kwargs) | {"attrs": {"data-x": "1"}}
        assert str(form).count('data-x="1"') == str(held()).count("<option")

    def test_the_widget_is_called_as_ever(self) -> None:
        """Templates and libraries tell fields apart by the name of their widget's class."""
        form = cached(one(FIELDS["named"]()))()
        assert form["of"].widget_type == "select"
        assert isinstance(form.fields["of"].widget, forms.Select)
        assert type(one(FIELDS["named"]())().fields["of"].widget) is forms.Select

    def test_choices_are_those_of_django(self) -> None:
        """`field.choices` compares, counts and gives the rows; what is assigned to it is what is shown."""
        for name in ("without an empty one", "grouped", "none", "named"):
            plain = one(FIELDS[name]())
            held = cached(plain)
            for _ in range(2):
                theirs, ours = plain().fields["of"].choices, held().fields["of"].choices
                assert list(ours) == list(theirs)
                assert (len(ours), bool(ours)) == (len(theirs), bool(theirs))
                assert isinstance(ours, type(theirs))
        with self.assertNumQueries(0):  # nor would it for a widget that asks whether the first is empty
            cache.clear()
            assert next(iter(held().fields["of"].choices))[0] == ""
        values = [value for value, _ in cached(one(FIELDS["named"]()))().fields["of"].choices][1:]
        assert [value.instance for value in values] == list(authors.all())
        form = held()
        form.fields["of"].choices = [("x", "assigned")]
        assert "assigned" in str(form)

    def test_autocompletion_asks_for_what_is_chosen(self) -> None:
        """A widget that looks for its options itself goes on to: the rows, which may be millions, are not loaded."""
        Author.objects.bulk_create(Author(name=f"{number}") for number in range(20))
        plain = one(
            Named(
                authors,
                empty_label=None,
                widget=AutocompleteSelect(Item._meta.get_field("author"), admin_site),
            )
        )
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
