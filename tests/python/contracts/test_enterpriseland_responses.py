"""Document 003 (EnterpriseLand): its examples of cached views and APIs, run as they are printed.

`platform_core.caching` is oxicache.compat.enterpriseland. What an example leaves out stands in the prelude of its test;
no example is corrected.
"""

from collections.abc import Iterator
from typing import Any

import pytest
from dialect_requests import ANN, BOB, asked, bodies, own_responses
from django.http import HttpRequest, HttpResponse, JsonResponse
from document_pages import Example, example

from oxicache import testing
from oxicache.compat.enterpriseland import cache_manager


@pytest.fixture(autouse=True)
def _site(django_databases: None) -> Iterator[None]:
    with own_responses():
        yield


class TestViewCaching:
    def view(self, shown: Example) -> Any:
        pages: list[str] = []

        def render(request: HttpRequest, template: str, context: dict[str, Any]) -> HttpResponse:
            pages.append(template)
            return HttpResponse(f"{template} {context['title']} {len(pages)}")

        return shown.run(render=render, context={"title": "stats"})["dashboard_view"]

    @example("003", "View Caching")
    def test_view_caching(self, shown: Example) -> None:
        """003, "View Caching": for 600 s, by language."""
        view = self.view(shown)
        requests = [asked(HTTP_ACCEPT_LANGUAGE=name) for name in ("en", "de", "en")]
        with testing.clock() as clock:
            assert bodies(view, *requests) == [f"dashboard.html stats {number}" for number in (1, 2, 1)]
            clock.advance(599)
            assert view(requests[0])["X-Cache"] == "HIT"
            clock.advance(2)
            assert view(requests[0])["X-Cache"] == "MISS"

    @example("003", "View Caching")
    def test_its_tags_are_invalidated(self, shown: Example) -> None:
        """003, "Cache Invalidation": by either tag; there nothing was deleted."""
        view = self.view(shown)
        for tag in ("dashboard", "stats"):
            view(asked())
            assert view(asked())["X-Cache"] == "HIT"
            cache_manager.invalidate("tag", tags=[tag])
            assert view(asked())["X-Cache"] == "MISS"
        cache_manager.invalidate("smart", context={"tags": ["stats"]})
        assert view(asked())["X-Cache"] == "MISS"


@example("003", "API Caching")
def test_api_caching(shown: Example) -> None:
    """003, "API Caching": by user and by parameters; an error is not kept."""
    answers: list[dict[str, Any]] = []

    def respond(data: dict[str, Any]) -> HttpResponse:
        answers.append(data)
        return JsonResponse({**data, "number": len(answers)}, status=data.get("status", 200))

    data: dict[str, Any] = {"a": 1}
    view = shown.run(JsonResponse=respond, data=data)["api_endpoint"]
    paths = [
        asked("/?a=1&a=2", ANN),
        asked("/?a=3&a=2", ANN),
        asked("/?a=1&a=2", BOB),
        asked("/?a=1&a=2", ANN),
    ]
    assert [view(request)["X-Cache"] for request in paths] == ["MISS", "MISS", "MISS", "HIT"]
    data["status"] = 500
    failing = [view(asked("/failing/")) for _ in range(2)]
    assert [(one.status_code, one.has_header("X-Cache")) for one in failing] == [(500, False)] * 2


@example("003", "3. Conditional Caching")
def test_conditional_caching(shown: Example) -> None:
    """003, "Conditional Caching": staff is answered by the view, and alice's page is not bob's."""
    calls: list[str] = []

    def logic(request: HttpRequest) -> HttpResponse:
        calls.append(request.user.username)
        return HttpResponse(f"page of {request.user.username}")

    view = shown.run(expensive_view_logic=logic)["public_view"]
    carl = type(ANN)(pk=3, username="carl")
    requests = [asked(user=one) for one in (ANN, carl, BOB, BOB, ANN, carl)]
    assert bodies(view, *requests) == [
        f"page of {name}" for name in ("ann", "carl", "bob", "bob", "ann", "carl")
    ]
    assert calls == ["ann", "carl", "bob", "bob"]
