"""How `cached_view` loads: one request asks the view, others wait; what invalidates; stale responses; other caches."""

import asyncio
import threading
from collections.abc import Iterator
from typing import Any

import pytest
from django.contrib.auth.models import AnonymousUser
from django.core.exceptions import PermissionDenied
from django.db import OperationalError, transaction
from django.http import Http404, HttpRequest, HttpResponse
from django.template import engines
from django.template.response import SimpleTemplateResponse
from django.test import RequestFactory, override_settings
from django.utils.decorators import method_decorator
from django.views import View
from project.catalogue.models import Label

from oxicache import testing
from oxicache.django import invalidate
from oxicache.django.responses import cached_view
from oxicache.flights import flights
from oxicache.versions import version_words

NATIVE = {"default": {"BACKEND": "oxicache.django.backends.NativeCache", "LOCATION": "responses"}}
LOCMEM = {"default": {"BACKEND": "django.core.cache.backends.locmem.LocMemCache", "LOCATION": "responses"}}
WAIT = 30.0  # seconds after which a test that hangs fails


@pytest.fixture(autouse=True)
def _caches() -> Iterator[None]:
    with override_settings(CACHES=NATIVE):
        yield


def asked(path: str = "/page/", **extra: Any) -> HttpRequest:
    request = RequestFactory().get(path, **extra)
    request.user = AnonymousUser()
    return request


def waiting() -> list[Any]:
    """Who waits for the loads under way."""
    return [waiter for flight in list(flights._table.values()) for waiter in flight._waiters]


