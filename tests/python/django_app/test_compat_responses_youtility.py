"""Document 004 (YOUTILITY5): what its decorators of views got wrong, at the names they have here."""

import asyncio
from collections.abc import Iterator
from typing import Any

import pytest
from dialect_requests import ANN, BOB, Counter, asked, bodies, own_responses, statuses, visit
from django.http import HttpRequest, HttpResponse, HttpResponseRedirect, JsonResponse
from django.middleware.csrf import get_token
from django.test import override_settings
from django.utils.decorators import method_decorator
from django.views import View

from oxicache import testing
from oxicache.compat import youtility
from oxicache.compat.youtility import (
    cache_dashboard_metrics,
    invalidate_cache_pattern,
    smart_cache_view,
)


@pytest.fixture(autouse=True)
def _caches() -> Iterator[None]:
    with own_responses():
        yield


class TestKeys:
    def test_two_paths_are_two_pages(self) -> None:
        """There the path was not in the key."""
        view = smart_cache_view(key_prefix="report")(Counter(lambda request: request.path))
        assert bodies(view, visit("/a/"), visit("/b/"), visit("/a/")) == ["/a/ 1", "/b/ 2", "/a/ 1"]

    def test_two_views_with_one_prefix_are_two_views(self) -> None:
        """There all users of `cache_dashboard_metrics` shared one response."""
        views = [cache_dashboard_metrics()(Counter(lambda _, said=said: said)) for said in ("one", "two")]
        assert [bodies(view, visit()) for view in views] == [["one 1"], ["two 1"]]

    def test_headers_that_are_named_count(self) -> None:
        """There `vary_headers` was not in the key: a German reader got English."""
        view = smart_cache_view(vary_headers=["Accept-Language"])(Counter())
        languages = [visit(HTTP_ACCEPT_LANGUAGE=name) for name in ("en", "de", "en")]
        assert bodies(view, *languages) == ["page 1", "page 2", "page 1"]

    def test_all_values_of_a_parameter_count(self) -> None:
        """There the last one alone did."""
        view = smart_cache_view()(Counter(lambda request: "".join(request.GET.getlist("a"))))
        assert bodies(view, visit("/?a=1&a=2"), visit("/?a=3&a=2")) == ["12 1", "32 2"]

    def test_what_scripts_add_counts_for_nothing(self) -> None:
        """`_`, `nocache` and `timestamp` are dropped, and the others stay."""
        view = smart_cache_view()(Counter())
        paths = ["/?a=1", "/?a=1&_=17", "/?nocache=1&a=1", "/?timestamp=5&a=1&_=2", "/?a=2"]
        assert bodies(view, *map(visit, paths)) == ["page 1"] * 4 + ["page 2"]

    def test_arguments_of_the_url_count(self) -> None:
        """By position and by name."""
        view = smart_cache_view(key_prefix="p")(Counter())
        answers = [view(visit(), *args, **kwargs).content for args, kwargs in (((1,), {}), ((), {"pk": 1}))]
        assert answers == [b"page 1", b"page 2"]


class TestTenants:
    def test_tenants_share_nothing(self) -> None:
        """Whoever they are: tenant, client and unit of the session begin the key."""
        view = smart_cache_view(per_user=False)(Counter())
        assert bodies(view, visit(tenant=1), visit(tenant=2), visit(tenant=1)) == [
            "page 1",
            "page 2",
            "page 1",
        ]

    def test_a_missing_tenant_is_nobodys(self, caplog: pytest.LogCaptureFixture) -> None:
        """There it was tenant 1, whose pages a visitor without a session got."""
        view = smart_cache_view(per_user=False)(Counter())
        assert bodies(view, visit(tenant=1), asked(), asked(user=ANN)) == ["page 1", "page 2", "page 3"]
        assert ["tenant" in record.message for record in caplog.records] == [True]

    def test_tenant_0_is_a_tenant(self) -> None:
        """There it was taken for a missing one, which was tenant 1."""
        view = smart_cache_view(per_user=False)(Counter())
        assert bodies(view, visit(tenant=1), visit(tenant=0), visit(tenant=0)) == [
            "page 1",
            "page 2",
            "page 2",
        ]

    def test_what_has_no_tenant_says_so(self) -> None:
        """`per_tenant=False` asks no session."""
        view = smart_cache_view(per_tenant=False)(Counter())
        assert statuses(view, asked(), visit(tenant=None), asked()) == ["MISS", "HIT", "HIT"]

    def test_the_settings_come_first(self) -> None:
        """TENANT, where a project has it, says whose a page is; of its client and unit the session does."""

        def tenant(request: HttpRequest) -> str:
            return request.headers["X-Tenant"]

        with override_settings(OXICACHE={"TENANT": tenant}):
            view = smart_cache_view(per_user=False)(Counter())
            requests = [
                visit(HTTP_X_TENANT="a"),
                visit(HTTP_X_TENANT="b"),
                visit(HTTP_X_TENANT="a", tenant=2),
            ]
            assert bodies(view, *requests) == ["page 1", "page 2", "page 1"]

    def test_a_view_may_look_at_the_tenant_of_its_session(self) -> None:
        """What the key has of the session is no leak; the rest of a session is."""
        view = smart_cache_view()(Counter(lambda request: f"of {request.session['tenant_id']}"))
        assert bodies(view, visit(tenant=1), visit(tenant=2), visit(tenant=1)) == [
            "of 1 1",
            "of 2 2",
            "of 1 1",
        ]
        cart = smart_cache_view()(Counter(lambda request: f"cart {request.session.get('cart')}"))
        assert statuses(cart, visit(), visit()) == [None, None]

    def test_the_tenants_pages_go_by_pattern(self) -> None:
        """The prefix stands in the key as it is written, so `dashboard:metrics` finds it; other tenants keep theirs."""
        view = cache_dashboard_metrics()(Counter())
        bodies(view, visit(tenant=1), visit(tenant=2), visit(tenant=1, user=ANN))
        assert invalidate_cache_pattern("dashboard:metrics", tenant_id=1)["keys_cleared"] == 2
        requests = [visit(tenant=1), visit(tenant=2), visit(tenant=1, user=ANN)]
        assert statuses(view, *requests) == ["MISS", "HIT", "MISS"]


