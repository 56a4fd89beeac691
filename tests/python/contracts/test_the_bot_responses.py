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
from document_pages import dialect, run_example
from project.facilities.models import Material
from rest_framework import serializers, viewsets
from rest_framework.decorators import api_view
from rest_framework.response import Response

from oxicache import testing
from oxicache.compat import the_bot


@pytest.fixture(autouse=True)
def _site(monkeypatch: pytest.MonkeyPatch, django_databases: None) -> Iterator[None]:
    dialect(monkeypatch, config__cache=the_bot, core__cache_utils=the_bot)
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
    def test_cache_api_response(self) -> None:
        """002, "1. Cache API Response": there no response of the framework was ever kept."""
        rows = materials()
        names = run_example(
            """
from rest_framework.decorators import api_view
from rest_framework.response import Response
from config.cache import cache_response

@api_view(['GET'])
@cache_response(ttl=1800)  # Cache for 30 minutes
def list_materials(request):
    materials = Material.objects.all()
    serializer = MaterialSerializer(materials, many=True)
    return Response(serializer.data)
""",
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

    def test_per_user_cache(self) -> None:
        """002, "2. Per-User Cache"."""
        names = run_example(
            """
@api_view(['GET'])
@cache_response(ttl=300, key_func=lambda r: f"user_{r.user.id}_dashboard")
def get_user_dashboard(request):
    data = get_dashboard_data(request.user)
    return Response(data)
""",
            api_view=api_view,
            cache_response=the_bot.cache_response,
            Response=Response,
            get_dashboard_data=lambda user: {"of": user.username},
        )
        view = names["get_user_dashboard"]
        answers = [answer(view, asked(user=one)) for one in (ANN, BOB, ANN)]
        assert answers == [({"of": "ann"}, "MISS"), ({"of": "bob"}, "MISS"), ({"of": "ann"}, "HIT")]

    def test_cache_viewset_responses(self) -> None:
        """002, "4. Cache ViewSet Responses": lists and details, each user's; there neither was ever kept."""
        names = run_example(
            """
from rest_framework import viewsets
from core.cache_utils import ListCacheMixin, DetailCacheMixin

class MaterialViewSet(ListCacheMixin, DetailCacheMixin, viewsets.ModelViewSet):
    queryset = Material.objects.all()
    serializer_class = MaterialSerializer
    cache_timeout = 1800  # 30 minutes

    # List and retrieve methods are automatically cached
""",
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
    def test_ttl_presets(self) -> None:
        """002, "TTL Presets": the seconds that its comments tell."""
        source = """
from config.cache import CACHE_TIMEOUTS

# Available presets:
CACHE_TIMEOUTS['default']           # 300 seconds (5 minutes)
CACHE_TIMEOUTS['short']             # 60 seconds (1 minute)
CACHE_TIMEOUTS['medium']            # 600 seconds (10 minutes)
CACHE_TIMEOUTS['long']              # 3600 seconds (1 hour)
CACHE_TIMEOUTS['static']            # 86400 seconds (24 hours)

# Endpoint-specific:
CACHE_TIMEOUTS['materials_list']    # 1800 seconds (30 minutes)
CACHE_TIMEOUTS['material_detail']   # 3600 seconds (1 hour)
CACHE_TIMEOUTS['reports']           # 300 seconds (5 minutes)
"""
        timeouts = run_example(source)["CACHE_TIMEOUTS"]
        told = [line.partition("#") for line in source.splitlines() if line.startswith("CACHE_TIMEOUTS[")]
        assert len(told) == 8
        for name, _, comment in told:
            assert timeouts[name.split("'")[1]] == int(comment.split()[0])

    def test_use_presets_in_decorators(self) -> None:
        """002, "Use Presets in Decorators": views that return nothing return nothing, and nothing is kept of them."""
        names = run_example(
            """
from config.cache import cache_response, CACHE_TIMEOUTS

@cache_response(ttl=CACHE_TIMEOUTS['materials_list'])
def list_materials(request):
    # Cached for 30 minutes by default
    pass

@cache_response(ttl=CACHE_TIMEOUTS['material_detail'])
def get_material(request, pk):
    # Cached for 1 hour by default
    pass
"""
        )
        assert names["list_materials"](asked(user=ANN)) is None
        assert names["get_material"](asked(user=ANN), pk=1) is None


class TestHeaders:
    def test_generate_appropriate_headers(self) -> None:
        """002, "Generate Appropriate Headers"."""
        names = run_example(
            """
from config.cache import get_cache_headers
from rest_framework.response import Response

def list_materials(request):
    materials = Material.objects.all()
    response = Response(MaterialSerializer(materials, many=True).data)

    # Add cache headers
    headers = get_cache_headers(ttl=1800, is_private=False)
    for header, value in headers.items():
        if value is not None:
            response[header] = value

    return response
""",
            Material=materials(),
            MaterialSerializer=Serializer,
        )
        response = names["list_materials"](asked())
        assert response["Cache-Control"] == "public, max-age=1800"
        assert (response["Vary"].startswith("Accept, "), response.has_header("ETag")) == (True, False)

    def test_header_examples(self) -> None:
        """002, "Header Examples": the results that its comments tell."""
        response: dict[str, str] = {}
        source = """
# Public data (static files, materials list)
headers = get_cache_headers(ttl=3600, is_private=False)
# Result: {'Cache-Control': 'public, max-age=3600', 'Vary': 'Accept, ...'}

# Private data (user dashboard, profile)
headers = get_cache_headers(ttl=300, is_private=True)
# Result: {'Cache-Control': 'private, max-age=300', 'Vary': 'Accept, ...'}

# Real-time data (notifications, live feeds)
# Use no-cache instead:
response['Cache-Control'] = 'no-cache'
"""
        found: list[Any] = []

        def noted(**given: Any) -> Any:
            found.append(the_bot.get_cache_headers(**given))
            return found[-1]

        run_example(source, get_cache_headers=noted, response=response)
        told = [line.split("'")[3] for line in source.splitlines() if line.startswith("# Result")]
        assert [headers["Cache-Control"] for headers in found] == told
        assert all(headers["Vary"].startswith("Accept, ") for headers in found)
        assert response == {"Cache-Control": "no-cache"}


class TestAdvancedUsage:
    def test_conditional_caching(self) -> None:
        """002, "Conditional Caching": by itself, and below the framework's own decorator."""
        reports = Rows(SimpleNamespace(id=7, title="seven"), SimpleNamespace(id=8, title="eight"))
        names = run_example(
            """
from core.cache_utils import cache_page_conditional

@cache_page_conditional(ttl=600)
def get_report(request, report_id):
    # Caches response for 10 minutes
    report = Report.objects.get(id=report_id)
    return Response(ReportSerializer(report).data)
""",
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

    def test_etag_support(self) -> None:
        """002, "ETag Support": 304 where the client has what is there, and not when it has changed."""
        rows = materials()
        for row in rows:
            row.updated_at = datetime(2025, 1, row.pk, tzinfo=UTC)
        names = run_example(
            '''
from core.cache_utils import cache_etag_condition

def material_etag(request, pk=None):
    """Generate ETag from material's updated_at timestamp"""
    material = Material.objects.get(pk=pk)
    return str(material.updated_at.timestamp())

@cache_etag_condition(etag_func=material_etag)
def get_material(request, pk=None):
    material = Material.objects.get(pk=pk)
    return Response(MaterialSerializer(material).data)

# Returns 304 Not Modified if client's ETag matches
''',
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
    def test_cache_everything_except_login(self) -> None:
        """002, "Cache Everything Except Login": with bodies that answer something; only GET is kept."""
        source = """
from config.cache import cache_response

class AuthViewSet(viewsets.ViewSet):
    @cache_response(ttl=1800)
    def list(self, request):
        # GET is cached
        pass

    def create(self, request):
        # POST (login) is not cached
        pass
"""
        calls: list[str] = []

        def said(what: str) -> Response:
            calls.append(what)
            return Response({"said": what})

        for comment, what in (("# GET is cached", "list"), ("# POST (login) is not cached", "create")):
            source = source.replace(f"{comment}\n        pass", f"{comment}\n        return said({what!r})")
        names = run_example(source, viewsets=viewsets, said=said)
        view = names["AuthViewSet"].as_view(
            {"get": "list", "post": "create"}, authentication_classes=[ByUser]
        )
        answers = [
            answer(view, asked(user=ANN, method=method))[1] for method in ("GET", "GET", "POST", "POST")
        ]
        assert answers == ["MISS", "HIT", None, None]
        assert calls == ["list", "create", "create"]

    def test_per_department_cache(self) -> None:
        """002, "Per-Department Cache": those of one department share, and others have another page."""
        names = run_example(
            """
@cache_response(ttl=600, key_func=lambda r: f"dept_{r.user.department_id}")
def get_department_materials(request):
    # Cache separated by department
    materials = Material.objects.filter(department=request.user.department)
    return Response(MaterialSerializer(materials, many=True).data)
""",
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


class TestBestPractices:
    def test_dont_cache_sensitive_data_without_user_isolation(self) -> None:
        """002, "DON'Ts": what the document calls bad keeps users apart here, as cache_response always does."""
        names = run_example(
            """
# DON'T: Cache sensitive data without user isolation
@cache_response(ttl=3600)  # ✗ Bad - no user isolation
def get_private_data(request):
    return private(request)
""",
            cache_response=the_bot.cache_response,
            private=lambda request: Response({"of": request.user.username}),
        )
        view = api_view(["GET"])(names["get_private_data"])
        assert [answer(view, asked(user=one))[0]["of"] for one in (ANN, BOB, ANN)] == ["ann", "bob", "ann"]

    def test_dont_cache_writes(self) -> None:
        """002, "DON'Ts": a decorated view that is posted to runs each time."""
        calls: list[int] = []
        names = run_example(
            """
# DON'T: Cache POST/PUT/DELETE requests
@cache_response(ttl=300)  # ✗ Bad - only GET should be cached
def create_material(request):
    return created()
""",
            cache_response=the_bot.cache_response,
            created=lambda: calls.append(1) or Response({}, status=201),
        )
        for _ in range(2):
            assert names["create_material"](asked(user=ANN, method="POST")).status_code == 201
        assert calls == [1, 1]
