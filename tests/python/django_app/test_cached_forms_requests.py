# ruff: noqa: RUF012 -- as users write their forms
"""Cached dropdowns are for whom the method says that gives their rows: requests, tenants, keys."""

import io
from typing import Any

import pytest
from django import forms
from django.contrib.auth.forms import AuthenticationForm
from django.core.cache import cache
from django.core.management import call_command
from django.test import override_settings
from dropdown_forms import (
    DropdownCase,
    Staff,
    StaffForm,
    labels,
    of,
    queries,
    request_of,
)
from project.catalogue.models import Item

from oxicache.compat import youtility
from oxicache.django.forms import CachedDropdownMixin, OptimizedDropdownForm, OptimizedModelForm
from oxicache.django.scope import Scope, use_scope


class TestRequests(DropdownCase):
    """Whom rows are for is what the manager's method says."""

    @classmethod
    def setUpTestData(cls) -> None:
        for tenant, name in ((1, "a one"), (1, "b one"), (2, "a two"), (2, "b two")):
            Staff.objects.create(tenant_id=tenant, name=name)

    def test_tenants_are_told_apart(self) -> None:
        """By what is asked of the database: warm, everybody has his own, and no query is made."""
        for _ in range(2):
            for tenant, unit, expected in ((1, "a", ["a one"]), (1, "b", ["b one"]), (2, "a", ["a two"])):
                request = request_of(tenant_id=tenant, bu_id=unit)
                assert labels(StaffForm(request=request), "who") == expected
                assert queries(lambda: str(StaffForm(request=request)) * 2) <= 1  # noqa: B023 -- called here
                assert queries(lambda: str(StaffForm(request=request))) == 0  # noqa: B023 -- called here

    def test_what_a_method_takes(self) -> None:
        """A request where it wants one, nothing else: a parameter of its own is not given the request."""
        request = request_of(tenant_id=2, bu_id="a")
        two, all_of_them = ["a two", "b two"], ["a one", "a two", "b one", "b two"]
        for method, given, expected in (
            ("of_tenant", request, two),
            ("maybe", request, two),
            ("maybe", None, ["a one", "b one"]),
            ("longer", request, all_of_them),
            ("everybody", None, all_of_them),
            ("held", request, all_of_them),
            (None, None, all_of_them),
        ):
            for _ in range(2):
                form = of(method)(request=given)
                assert sorted(labels(form, "who")) == expected, method
                assert sorted(labels(of(method)(request=given), "who")) == sorted(labels(form, "who")), method
        assert labels(of("maybe")(), "who") == ["a one", "b one"]

    def test_rows_without_a_method_are_the_fields_own(self) -> None:
        """No row is offered, or accepted, that the field does not offer by itself."""

        class Narrow(OptimizedDropdownForm):
            who = forms.ModelChoiceField(Staff.objects.filter(tenant_id=1))
            cached_dropdown_fields = {"who": {"model": Staff}}

        assert labels(Narrow(), "who") == ["a one", "b one"]
        assert not Narrow({"who": str(Staff.objects.get(name="a two").pk)}).is_valid()

    def test_a_request_that_is_wanted_and_not_there(self) -> None:
        """Is said with its remedy, in the words of the form."""
        for form, why in (
            (StaffForm, "it is sitewise"),
            (of("of_tenant"), "of_tenant takes the request"),
        ):
            with pytest.raises(ValueError, match=f"{why}, and the form got none; pass request="):
                form()

    def test_limits_of_a_model_field_hold(self) -> None:
        """`limit_choices_to` narrows what the method gives, for what is shown and what is accepted."""

        class Limited(OptimizedModelForm):
            whole = forms.ModelChoiceField(Item.objects.all(), limit_choices_to={"price": 1}, required=False)
            cached_dropdown_fields = {"whole": {"model": Item, "filter_method": "order_by"}}

            class Meta:
                model = Item
                fields = ("title", "whole")

        cheap, dear = (Item.objects.create(title=f"{price}", price=price) for price in (1, 2))
        form = Limited()
        assert list(form.fields["whole"].queryset) == [cheap]
        assert len(labels(Limited(), "whole")) == 1
        assert "whole" in Limited({"title": "x", "whole": str(dear.pk)}).errors

    def test_a_form_that_takes_the_request_itself(self) -> None:
        """Before the mixin, behind it, by name or by position: none of them loses it, no other argument is touched."""
        request = request_of(tenant_id=1, bu_id="a")

        class Pops(forms.Form):
            def __init__(self, *args: Any, **kwargs: Any) -> None:
                self.seen = kwargs.pop("request")
                super().__init__(*args, **kwargs)

        class Behind(CachedDropdownMixin, Pops):
            who = forms.ModelChoiceField(Staff.objects.none())
            cached_dropdown_fields = StaffForm.cached_dropdown_fields

        class Before(StaffForm):
            def __init__(self, *args: Any, **kwargs: Any) -> None:
                self.request = kwargs.pop("request")
                super().__init__(*args, **kwargs)

        class LogsIn(CachedDropdownMixin, AuthenticationForm):
            who = forms.ModelChoiceField(Staff.objects.none())
            cached_dropdown_fields = StaffForm.cached_dropdown_fields

        class Plain(CachedDropdownMixin, forms.Form):
            name = forms.CharField()

        for form in (
            Behind(request=request),
            Before(request=request),
            LogsIn(request=request),
            LogsIn(request),
            StaffForm(request=request, initial={"who": 1}, prefix="p", label_suffix="!"),
        ):
            assert form.request is request
            assert labels(form, "who") == ["a one"]
        assert Behind(request=request).seen is request
        assert (form.prefix, form.initial, form.label_suffix) == ("p", {"who": 1}, "!")
        assert Plain(request=request).request is request
        assert Plain().request is None
        with pytest.raises(TypeError, match="unexpected keyword argument 'requst'"):
            Plain(requst=request)

    def test_keys_of_a_tenant(self) -> None:
        """Are found by the patterns of document 004: those of one tenant, those of a form, those of a field."""

        class People004(youtility.CachedDropdownMixin, forms.Form):
            who = forms.ModelChoiceField(Staff.objects.none())
            cached_dropdown_fields = {"who": {"model": Staff, "filter_method": "of_tenant", "version": "1.0"}}

        sessions = [request_of(tenant_id=tenant, client_id=7, bu_id="a") for tenant in (1, 2)]

        def asked() -> list[int]:
            return [queries(lambda: labels(People004(request=one), "who")) for one in sessions]  # noqa: B023 -- called here

        assert (asked(), asked()) == ([1, 1], [0, 0])
        for pattern, tenant, expected in (
            ("dropdown", 1, [1, 0]),
            ("form:dropdown:People004:who:1.0", 2, [0, 1]),
            ("dropdown", None, [1, 1]),
        ):
            assert youtility.invalidate_cache_pattern(pattern, tenant_id=tenant)["keys_cleared"] == sum(
                expected
            )
            assert asked() == expected
        printed = io.StringIO()
        call_command("invalidate_caches", pattern="dropdown", tenant_id="1", stdout=printed)
        assert "Cleared 1 " in printed.getvalue()
        assert asked() == [1, 0]
        (key,) = cache.keys("tenant:1:client:7:bu:a:form:dropdown:People004:who:1.0:*")
        assert key.count(":") == 12
        assert People004.invalidate_dropdown_cache("who") == 2
        # Of a tenant that nobody knows nothing is held; there it was tenant 1.
        unknown = request_of(tenant_id=1, bu_id="a")
        for _ in range(2):
            assert queries(lambda: labels(People004(request=unknown), "who")) == 1

    def test_a_scope_without_a_request(self) -> None:
        """A task that says whose it is has forms with cached dropdowns, too."""
        form = of("everybody")
        with override_settings(OXICACHE={"TENANT": "oxicache.django.scope.session_tenant"}):
            for _ in range(2):
                assert queries(lambda: labels(form(), "who")) == 1
            with use_scope(Scope(tenant=1)):
                assert [queries(lambda: labels(form(), "who")) for _ in range(2)] == [1, 0]

    def test_timeouts(self) -> None:
        """CACHE_TIMEOUTS["DROPDOWN_DATA"] as it is when a form is used, unless the class has its own."""

        def ttl(form: Any) -> float | None:
            form = form(request=request_of(tenant_id=1, bu_id="a"))
            return form.fields["who"].choices.choices.caching.ttl  # type: ignore[no-any-return]

        assert (StaffForm.dropdown_cache_timeout, ttl(StaffForm)) == (1800, 1800)
        with override_settings(CACHE_TIMEOUTS={"DROPDOWN_DATA": 5}):
            assert (StaffForm.dropdown_cache_timeout, ttl(StaffForm)) == (5, 5)

        class Own(StaffForm):
            dropdown_cache_timeout = None

        assert ttl(Own) is None

    def test_other_caches_hold_nothing(self) -> None:
        """Only a NativeCache knows what has changed: with any other, forms are as without the mixin."""
        with override_settings(
            CACHES={"default": {"BACKEND": "django.core.cache.backends.locmem.LocMemCache"}}
        ):
            for _ in range(2):
                assert queries(lambda: str(of("everybody")())) == 1
