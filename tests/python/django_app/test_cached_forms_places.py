# ruff: noqa: RUF012 -- as users write their forms
"""Cached dropdowns in formsets, in views and in the admin."""

from typing import Any

from django import forms
from django.contrib import admin
from django.contrib.auth.models import User
from django.db import connection
from django.http import HttpRequest, HttpResponse
from django.test import Client, override_settings
from django.test.utils import CaptureQueriesContext
from django.urls import path
from django.views.generic import FormView
from dropdown_forms import (
    DropdownCase,
    ItemForm,
    Staff,
    StaffForm,
    labels,
    queries,
    request_of,
)
from project.catalogue.models import Author, Item, Label
from project.facilities.models import Job

from oxicache.django.forms import OptimizedModelForm


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


@override_settings(ROOT_URLCONF=Urls)
class TestPlaces(DropdownCase):
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
        assert labels(formset.empty_form, "who") == ["a one"]
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

        assert list(More._dropdowns) == ["author", "whole"]
        assert list(More().fields) == ["title", "author", "labels", "whole"]
        assert list(Fewer().fields) == ["title", "author"]
