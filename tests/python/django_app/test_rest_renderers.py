"""How what is held of an API is rendered for each request, and known by its ETag."""

from collections.abc import Iterator
from decimal import Decimal
from typing import Any

import pytest
from django.core.cache import cache, caches
from django.test import Client, RequestFactory, override_settings
from project.catalogue.models import Item
from rest_answers import NATIVE, TEMPLATES, Now, Wide, calls, made, view
from rest_framework.decorators import api_view
from rest_framework.request import Request
from rest_framework.response import Response

from oxicache import testing
from oxicache.django.responses import cached_view, rest_data


@pytest.fixture(autouse=True)
def _site() -> Iterator[None]:
    calls.clear()
    made[:] = [{"n": 1}]
    with override_settings(CACHES=NATIVE, ROOT_URLCONF="rest_answers"):
        yield
    Item.objects.all().delete()


class TestRenderers:
    def test_a_renderer_that_looks_at_its_request(self, client: Client) -> None:
        """It renders each hit anew, and nothing it made is remembered."""
        seen = [
            client.get("/view/?loud", headers={"accept": "application/x-loud", "X-Who": who})
            for who in ("ada", "bob")
        ]
        assert [answer["X-Cache"] for answer in seen] == ["MISS", "HIT"]
        assert [answer.content for answer in seen] == [b'{"N": 1} for ada', b'{"N": 1} for bob']

    @pytest.mark.parametrize(
        ("accept", "value"), [("application/x-ticking", object), ("application/json", Now())]
    )
    def test_what_is_made_when_it_is_rendered(self, client: Client, accept: str, value: Any) -> None:
        """What an encoder of the project's, or an object, makes of itself is made for each hit."""
        made.append({"value": value})
        seen = [client.get(f"/view/?{accept}", headers={"accept": accept}) for _ in range(3)]
        assert [answer["X-Cache"] for answer in seen] == ["MISS", "HIT", "HIT"]
        assert len({answer.content for answer in seen}) == 3

    def test_a_renderer_that_is_chosen_later(self) -> None:
        """A view that chooses another one when the response is there gets what that one renders."""
        view(RequestFactory().get("/later/"))
        hit = view(RequestFactory().get("/later/"))
        hit.accepted_renderer = Wide()
        assert hit.render().content == b'{"n": 1}'

    def test_the_bytes_of_plain_json_are_remembered(
        self, monkeypatch: pytest.MonkeyPatch, client: Client
    ) -> None:
        """A hit renders nothing and unpickles nothing, unless indentation or another renderer is wanted."""
        client.get("/view/?remembered")
        rendered: list[Any] = []
        monkeypatch.setattr(
            rest_data.pickle, "loads", lambda pickled: rendered.append(pickled) or {"n": "loaded"}
        )
        assert client.get("/view/?remembered").content == b'{"n":1}'
        assert rendered == []
        wide = client.get("/view/?remembered", headers={"accept": "application/json; indent=0"})
        assert (wide.content, rendered) == (b'{"n":1}', [])
        wide = client.get("/view/?remembered", headers={"accept": "application/x-wide"})
        assert (wide.content, len(rendered)) == (b'{"n": "loaded"}', 1)

    @pytest.mark.parametrize(
        "first", ["application/json", "application/x-wide", "text/html", "application/json; indent=1"]
    )
    def test_whoever_comes_first(self, client: Client, first: str) -> None:
        """Each renderer gets what it would get without a cache, whichever filled the entry."""
        made.append({"letter": "\u00e9", "list": [1, 2]})
        client.get("/view/?first", headers={"accept": first})
        expected = {
            "application/json": '{"letter":"\u00e9","list":[1,2]}',
            "application/x-wide": '{"letter": "\\u00e9", "list": [1, 2]}',
            "application/json; indent=1": '{\n "letter": "\u00e9",\n "list": [\n  1,\n  2\n ]\n}',
        }
        for accept, text in expected.items():
            answer = client.get("/view/?first", headers={"accept": accept})
            assert (answer["X-Cache"], answer.content.decode()) == ("HIT", text)
        html = client.get("/view/?first", headers={"accept": "text/html"})
        assert html["X-Cache"] == "HIT"
        assert "&quot;letter&quot;: &quot;\u00e9&quot;" in html.content.decode()

    def test_a_content_type_of_its_own(self, client: Client) -> None:
        """What the view says of its content a hit says too."""
        made.append(lambda _: Response({"n": 1}, content_type="application/vnd.own+json", status=200))
        seen = [client.get("/view/?typed") for _ in range(2)]
        assert [(answer["X-Cache"], answer["Content-Type"]) for answer in seen] == [
            ("MISS", "application/vnd.own+json"),
            ("HIT", "application/vnd.own+json"),
        ]

    def test_headers_and_reason(self, client: Client) -> None:
        """They are the view's, on hits too."""

        def answer(_: Request) -> Response:
            found = Response({}, headers={"X-Own": "yes"})
            found.reason_phrase = "Fine"
            return found

        made.append(answer)
        seen = [client.get("/view/?headers") for _ in range(2)]
        assert [(answer["X-Own"], answer.reason_phrase) for answer in seen] == [("yes", "Fine")] * 2

    def test_templates_are_rendered_for_each_request(self, client: Client) -> None:
        """A page shows what its own request says, by the template that the view named; a program gets the data."""
        made.append(lambda _: Response({"word": "hello"}, template_name="hello.html"))
        with override_settings(TEMPLATES=TEMPLATES):
            pages = [
                client.get("/page/", headers={"accept": "text/html", "X-Who": who}) for who in ("ada", "bob")
            ]
            data = client.get("/page/", headers={"accept": "application/json"})
        assert [(answer["X-Cache"], answer.content.strip()) for answer in (*pages, data)] == [
            ("MISS", b"hello ada"),
            ("HIT", b"hello bob"),
            ("HIT", b'{"word":"hello"}'),
        ]

    def test_the_form_of_a_browsable_page(self, client: Client) -> None:
        """It shows the object's values each time: the page is made by the view, and programs hit."""
        item = Item.objects.create(title="lamp")
        url = f"/shown/{item.pk}/"
        pages = [client.get(url, headers={"accept": "text/html"}) for _ in range(2)]
        assert all(b'value="lamp"' in answer.content for answer in pages)
        assert client.get(url)["X-Cache"] == "HIT"

    def test_the_links_of_a_browsable_list(self, client: Client) -> None:
        """So do the links to other pages."""
        for number in range(3):
            Item.objects.create(title=f"item {number}")
        pages = [client.get("/listed/", headers={"accept": "text/html"}) for _ in range(2)]
        assert all(b"page=2" in answer.content for answer in pages)
        assert all(b'<ul class="pagination"' in answer.content for answer in pages)
        assert client.get("/listed/")["X-Cache"] == "HIT"

    def test_the_admin_renderer(self, client: Client) -> None:
        """Its tables are made of more than the data: links have names there."""
        pages = [client.get("/links/", headers={"accept": "text/html"}) for _ in range(2)]
        assert all(b">the lamp</a>" in answer.content for answer in pages)
        data = client.get("/links/", headers={"accept": "application/json"})
        assert (data["X-Cache"], data.json()) == ("HIT", [{"link": "http://testserver/1/"}])


