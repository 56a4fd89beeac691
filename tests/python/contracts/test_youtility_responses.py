"""Document 004 (YOUTILITY5): its examples of cached views, run as they are printed.

What an example leaves out stands in the prelude of its test.
"""

import json
from collections.abc import Callable, Iterator
from typing import Any

import pytest
from dialect_requests import ANN, BOB, TENANT, asked, own_responses
from django.contrib.auth.mixins import LoginRequiredMixin
from django.contrib.auth.models import User
from django.db import connection
from django.http import HttpRequest, JsonResponse
from django.test import Client, override_settings
from django.test.utils import CaptureQueriesContext
from django.urls import path
from django.utils.decorators import method_decorator
from django.views import View
from document_pages import Example, example
from project.facilities.models import Asset, Job, People, PeopleEventlog
from youtility_site import own_dependencies

from oxicache import testing
from oxicache.compat import youtility
from oxicache.compat.youtility import cache_dashboard_metrics, cache_invalidation_manager

QUERIES = 15  # of a dashboard that is not cached. Source: document 004, "Performance Metrics"


@pytest.fixture(autouse=True)
def _site(django_databases: None) -> Iterator[None]:
    with own_responses(), own_dependencies():
        yield


@pytest.fixture
def row() -> Iterator[Callable[..., Any]]:
    """Make a row, which is deleted when the test ends."""
    made: list[Any] = []

    def create(model: Any) -> Any:
        made.append(model.objects.create(tenant_id=1))
        return made[-1]

    yield create
    for one in made:
        one.delete()


def visit(user: Any = ANN, tenant: int = 1, path: str = "/dashboard/") -> HttpRequest:
    return asked(path, user, {**TENANT, "tenant_id": tenant})


def answers(view: Any, *requests: HttpRequest) -> list[tuple[Any, str | None]]:
    found = [view(request) for request in requests]
    return [(json.loads(response.content), response.get("X-Cache-Status")) for response in found]


class TestViewLevelCaching:
    @example("004", "View-Level Caching")
    def test_dashboard_metrics(self, shown: Example) -> None:
        """004, "View-Level Caching": the method in a view of its own."""
        data = {"people": 3}
        names = shown.run(
            method_decorator=method_decorator,
            JsonResponse=JsonResponse,
            dashboard_data=data,
        )
        view = type("DashboardView", (View,), {"get": names["get"]}).as_view()
        with testing.clock() as clock:
            assert answers(view, visit(), visit()) == [(data, "MISS"), (data, "HIT")]
            clock.advance(15 * 60 + 1)
            assert answers(view, visit()) == [(data, "MISS")]

    def test_a_hit_asks_the_database_nothing(self) -> None:
        """004, "Performance Metrics": 15 queries of a dashboard, and 0 on a hit; session and user are not counted."""

        @cache_dashboard_metrics()
        def dashboard(request: HttpRequest) -> JsonResponse:
            return JsonResponse({"counts": [Asset.objects.filter(pk=pk).count() for pk in range(QUERIES)]})

        counts = []
        for _ in range(2):
            with CaptureQueriesContext(connection) as queries:
                dashboard(visit())
            counts.append(len(queries))
        assert counts == [QUERIES, 0]

    def test_a_hit_of_a_whole_site(self) -> None:
        """As above, with a session and a user in the database: on a hit these two are all that is asked for."""

        @cache_dashboard_metrics()
        def dashboard(request: HttpRequest) -> JsonResponse:
            return JsonResponse({"counts": [Asset.objects.filter(pk=pk).count() for pk in range(QUERIES)]})

        user = User.objects.create_user("dashboard")
        client = Client()
        client.force_login(user)
        session = client.session
        session.update(TENANT)
        session.save()
        asked_for = []
        with override_settings(ROOT_URLCONF=(path("dashboard/", dashboard),)):
            for _ in range(2):
                with CaptureQueriesContext(connection) as queries:
                    client.get("/dashboard/")
                asked_for.append([query["sql"].partition(" FROM ")[2].split()[0] for query in queries])
        missed, hit = asked_for
        assert len([table for table in missed if "facilities" in table]) == QUERIES
        assert hit == ['"django_session"', '"auth_user"']
        user.delete()
        session.delete()

    def test_what_depends_on_a_model_goes_with_its_rows(self, row: Callable[..., Any]) -> None:
        """004, "Intelligent Cache Invalidation": `dashboard:metrics` of the tenant of the row, no other tenant's."""
        cache_invalidation_manager.model_dependencies = {"Asset": {"dashboard:metrics"}}
        calls: list[int] = []

        @cache_dashboard_metrics()
        def dashboard(request: HttpRequest) -> JsonResponse:
            calls.append(1)
            return JsonResponse({"calls": len(calls)})

        for tenant in (1, 2):
            dashboard(visit(tenant=tenant))
        row(Asset)
        found = answers(dashboard, visit(tenant=1), visit(tenant=2))
        assert [status for _, status in found] == ["MISS", "HIT"]


