"""What a view of Django REST framework has on itself before it is asked: its properties, `initial`, its permissions."""

import functools
from collections import Counter
from collections.abc import Iterator
from typing import Any

import pytest
from django.test import Client, RequestFactory, override_settings
from django.urls import include, path
from project.catalogue.models import Author, Item
from rest_framework import permissions, serializers, viewsets
from rest_framework.request import Request
from rest_framework.response import Response
from rest_framework.routers import SimpleRouter

from oxicache.django.responses import DetailCacheMixin, ListCacheMixin, cached_api

NATIVE = {"default": {"BACKEND": "oxicache.django.backends.NativeCache", "LOCATION": "view-attributes"}}

calls: Counter[str] = Counter()


class ItemSerializer(serializers.ModelSerializer[Item]):
    class Meta:
        model = Item
        fields = ("title",)


class Shelf:
    """What a key cannot spell."""

    def __init__(self, name: str) -> None:
        self.name = name


class Remembering(ListCacheMixin, DetailCacheMixin, viewsets.ReadOnlyModelViewSet[Item]):
    """Whose rows it shows it finds out once, when `get_queryset` asks."""

    queryset = Item.objects.order_by("id")
    serializer_class = ItemSerializer
    cache_per_user = False

    @functools.cached_property
    def organisation(self) -> str:
        return str(self.request.headers.get("X-Organisation", "none"))

    def get_queryset(self) -> Any:
        return super().get_queryset().filter(title__startswith=self.organisation)


class OfOrganisation(permissions.BasePermission):
    """Asks the view which organisation it is."""

    def has_permission(self, request: Request, view: Any) -> bool:
        return bool(view.organisation)


class Plain(DetailCacheMixin, viewsets.ReadOnlyModelViewSet[Item]):
    queryset = Item.objects.order_by("id")
    serializer_class = ItemSerializer


class Permitted(Remembering):
    permission_classes = (OfOrganisation,)


class Begun(viewsets.ViewSet):
    """What `initial` finds out: a text, a row, what has no spelling."""

    def initial(self, request: Request, *args: Any, **kwargs: Any) -> None:
        super().initial(request, *args, **kwargs)
        name = str(request.headers.get("X-Organisation", "none"))
        self.organisation = name
        self.author = Author.objects.get_or_create(name=name)[0]
        self.shelf = Shelf(name)

    @cached_api(timeout=60, vary_on_auth=False)
    def list(self, request: Request) -> Response:
        calls["text"] += 1
        return Response({"of": self.organisation})

    @cached_api(timeout=60, vary_on_auth=False)
    def retrieve(self, request: Request, pk: str) -> Response:
        calls["retrieve"] += 1
        return Response({"of": getattr(self, pk).name})

    @cached_api(
        timeout=60, vary_on_auth=False, key_func=lambda request, pk: request.parser_context["view"].shelf.name
    )
    def spelt(self, request: Request, pk: str) -> Response:
        return Response({"of": self.shelf.name})


class Indifferent(Begun):
    """Does not look at it."""

    @cached_api(timeout=60, vary_on_auth=False)
    def list(self, request: Request) -> Response:
        calls["indifferent"] += 1
        return Response({"of": "all"})


router = SimpleRouter()
router.register("remembering", Remembering, basename="remembering")
router.register("permitted", Permitted, basename="permitted")
router.register("begun", Begun, basename="begun")
router.register("indifferent", Indifferent, basename="indifferent")
urlpatterns = [path("", include(router.urls)), path("spelt/<pk>/", Begun.as_view({"get": "spelt"}))]


@pytest.fixture(autouse=True)
def _site() -> Iterator[None]:
    calls.clear()
    items = [Item.objects.create(title=title) for title in ("red 1", "blue 1")]
    with override_settings(CACHES=NATIVE, ROOT_URLCONF=__name__):
        yield
    for item in items:
        item.delete()
    Author.objects.all().delete()


def asked(client: Client, url: str, organisation: str) -> tuple[str | None, Any]:
    answer = client.get(url, headers={"X-Organisation": organisation})
    return answer.headers.get("X-Cache"), answer.json()


@pytest.mark.parametrize("name", ["remembering", "permitted"])
def test_what_a_property_has_remembered(client: Client, name: str) -> None:
    """It is asked before the view is watched, by a permission or for its models, and counts all the same."""
    for said in ("MISS", "HIT"):
        for organisation in ("red", "blue"):
            assert asked(client, f"/{name}/", organisation) == (said, [{"title": f"{organisation} 1"}])


def test_a_detail_of_it(client: Client) -> None:
    """Whoever may not see a row gets no hit of it."""
    item = Item.objects.get(title="red 1")
    assert asked(client, f"/remembering/{item.pk}/", "red") == ("MISS", {"title": "red 1"})
    assert client.get(f"/remembering/{item.pk}/", headers={"X-Organisation": "blue"}).status_code == 404


@pytest.mark.parametrize("url", ["/begun/", "/begun/author/"])
def test_what_initial_has_found_out(client: Client, url: str) -> None:
    """A text and a row join the key."""
    for said in ("MISS", "HIT"):
        for organisation in ("red", "blue"):
            assert asked(client, url, organisation) == (said, {"of": organisation})


def test_what_has_no_spelling(client: Client, caplog: pytest.LogCaptureFixture) -> None:
    """Then nothing is cached, and the log says why."""
    for organisation in ("red", "blue", "red"):
        assert asked(client, "/begun/shelf/", organisation) == (None, {"of": organisation})
    assert "view.shelf" in caplog.text


def test_key_func_may_spell_it(client: Client) -> None:
    """It finds the view where the framework has put it."""
    for said in ("MISS", "HIT"):
        for organisation in ("red", "blue"):
            assert asked(client, "/spelt/any/", organisation) == (said, {"of": organisation})


def test_what_nobody_looks_at_does_not_count(client: Client) -> None:
    """One entry for all."""
    assert asked(client, "/indifferent/", "red") == ("MISS", {"of": "all"})
    assert asked(client, "/indifferent/", "blue") == ("HIT", {"of": "all"})


def test_a_view_that_is_watched_has_the_caches_of_its_class(client: Client) -> None:
    """No class is checked and counted a second time for what it is while it runs."""
    before = Permitted._oxicache_caches
    asked(client, "/permitted/", "red")
    (derived,) = Permitted.__subclasses__()
    assert derived._oxicache_caches is before


class Anybody(permissions.BasePermission):
    def has_object_permission(self, request: Request, view: Any, obj: Any) -> bool:
        return True


def test_a_view_that_is_called_without_an_address() -> None:
    """As tests do: what `as_view()` was given is of no request, though nothing says what that was."""
    item = Item.objects.get(title="red 1")
    options = {"permission_classes": [Anybody], "queryset": Item.objects.all()}
    view = Plain.as_view({"get": "retrieve"}, **options)
    answers = [view(RequestFactory().get("/"), pk=item.pk) for _ in range(2)]
    assert [one.get("X-Cache") for one in answers] == ["MISS", "HIT"]
