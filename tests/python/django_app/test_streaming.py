"""Lines of JSON: what is written, when it is read, and what a client sees of an error."""

import asyncio
import datetime as dt
import json
import logging
import tracemalloc
import uuid
from collections.abc import Iterator
from decimal import Decimal
from typing import Any

import pytest
from asgiref.sync import async_to_sync, sync_to_async
from django.core.asgi import get_asgi_application
from django.db import connection
from django.http import StreamingHttpResponse
from django.test import AsyncRequestFactory, RequestFactory, TestCase, TransactionTestCase, override_settings
from django.test.utils import CaptureQueriesContext
from django.urls import path
from project.catalogue.models import Item
from project.projects.models import Project
from project.projects.viewsets import ProjectSerializer

from oxicache.django import streaming
from oxicache.django.streaming import (
    astream_json_lines,
    should_stream_response,
    stream_json_lines,
    stream_response,
)

COUNT = 23
REQUEST = RequestFactory().get("/")


def parsed(content: Any) -> list[Any]:
    """The lines, each of which is a JSON text and ends with a line feed."""
    text = b"".join(content).decode()
    assert not text or text.endswith("\n")
    return [json.loads(line) for line in text.split("\n")[:-1]]


def plain(project: Project) -> dict[str, Any]:
    return {"title": project.title, "budget": project.budget}


def asked(view: Any, send: Any, *, leaves: bool = False) -> None:
    """Ask Django's ASGI handler for the view; the client stays, or leaves when it has got something."""

    async def ask() -> None:
        has_some = asyncio.Event()
        messages: list[dict[str, Any]] = [{"type": "http.request", "body": b"", "more_body": False}]

        async def receive() -> dict[str, Any]:
            if not messages:
                await has_some.wait()
                return {"type": "http.disconnect"}
            return messages.pop()

        async def sending(message: dict[str, Any]) -> None:
            await send(message)
            if leaves and message.get("body"):
                has_some.set()

        await get_asgi_application()(AsyncRequestFactory().get("/rows/").scope, receive, sending)

    with override_settings(ROOT_URLCONF=(path("rows/", view),), MIDDLEWARE=[]):
        asyncio.run(ask())


class Projects(TestCase):
    @classmethod
    def setUpTestData(cls) -> None:
        Project.objects.bulk_create(Project(title=f"p{n:02}", budget=n % 5) for n in range(COUNT))


class TestLines(Projects):
    def test_each_row_is_a_line(self) -> None:
        """A function serializes one row; lines come in the order of the queryset."""
        expected = [{"title": f"p{n:02}", "budget": n % 5} for n in range(COUNT)]
        assert parsed(stream_json_lines(Project.objects.order_by("title"), plain, size=4)) == expected
        values = Project.objects.order_by("title").values("title", "budget")
        assert parsed(stream_json_lines(values, size=5)) == expected

    def test_a_serializer_class_serializes(self) -> None:
        """One of Django REST framework's takes chunks, and gets the context."""
        seen: list[Any] = []

        class Serializer(ProjectSerializer):
            def to_representation(self, instance: Project) -> Any:
                seen.append(self.context["flag"])
                return super().to_representation(instance)

        rows = parsed(stream_json_lines(Project.objects, Serializer, size=10, context={"flag": 7}))
        assert rows == ProjectSerializer(Project.objects.order_by("pk"), many=True).data
        assert seen == [7] * COUNT

    def test_a_line_is_read_when_it_is_asked_for(self) -> None:
        """Nothing is read by the call, and no chunk before the one before it has been written."""
        with self.assertNumQueries(0):
            lines = stream_json_lines(Project.objects, plain, size=10)
        for rows, queries in [(10, 1), (10, 1), (3, 1)]:
            with self.assertNumQueries(queries):
                assert len([next(lines) for _ in range(rows)]) == rows
        assert list(lines) == []

    def test_any_iterable_is_a_source(self) -> None:
        """Lists and generators, endless ones too."""
        assert parsed(stream_json_lines([1, "two", None, [3]], size=3)) == [1, "two", None, [3]]
        assert parsed(stream_json_lines(iter(range(5)), str, size=2)) == ["0", "1", "2", "3", "4"]
        naturals = stream_json_lines(iter(int, 1), size=2)
        assert next(naturals) == b"0\n"

    def test_types_of_django_are_written(self) -> None:
        """Dates, decimals and UUIDs, as DjangoJSONEncoder has them, and text as UTF-8."""
        row = {
            "at": dt.date(2026, 1, 2),
            "sum": Decimal("1.50"),
            "id": uuid.UUID(int=1),
            "name": "Zoë\n\u2028",
        }
        [line] = stream_json_lines([row])
        assert json.loads(line) == {
            "at": "2026-01-02",
            "sum": "1.50",
            "id": str(uuid.UUID(int=1)),
            "name": "Zoë\n\u2028",
        }
        assert line.count(b"\n") == 1
        assert "Zoë".encode() in line

    def test_wrong_use_is_said_at_the_call(self) -> None:
        """Not when the status has been sent."""
        with pytest.raises(TypeError, match="serialize="):
            stream_json_lines(Project.objects)
        with pytest.raises(TypeError, match="serialize="):
            stream_json_lines(Project.objects.all())
        with pytest.raises(TypeError, match="'title'"):
            stream_json_lines(Project.objects.all(), "title")
        with pytest.raises(ValueError, match="slice"):
            stream_json_lines(Project.objects.all()[:5], plain)

    def test_an_error_is_the_last_line_and_is_logged(self) -> None:
        """Rows before it stand; the line tells how many they were, and nothing of what the exception says."""

        def serialize(project: Project) -> Any:
            if project.title == "p07":
                raise ZeroDivisionError("the password is swordfish")
            return project.title

        with self.assertLogs("oxicache.django.streaming", logging.ERROR) as logged:
            lines = parsed(stream_json_lines(Project.objects.order_by("title"), serialize, size=5))
        assert lines[:-1] == [f"p{n:02}" for n in range(7)]
        assert lines[-1] == {"error": "The stream has ended early.", "rows": 7}
        assert "after 7 rows" in logged.output[0]
        assert "swordfish" in logged.output[0]
        with override_settings(DEBUG=True), self.assertLogs("oxicache.django.streaming"):
            *_, last = parsed(stream_json_lines(Project.objects.order_by("title"), serialize))
        assert "swordfish" in last["error"]

    def test_a_row_that_is_no_json_is_an_error_like_any_other(self) -> None:
        """Also what the encoder raises ends the stream with its line."""
        with self.assertLogs("oxicache.django.streaming"):
            assert parsed(stream_json_lines([1, object()])) == [
                1,
                {"error": "The stream has ended early.", "rows": 1},
            ]

    def test_a_reader_that_goes_away_is_no_error(self) -> None:
        """Closing the lines ends the reading, and nothing is logged."""
        with self.assertNoLogs("oxicache.django.streaming"):
            lines = stream_json_lines(Project.objects, plain, size=2)
            next(lines)
            lines.close()