class TestUsageExamples:
    def view(self, shown: Example) -> Any:
        calls: list[int] = []

        def report(request: HttpRequest) -> dict[str, Any]:
            calls.append(1)
            return {"of": request.session["client_id"], "calls": len(calls)}

        names = shown.run(
            LoginRequiredMixin=LoginRequiredMixin,
            View=View,
            method_decorator=method_decorator,
            JsonResponse=JsonResponse,
            generate_monthly_report=report,
        )
        return names["ReportView"].as_view()

    @example("004", "Example 1: Caching an Expensive View")
    def test_caching_an_expensive_view(self, shown: Example) -> None:
        """004, "Example 1": by tenant; the session's client, which the key holds, may be in the report."""
        view = self.view(shown)
        found = answers(view, visit(), visit(), visit(tenant=2))
        assert found == [
            ({"of": 2, "calls": 1}, "MISS"),
            ({"of": 2, "calls": 1}, "HIT"),
            ({"of": 2, "calls": 2}, "MISS"),
        ]

    @example("004", "Example 1: Caching an Expensive View")
    def test_a_login_is_asked_for_on_hits_too(self, shown: Example) -> None:
        """What lies around the cached method runs for each request."""
        view = self.view(shown)
        answers(view, visit())
        assert view(asked("/dashboard/", session=TENANT)).status_code == 302

    @pytest.mark.parametrize("model", [PeopleEventlog, Job])
    @example("004", "Example 1: Caching an Expensive View")
    def test_its_models_invalidate(self, shown: Example, model: Any, row: Callable[..., Any]) -> None:
        """There `invalidate_on` did nothing."""
        view = self.view(shown)
        answers(view, visit())
        row(model)
        assert answers(view, visit())[0][1] == "MISS"

    @example("004", "Example 1: Caching an Expensive View")
    def test_other_models_do_not(self, shown: Example, row: Callable[..., Any]) -> None:
        """A person is neither."""
        view = self.view(shown)
        answers(view, visit())
        row(People)
        assert answers(view, visit())[0][1] == "HIT"


@example("004", "Migrating Existing Views to Use Caching", 2)
def test_migrating_existing_views(shown: Example, row: Callable[..., Any]) -> None:
    """004, "Migrating Existing Views to Use Caching"."""

    class Model:
        class objects:  # noqa: N801 -- as models have it
            @staticmethod
            def expensive_query() -> dict[str, Any]:
                return {"assets": Asset.objects.count()}

    names = shown.run(
        View=View,
        method_decorator=method_decorator,
        JsonResponse=JsonResponse,
        Model=Model,
    )
    view = names["MyView"].as_view()
    before = Asset.objects.count()
    assert answers(view, visit(), visit()) == [({"assets": before}, "MISS"), ({"assets": before}, "HIT")]
    row(Asset)
    assert answers(view, visit()) == [({"assets": before + 1}, "MISS")]


@example("004", "Don'ts")
def test_dont_cache_user_specific_data(shown: Example) -> None:
    """004, "Don'ts": what it calls wrong is right here, since users are told apart unless sharing is asked for."""
    names = shown.run(smart_cache_view=youtility.smart_cache_view, JsonResponse=JsonResponse)
    for view in (names["wrong"], names["user_profile"]):
        found = answers(view, visit(ANN), visit(BOB), visit(ANN))
        assert found == [({"user": 1}, "MISS"), ({"user": 2}, "MISS"), ({"user": 1}, "HIT")]
