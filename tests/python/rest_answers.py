"""API views that return what a test tells them, in renderings of every kind."""

import json
from collections.abc import Callable, Iterator
from typing import Any

from django.urls import path
from django.views.decorators.cache import cache_page
from project.catalogue.models import Item
from rest_framework import generics, pagination, renderers, serializers
from rest_framework.decorators import api_view, renderer_classes
from rest_framework.relations import Hyperlink
from rest_framework.request import Request
from rest_framework.response import Response
from rest_framework.utils.encoders import JSONEncoder

from oxicache.django.responses import DetailCacheMixin, ListCacheMixin, cached_view

NATIVE = {
    "default": {"BACKEND": "oxicache.django.backends.NativeCache", "LOCATION": "rest-data"},
    "pages": {"BACKEND": "django.core.cache.backends.locmem.LocMemCache"},
}
TEMPLATES = [
    {
        "BACKEND": "django.template.backends.django.DjangoTemplates",
        "OPTIONS": {
            "loaders": [
                (
                    "django.template.loaders.locmem.Loader",
                    {
                        "hello.html": "{{ word }} {{ request.headers.x_who }} {{ who }}",
                        "other.html": "other {{ word }}",
                    },
                )
            ],
            "context_processors": ["django.template.context_processors.request"],
        },
    }
]

Make = Callable[[Request], Any]
made: list[Any] = []  # what the view returns next, or a function of its request
calls: list[str] = []


class Loud(renderers.JSONRenderer):
    """Its bytes depend on more than the data."""

    media_type = "application/x-loud"
    format = "loud"

    def render(self, data: Any, accepted_media_type: Any = None, renderer_context: Any = None) -> bytes:
        request = renderer_context["request"]
        return f"{json.dumps(data).upper()} for {request.headers.get('X-Who')}".encode()


class Wide(renderers.JSONRenderer):
    media_type = "application/x-wide"
    format = "wide"
    compact = False
    ensure_ascii = True


class Ticking(renderers.JSONRenderer):
    """Its encoder knows more types."""

    class Encoder(JSONEncoder):
        ticks = 0

        def default(self, obj: Any) -> Any:
            type(self).ticks += 1
            return f"{obj.__class__.__name__} {type(self).ticks}"

    media_type = "application/x-ticking"
    format = "ticking"
    encoder_class = Encoder


class Now:
    """A value whose JSON is made when it is rendered, and each time another."""

    moments = 0

    def __iter__(self) -> Iterator[int]:
        type(self).moments += 1
        return iter([Now.moments])


class Named:
    """What a link leads to: it has a name, and no pickle."""

    def __str__(self) -> str:
        return "the lamp"

    def __reduce__(self) -> str:
        raise TypeError("not to be pickled")


KINDS = [renderers.JSONRenderer, renderers.BrowsableAPIRenderer, Loud, Wide, Ticking]


@api_view(["GET"])
@renderer_classes(KINDS)
@cached_view(timeout=60)
def view(request: Request) -> Any:
    calls.append(request.path)
    made_now = made[-1]
    found = made_now(request) if callable(made_now) else made_now
    return found if isinstance(found, Response) else Response(found)


@api_view(["GET"])
@renderer_classes([renderers.AdminRenderer, renderers.JSONRenderer])
@cached_view(timeout=60)
def links(request: Request) -> Any:
    return Response([{"link": Hyperlink("http://testserver/1/", Named())}])


@api_view(["GET"])
@renderer_classes([renderers.TemplateHTMLRenderer, renderers.JSONRenderer])
@cached_view(timeout=60)
def page(request: Request) -> Any:
    calls.append(request.path)
    return made[-1](request)


class ItemSerializer(serializers.ModelSerializer[Item]):
    class Meta:
        model = Item
        fields = ("id", "title")


class Pages(pagination.PageNumberPagination):
    page_size = 1


class Shown(DetailCacheMixin, generics.RetrieveUpdateAPIView[Item]):
    queryset = Item.objects.all()
    serializer_class = ItemSerializer


class Listed(ListCacheMixin, generics.ListAPIView[Item]):
    queryset = Item.objects.order_by("id")
    serializer_class = ItemSerializer
    pagination_class = Pages


class Administered(ListCacheMixin, generics.ListAPIView[Item]):
    queryset = Item.objects.order_by("id")
    serializer_class = ItemSerializer
    renderer_classes = (renderers.AdminRenderer, renderers.JSONRenderer)


@cached_view(timeout=60)
@api_view(["GET"])
def outside(request: Request) -> Response:
    return Response({"n": 1})


urlpatterns = [
    path("outside/", outside),
    path("view/", view),
    path("page/", page),
    path("links/", links),
    path("around/", cache_page(60, cache="pages")(view)),
    path("shown/<int:pk>/", Shown.as_view()),
    path("listed/", Listed.as_view()),
    path("administered/", Administered.as_view()),
]