class TestSingleFlight:
    def together(self, view: Any, is_in: threading.Event, go_on: threading.Event) -> list[HttpResponse]:
        """Ask from a thread, and from two more once the view has been entered; let it go on; return the responses."""
        found: list[HttpResponse] = []
        threads = [threading.Thread(target=lambda: found.append(view(asked()))) for _ in range(3)]
        threads[0].start()
        assert is_in.wait(WAIT)
        for thread in threads[1:]:
            thread.start()
        go_on.set()
        for thread in threads:
            thread.join(WAIT)
        return found

    def test_one_request_asks_the_view_and_the_others_wait(self) -> None:
        """Each gets a response of its own with the same body."""
        is_in, go_on, calls = threading.Event(), threading.Event(), []

        @cached_view()
        def view(request: HttpRequest) -> HttpResponse:
            calls.append(None)
            is_in.set()
            assert go_on.wait(WAIT)
            return HttpResponse(f"page {len(calls)}")

        found = self.together(view, is_in, go_on)
        assert [one.content for one in found] == [b"page 1"] * 3
        assert len({id(one) for one in found}) == 3
        assert sorted(one["X-Cache"] for one in found) == ["HIT", "HIT", "MISS"]

    def test_who_waited_for_what_is_not_kept_asks_himself(self) -> None:
        """A response with a cookie reaches the request that caused it, and no other."""
        is_in, go_on, calls = threading.Event(), threading.Event(), []

        @cached_view()
        def view(request: HttpRequest) -> HttpResponse:
            calls.append(None)
            number = len(calls)
            is_in.set()
            assert go_on.wait(WAIT)
            response = HttpResponse("page")
            response.set_cookie("own", str(number))
            return response

        found = self.together(view, is_in, go_on)
        assert sorted(one.cookies["own"].value for one in found) == ["1", "2", "3"]

    def test_a_view_whose_responses_may_be_kept_again(self) -> None:
        """After an error the first good response is kept."""
        statuses = iter([500, 500, 200])
        view = cached_view()(lambda request: HttpResponse(status=next(statuses)))
        assert [view(asked()).status_code for _ in range(4)] == [500, 500, 200, 200]
        assert view(asked())["X-Cache"] == "HIT"

    def test_who_waited_while_the_view_was_seen_to_read_a_header(self) -> None:
        """He has another value of it than the one who was first, and gets his own response."""
        is_in, go_on = threading.Event(), threading.Event()
        found: dict[str, bytes] = {}

        @cached_view()
        def view(request: HttpRequest) -> HttpResponse:
            is_in.set()
            assert go_on.wait(WAIT)
            return HttpResponse(request.headers["Accept-Language"])

        def ask(language: str) -> None:
            found[language] = view(asked(HTTP_ACCEPT_LANGUAGE=language)).content

        threads = [threading.Thread(target=ask, args=(language,)) for language in ("de", "en", "fr")]
        threads[0].start()
        assert is_in.wait(WAIT)
        for thread in threads[1:]:
            thread.start()
        while len(waiting()) < 2:
            assert all(thread.is_alive() for thread in threads)
        go_on.set()
        for thread in threads:
            thread.join(WAIT)
        assert found == {"de": b"de", "en": b"en", "fr": b"fr"}

    def test_who_waited_while_the_view_refused_another(self) -> None:
        """What a view raises is for the request that asked it: another one may be let in, and is told nothing of it."""
        is_in, go_on = threading.Event(), threading.Event()
        found: dict[str, Any] = {}

        @cached_view(per_user=False)
        def view(request: HttpRequest) -> HttpResponse:
            is_in.set()
            assert go_on.wait(WAIT)
            if request.headers["X-Role"] != "staff":
                raise PermissionDenied(request.headers["X-Role"])
            return HttpResponse("staff")

        def ask(role: str) -> None:
            try:
                found[role] = view(asked(HTTP_X_ROLE=role)).content
            except PermissionDenied as error:
                found[role] = str(error)

        threads = [threading.Thread(target=ask, args=(role,)) for role in ("visitor", "staff", "guest")]
        threads[0].start()
        assert is_in.wait(WAIT)
        for thread in threads[1:]:
            thread.start()
        while len(waiting()) < 2:
            assert all(thread.is_alive() for thread in threads)
        go_on.set()
        for thread in threads:
            thread.join(WAIT)
        assert found == {"visitor": "visitor", "staff": b"staff", "guest": "guest"}

    def test_tasks_wait_alike(self) -> None:
        """An async view is asked once by tasks that come together."""
        calls: list[None] = []

        @cached_view()
        async def view(request: HttpRequest) -> HttpResponse:
            calls.append(None)
            await asyncio.sleep(0)
            return HttpResponse("page")

        async def run() -> list[HttpResponse]:
            return await asyncio.gather(*(view(asked()) for _ in range(3)))

        assert [one.content for one in asyncio.run(run())] == [b"page"] * 3
        assert len(calls) == 1
        assert asyncio.iscoroutinefunction(view)

    def test_async_methods_and_classes(self) -> None:
        """`get` of an async view class, decorated itself, through method_decorator, and as a class."""

        class Plain(View):
            @cached_view()
            async def get(self, request: HttpRequest) -> HttpResponse:
                return HttpResponse("plain")

        @method_decorator(cached_view(), name="get")
        class Decorated(View):
            async def get(self, request: HttpRequest) -> HttpResponse:
                return HttpResponse("decorated")

        @cached_view()
        class Whole(View):
            async def get(self, request: HttpRequest) -> HttpResponse:
                return HttpResponse("whole")

        async def run() -> list[list[str]]:
            return [
                [(await kind.as_view()(asked()))["X-Cache"] for _ in range(2)]
                for kind in (Plain, Decorated, Whole)
            ]

        assert asyncio.run(run()) == [["MISS", "HIT"]] * 3


