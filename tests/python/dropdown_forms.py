# ruff: noqa: RUF012 -- as users write their forms
"""Forms with cached dropdowns, and the same without, for the tests of both."""

import itertools
import operator
from collections.abc import Callable, Iterator
from typing import Any

from django import forms
from django.core.cache import cache
from django.db import connection, models
from django.forms.models import ModelChoiceIterator
from django.http import HttpRequest
from django.test import RequestFactory, TestCase, override_settings
from django.test.utils import CaptureQueriesContext
from project.catalogue.models import Author, Item, Label
from project.facilities.models import Job, People

from oxicache.django.forms import CachedDropdownMixin, OptimizedDropdownForm, OptimizedModelForm
from oxicache.django.queries import cached_queryset

# For fields: whoever reads it takes `.all()`, lest it keeps its rows for the tests to come.
authors = Author.objects.order_by("name", "pk")


@override_settings(CACHES={"default": {"BACKEND": "oxicache.django.backends.NativeCache"}})
class DropdownCase(TestCase):
    """Nothing is held when a test begins."""

    def setUp(self) -> None:
        cache.clear()


def queries(ask: Callable[[], Any]) -> int:
    """How many queries a call makes."""
    with CaptureQueriesContext(connection) as found:
        ask()
    return len(found)


def labels(form: Any, field: str = "of") -> list[str]:
    """The labels of a field's choices, but for the empty one."""
    return [str(label) for _, label in form.fields[field].choices][1:]


def cached(plain: type[forms.BaseForm], model: Any = Author, field: str = "of", **entry: Any) -> Any:
    """The same form with this field cached."""
    own = {"cached_dropdown_fields": {field: {"model": model, **entry}}}
    return type(plain.__name__, (CachedDropdownMixin, plain), own)


def one(field: Any) -> type[forms.Form]:
    """A form of this field."""
    return type("One", (forms.Form,), {"of": field})


def request_of(**session: Any) -> Any:
    """A request with a session."""
    request = RequestFactory().get("/")
    request.session = session  # type: ignore[assignment]
    return request


def of(method: str | None, base: type[Any] = OptimizedDropdownForm, **entry: Any) -> Any:
    """A form whose rows a method of the manager gives."""
    own = {
        "who": forms.ModelChoiceField(Staff.objects.all(), required=False),
        "cached_dropdown_fields": {"who": {"model": Staff, "filter_method": method, **entry}},
    }
    return type("Of", (base,), own)


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


class StaffManager(models.Manager[Any]):
    """What document 004's forms ask for, in every form that a method may have."""

    def of_tenant(self, request: HttpRequest, sitewise: bool = False) -> Any:
        """Of a tenant; site-wise, of all that are called as the session says."""
        rows = self.filter(tenant_id=request.session["tenant_id"])
        return rows.filter(name__startswith=request.session["bu_id"]) if sitewise else rows

    def maybe(self, request: HttpRequest | None = None) -> Any:
        """Of the request's tenant, of tenant 1 without one."""
        return self.filter(tenant_id=1 if request is None else request.session["tenant_id"])

    def longer(self, than: int = 3) -> Any:
        """Takes something that is no request."""
        assert isinstance(than, int)
        return self.filter(name__regex=f".{{{than}}}.")

    def everybody(self) -> Any:
        """Takes nothing."""
        return self.order_by("name")

    def held(self) -> Any:
        """Cached by itself."""
        return cached_queryset(self.order_by("name"))

    def locked(self) -> Any:
        """Is to be changed."""
        return self.select_for_update()

    def names(self) -> Any:
        """No queryset."""
        return list(self.values_list("name", flat=True))

    def others(self) -> Any:
        """Of another model."""
        return Job.objects.all()


class Staff(People):
    """Rows of document 004's People."""

    objects = StaffManager()

    class Meta:
        proxy = True
        app_label = "facilities"

    def __str__(self) -> str:
        return self.name


class StaffForm(OptimizedDropdownForm):
    """A form of tenants."""

    who = forms.ModelChoiceField(Staff.objects.none())
    cached_dropdown_fields = {"who": {"model": Staff, "filter_method": "of_tenant", "sitewise": True}}


class ItemForm(OptimizedModelForm):
    """A model's form, for the admin."""

    class Meta:
        model = Item
        fields = ("title", "author", "labels", "whole")

    cached_dropdown_fields = {"author": {"model": "catalogue.Author"}, "labels": {"model": Label}}
