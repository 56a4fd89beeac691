"""Document 002 (THE_BOT): its examples of cached views, headers and ETags, run as they are printed.

`config.cache` and `core.cache_utils` are oxicache.compat.the_bot. What an example leaves out (its models, serializers
and functions) stands in the prelude of its test; no example is corrected.
"""

# Long because each example is quoted whole, with what it needs to run.

from collections.abc import Iterator
from datetime import UTC, datetime
from types import SimpleNamespace
from typing import Any

import pytest
from dialect_requests import ANN, BOB, asked, own_responses
from django.http import HttpRequest
from document_pages import Example, example
from project.facilities.models import Material
from rest_framework import serializers, viewsets
from rest_framework.decorators import api_view
from rest_framework.response import Response

from oxicache import testing
from oxicache.compat import the_bot


@pytest.fixture(autouse=True)
def _site(django_databases: None) -> Iterator[None]:
    with own_responses():
        yield


class Rows(list[Any]):
    """As much of a manager as the examples use."""

    def __init__(self, *rows: Any) -> None:
        super().__init__(rows)
        self.reads = 0

    @property
    def objects(self) -> "Rows":
        return self

    def _found(self, **wanted: Any) -> list[Any]:
        self.reads += 1
        return [row for row in self if all(getattr(row, name) == value for name, value in wanted.items())]

    all = filter = _found

    def get(self, **wanted: Any) -> Any:
        return self._found(**wanted)[0]


class Serializer:
    """A serializer of rows: their attributes."""

    def __init__(self, rows: Any, many: bool = False) -> None:
        self.data: Any = [vars(row) for row in rows] if many else vars(rows)


class MaterialSerializer(serializers.ModelSerializer[Material]):
    class Meta:
        model = Material
        fields = ("id", "title")


def materials() -> Rows:
    return Rows(*(SimpleNamespace(id=pk, pk=pk, title=f"no. {pk}", department=pk % 2) for pk in (1, 2, 3)))


def answer(view: Any, request: HttpRequest, **kwargs: Any) -> tuple[Any, str | None]:
    """The data and the X-Cache of a response."""
    response = view(request, **kwargs)
    return response.data, response.get("X-Cache")


def user(pk: int, **attributes: Any) -> Any:
    found = type(ANN)(pk=pk, username=f"user-{pk}")
    vars(found).update(attributes)
    return found