class TestUsers:
    def test_omitted_tells_users_apart(self) -> None:
        """The document calls `@smart_cache_view(timeout=300)` over a user's page wrong, for it leaked."""
        view = smart_cache_view(timeout=300)(Counter(lambda request: request.user.username))
        requests = [visit(user=ANN), visit(user=BOB), visit(user=ANN), visit()]
        assert bodies(view, *requests) == ["ann 1", "bob 2", "ann 1", " 3"]

    def test_false_shares_within_the_tenant(self) -> None:
        """One entry for all of a tenant, as long as the view does not look at who asks."""
        view = smart_cache_view(per_user=False)(Counter())
        assert bodies(view, visit(user=ANN), visit(user=BOB), visit()) == ["page 1"] * 3
        looking = smart_cache_view(per_user=False)(Counter(lambda request: request.user.username))
        assert bodies(looking, visit(user=ANN), visit(user=BOB)) == ["ann 1", "bob 2"]

    def test_true_keeps_visitors_apart_from_users(self) -> None:
        """There an anonymous visitor's key was the tenant's, which every user of the tenant might fill."""
        shared = Counter()
        views = [smart_cache_view(per_user=per_user, key_prefix="p")(shared) for per_user in (False, True)]
        assert [bodies(view, visit())[0] for view in views] == ["page 1", "page 2"]
        own = smart_cache_view(per_user=True)(Counter(lambda request: request.user.username))
        assert bodies(own, visit(user=ANN), visit(), visit(user=ANN)) == ["ann 1", " 2", "ann 1"]

    @pytest.mark.parametrize("per_user", [None, True, False])
    def test_without_anonymous_visitors(self, per_user: bool | None) -> None:
        """There `cache_anonymous=False` passed over those who were logged in, and kept the others' pages."""
        view = smart_cache_view(cache_anonymous=False, per_user=per_user)(Counter())
        assert statuses(view, visit(user=ANN), visit(user=ANN), visit(), visit()) == [
            "MISS",
            "HIT",
            None,
            None,
        ]


class TestResponses:
    def test_what_the_header_says(self) -> None:
        """`X-Cache-Status` is MISS, then HIT; absent where the cache was passed by; there is no X-Cache."""
        view = smart_cache_view()(Counter())
        first, second = view(visit()), view(visit())
        assert (first["X-Cache-Status"], second["X-Cache-Status"]) == ("MISS", "HIT")
        assert not first.has_header("X-Cache")
        assert not second.has_header("X-Cache")
        assert statuses(view, visit(method="POST")) == [None]

    def test_errors_are_not_kept(self) -> None:
        """There a 500 was served as HIT."""
        view = smart_cache_view()(Counter(lambda _: JsonResponse({}, status=500)))
        assert statuses(view, visit(), visit()) == [None, None]

    def test_head_does_not_poison_get(self) -> None:
        """There HEAD stored its empty body, and GET got that."""
        view = smart_cache_view()(Counter())
        view(visit(method="HEAD"))
        assert bodies(view, visit(), visit()) == ["page 2", "page 2"]
        assert statuses(view, visit(method="HEAD")) == ["HIT"]

    def test_bytes_come_back_as_they_were(self) -> None:
        """There a body that is no text raised NameError."""
        picture = bytes(range(256))
        view = smart_cache_view()(Counter(lambda _: HttpResponse(picture, content_type="image/png")))
        answers = [view(visit()) for _ in range(2)]
        assert [answer.content for answer in answers] == [picture] * 2
        assert answers[1]["Content-Type"] == "image/png"

    def test_what_belongs_to_one_visitor_is_not_kept(self) -> None:
        """A redirect, a cookie, and a page with a CSRF token: there all of them were."""

        def with_cookie(_: HttpRequest) -> HttpResponse:
            response = HttpResponse("page")
            response.set_cookie("a", "b")
            return response

        says = (
            lambda _: HttpResponseRedirect("/"),
            with_cookie,
            lambda request: HttpResponse(get_token(request)),
        )
        for say in says:
            view = smart_cache_view()(Counter(say))
            assert statuses(view, visit(), visit()) == [None, None]


