"""What decides in a viewset, besides permissions, which rows somebody may see: filters, and queries within queries."""

from collections.abc import Iterator
from typing import Any

import pytest
from django.db import connection
from django.db.models import Count, Exists, F, OuterRef, QuerySet
from django.test import Client, override_settings
from django.test.utils import CaptureQueriesContext
from django.urls import include, path
from project.catalogue.models import Author, Item, Label
from rest_framework import filters, serializers, viewsets
from rest_framework.routers import SimpleRouter

from oxicache.django.responses import DetailCacheMixin, ListCacheMixin, rest_mixins

NATIVE = {"default": {"BACKEND": "oxicache.django.backends.NativeCache", "LOCATION": "rest-filters"}}

hidden: set[str] = set()  # titles that nobody may see any more


class ItemSerializer(serializers.ModelSerializer[Item]):
    class Meta:
        model = Item
        fields = ("title",)


class Visible(filters.BaseFilterBackend):
    """As that of django-guardian: which rows there are for whom stands elsewhere."""

    def filter_queryset(self, request: Any, queryset: QuerySet[Any], view: Any) -> QuerySet[Any]:
        return queryset.exclude(title__in=hidden)


class Searched(DetailCacheMixin, viewsets.ReadOnlyModelViewSet[Item]):
    queryset = Item.objects.order_by("id")
    serializer_class = ItemSerializer
    filter_backends = (filters.SearchFilter, filters.OrderingFilter)


class Filtered(Searched):
    filter_backends = (filters.SearchFilter, Visible)


class Filtering(Searched):
    def filter_queryset(self, queryset: QuerySet[Any]) -> QuerySet[Any]:
        return queryset.exclude(title__in=hidden)


class Written(ListCacheMixin, viewsets.ReadOnlyModelViewSet[Item]):
    """Whose author is called Ada, by a query within the query."""

    queryset = Item.objects.filter(Exists(Author.objects.filter(name="ada", items=OuterRef("pk")))).order_by(
        "id"
    )
    serializer_class = ItemSerializer


router = SimpleRouter()
for kind in (Searched, Filtered, Filtering, Written):
    router.register(kind.__name__.lower(), kind, basename=kind.__name__.lower())
urlpatterns = [path("", include(router.urls))]


@pytest.fixture(autouse=True)
def item() -> Iterator[Item]:
    hidden.clear()
    author = Author.objects.create(name="ada")
    made = Item.objects.create(title="lamp", author=author)
    with override_settings(CACHES=NATIVE, ROOT_URLCONF=__name__):
        yield made
    author.delete()


@pytest.mark.parametrize("name", ["filtered", "filtering"])
def test_a_row_that_a_filter_hides_is_not_shown_by_a_hit(client: Client, item: Item, name: str) -> None:
    """The object is fetched on hits too, as with permissions for single objects."""
    url = f"/{name}/{item.pk}/"
    assert [client.get(url).headers.get("X-Cache") for _ in range(2)] == ["MISS", "HIT"]
    hidden.add("lamp")
    assert client.get(url).status_code == 404


def test_what_the_address_says_alone_hides_nothing(client: Client, item: Item) -> None:
    """The parameters of a search and of an ordering are in the key: a hit takes no query."""
    url = f"/searched/{item.pk}/"
    client.get(url)
    with CaptureQueriesContext(connection) as queries:
        assert client.get(url).headers["X-Cache"] == "HIT"
    assert len(queries) == 0


def test_a_query_within_the_query(client: Client, item: Item) -> None:
    """A change of what it asks for outdates the list."""
    assert len(client.get("/written/").json()) == 1
    Author.objects.update_or_create(pk=item.author_id, defaults={"name": "bob"})
    assert client.get("/written/").json() == []


@pytest.mark.parametrize(
    "queryset",
    [
        Item.objects.annotate(is_written=Exists(Author.objects.filter(items=OuterRef("pk")))),
        Item.objects.filter(Exists(Author.objects.filter(items=OuterRef("pk")))),
        Item.objects.exclude(author__in=Author.objects.filter(name=F("pk"))),
        Item.objects.filter(author__in=Author.objects.values("pk"), price__in=[1, 2]),
        Item.objects.filter(pk__in=Item.objects.filter(whole__in=Item.objects.filter(author__name="ada"))),
        Item.objects.annotate(n=Count("author__name")),
        Item.objects.filter(price=1).union(Item.objects.filter(author__name="ada")),
    ],
    ids=["annotated", "exists", "excluded", "values", "twice within", "counted", "union"],
)
def test_all_models_that_a_queryset_asks(queryset: QuerySet[Any]) -> None:
    """Wherever they stand in it; others are none of them."""
    found = rest_mixins._models_of(queryset)
    assert found[0] is Item
    assert Author in found
    assert Label not in found
