# ruff: noqa: RUF012 -- as users write their forms
"""Cached dropdowns in users' classes: requests, tenants, formsets, the admin, and what is said of mistakes."""

from collections.abc import Callable
from typing import Any

import pytest
from django import forms
from django.contrib import admin
from django.contrib.auth.forms import AuthenticationForm
from django.contrib.auth.models import User
from django.core import checks
from django.core.cache import cache
from django.db import connection, models
from django.http import HttpRequest, HttpResponse
from django.test import Client, RequestFactory, TestCase, override_settings
from django.test.utils import CaptureQueriesContext
from django.urls import path
from django.views.generic import FormView
from project.catalogue.models import Author, Book, Item, Label
from project.facilities.models import Job, People

from oxicache.compat import youtility
from oxicache.django import dropdowns
from oxicache.django.forms import CachedDropdownMixin, OptimizedDropdownForm, OptimizedModelForm
from oxicache.django.scope import Scope, use_scope

NATIVE = override_settings(CACHES={"default": {"BACKEND": "oxicache.django.backends.NativeCache"}})


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
        from oxicache.django.queries import cached_queryset

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


@pytest.fixture(autouse=True)
def _empty() -> None:
    with NATIVE:
        cache.clear()


def queries(ask: Callable[[], Any]) -> int:
    with CaptureQueriesContext(connection) as found:
        ask()
    return len(found)


def request_of(**session: Any) -> Any:
    request = RequestFactory().get("/")
    request.session = session  # type: ignore[assignment]
    return request


def names(form: Any, field: str = "who") -> list[str]:
    return [str(label) for _, label in form.fields[field].choices][1:]


def of(method: str | None, base: type[Any] = OptimizedDropdownForm, **entry: Any) -> Any:
    """A form whose rows a method of the manager gives."""
    own = {
        "who": forms.ModelChoiceField(Staff.objects.all(), required=False),
        "cached_dropdown_fields": {"who": {"model": Staff, "filter_method": method, **entry}},
    }
    return type("Of", (base,), own)


@NATIVE
class TestRequests(TestCase):
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
                assert names(StaffForm(request=request)) == expected
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
                assert sorted(names(form)) == expected, method
                assert sorted(names(of(method)(request=given))) == sorted(names(form)), method
        assert names(of("maybe")()) == ["a one", "b one"]

    def test_rows_without_a_method_are_the_fields_own(self) -> None:
        """No row is offered, or accepted, that the field does not offer by itself."""

        class Narrow(OptimizedDropdownForm):
            who = forms.ModelChoiceField(Staff.objects.filter(tenant_id=1))
            cached_dropdown_fields = {"who": {"model": Staff}}

        assert names(Narrow()) == ["a one", "b one"]
        assert not Narrow({"who": str(Staff.objects.get(name="a two").pk)}).is_valid()

    def test_a_request_that_is_wanted_and_not_there(self) -> None:
        """Is said with its remedy, in the words of the form."""
        for form, why in (
            (StaffForm, "is sitewise"),
            (of("of_tenant"), "has of_tenant, which takes the request"),
        ):
            with pytest.raises(ValueError, match=f"{why}, and the form got none: pass request="):
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
        assert len(names(Limited(), "whole")) == 1
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
            assert names(form) == ["a one"]
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
            return [queries(lambda: names(People004(request=one))) for one in sessions]  # noqa: B023 -- called here

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
        (key,) = cache.keys("tenant:1:client:7:bu:a:form:dropdown:People004:who:1.0:*")
        assert key.count(":") == 12
        assert People004.invalidate_dropdown_cache("who") == 2
        # Of a tenant that nobody knows nothing is held; there it was tenant 1.
        unknown = request_of(tenant_id=1, bu_id="a")
        for _ in range(2):
            assert queries(lambda: names(People004(request=unknown))) == 1

    def test_a_scope_without_a_request(self) -> None:
        """A task that says whose it is has forms with cached dropdowns, too."""
        form = of("everybody")
        with override_settings(OXICACHE={"TENANT": "oxicache.django.scope.session_tenant"}):
            for _ in range(2):
                assert queries(lambda: names(form())) == 1
            with use_scope(Scope(tenant=1)):
                assert [queries(lambda: names(form())) for _ in range(2)] == [1, 0]

    def test_timeouts(self) -> None:
        """CACHE_TIMEOUTS["DROPDOWN_DATA"] as it is when a form is used, unless the class has its own."""
        assert StaffForm.dropdown_cache_timeout == 1800
        with override_settings(CACHE_TIMEOUTS={"DROPDOWN_DATA": 5}):
            assert StaffForm._caching().ttl == 5

        class Own(StaffForm):
            dropdown_cache_timeout = None

        assert Own._caching().ttl is None

    def test_other_caches_hold_nothing(self) -> None:
        """Only a NativeCache knows what has changed: with any other, forms are as without the mixin."""
        with override_settings(
            CACHES={"default": {"BACKEND": "django.core.cache.backends.locmem.LocMemCache"}}
        ):
            for _ in range(2):
                assert queries(lambda: str(of("everybody")())) == 1


