"""`cached_view` on views of Django REST framework: where it may stand, and what it caches there."""

from collections import Counter
from collections.abc import Iterator
from typing import Any

import pytest
from django.core.exceptions import PermissionDenied
from django.http import FileResponse, HttpResponse, StreamingHttpResponse
from django.test import Client, RequestFactory, override_settings
from django.urls import include, path, re_path
from django.utils.decorators import method_decorator
from project.catalogue.models import Item
from rest_framework import generics, serializers, throttling, versioning, views, viewsets
from rest_framework.decorators import action, api_view, throttle_classes, versioning_class
from rest_framework.exceptions import NotFound
from rest_framework.request import Request
from rest_framework.response import Response
from rest_framework.routers import SimpleRouter
from rest_framework.settings import api_settings
from rest_framework.urlpatterns import format_suffix_patterns

from oxicache import testing
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


@pytest.fixture(autouse=True)
def _site() -> Iterator[None]:
    calls.clear()
    Twice.asked = 0
    with override_settings(CACHES=NATIVE, ROOT_URLCONF=__name__):
        yield


def told(client: Client, *urls: str, **headers: str) -> list[tuple[Any, Any]]:
    """What `X-Cache` says, and how often the view had been called, of each request in turn."""
    answers = [client.get(url, headers=headers) for url in urls]
    return [(answer.headers.get("X-Cache"), answer.json().get("call")) for answer in answers]


class TestPlaces:
    @pytest.mark.parametrize(
        "url",
        [
            "/inside/",
            "/outside/",
            "/method/",
            "/method/7/",
            "/inherited/",
            "/dispatched/",
            "/whole/",
            "/whole-again/",
            "/methods/",
            "/methods/7/",
            "/methods/newest/",
            "/methods/7/size-of/",
            "/whole-set/",
            "/whole-set/7/",
            "/whole-set/7/parts/",
            "/shown/",
        ],
    )
    def test_wherever_it_stands_the_second_request_hits(self, client: Client, url: str) -> None:
        """Inside and outside of `api_view`, on methods, actions and classes; what a hit says is the same."""
        answers = [client.get(url), client.get(url)]
        assert [answer["X-Cache"] for answer in answers] == ["MISS", "HIT"]
        assert answers[0].content == answers[1].content
        names = ("Content-Type", "Allow", "ETag")
        assert [answers[0][name] for name in names] == [answers[1][name] for name in names]
        assert all("Accept" in answer["Vary"] for answer in answers)

    def test_views_are_told_apart(self, client: Client) -> None:
        """Methods that classes inherit, functions that `api_view` made and one view at two URLs have their own."""
        factory = RequestFactory()
        found = [outside(factory.get("/same/")), outside_too(factory.get("/same/"))]
        assert [answer.headers["X-Cache"] for answer in found] == ["MISS", "MISS"]
        assert [client.get(url).json()["view"] for url in ("/method/", "/inherited/", "/method/")] == [
            "Method 0",
            "Inherited 0",
            "Method 0",
        ]
        assert told(client, "/methods/1/", "/methods/2/", "/methods/1/size-of/", "/methods/1/") == [
            ("MISS", 1),
            ("MISS", 1),
            ("MISS", 1),
            ("HIT", 1),
        ]

    def test_nested_decorators(self, client: Client) -> None:
        """A method that is cached inside of a view that is cached too."""
        assert told(client, "/called/", "/called/") == [("MISS", 1), ("HIT", 1)]
        assert told(client, "/whole-again/", "/whole-again/") == [("MISS", 1), ("HIT", 1)]

    def test_the_query_is_in_the_key(self, client: Client) -> None:
        """Its order is not, and that of one parameter's values is."""
        urls = (
            "/inside/?a=1&b=2",
            "/inside/?b=2&a=1",
            "/inside/?a=1",
            "/inside/?a=1&a=2",
            "/inside/?a=2&a=1",
        )
        assert [seen for seen, _ in told(client, *urls)] == ["MISS", "HIT", "MISS", "MISS", "MISS"]

    def test_other_methods_pass(self, client: Client) -> None:
        """POST is not cached, also where one function answers GET and POST, and where a class is decorated."""
        client.get("/inside/")
        assert [client.post("/inside/").json()["call"] for _ in range(2)] == [2, 3]
        assert [client.post("/whole-set/").json()["call"] for _ in range(2)] == [1, 2]
        assert told(client, "/inside/") == [("HIT", 1)]

    def test_a_changed_row_outdates_a_generic_view(self, client: Client) -> None:
        """`invalidate_on` counts here as it does elsewhere."""
        for title in ("lamp", "desk"):
            client.post("/generic/", {"title": title})
            seen = [client.get("/generic/") for _ in range(2)]
            assert [answer["X-Cache"] for answer in seen] == ["MISS", "HIT"]
            assert seen[1].json()[-1]["title"] == title
        Item.objects.all().delete()

    def test_a_hit_counts_for_throttles(self, client: Client) -> None:
        """The third request is one too many, though the second was a hit."""
        assert [client.get("/throttled/").status_code for _ in range(3)] == [200, 200, 429]
        assert calls["throttled"] == 1

    def test_a_method_that_is_not_allowed(self, client: Client) -> None:
        """405 is the framework's answer, hit or not."""
        for _ in range(2):
            client.get("/outside/")
            answer = client.post("/outside/")
            assert (answer.status_code, answer.headers.get("X-Cache")) == (405, None)