class TestShouldStream(Projects):
    def test_it_counts_no_further_than_the_limit(self) -> None:
        """One query over a subquery of at most one row more than the limit."""
        for limit, expected in [(COUNT - 1, True), (COUNT, False), (COUNT + 1, False), (0, True)]:
            with CaptureQueriesContext(connection) as queries:
                assert should_stream_response(Project.objects.order_by("title"), limit) is expected
            [query] = queries.captured_queries
            assert f"LIMIT {limit + 1}" in query["sql"]
            assert "ORDER BY" not in query["sql"]

    def test_ten_thousand_is_the_limit(self) -> None:
        """As document 000 has it, and exactly so many are not too many."""
        assert not should_stream_response(range(10_000))
        assert should_stream_response(range(10_001))

    def test_what_is_there_is_not_counted_by_the_database(self) -> None:
        """Lists, and querysets that have been read."""
        queryset = Project.objects.all()
        rows = list(queryset)
        with self.assertNumQueries(0):
            assert should_stream_response(queryset, 5)
            assert not should_stream_response(rows, 50)

    def test_any_queryset_is_counted(self) -> None:
        """Sliced, combined, distinct, of values, joined, and managers."""
        union = Project.objects.filter(budget=1).union(Project.objects.filter(budget=2))
        for queryset in [
            Project.objects,
            Project.objects.all()[:7],
            Project.objects.values("budget").distinct(),
            union,
            Project.objects.values("budget").order_by("-budget"),
        ]:
            assert should_stream_response(queryset, 4), queryset
        assert not should_stream_response(Project.objects.all()[:7], 7)
        assert not should_stream_response(Project.objects.values("budget").distinct(), 5)

    def test_a_limit_is_a_number_of_rows(self) -> None:
        """Negative is a ValueError, no number a TypeError."""
        with pytest.raises(ValueError, match="-1"):
            should_stream_response(Project.objects, -1)
        with pytest.raises(TypeError, match="whole number"):
            should_stream_response(Project.objects, "5")  # type: ignore[arg-type]


