"""Views of Django REST framework that are cached, wherever a decorator may stand."""

from collections import Counter
from typing import Any

from django.core.exceptions import PermissionDenied
from django.http import FileResponse, HttpResponse, StreamingHttpResponse
from django.urls import include, path, re_path
from django.utils.decorators import method_decorator
from project.catalogue.models import Item
from rest_framework import generics, serializers, throttling, versioning, views, viewsets
from rest_framework.decorators import action, api_view, throttle_classes, versioning_class
from rest_framework.exceptions import NotFound
from rest_framework.request import Request
from rest_framework.response import Response
from rest_framework.routers import SimpleRouter
from rest_framework.urlpatterns import format_suffix_patterns

from oxicache.django.responses import cached_view

NATIVE = {"default": {"BACKEND": "oxicache.django.backends.NativeCache", "LOCATION": "rest-views"}}

calls: Counter[str] = Counter()


def counted(name: str) -> Response:
    """A response that says how often its view was called."""
    calls[name] += 1
    return Response({"view": name, "call": calls[name]})


@api_view(["GET", "POST"])
@cached_view(timeout=60)
def inside(request: Request) -> Response:
    return counted("inside")


@cached_view(timeout=60)
@api_view(["GET"])
def outside(request: Request) -> Response:
    return counted("outside")


@cached_view(timeout=60)
@api_view(["GET"])
def outside_too(request: Request) -> Response:
    return counted("outside_too")


class Method(views.APIView):
    @cached_view(timeout=60)
    def get(self, request: Request, pk: int = 0) -> Response:
        return counted(f"{type(self).__name__} {pk}")


class Inherited(Method):
    pass


@method_decorator(cached_view(timeout=60), name="dispatch")
class Dispatched(views.APIView):
    def get(self, request: Request) -> Response:
        return counted("Dispatched")


@cached_view(timeout=60)
class Whole(views.APIView):
    def get(self, request: Request) -> Response:
        return counted("Whole")


@cached_view(timeout=60)
class WholeAgain(Whole):
    """Its base is decorated too."""


@method_decorator(cached_view(timeout=60), name="list")
class Methods(viewsets.ViewSet):
    def list(self, request: Request) -> Response:
        return counted("list")

    @cached_view(timeout=60)
    def retrieve(self, request: Request, pk: str) -> Response:
        return counted(f"retrieve {pk}")

    @action(detail=False)
    @cached_view(timeout=60)
    def newest(self, request: Request) -> Response:
        return counted("newest")

    @cached_view(timeout=60)
    @action(detail=True, url_path="size-of")
    def size(self, request: Request, pk: str) -> Response:
        return counted(f"size {pk}")


@cached_view(timeout=60)
class WholeSet(viewsets.ViewSet):
    def list(self, request: Request) -> Response:
        return counted("whole list")

    def retrieve(self, request: Request, pk: str) -> Response:
        return counted(f"whole retrieve {pk}")

    def create(self, request: Request) -> Response:
        return counted("whole create")

    @action(detail=True)
    def parts(self, request: Request, pk: str) -> Response:
        return counted(f"whole parts {pk}")


class ItemSerializer(serializers.ModelSerializer[Item]):
    class Meta:
        model = Item
        fields = ("id", "title")


@method_decorator(cached_view(timeout=60, invalidate_on=[Item]), name="get")
class Generic(generics.ListCreateAPIView[Item]):
    queryset = Item.objects.order_by("id")
    serializer_class = ItemSerializer


class Twice(throttling.BaseThrottle):
    """Lets two requests in."""

    asked = 0

    def allow_request(self, request: Request, view: views.APIView) -> bool:
        type(self).asked += 1
        return Twice.asked <= 2

    def wait(self) -> None:
        return None


@api_view(["GET"])
@throttle_classes([Twice])
@cached_view(timeout=60)
def throttled(request: Request) -> Response:
    return counted("throttled")


ANSWERS: dict[str, Any] = {
    "plain": lambda: HttpResponse("plain", content_type="text/plain"),
    "streamed": lambda: StreamingHttpResponse([b"streamed"]),
    "file": lambda: FileResponse([b"file"]),
    "error": lambda: Response({"detail": "no"}, status=404),
    "own error": lambda: Response({"detail": "no"}, status=500, exception=True),
    "private": lambda: Response({}, headers={"Cache-Control": "private"}),
}


@api_view(["GET"])
@cached_view(timeout=60)
def answered(request: Request, name: str) -> Any:
    calls[name] += 1
    if name == "denied":
        raise PermissionDenied
    if name == "missing":
        raise NotFound
    return ANSWERS[name]()


@api_view(["GET"])
@cached_view(timeout=60, statuses=(200, 404))
def remembered(request: Request, name: str) -> Any:
    calls[name] += 1
    return Response({"name": name}, status=404 if name == "gone" else 403)


@api_view(["GET"])
@versioning_class(versioning.AcceptHeaderVersioning)
@cached_view(timeout=60)
def by_accept(request: Request) -> Response:
    return Response({"version": request.version})


@api_view(["GET"])
@versioning_class(versioning.HostNameVersioning)
@cached_view(timeout=60)
def by_host(request: Request) -> Response:
    return Response({"version": request.version})


@api_view(["GET"])
@versioning_class(versioning.NamespaceVersioning)
@cached_view(timeout=60)
def by_namespace(request: Request) -> Response:
    return Response(
        {"version": request.version, "url": request.versioning_scheme.reverse("there", request=request)}
    )


@api_view(["GET"])
@cached_view(timeout=60)
def formatted(request: Request, format: str | None = None) -> Response:  # noqa: A002 -- as the framework names it
    return counted("formatted")


class AsksMethods(viewsets.ViewSet):
    """A method of the framework's that was decorated in place, without `@action`."""

    @cached_view(timeout=60)
    def shown(self, request: Request) -> Response:
        return counted("shown")


router = SimpleRouter()
router.register("methods", Methods, basename="methods")
router.register("whole-set", WholeSet, basename="whole-set")

urlpatterns = [
    path("inside/", inside),
    path("outside/", outside),
    path("outside-too/", outside_too),
    path("method/", Method.as_view()),
    path("method/<int:pk>/", Method.as_view()),
    path("inherited/", Inherited.as_view()),
    path("dispatched/", Dispatched.as_view()),
    path("whole/", Whole.as_view()),
    path("whole-again/", WholeAgain.as_view()),
    path("called/", cached_view(timeout=60)(Method.as_view())),
    path("generic/", Generic.as_view()),
    path("throttled/", throttled),
    path("answered/<name>/", answered),
    path("remembered/<name>/", remembered),
    path("by-accept/", by_accept),
    path("by-host/", by_host),
    re_path(r"^v1/", include(([path("", by_namespace, name="there")], "v1"), namespace="v1")),
    re_path(r"^v2/", include(([path("", by_namespace, name="there")], "v2"), namespace="v2")),
    *format_suffix_patterns([path("formatted", formatted)]),
    path("shown/", AsksMethods.as_view({"get": "shown"})),
    path("", include(router.urls)),
]