class TestInvalidation:
    def test_tags(self) -> None:
        """`invalidate(tags=...)` reaches what a view stored; tags may depend on the view's arguments."""
        view = cached_view(tags=lambda request, pk: [f"page:{pk}"])(lambda request, pk: HttpResponse("x"))
        for pk in (1, 2):
            view(asked(), pk=pk)
        invalidate(tags=["page:1"])
        assert [view(asked(), pk=pk)["X-Cache"] for pk in (1, 2)] == ["MISS", "HIT"]

    def test_models(self) -> None:
        """`invalidate_on` names models, as classes or labels: a row that changes outdates the view, at the commit."""

        @cached_view(invalidate_on=["catalogue.Label"])
        def view(request: HttpRequest) -> HttpResponse:
            return HttpResponse(",".join(Label.objects.values_list("slug", flat=True)))

        assert view(asked()).content == b""
        with transaction.atomic():
            label = Label.objects.create(slug="responses")
            assert "X-Cache" not in view(asked("/other/"))  # what is not committed is nobody else's
        try:
            assert view(asked()).content == b"responses"
            assert view(asked())["X-Cache"] == "HIT"
        finally:
            label.delete()
        assert view(asked()).content == b""

    def test_a_transaction_that_began_before_the_change(self) -> None:
        """It may see the database as it was then, so what it makes of it is not kept for others."""
        view = cached_view(invalidate_on=[Label])(lambda request: HttpResponse("x"))
        with transaction.atomic():
            Label.objects.exists()
            version_words.bump(["model:catalogue.label"])  # as another connection's commit does
            assert "X-Cache" not in view(asked())
        assert view(asked())["X-Cache"] == "MISS"
        with transaction.atomic():
            Label.objects.exists()
            assert view(asked())["X-Cache"] == "HIT"

    def test_a_change_while_the_view_runs(self) -> None:
        """A response that was begun before the change is not served after it."""
        label = Label.objects.create(slug="responses")
        names = iter(["old", "new"])

        @cached_view(invalidate_on=[Label], tags=["labels"])
        def view(request: HttpRequest) -> HttpResponse:
            said = next(names)
            if said == "old":
                label.save()
            return HttpResponse(said)

        try:
            assert [view(asked()).content for _ in range(3)] == [b"old", b"new", b"new"]
        finally:
            label.delete()

    def test_a_tag_that_moves_while_a_header_is_read_for_the_first_time(self) -> None:
        """The response is stored under another key than was looked up, and is outdated there too."""

        @cached_view(tags=["moving"])
        def view(request: HttpRequest) -> HttpResponse:
            said = request.headers["Accept-Language"]
            calls.append(said)
            if len(calls) == 1:
                invalidate(tags=["moving"])
            return HttpResponse(said)

        calls: list[str] = []
        for _ in range(3):
            view(asked(HTTP_ACCEPT_LANGUAGE="de"))
        assert len(calls) == 2


class TestGrace:
    def test_a_stale_response_is_served_while_the_database_is_out_of_reach(self) -> None:
        """X-Cache says STALE; errors that are answers are raised."""
        errors: list[Exception] = []

        @cached_view(timeout=60, grace=600)
        def view(request: HttpRequest) -> HttpResponse:
            if errors:
                raise errors[0]
            return HttpResponse("page")

        with testing.clock() as clock:
            view(asked())
            clock.advance(61)
            errors.append(Http404("gone"))
            with pytest.raises(Http404):
                view(asked())
            errors[0] = OperationalError("down")
            found = view(asked())
            assert (found.content, found["X-Cache"], found["Age"]) == (b"page", "STALE", "61")
            clock.advance(700)
            with pytest.raises(OperationalError):
                view(asked())

    def test_without_it_the_error_is_the_views(self) -> None:
        """Grace is off by default."""
        errors: list[Exception] = []

        @cached_view(timeout=60)
        def view(request: HttpRequest) -> HttpResponse:
            if errors:
                raise errors[0]
            return HttpResponse("page")

        with testing.clock() as clock:
            view(asked())
            clock.advance(61)
            errors.append(OperationalError("down"))
            with pytest.raises(OperationalError):
                view(asked())


class TestTemplates:
    def test_a_template_response_is_rendered_and_kept(self) -> None:
        """What is looked at while it is rendered counts as looked at."""
        template = engines["django"].from_string("{{ user.username }}{{ said }}")

        def view(request: HttpRequest) -> SimpleTemplateResponse:
            return SimpleTemplateResponse(template, {"user": request.user, "said": "page"})

        for options, status in (({}, "HIT"), ({"per_user": False}, None)):
            decorated = cached_view(**options)(view)
            decorated(asked())
            found = decorated(asked())
            assert (found.content, found.get("X-Cache")) == (b"page", status)


class TestOtherCaches:
    @override_settings(CACHES=LOCMEM)
    def test_any_cache_of_django_holds_responses(self) -> None:
        """Hits, misses and ends of life are the same."""
        view = cached_view(timeout=60)(lambda request: HttpResponse("page"))
        assert [view(asked("/locmem/"))["X-Cache"] for _ in range(2)] == ["MISS", "HIT"]

    @override_settings(CACHES=LOCMEM)
    def test_a_view_with_tags_is_not_cached_where_there_are_none(
        self, caplog: pytest.LogCaptureFixture
    ) -> None:
        """One line says so: a response that nothing could invalidate would be wrong for its whole life."""
        view = cached_view(tags=["one"])(lambda request: HttpResponse("page"))
        assert ["X-Cache" in view(asked()) for _ in range(2)] == [False, False]
        assert [record.message.count("has no tags") for record in caplog.records] == [1]