class TestQuickStart:
    @example("002", "1. Cache API Response")
    def test_cache_api_response(self, shown: Example) -> None:
        """002, "1. Cache API Response": there no response of the framework was ever kept."""
        rows = materials()
        names = shown.run(
            Material=rows,
            MaterialSerializer=Serializer,
        )
        view = names["list_materials"]
        with testing.clock() as clock:
            (first, missed), (second, hit) = (answer(view, asked(user=ANN)) for _ in range(2))
            assert (first, missed, second, hit) == ([vars(row) for row in rows], "MISS", first, "HIT")
            clock.advance(1801)
            assert answer(view, asked(user=ANN))[1] == "MISS"
        assert rows.reads == 2
        rendered = view(asked(user=ANN, HTTP_ACCEPT="application/json")).render()
        assert rendered.content.startswith(b'[{"id":1,')

    @example("002", "2. Per-User Cache")
    def test_per_user_cache(self, shown: Example) -> None:
        """002, "2. Per-User Cache"."""
        names = shown.run(
            api_view=api_view,
            cache_response=the_bot.cache_response,
            Response=Response,
            get_dashboard_data=lambda user: {"of": user.username},
        )
        view = names["get_user_dashboard"]
        answers = [answer(view, asked(user=one)) for one in (ANN, BOB, ANN)]
        assert answers == [({"of": "ann"}, "MISS"), ({"of": "bob"}, "MISS"), ({"of": "ann"}, "HIT")]

    @example("002", "4. Cache ViewSet Responses")
    def test_cache_viewset_responses(self, shown: Example) -> None:
        """002, "4. Cache ViewSet Responses": lists and details, each user's; there neither was ever kept."""
        names = shown.run(
            Material=Material,
            MaterialSerializer=MaterialSerializer,
        )
        options = {"authentication_classes": [ByUser], "basename": "material"}
        row = Material.objects.create(title="Rust")
        listed = names["MaterialViewSet"].as_view({"get": "list"}, **options)
        detail = names["MaterialViewSet"].as_view({"get": "retrieve"}, **options)

        def ask() -> list[str | None]:
            return [
                answer(listed, asked(user=ANN))[1],
                answer(detail, asked(user=ANN), pk=str(row.pk))[1],
                answer(detail, asked(user=BOB), pk=str(row.pk))[1],
            ]

        with testing.clock() as clock:
            assert [ask(), ask()] == [["MISS"] * 3, ["HIT"] * 3]
            clock.advance(1801)
            assert ask() == ["MISS"] * 3
        assert answer(listed, asked(user=ANN))[0] == [{"id": row.pk, "title": "Rust"}]
        the_bot.CacheInvalidator.invalidate_material(row.pk)
        assert ask() == ["MISS"] * 3
        the_bot.CacheInvalidator.invalidate_material(row.pk + 1)  # lists of all, details of another
        assert ask() == ["MISS", "HIT", "HIT"]
        the_bot.CacheInvalidator.invalidate_user_data(ANN.pk)
        assert ask() == ["MISS", "MISS", "HIT"]
        row.title = "Python"
        row.save()
        assert (ask(), answer(detail, asked(user=BOB), pk=str(row.pk))[0]["title"]) == (
            ["MISS"] * 3,
            "Python",
        )
        row.delete()


class TestConfiguration:
    @example("002", "TTL Presets")
    def test_ttl_presets(self, shown: Example) -> None:
        """002, "TTL Presets": the seconds that its comments tell."""
        timeouts = shown.run()["CACHE_TIMEOUTS"]
        told = [line.partition("#") for line in shown.text.splitlines() if line.startswith("CACHE_TIMEOUTS[")]
        assert len(told) == 8
        for name, _, comment in told:
            assert timeouts[name.split("'")[1]] == int(comment.split()[0])

    @example("002", "Use Presets in Decorators")
    def test_use_presets_in_decorators(self, shown: Example) -> None:
        """002, "Use Presets in Decorators": views that return nothing return nothing, and nothing is kept of them."""
        names = shown.run()
        assert names["list_materials"](asked(user=ANN)) is None
        assert names["get_material"](asked(user=ANN), pk=1) is None


class TestHeaders:
    @example("002", "Generate Appropriate Headers")
    def test_generate_appropriate_headers(self, shown: Example) -> None:
        """002, "Generate Appropriate Headers"."""
        names = shown.run(
            Material=materials(),
            MaterialSerializer=Serializer,
        )
        response = names["list_materials"](asked())
        assert response["Cache-Control"] == "public, max-age=1800"
        assert (response["Vary"].startswith("Accept, "), response.has_header("ETag")) == (True, False)

    @example("002", "Header Examples")
    def test_header_examples(self, shown: Example) -> None:
        """002, "Header Examples": the results that its comments tell."""
        response: dict[str, str] = {}
        found: list[Any] = []

        def noted(**given: Any) -> Any:
            found.append(the_bot.get_cache_headers(**given))
            return found[-1]

        shown.run(get_cache_headers=noted, response=response)
        told = [line.split("'")[3] for line in shown.text.splitlines() if line.startswith("# Result")]
        assert [headers["Cache-Control"] for headers in found] == told
        assert all(headers["Vary"].startswith("Accept, ") for headers in found)
        assert response == {"Cache-Control": "no-cache"}


