"""Viewsets of Django REST framework whose long lists are streamed: what is the viewset's own stays so."""

import json
from typing import Any

from django.test import RequestFactory, TestCase
from project.projects.models import Project
from project.projects.viewsets import ProjectSerializer
from rest_framework import filters, pagination, permissions, renderers, viewsets
from rest_framework.response import Response

from oxicache.django.viewsets import JSONLinesRenderer, StreamedListMixin

COUNT = 23


def parsed(content: Any) -> list[Any]:
    """The lines, each of which is a JSON text and ends with a line feed."""
    return [json.loads(line) for line in b"".join(content).decode().splitlines()]


class Visible(permissions.BasePermission):  # type: ignore[misc]
    def has_permission(self, request: Any, view: Any) -> bool:
        return "denied" not in request.query_params


class Streamed(StreamedListMixin, viewsets.ModelViewSet):  # type: ignore[misc]
    queryset = Project.objects.order_by("title")
    serializer_class = ProjectSerializer
    permission_classes = (Visible,)
    filter_backends = (filters.SearchFilter, filters.OrderingFilter)
    search_fields = ("title",)
    ordering_fields = ("budget", "title")
    stream_limit = 10
    stream_chunk_size = 7


class TestViewSet(TestCase):
    @classmethod
    def setUpTestData(cls) -> None:
        Project.objects.bulk_create(Project(title=f"p{n:02}", budget=n % 5) for n in range(COUNT))

    def get(self, query: str = "", view: Any = Streamed, accept: str = "*/*") -> Any:
        request = RequestFactory().get("/" + query, headers={"accept": accept})
        response = view.as_view({"get": "list", "put": "update"})(request)
        return response if response.streaming else response.render()

    def test_a_long_list_is_streamed(self) -> None:
        """More than stream_limit rows: one query that counts them, one for each chunk."""
        with self.assertNumQueries(5):
            response = self.get()
            assert [row["title"] for row in parsed(response)] == [f"p{n:02}" for n in range(COUNT)]
        assert response["Content-Type"] == "application/json"

    def test_a_short_list_is_a_list(self) -> None:
        """Up to stream_limit rows the viewset answers as ever."""
        response = self.get("?search=p0")
        assert isinstance(response, Response)
        assert [row["title"] for row in json.loads(response.content)] == [f"p{n:02}" for n in range(10)]

    def test_filters_and_order_hold(self) -> None:
        """The viewset's filter backends choose and order the rows that are streamed."""
        rows = parsed(
            self.get("?search=p1&ordering=-budget,title", type("Few", (Streamed,), {"stream_limit": 3}))
        )
        assert [row["title"] for row in rows] == [
            "p14", "p19", "p13", "p18", "p12", "p17", "p11", "p16", "p10", "p15",
        ]  # fmt: skip

    def test_permissions_hold(self) -> None:
        """Who may not list gets no line."""
        with self.assertNumQueries(0):
            assert self.get("?denied").status_code == 403

    def test_a_page_is_a_page(self) -> None:
        """A paginated list is bounded by itself; a paginator that does nothing here paginates nothing."""

        class Paged(pagination.LimitOffsetPagination):  # type: ignore[misc]
            default_limit = None

        class PagedView(Streamed):
            pagination_class = Paged

        class NumberedView(Streamed):
            pagination_class = type("Numbered", (pagination.PageNumberPagination,), {"page_size": 5})

        class OwnView(Streamed):
            pagination_class = type(
                "Own",
                (pagination.BasePagination,),
                {
                    "paginate_queryset": lambda self, queryset, request, view=None: queryset[:2],
                    "get_paginated_response": lambda self, data: Response({"own": data}),
                },
            )

        assert len(json.loads(self.get("?limit=4", PagedView).content)["results"]) == 4
        assert len(parsed(self.get("", PagedView))) == COUNT
        assert len(json.loads(self.get("", NumberedView).content)["results"]) == 5
        assert len(json.loads(self.get("", OwnView).content)["own"]) == 2

    def test_only_json_is_streamed(self) -> None:
        """The browsable API and other renderers get what they got."""
        response = self.get(accept="text/html")
        assert not response.streaming
        assert response["Content-Type"].startswith("text/html")

    def test_lines_may_be_asked_for(self) -> None:
        """application/x-ndjson is lines however few rows there are, and so is ?format=ndjson."""
        for query, accept in [("?search=p0", "application/x-ndjson"), ("?search=p0&format=ndjson", "*/*")]:
            response = self.get(query, accept=accept)
            assert (response.streaming, response["Content-Type"]) == (True, "application/x-ndjson")
            assert len(parsed(response)) == 10

    def test_a_row_is_a_line_even_where_indentation_is_asked_for(self) -> None:
        """`application/json; indent=4` would make several of it."""
        assert len(parsed(self.get(accept="application/json; indent=4"))) == COUNT

    def test_the_renderer_of_the_viewset_renders(self) -> None:
        """A subclass of the JSON renderer writes each row."""

        class Shouting(renderers.JSONRenderer):  # type: ignore[misc]
            def render(self, data: Any, *arguments: Any) -> Any:
                return super().render({key.upper(): value for key, value in data.items()}, *arguments)

        class Loud(Streamed):
            renderer_classes = (Shouting,)

        assert parsed(self.get("", Loud))[0].keys() == {"ID", "TITLE", "BUDGET"}

    def test_lines_of_what_is_not_streamed(self) -> None:
        """The renderer of lines renders lists, single objects, and errors."""
        renderer = JSONLinesRenderer()
        assert renderer.render([{"a": 1}, {"b": [2]}]) == b'{"a":1}\n{"b":[2]}\n'
        assert renderer.render({"detail": "no"}) == b'{"detail":"no"}\n'
        assert self.get("?denied", accept="application/x-ndjson").content.count(b"\n") == 1

    def test_it_is_chosen_by_the_viewset(self) -> None:
        """should_stream_response and stream_response are methods that a viewset may override, as document 000 does."""

        class Never(Streamed):
            def should_stream_response(self, request: Any) -> bool:
                return False

        assert len(json.loads(self.get("", Never).content)) == COUNT
