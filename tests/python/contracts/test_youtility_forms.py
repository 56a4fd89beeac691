"""Document 004 (YOUTILITY5): its forms with cached dropdowns. What is beneath: django_app/test_cached_forms.py."""

from collections.abc import Iterator
from types import SimpleNamespace
from typing import Any

import pytest
from dialect_requests import TENANT, asked, own_responses
from django import forms
from django.db import connection
from django.test.utils import CaptureQueriesContext
from document_pages import EXAMPLES, Example, Key, example
from project.facilities.models import Job, Location, People

from oxicache.compat import youtility


@pytest.fixture(autouse=True)
def _site(django_databases: None) -> Iterator[None]:
    """Three people of two tenants, two places of two business units."""
    with own_responses():
        for name, tenant in (("Ann", 1), ("Bob", 1), ("Cleo", 2)):
            People.objects.create(name=name, tenant_id=tenant)
        for name in ("bu 3: hall", "bu 4: yard"):
            Location.objects.create(name=name, tenant_id=1)
        yield
        for model in (People, Location):
            model.objects.all().delete()


class WithPeople(forms.ModelForm):
    """What an example leaves out: a model, and the fields whose choices it caches."""

    people = forms.ModelChoiceField(People.objects.none(), required=False)
    assignee = forms.ModelChoiceField(People.objects.none(), required=False)
    location = forms.ModelChoiceField(Location.objects.none(), required=False)

    class Meta:
        model = Job
        fields = ("name",)


FORMS = SimpleNamespace(ModelForm=WithPeople)


def request_of(tenant: int = 1) -> Any:
    return asked(session={**TENANT, "tenant_id": tenant})


def shown_names(form: Any, field: str) -> tuple[list[str], int]:
    """What a dropdown offers, and how many queries it took to render it."""
    with CaptureQueriesContext(connection) as queries:
        html = str(form[field])
    return [name for name in ("Ann", "Bob", "Cleo", "Dora", "hall", "yard") if name in html], len(queries)


def check_people(form: Any, field: str = "people") -> None:
    """One query, then none, by tenant; until a row changes; what is submitted is looked for in the database."""
    assert issubclass(form, youtility.CachedDropdownMixin)
    assert shown_names(form(request=request_of()), field) == (["Ann", "Bob"], 1)
    assert shown_names(form(request=request_of()), field) == (["Ann", "Bob"], 0)
    assert shown_names(form(request=request_of(2)), field) == (["Cleo"], 1)
    dora = People.objects.create(name="Dora", tenant_id=1)
    assert shown_names(form(request=request_of()), field)[0] == ["Ann", "Bob", "Dora"]
    dora.delete()
    assert shown_names(form(request=request_of()), field)[0] == ["Ann", "Bob"]
    ann, cleo = (People.objects.get(name=name).pk for name in ("Ann", "Cleo"))
    for pk, is_valid in ((ann, True), (cleo, False)):
        data = {"name": "a job", field: str(pk)}
        assert form(data, request=request_of()).is_valid() == is_valid


@example("004", "Form Dropdown Caching")
def test_form_dropdown_caching(shown: Example) -> None:
    """004, "Form Dropdown Caching": on a hit no query for the people."""
    form = shown.run(JobForm=WithPeople, People=People)["Schd_I_TourJobForm"]
    check_people(form)
    for tenant in (1, 2):
        shown_names(form(request=request_of(tenant)), "people")
    # The choices, and the options that they are shown as.
    assert youtility.invalidate_cache_pattern("form:dropdown", tenant_id=1)["keys_cleared"] == 2
    assert [shown_names(form(request=request_of(tenant)), "people")[1] for tenant in (1, 2)] == [1, 0]


@example("004", "Example 2: Cached Form with Dropdowns")
def test_cached_form_with_dropdowns(shown: Example) -> None:
    """004, "Example 2": two dropdowns, of which one is of the business unit alone."""
    form = shown.run(forms=FORMS, People=People, Location=Location)["MyForm"]
    check_people(form, "assignee")
    assert shown_names(form(request=request_of()), "location") == (["hall"], 1)
    assert shown_names(form(request=request_of()), "location") == (["hall"], 0)


@example("004", "Migrating Forms to Use Dropdown Caching")
def test_before(shown: Example) -> None:
    """004, "Migrating Forms", before: a query each time."""
    form = shown.run(forms=FORMS, People=People)["MyForm"]
    for _ in range(2):
        assert shown_names(form(request=request_of()), "people") == (["Ann", "Bob"], 1)


@example("004", "Migrating Forms to Use Dropdown Caching", 2)
def test_after(shown: Example) -> None:
    """004, "Migrating Forms", after: the same HTML, and no query on a hit."""
    before = EXAMPLES[Key("004", "Migrating Forms to Use Dropdown Caching")].run(forms=FORMS, People=People)
    after = shown.run(forms=FORMS, People=People)
    check_people(after["MyForm"])
    for _ in range(2):
        assert str(after["MyForm"](request=request_of())) == str(before["MyForm"](request=request_of()))