class TestConditions:
    @pytest.mark.parametrize(
        "accept", ["application/json", "application/x-wide", "application/json; indent=2"]
    )
    def test_who_has_the_response_is_told_so(self, client: Client, accept: str) -> None:
        """The ETag is of the bytes: a miss and a hit have the same, and it gets 304 without a body."""
        headers = {"accept": accept}
        miss, hit = (client.get("/view/?etag", headers=headers) for _ in range(2))
        assert miss["ETag"] == hit["ETag"]
        known = client.get("/view/?etag", headers={**headers, "If-None-Match": hit["ETag"]})
        assert (known.status_code, known.content, known["X-Cache"], known["ETag"]) == (
            304,
            b"",
            "HIT",
            hit["ETag"],
        )
        other = client.get("/view/?etag", headers={**headers, "If-None-Match": '"other"'})
        assert (other.status_code, other.content) == (200, hit.content)

    def test_on_a_miss(self, client: Client) -> None:
        """A client may have the response before the cache has."""
        etag = client.get("/view/?missed")["ETag"]
        cache.clear()
        answer = client.get("/view/?missed", headers={"If-None-Match": etag})
        assert (answer.status_code, answer["X-Cache"]) == (304, "MISS")

    def test_renderings_have_etags_of_their_own(self, client: Client) -> None:
        """What JSON is known by is no ETag of another rendering."""
        tags = {
            client.get("/view/?kinds", headers={"accept": accept})["ETag"]
            for accept in ("application/json", "application/x-wide", "application/json; indent=2")
        }
        assert len(tags) == 3

    def test_whoever_waits_for_the_rendering_gets_the_whole_response(self) -> None:
        """The 304 comes last: a cache around the view keeps 200."""
        etag = view(RequestFactory().get("/waits/")).render()["ETag"]
        hit = view(RequestFactory().get("/waits/", headers={"If-None-Match": etag}))
        seen: list[int] = []
        hit.add_post_render_callback(lambda response: seen.append(response.status_code))
        assert (hit.render().status_code, seen) == (304, [200])

    def test_an_etag_of_the_views_own(self, client: Client) -> None:
        """It is kept."""
        made.append(lambda _: Response({"n": 1}, headers={"ETag": '"own"'}))
        seen = [client.get("/view/?own") for _ in range(2)]
        assert [answer["ETag"] for answer in seen] == ['"own"'] * 2
        assert client.get("/view/?own", headers={"If-None-Match": '"own"'}).status_code == 304

    def test_a_cache_around_it_keeps_the_whole_response(self, client: Client) -> None:
        """A request that is answered 304 leaves no 304 to others: Django's `cache_page` around an api view."""
        etag = client.get("/view/?around")["ETag"]
        assert client.get("/around/?around", headers={"If-None-Match": etag}).status_code in {200, 304}
        for _ in range(2):  # the first is the inner cache's hit, which the outer one keeps
            answer = client.get("/around/?around")
            assert (answer.status_code, answer.content) == (200, b'{"n":1}')
            caches["pages"].clear()
        client.get("/around/?around")
        made.append({"n": 2})
        assert client.get("/around/?around").content == b'{"n":1}'

    def test_head(self, client: Client) -> None:
        """HEAD of a class is answered from what GET left."""
        item = Item.objects.create(title="lamp")
        got = client.get(f"/shown/{item.pk}/")
        answer = client.head(f"/shown/{item.pk}/")
        assert (answer["X-Cache"], answer.content, answer["ETag"]) == ("HIT", b"", got["ETag"])

    def test_a_client_may_ask_for_a_new_response(self, client: Client) -> None:
        """`max-age=0, no-cache` reaches the view and renews the entry."""
        assert [client.get("/view/?new")["X-Cache"] for _ in range(2)] == ["MISS", "HIT"]
        made.append({"n": 2})
        for header in ("max-age=0, no-cache", "no-cache", "max-age=0"):
            assert client.get("/view/?new", headers={"Cache-Control": header})["X-Cache"] == "MISS"
        assert client.get("/view/?new").json() == {"n": 2}


