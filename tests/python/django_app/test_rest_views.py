"""`cached_view` on views of Django REST framework: where it may stand, and what it caches there."""

from collections.abc import Iterator
from typing import Any

import pytest
from django.test import Client, RequestFactory, override_settings
from project.catalogue.models import Item
from rest_framework.decorators import api_view
from rest_framework.request import Request
from rest_framework.response import Response
from rest_framework.settings import api_settings
from rest_places import NATIVE, Method, Twice, calls, outside, outside_too

from oxicache import testing
from oxicache.django.responses import cached_view


@pytest.fixture(autouse=True)
def _site() -> Iterator[None]:
    calls.clear()
    Twice.asked = 0
    with override_settings(CACHES=NATIVE, ROOT_URLCONF="rest_places"):
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

    def test_a_function_is_called_by_its_name(self, caplog: pytest.LogCaptureFixture) -> None:
        """The class that `api_view` makes is called otherwise, and no log line says so."""

        @cached_view(timeout=60, key_func=lambda request: 1 / 0)
        @api_view(["GET"])
        def broken(request: Request) -> Response:
            return Response({})

        broken(RequestFactory().get("/"))
        assert f"A response of {__name__}.broken is not cached" in caplog.text

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