class TestAnswers:
    @pytest.mark.parametrize(
        "name", ["streamed", "file", "error", "own error", "private", "denied", "missing"]
    )
    def test_what_is_never_kept(self, client: Client, name: str) -> None:
        """Streams, files, errors that are raised or returned, and what says so itself."""
        answers = [client.get(f"/answered/{name}/") for _ in range(2)]
        assert calls[name] == 2
        assert all("X-Cache" not in answer for answer in answers)

    def test_a_response_of_djangos_own(self, client: Client) -> None:
        """It is kept as it is, and nothing renders it."""
        answers = [client.get("/answered/plain/") for _ in range(2)]
        assert [(answer["X-Cache"], answer.content, answer["Content-Type"]) for answer in answers] == [
            ("MISS", b"plain", "text/plain"),
            ("HIT", b"plain", "text/plain"),
        ]

    def test_errors_are_kept_where_one_asks_for_it(self, client: Client) -> None:
        """Of the statuses that are named, and for a minute at most."""
        with testing.clock() as clock:
            client.get("/remembered/gone/")
            answer = client.get("/remembered/gone/")
            assert (answer.status_code, answer["X-Cache"]) == (404, "HIT")
            clock.advance(61)
            assert client.get("/remembered/gone/")["X-Cache"] == "MISS"
            for _ in range(2):
                assert "X-Cache" not in client.get("/remembered/other/")

    def test_a_request_outside_of_a_dispatch(self) -> None:
        """A method that is called by hand returns a response with data, hit or not, that nobody has rendered."""
        view = Method()
        found = [view.get(Request(RequestFactory().get("/by-hand/"))) for _ in range(2)]
        assert [answer.headers["X-Cache"] for answer in found] == ["MISS", "HIT"]
        assert [answer.data for answer in found] == [{"view": "Method 0", "call": 1}] * 2
        assert [answer.is_rendered for answer in found] == [False, False]


class TestVersions:
    def test_by_the_accept_header(self, client: Client) -> None:
        """The version that was negotiated is in the key."""
        kinds = ["application/json; version=1", "application/json; version=2", "application/json; version=1"]
        found = [client.get("/by-accept/", headers={"accept": kind}) for kind in kinds]
        assert [answer.json()["version"] for answer in found] == ["1", "2", "1"]
        assert [answer["X-Cache"] for answer in found] == ["MISS", "MISS", "HIT"]

    def test_by_host(self, client: Client) -> None:
        """So it is where the host says it."""
        with override_settings(ALLOWED_HOSTS=["*"]):
            hosts = ["v1.example.com", "v2.example.com", "v1.example.com"]
            found = [client.get("/by-host/", headers={"host": host}) for host in hosts]
        assert [answer.json()["version"] for answer in found] == ["v1", "v2", "v1"]

    def test_by_namespace(self, client: Client) -> None:
        """Links that a versioning scheme makes lead to the version that was asked for."""
        found = [client.get(url).json() for url in ("/v1/", "/v2/", "/v1/", "/v2/")]
        assert [(answer["version"], answer["url"]) for answer in found] == [
            ("v1", "http://testserver/v1/"),
            ("v2", "http://testserver/v2/"),
        ] * 2


class TestFormats:
    def test_by_suffix_and_by_parameter(self, client: Client) -> None:
        """One entry a URL, rendered as asked for."""
        for url, kind in (
            ("/formatted.json", "json"),
            ("/formatted?format=json", "json"),
            ("/formatted.api", "html"),
        ):
            answers = [client.get(url, headers={"accept": "*/*"}) for _ in range(2)]
            assert [answer["X-Cache"] for answer in answers] == ["MISS", "HIT"]
            assert all(kind in answer["Content-Type"] for answer in answers)

    def test_one_entry_for_all_renderers(self, client: Client) -> None:
        """What a view that does not look at the renderer returns is rendered by whichever a request wants."""
        first = client.get("/inside/", headers={"accept": "text/html"})
        second = client.get("/inside/", headers={"accept": "application/json"})
        third = client.get("/inside/", headers={"accept": "application/json; indent=4"})
        fourth = client.get("/inside/", headers={"accept": "text/html"})
        assert [answer["X-Cache"] for answer in (first, second, third, fourth)] == [
            "MISS",
            "HIT",
            "HIT",
            "HIT",
        ]
        assert second.content == b'{"view":"inside","call":1}'
        assert third.content == b'{\n    "view": "inside",\n    "call": 1\n}'
        assert b"Django REST framework" in fourth.content
        assert b"&quot;call&quot;: 1" in fourth.content
        assert calls["inside"] == 1

    def test_what_is_not_acceptable(self, client: Client) -> None:
        """406 is the framework's answer, whatever is held."""
        client.get("/inside/")
        assert client.get("/inside/", headers={"accept": "image/png"}).status_code == 406
        assert api_settings.DEFAULT_RENDERER_CLASSES[0].format == "json"