class TestAdvancedUsage:
    @example("002", "Conditional Caching")
    def test_conditional_caching(self, shown: Example) -> None:
        """002, "Conditional Caching": by itself, and below the framework's own decorator."""
        reports = Rows(SimpleNamespace(id=7, title="seven"), SimpleNamespace(id=8, title="eight"))
        names = shown.run(
            Report=reports,
            ReportSerializer=Serializer,
            Response=Response,
        )
        view = api_view(["GET"])(names["get_report"])
        with testing.clock() as clock:
            answers = [answer(view, asked(), report_id=pk) for pk in (7, 8, 7)]
            assert answers == [
                ({"id": 7, "title": "seven"}, "MISS"),
                ({"id": 8, "title": "eight"}, "MISS"),
                ({"id": 7, "title": "seven"}, "HIT"),
            ]
            clock.advance(601)
            assert answer(view, asked(), report_id=7)[1] == "MISS"

    @example("002", "ETag Support")
    def test_etag_support(self, shown: Example) -> None:
        """002, "ETag Support": 304 where the client has what is there, and not when it has changed."""
        rows = materials()
        for row in rows:
            row.updated_at = datetime(2025, 1, row.pk, tzinfo=UTC)
        names = shown.run(
            Material=rows,
            MaterialSerializer=Serializer,
            Response=Response,
        )
        view = api_view(["GET"])(names["get_material"])
        first = view(asked(), pk=1)
        assert (first.status_code, first.data["title"]) == (200, "no. 1")
        assert first["ETag"] == f'"{rows[0].updated_at.timestamp()}"'
        assert view(asked(HTTP_IF_NONE_MATCH=first["ETag"]), pk=1).status_code == 304
        assert view(asked(HTTP_IF_NONE_MATCH=first["ETag"]), pk=2).status_code == 200
        rows[0].updated_at = datetime(2025, 2, 1, tzinfo=UTC)
        assert view(asked(HTTP_IF_NONE_MATCH=first["ETag"]), pk=1).status_code == 200


class TestCommonPatterns:
    @example("002", "Cache Everything Except Login")
    def test_cache_everything_except_login(self, shown: Example) -> None:
        """002, "Cache Everything Except Login": with bodies that answer something; only GET is kept."""
        calls: list[str] = []

        def said(what: str) -> Response:
            calls.append(what)
            return Response({"said": what})

        filled = {
            f"        {comment}\n        pass": f"        return said({what!r})"
            for comment, what in (("# GET is cached", "list"), ("# POST (login) is not cached", "create"))
        }
        names = shown.run(viewsets=viewsets, said=said, filled=filled)
        view = names["AuthViewSet"].as_view(
            {"get": "list", "post": "create"}, authentication_classes=[ByUser]
        )
        answers = [
            answer(view, asked(user=ANN, method=method))[1] for method in ("GET", "GET", "POST", "POST")
        ]
        assert answers == ["MISS", "HIT", None, None]
        assert calls == ["list", "create", "create"]

    @example("002", "Per-Department Cache")
    def test_per_department_cache(self, shown: Example) -> None:
        """002, "Per-Department Cache": those of one department share, and others have another page."""
        names = shown.run(
            cache_response=the_bot.cache_response,
            Material=materials(),
            MaterialSerializer=Serializer,
            Response=Response,
        )
        view = api_view(["GET"])(names["get_department_materials"])
        visitors = [user(pk, department_id=pk % 2, department=pk % 2) for pk in (11, 12, 13)]
        answers = [answer(view, asked(user=one)) for one in visitors]
        assert [[row["pk"] for row in data] for data, _ in answers] == [[1, 3], [2], [1, 3]]
        assert [found for _, found in answers] == ["MISS", "MISS", "HIT"]


class ByUser:
    """The user that a middleware has set, with no check of a CSRF token: requests are made by hand."""

    def authenticate(self, request: Any) -> Any:
        found = request._request.user
        return (found, None) if found.is_authenticated else None

    def authenticate_header(self, request: Any) -> str:
        return "hand"