class TestResponse(Projects):
    def test_it_is_json_unless_lines_are_preferred(self) -> None:
        """application/json as document 000 has it; application/x-ndjson where the client prefers it."""
        for accept, expected in [
            ("*/*", "application/json"),
            ("application/json", "application/json"),
            ("text/html", "application/json"),
            ("application/x-ndjson", "application/x-ndjson"),
            ("application/json;q=0.5, application/x-ndjson", "application/x-ndjson"),
        ]:
            request = RequestFactory().get("/", headers={"accept": accept})
            response = stream_response(request, Project.objects.order_by("title"), plain)
            assert isinstance(response, StreamingHttpResponse)
            assert (response["Content-Type"], response["Vary"]) == (expected, "Accept")
            assert len(parsed(response)) == COUNT

    def test_the_first_row_is_sent_at_once_and_others_together(self) -> None:
        """A client waits for one row, and no row is a packet of its own."""
        response = stream_response(REQUEST, Project.objects.order_by("title"), plain, size=5)
        with self.assertNumQueries(1):
            first = next(iter(response))
        assert json.loads(first)["title"] == "p00"
        assert len(list(response)) == 1

    def test_blocks_are_bounded(self) -> None:
        """What is held before it is sent is some kilobytes."""
        response = stream_response(REQUEST, ("x" * 1000 for _ in range(100)))
        blocks = list(response)
        assert len(blocks) == 7
        assert max(len(block) for block in blocks) < streaming.BLOCK_BYTES + 1100

    def test_closing_the_response_ends_the_reading(self) -> None:
        """A client that goes away leaves nothing open."""
        ended = []

        def rows() -> Iterator[int]:
            try:
                yield from range(10**9)
            finally:
                ended.append(True)

        response = stream_response(REQUEST, rows(), size=3)
        next(iter(response))
        response.close()
        assert ended == [True]

    def test_rows_are_written_by_render(self) -> None:
        """`render` makes the bytes of a line."""
        response = stream_response(REQUEST, [1, 2], render=lambda data: b"<%d>" % data)
        assert b"".join(response) == b"<1>\n<2>\n"


class TestAsync(TransactionTestCase):
    def setUp(self) -> None:
        Project.objects.bulk_create(Project(title=f"p{n:02}") for n in range(COUNT))

    def test_lines_are_asynchronous_for_those_who_await(self) -> None:
        """astream_json_lines gives what stream_json_lines does."""

        async def collect() -> list[bytes]:
            return [
                line async for line in astream_json_lines(Project.objects.order_by("title"), plain, size=5)
            ]

        assert async_to_sync(collect)() == list(stream_json_lines(Project.objects.order_by("title"), plain))

    def test_a_response_under_asgi_is_asynchronous(self) -> None:
        """Django would read all of a synchronous one before it sends anything; serializing may query all the same."""
        request = AsyncRequestFactory().get("/")

        def serialize(project: Project) -> Any:
            return {**plain(project), "children": project.children.count()}

        async def collect() -> list[bytes]:
            response = stream_response(request, Project.objects.order_by("title"), serialize, size=5)
            assert response.is_async
            return [block async for block in response]

        blocks = async_to_sync(collect)()
        assert [row["title"] for row in parsed(blocks)] == [f"p{n:02}" for n in range(COUNT)]
        assert len(blocks) == 2

    def test_the_handler_sends_while_rows_are_read(self) -> None:
        """Through Django's ASGI handler the first row reaches the client before the second chunk is read."""
        read: list[int] = []
        sent: list[dict[str, Any]] = []

        def serialize(number: int) -> int:
            read.append(number)
            return number

        def view(request: Any) -> StreamingHttpResponse:
            return stream_response(request, range(COUNT), serialize, size=5)

        async def send(message: dict[str, Any]) -> None:
            sent.append({**message, "read": len(read)})

        asked(view, send)
        bodies = [message for message in sent if message["type"] == "http.response.body"]
        assert (bodies[0]["body"], bodies[0]["read"]) == (b"0\n", 1)
        assert parsed(message.get("body", b"") for message in bodies) == list(range(COUNT))

    def test_a_client_that_disconnects_ends_the_reading(self) -> None:
        """Through Django's ASGI handler, in the middle of a source without end."""
        ended = []

        def rows() -> Iterator[int]:
            try:
                yield from range(10**9)
            finally:
                ended.append(True)

        def view(request: Any) -> StreamingHttpResponse:
            return stream_response(request, rows(), size=3)

        async def send(message: dict[str, Any]) -> None:
            pass

        asked(view, send, leaves=True)
        assert ended == [True]

    def test_a_client_that_goes_away_ends_the_reading(self) -> None:
        """Cancelling the response closes what it reads from."""
        ended = []

        def rows() -> Iterator[int]:
            try:
                yield from range(10**9)
            finally:
                ended.append(True)

        async def leave() -> None:
            response = stream_response(AsyncRequestFactory().get("/"), rows(), size=3)
            blocks = aiter(response)
            await anext(blocks)
            await blocks.aclose()  # type: ignore[attr-defined]
            await sync_to_async(response.close)()  # as Django's ASGI handler does
            lines = astream_json_lines(rows(), size=3)
            await anext(lines)
            await lines.aclose()  # type: ignore[attr-defined]

        async_to_sync(leave)()
        assert len(ended) == 2


class TestMemory(TransactionTestCase):
    def test_memory_does_not_grow_with_the_rows(self) -> None:
        """Ten times the rows are streamed in the same memory."""
        Item.objects.bulk_create(Item(title="x" * 50) for _ in range(5000))

        def peak(count: int) -> int:
            response = stream_response(
                REQUEST, Item.objects.filter(pk__gt=start + 5000 - count), lambda row: row.title, size=50
            )
            tracemalloc.start()
            length = sum(len(block) for block in response)
            found = tracemalloc.get_traced_memory()[1]
            tracemalloc.stop()
            assert length == count * 53
            return found

        start = Item.objects.order_by("pk")[0].pk - 1
        peak(100)  # what is imported and compiled once
        assert peak(5000) < 2 * peak(500)