class TestHeld:
    def test_data_that_cannot_be_read_any_more(self, client: Client, monkeypatch: pytest.MonkeyPatch) -> None:
        """A class that a newer release has no more is a miss: the view answers."""
        made.append({"point": Decimal(1)})
        client.get("/view/?gone", headers={"accept": "application/json"})

        def fails(_: bytes) -> Any:
            raise AttributeError("Decimal")

        monkeypatch.setattr(rest_data.pickle, "loads", fails)
        answer = client.get("/view/?gone", headers={"accept": "application/x-wide"})
        assert (answer.status_code, answer.headers.get("X-Cache"), len(calls)) == (200, None, 2)

    def test_headers_that_the_view_has_left_on_itself(self, client: Client) -> None:
        """The framework adds them to each response, and a hit has them too."""

        def answer(request: Request) -> Any:
            headers = request.parser_context["view"].headers
            headers |= {"X-Total": "3", "Vary": f"{headers['Vary']}, X-Colour"}
            return {"n": 1}

        made.append(answer)
        seen = [client.get("/view/?left") for _ in range(3)]
        assert [(one["X-Cache"], one["X-Total"], "X-Colour" in one["Vary"]) for one in seen] == [
            ("MISS", "3", True),
            ("HIT", "3", True),
            ("HIT", "3", True),
        ]

    def test_stale_data(self, client: Client) -> None:
        """With `grace` what has expired is served while the view fails, rendered as ever."""
        failing: list[bool] = []

        @api_view(["GET"])
        @cached_view(timeout=60, grace=3600)
        def rate(request: Request) -> Response:
            if failing:
                raise ConnectionError("the bank is closed")
            return Response({"rate": "1.25"})

        with testing.clock() as clock:
            rate(RequestFactory().get("/rate/"))
            clock.advance(61)
            failing.append(True)
            found = rate(RequestFactory().get("/rate/"))
            assert (found["X-Cache"], found["Age"], found.data) == ("STALE", "61", {"rate": "1.25"})

    def test_a_middleware_that_changes_responses_before_they_are_rendered(self, client: Client) -> None:
        """Inside of the framework it sees hits as it sees misses."""
        with override_settings(MIDDLEWARE=[f"{__name__}.signing"]):
            seen = [client.get("/view/?signed") for _ in range(2)]
        assert [(one["X-Cache"], one.json()) for one in seen] == [
            ("MISS", {"n": 1, "signed": True}),
            ("HIT", {"n": 1, "signed": True}),
        ]

    def test_such_a_middleware_outside(self, client: Client) -> None:
        """Around the framework's view a hit would be past it: nothing is kept there."""
        with override_settings(MIDDLEWARE=[f"{__name__}.signing"]):
            seen = [client.get("/outside/") for _ in range(2)]
        assert [(one.headers.get("X-Cache"), one.json()) for one in seen] == [
            (None, {"n": 1, "signed": True})
        ] * 2


class signing:  # noqa: N801 -- a middleware is a factory
    """Adds to the data of each response."""

    def __init__(self, get_response: Any) -> None:
        self.get_response = get_response

    def __call__(self, request: Any) -> Any:
        return self.get_response(request)

    def process_template_response(self, request: Any, response: Any) -> Any:
        response.data = {**response.data, "signed": True}
        return response