class TestTimeouts:
    @pytest.mark.parametrize(
        ("prefix", "seconds"),
        [
            ("dashboard:metrics", 900),
            ("form:choices", 7200),
            ("asset:status", 300),
            ("", 1800),
            ("else", 1800),
        ],
    )
    def test_the_prefix_names_one(self, prefix: str, seconds: int) -> None:
        """`dashboard:metrics` is CACHE_TIMEOUTS["DASHBOARD_METRICS"]; what has no name there is half an hour."""
        with testing.clock() as clock:
            view = smart_cache_view(key_prefix=prefix)(Counter())
            view(visit())
            clock.advance(seconds - 1)
            assert statuses(view, visit()) == ["HIT"]
            clock.advance(2)
            assert statuses(view, visit()) == ["MISS"]

    def test_the_setting_goes_over_the_presets(self) -> None:
        """It is read for each response, and what it does not name stays."""
        view = smart_cache_view(key_prefix="asset:status")(Counter())
        with testing.clock() as clock, override_settings(CACHE_TIMEOUTS={"ASSET_STATUS": 10}):
            assert youtility.CACHE_TIMEOUTS["FORM_CHOICES"] == 7200
            view(visit())
            clock.advance(11)
            assert statuses(view, visit()) == ["MISS"]

    def test_what_is_given_counts(self) -> None:
        """Whatever the prefix."""
        with testing.clock() as clock:
            view = cache_dashboard_metrics(timeout=60)(Counter())
            view(visit())
            clock.advance(61)
            assert statuses(view, visit()) == ["MISS"]


class TestFaces:
    def test_functions_and_methods(self) -> None:
        """A function, a method, a method through method_decorator, and what each tells of itself."""
        decorate = smart_cache_view(
            timeout=60, key_prefix="face", per_user=False, invalidate_on=["auth.Group"]
        )
        config = {
            "key_prefix": "face",
            "per_user": False,
            "per_tenant": True,
            "invalidate_on": ["auth.Group"],
        }

        @decorate
        def function(request: HttpRequest) -> HttpResponse:
            return HttpResponse("function")

        class Plain(View):
            @decorate
            def get(self, request: HttpRequest) -> HttpResponse:
                return HttpResponse("plain")

        class Decorated(View):
            @method_decorator(decorate)
            def get(self, request: HttpRequest) -> HttpResponse:
                return HttpResponse("decorated")

        for view in (function, Plain.as_view(), Decorated.as_view()):
            assert statuses(view, visit(), visit()) == ["MISS", "HIT"]
        for one in (function, Plain.get, Decorated.get):
            assert one._cache_config == config  # type: ignore[attr-defined]

    def test_async_views(self) -> None:
        """Functions and methods, these through method_decorator too."""

        @smart_cache_view()
        async def function(request: HttpRequest) -> HttpResponse:
            return HttpResponse("function")

        class Plain(View):
            @smart_cache_view()
            async def get(self, request: HttpRequest) -> HttpResponse:
                return HttpResponse("plain")

        class Decorated(View):
            @method_decorator(smart_cache_view())
            async def get(self, request: HttpRequest) -> HttpResponse:
                return HttpResponse("decorated")

        async def ask(view: Any) -> list[str]:
            return [(await view(visit()))["X-Cache-Status"] for _ in range(2)]

        for view in (function, Plain.as_view(), Decorated.as_view()):
            assert asyncio.run(ask(view)) == ["MISS", "HIT"]

    @pytest.mark.parametrize(
        "wrong", [{"timeout": -1}, {"key_prefix": 1}, {"per_user": 1}, {"vary_headers": "A"}]
    )
    def test_wrong_arguments_are_named(self, wrong: dict[str, Any]) -> None:
        """Where the view is decorated."""
        (name,) = wrong
        with pytest.raises((TypeError, ValueError), match=name):
            smart_cache_view(**wrong)