class StaffView(FormView):  # type: ignore[type-arg]
    """As users write it."""

    form_class = StaffForm

    def get_form_kwargs(self) -> dict[str, Any]:
        return {**super().get_form_kwargs(), "request": self.request}

    def render_to_response(self, context: Any, **_: Any) -> HttpResponse:
        return HttpResponse(context["form"].as_p())


class PartsInline(admin.TabularInline):  # type: ignore[type-arg]
    """Another form of items, several of them."""

    model = Item
    form = ItemForm
    fk_name = "whole"
    extra = 2


class ItemAdmin(admin.ModelAdmin):  # type: ignore[type-arg]
    """As users write it."""

    form = ItemForm
    filter_horizontal = ("labels",)
    inlines = (PartsInline,)


class StaffJobForm(OptimizedModelForm):
    """Wants the request."""

    who = forms.ModelChoiceField(Staff.objects.none(), required=False)
    cached_dropdown_fields = StaffForm.cached_dropdown_fields

    class Meta:
        model = Job
        fields = ("name",)


class JobAdmin(admin.ModelAdmin):  # type: ignore[type-arg]
    """Gives its form the request: the class is made for this request alone."""

    form = StaffJobForm

    def get_form(self, request: HttpRequest, obj: Any = None, change: bool = False, **kwargs: Any) -> Any:
        form: Any = super().get_form(request, obj, change, **kwargs)
        form.request = request
        return form


site = admin.AdminSite("dropdowns")
site.register(Item, ItemAdmin)
site.register(Job, JobAdmin)
site.register(Author)


class Urls:
    """A URLconf."""

    urlpatterns = [path("admin/", site.urls), path("staff/", StaffView.as_view())]


