"""Document 003 (EnterpriseLand): its examples of cached views and APIs, run as they are printed.

`platform_core.caching` is oxicache.compat.enterpriseland. What an example leaves out stands in the prelude of its test;
no example is corrected.
"""

from collections.abc import Iterator
from typing import Any

import pytest
from dialect_requests import ANN, BOB, asked, bodies, own_responses
from django.http import HttpRequest, HttpResponse, JsonResponse
from document_pages import dialect, run_example

from oxicache import testing
from oxicache.compat import enterpriseland
from oxicache.compat.enterpriseland import cache_manager


@pytest.fixture(autouse=True)
def _site(monkeypatch: pytest.MonkeyPatch, django_databases: None) -> Iterator[None]:
    dialect(monkeypatch, platform_core__caching=enterpriseland)
    with own_responses():
        yield


class TestViewCaching:
    SOURCE = """
from platform_core.caching import cached_view

@cached_view(
    timeout=600,
    key_prefix='dashboard',
    vary_on=['Accept-Language'],
    tags=['dashboard', 'stats']
)
def dashboard_view(request):
    # Expensive dashboard calculations
    return render(request, 'dashboard.html', context)
"""

    def view(self) -> Any:
        pages: list[str] = []

        def render(request: HttpRequest, template: str, context: dict[str, Any]) -> HttpResponse:
            pages.append(template)
            return HttpResponse(f"{template} {context['title']} {len(pages)}")

        return run_example(self.SOURCE, render=render, context={"title": "stats"})["dashboard_view"]

    def test_view_caching(self) -> None:
        """003, "View Caching": for 600 s, by language."""
        view = self.view()
        requests = [asked(HTTP_ACCEPT_LANGUAGE=name) for name in ("en", "de", "en")]
        with testing.clock() as clock:
            assert bodies(view, *requests) == [f"dashboard.html stats {number}" for number in (1, 2, 1)]
            clock.advance(599)
            assert view(requests[0])["X-Cache"] == "HIT"
            clock.advance(2)
            assert view(requests[0])["X-Cache"] == "MISS"

    def test_its_tags_are_invalidated(self) -> None:
        """003, "Cache Invalidation": by either tag; there nothing was deleted."""
        view = self.view()
        for tag in ("dashboard", "stats"):
            view(asked())
            assert view(asked())["X-Cache"] == "HIT"
            cache_manager.invalidate("tag", tags=[tag])
            assert view(asked())["X-Cache"] == "MISS"
        cache_manager.invalidate("smart", context={"tags": ["stats"]})
        assert view(asked())["X-Cache"] == "MISS"


def test_api_caching() -> None:
    """003, "API Caching": by user and by parameters; an error is not kept."""
    answers: list[dict[str, Any]] = []

    def respond(data: dict[str, Any]) -> HttpResponse:
        answers.append(data)
        return JsonResponse({**data, "number": len(answers)}, status=data.get("status", 200))

    data: dict[str, Any] = {"a": 1}
    source = """
from platform_core.caching import cached_api

@cached_api(
    timeout=300,
    vary_on_auth=True,
    vary_on_params=True,
    cache_errors=False
)
def api_endpoint(request):
    # API logic
    return JsonResponse(data)
"""
    view = run_example(source, JsonResponse=respond, data=data)["api_endpoint"]
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


def test_conditional_caching() -> None:
    """003, "Conditional Caching": staff is answered by the view, and alice's page is not bob's."""
    calls: list[str] = []

    def logic(request: HttpRequest) -> HttpResponse:
        calls.append(request.user.username)
        return HttpResponse(f"page of {request.user.username}")

    source = """
from platform_core.caching import conditional_cache

@conditional_cache(
    condition_func=lambda request: not request.user.is_staff,
    timeout=300
)
def public_view(request):
    # Only cache for non-staff users
    return expensive_view_logic(request)
"""
    view = run_example(source, expensive_view_logic=logic)["public_view"]
    carl = type(ANN)(pk=3, username="carl")
    requests = [asked(user=one) for one in (ANN, carl, BOB, BOB, ANN, carl)]
    assert bodies(view, *requests) == [
        f"page of {name}" for name in ("ann", "carl", "bob", "bob", "ann", "carl")
    ]
    assert calls == ["ann", "carl", "bob", "bob"]
