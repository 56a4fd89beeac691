"""Viewsets and generic views whose reads the mixins cache."""

from typing import Any

from django.test import override_settings
from django.urls import include, path
from project.catalogue.models import Item, Topic
from rest_framework import filters, generics, pagination, serializers, viewsets
from rest_framework.response import Response
from rest_framework.routers import SimpleRouter

from oxicache.django.responses import DetailCacheMixin, ListCacheMixin

NATIVE = {
    "default": {"BACKEND": "oxicache.django.backends.NativeCache", "LOCATION": "mixins"},
    "foreign": {"BACKEND": "django.core.cache.backends.locmem.LocMemCache"},
}


class ItemSerializer(serializers.ModelSerializer[Item]):
    author = serializers.CharField(source="author.name", read_only=True, default=None)
    labels = serializers.SlugRelatedField("slug", many=True, read_only=True)

    class Meta:
        model = Item
        fields = ("id", "title", "author", "labels")


class Pages(pagination.PageNumberPagination):
    page_size = 2
    page_size_query_param = "size"


class Cursors(pagination.CursorPagination):
    page_size = 2
    ordering = "id"


class ItemViewSet(ListCacheMixin, DetailCacheMixin, viewsets.ModelViewSet[Item]):
    """As document 002 has it, with one timeout for both."""

    queryset = Item.objects.select_related("author").prefetch_related("labels").order_by("id")
    serializer_class = ItemSerializer
    cache_timeout = 1800


class FoundViewSet(ListCacheMixin, viewsets.ReadOnlyModelViewSet[Item]):
    queryset = Item.objects.order_by("id")
    serializer_class = ItemSerializer
    pagination_class = Pages
    filter_backends = (filters.SearchFilter, filters.OrderingFilter)
    search_fields = ("title",)
    ordering_fields = ("title", "id")


class CursorViewSet(FoundViewSet):
    pagination_class = Cursors


class TitledViewSet(DetailCacheMixin, viewsets.ReadOnlyModelViewSet[Item]):
    """Rows are looked up by another field, which the URL calls by another name."""

    queryset = Item.objects.order_by("id")
    serializer_class = ItemSerializer
    lookup_field = "title"
    lookup_url_kwarg = "name"


class OwnViewSet(ListCacheMixin, DetailCacheMixin, viewsets.ReadOnlyModelViewSet[Item]):
    """Each user sees what is called as he is."""

    serializer_class = ItemSerializer

    def get_queryset(self) -> Any:
        return Item.objects.filter(title=self.request.user.get_username()).order_by("id")


class TopicSerializer(serializers.ModelSerializer[Topic]):
    class Meta:
        model = Topic
        fields = ("name",)


class TopicViewSet(ListCacheMixin, viewsets.ReadOnlyModelViewSet[Topic]):
    """Which model it shows is known when it is asked."""

    serializer_class = TopicSerializer

    def get_queryset(self) -> Any:
        return Topic.objects.order_by("id")


class AdasViewSet(ListCacheMixin, viewsets.ReadOnlyModelViewSet[Item]):
    """Which rows it shows another model decides."""

    queryset = Item.objects.filter(author__name="ada").order_by("id")
    serializer_class = ItemSerializer


class ItemList(ListCacheMixin, generics.ListAPIView[Item]):
    queryset = Item.objects.order_by("id")
    serializer_class = ItemSerializer


class ItemDetail(DetailCacheMixin, generics.RetrieveUpdateAPIView[Item]):
    queryset = Item.objects.all()
    serializer_class = ItemSerializer


class BothViewSet(ListCacheMixin, DetailCacheMixin, viewsets.ReadOnlyModelViewSet[Item]):
    queryset = Item.objects.order_by("id")
    serializer_class = ItemSerializer


class Numbers(viewsets.ViewSet):
    """What a list may come from besides a database."""

    calls = 0

    def list(self, request: Any) -> Response:
        type(self).calls += 1
        return Response([Numbers.calls])


class NumberViewSet(ListCacheMixin, Numbers):
    pass


class TaggedViewSet(ListCacheMixin, viewsets.ReadOnlyModelViewSet[Item]):
    queryset = Item.objects.order_by("id")
    serializer_class = ItemSerializer
    cache_invalidate_on = None

    def cache_tags(self, request: Any) -> list[str]:
        return [f"{type(self).__name__}:{request.query_params.get('of', 'all')}"]


with override_settings(CACHES=NATIVE):  # an alias is looked for when its class is made

    class ForeignList(ItemList):
        cache_alias = "foreign"

    class TimedList(ForeignList):
        cache_invalidate_on = None


router = SimpleRouter()
router.register("items", ItemViewSet)
router.register("both", BothViewSet, basename="both")
router.register("found", FoundViewSet, basename="found")
router.register("cursors", CursorViewSet, basename="cursors")
router.register("titled", TitledViewSet, basename="titled")
router.register("own", OwnViewSet, basename="own")
router.register("numbers", NumberViewSet, basename="numbers")
router.register("topics", TopicViewSet, basename="topics")
router.register("adas", AdasViewSet, basename="adas")
router.register("tagged", TaggedViewSet, basename="tagged")

urlpatterns = [
    path("", include(router.urls)),
    path("foreign/", ForeignList.as_view()),
    path("timed/", TimedList.as_view()),
    path("list/", ItemList.as_view()),
    path("short/", ItemList.as_view(cache_timeout=5)),
    path("detail/<int:pk>/", ItemDetail.as_view()),
    path("bare/<int:pk>/", ItemViewSet.as_view({"get": "retrieve"})),
]