@NATIVE
@override_settings(ROOT_URLCONF=Urls)
class TestPlaces(TestCase):
    """Formsets, views and the admin."""

    @classmethod
    def setUpTestData(cls) -> None:
        cls.author = Author.objects.create(name="Ann")
        cls.label = Label.objects.create(slug="blue")
        cls.item = Item.objects.create(title="whole", author=cls.author)
        cls.user = User.objects.create_superuser("root")
        for name in ("a one", "b one"):
            Staff.objects.create(tenant_id=1, name=name)

    def test_formsets(self) -> None:
        """`form_kwargs` gives each form the request; one load is enough for all, and their empty form."""
        request = request_of(tenant_id=1, bu_id="a")
        formset = forms.formset_factory(StaffForm, extra=3)(form_kwargs={"request": request})
        assert queries(lambda: str(formset)) == 1
        assert names(formset.empty_form) == ["a one"]
        assert str(formset).count("a one") == 3

    def test_formsets_of_models(self) -> None:
        """Model formsets and inline ones: the choices of all their forms take no query once they are held."""
        many = forms.modelformset_factory(Item, form=ItemForm, extra=2)
        inline = forms.inlineformset_factory(Item, Item, form=ItemForm, fk_name="whole", extra=2)
        for given in (lambda: many(queryset=Item.objects.none()), lambda: inline(instance=self.item)):
            str(given()), str(given())
            with CaptureQueriesContext(connection) as found:
                shown = str(given())
            assert shown.count("Author object") >= 2
            assert [query["sql"] for query in found if "catalogue_author" in query["sql"]] == []
            assert [query["sql"] for query in found if 'FROM "catalogue_label"' in query["sql"]] == []
        data = {
            "parts-TOTAL_FORMS": "1",
            "parts-INITIAL_FORMS": "0",
            "parts-0-title": "part",
            "parts-0-author": str(self.author.pk),
            "parts-0-labels": ["blue"],
        }
        bound = inline(data, instance=self.item)
        assert bound.is_valid(), bound.errors
        bound.save()
        assert self.item.parts.get().author == self.author

    def test_views(self) -> None:
        """Of a class: what is chosen wrongly is shown again with what is to be chosen."""
        client = Client()
        session = client.session
        session.update({"tenant_id": 1, "bu_id": "a"})
        session.save()
        assert "a one" in client.get("/staff/").content.decode()
        shown = client.post("/staff/", {"who": "no"}).content.decode()
        assert "a one" in shown
        assert "Select a valid choice" in shown

    def test_the_admin(self) -> None:
        """Its add and change pages show and save as ever, with their inlines; its widgets are asked for no row."""
        client = Client()
        client.force_login(self.user)
        for page in ("/admin/catalogue/item/add/", f"/admin/catalogue/item/{self.item.pk}/change/") * 2:
            answer = client.get(page)
            assert answer.status_code == 200
        shown = answer.content.decode()
        assert (
            shown.count(f'<option value="{self.author.pk}"')
            == shown.count('<select name="parts-') // 2 + 1
            == 4
        )
        assert shown.count(f'<option value="{self.author.pk}" selected>') == 1
        with CaptureQueriesContext(connection) as found:
            client.get("/admin/catalogue/item/add/")
        assert [query["sql"] for query in found if "catalogue_author" in query["sql"]] == []
        data = {
            "parts-TOTAL_FORMS": "0",
            "parts-INITIAL_FORMS": "0",
            "title": "new",
            "author": str(self.author.pk),
            "whole": str(self.item.pk),
            "labels": "blue",
        }
        assert client.post("/admin/catalogue/item/add/", data).status_code == 302
        assert Item.objects.get(title="new").author == self.author
        wrong = client.post("/admin/catalogue/item/add/", {**data, "author": "x"}).content.decode()
        assert "is not a valid UUID" in wrong or "Select a valid choice" in wrong

    def test_the_admin_with_a_request(self) -> None:
        """A ModelAdmin gives the request to the form class that it makes for it."""
        client = Client()
        client.force_login(self.user)
        session = client.session
        session.update({"tenant_id": 1, "bu_id": "b"})
        session.save()
        for _ in range(2):
            shown = client.get("/admin/facilities/job/add/").content.decode()
            assert "b one" in shown
            assert "a one" not in shown

    def test_what_is_derived(self) -> None:
        """A class adds to what it inherits, changes it, or takes it out; what is taken from a form is left alone."""

        class More(ItemForm):
            cached_dropdown_fields = {"whole": {"model": Item}, "labels": None}

        class Fewer(More):
            class Meta(ItemForm.Meta):
                fields = ("title", "author")

        assert list(dropdowns.dropdowns_of(More)) == ["author", "whole"]
        assert list(More().fields) == ["title", "author", "labels", "whole"]
        assert list(Fewer().fields) == ["title", "author"]


ENTRY = {"model": Author}


@NATIVE
class TestMistakes(TestCase):
    """Each is said when the class is made, else by `manage.py check` and at the first use, in words that help."""

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
            assert names(form, field) == []

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
        """A model by name is looked for once all are there."""

        def found() -> list[str]:
            return [one.msg for one in checks.run_checks() if one.id == "oxicache.E006"]

        assert found() == []
        wrong = []
        for entry, text in (
            ({"model": "no.Such"}, "'no.Such' is no model"),
            (
                {"model": "projects.Project"},
                "model is projects.Project, and its rows are of catalogue.Author",
            ),
            ({"model": "catalogue.Author", "filter_method": "nothing"}, "has no method 'nothing'"),
        ):
            own = {
                "who": forms.ModelChoiceField(Author.objects.all()),
                "cached_dropdown_fields": {"who": entry},
            }
            wrong.append(type("Wrong", (OptimizedDropdownForm,), own))
            try:
                (message,) = found()
            finally:
                dropdowns._forms.discard(wrong[-1])
            assert text in message
            with pytest.raises((TypeError, ValueError), match=r"Wrong.cached_dropdown_fields\['who'\]"):
                wrong[-1]()
