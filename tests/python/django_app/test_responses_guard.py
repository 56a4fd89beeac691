"""The leak guard of `cached_view`: a view that looks at what its key does not hold is not cached."""

import asyncio
from collections.abc import Callable, Iterator
from typing import Any

import pytest
from asked_views import Session, cached
from django.contrib.auth.models import AnonymousUser, User
from django.http import HttpRequest, HttpResponse
from django.middleware.csrf import get_token
from django.test import RequestFactory, override_settings
from django.utils import translation
from django.utils.functional import SimpleLazyObject
from django.views.decorators.vary import vary_on_cookie, vary_on_headers

from oxicache import testing
from oxicache.django.responses import cached_view
from oxicache.django.scope import Scope
from oxicache.errors import LeakError

NATIVE = {"default": {"BACKEND": "oxicache.django.backends.NativeCache", "LOCATION": "responses"}}
ANN, BOB = User(pk=1, username="ann"), User(pk=2, username="bob")


@pytest.fixture(autouse=True)
def _caches() -> Iterator[None]:
    with override_settings(CACHES=NATIVE):
        yield


def asked(
    user: User | None = None, session: dict[str, Any] | None = None, path: str = "/page/", **extra: Any
) -> HttpRequest:
    """A GET as the middleware leaves it, of a visitor who is logged in, has a session, or neither."""
    request = RequestFactory().get(path, **extra)
    content = dict(session or {}, **({"_auth_user_id": "1"} if user else {}))
    request.session = Session(content)
    if content:
        request.COOKIES["sessionid"] = "key"

    def load() -> Any:
        request.session.get("_auth_user_id")
        return user or AnonymousUser()

    request.user = SimpleLazyObject(load)  # type: ignore[assignment]
    return request


class TestUsers:
    def test_a_shared_view_that_looks_at_the_user_is_not_cached(
        self, caplog: pytest.LogCaptureFixture
    ) -> None:
        """`per_user=False` over `request.user` gives each visitor his own response, and one warning."""
        ask = cached(lambda request: request.user.username, per_user=False)
        assert [ask(asked(user)) for user in (ANN, BOB, ANN, None)] == ["ann 1", "bob 2", "ann 3", " 4"]
        assert ["looks at user" in record.message for record in caplog.records] == [True]

    def test_a_user_who_was_known_before_is_noticed_too(self) -> None:
        """Middleware may have loaded the user: the guard notes the look, not the loading."""
        ask = cached(lambda request: request.user.username, per_user=False)
        for number, user in enumerate((ANN, BOB), 1):
            request = asked(user)
            assert request.user.is_authenticated
            assert ask(request) == f"{user.username} {number}"
        request = asked()
        request.user = BOB
        assert ask(request) == "bob 3"

    def test_strict_makes_it_an_error(self) -> None:
        """Inside `oxicache.testing.strict()` the view raises LeakError, which names what it looked at."""
        ask = cached(lambda request: request.user.username, per_user=False)
        with testing.strict(), pytest.raises(LeakError, match="looks at user"):
            ask(asked(ANN))
        assert ask(asked(ANN)) == "ann 2"

    def test_a_shared_view_that_does_not_look_is_shared(self) -> None:
        """One entry for all who ask."""
        ask = cached(lambda _: "page", per_user=False)
        assert {ask(asked(user)) for user in (ANN, BOB, None)} == {"page 1"}

    def test_what_the_key_function_reads_is_in_the_key(self) -> None:
        """A view may look at the user where `key_func` has."""
        ask = cached(
            lambda request: request.user.username,
            per_user=False,
            key_func=lambda request: request.user.username,
        )
        assert [ask(asked(user)) for user in (ANN, BOB, ANN)] == ["ann 1", "bob 2", "ann 1"]

    def test_a_view_inside_knows_who_is_known_by_something_else(self) -> None:
        """A user whom a middleware has set is no anonymous visitor to a cached view that another one calls either."""
        inner = cached_view()(lambda request: HttpResponse(request.user.username))
        outer = cached_view()(lambda request: HttpResponse(b"<" + inner(request).content + b">"))
        answers = []
        for user in (None, ANN, BOB):
            request = asked()
            if user is not None:
                request.user = user
            answers.append(outer(request).content)
        assert answers == [b"<>", b"<ann>", b"<bob>"]

    def test_who_is_known_by_something_else_than_a_session(self) -> None:
        """A middleware may know a user by a header: he is nobody to the key, and somebody to the view."""

        def remote(name: str) -> HttpRequest:
            request = RequestFactory().get("/page/", HTTP_X_USER=name)
            request.user = SimpleLazyObject(lambda: {"ann": ANN, "bob": BOB}[name])  # type: ignore[assignment]
            return request

        ask = cached(lambda request: request.user.username)
        assert [ask(remote(name)) for name in ("ann", "bob", "ann")] == ["ann 1", "bob 2", "ann 3"]

    def test_the_request_has_its_own_user_again_afterwards(self) -> None:
        """The stand-ins are gone when the view has returned, and what it set is there."""

        def say(request: HttpRequest) -> str:
            request.META["SET_BY_VIEW"] = "yes"
            request.session.get("a")
            return str(request.user)

        ask = cached(say)
        request = asked()
        user, meta = vars(request)["user"], request.META
        ask(request)
        assert vars(request)["user"] is user
        assert request.META is meta
        assert request.META["SET_BY_VIEW"] == "yes"
        assert request.session.accessed
        assert type(request.COOKIES) is dict


class TestSessions:
    def test_that_a_session_was_looked_at_before_is_not_forgotten(self) -> None:
        """Its middleware adds `Vary: Cookie` for it."""
        ask = cached(lambda _: "page")
        request = asked()
        request.session.get("tenant")
        ask(request)
        assert request.session.accessed

    def test_what_stands_in_a_session_reaches_nobody_else(self) -> None:
        """A guest's cart is not cached, and a guest never gets the page of a visitor without a session."""
        ask = cached(lambda request: request.session.get("cart", "empty"))
        sessions: list[dict[str, Any] | None] = [None, {"cart": "a"}, {"cart": "b"}, None, {"cart": "a"}]
        assert [ask(asked(session=one)) for one in sessions] == ["empty 1", "a 2", "b 3", "empty 1", "a 4"]

    def test_a_users_session_is_not_the_user(self) -> None:
        """One user may have two sessions: what a view reads there is not in the key."""
        ask = cached(lambda request: request.session["theme"])
        assert [ask(asked(ANN, {"theme": theme})) for theme in ("dark", "light")] == ["dark 1", "light 2"]

    def test_a_view_that_writes_a_session_is_not_cached(self) -> None:
        """A hit would leave out what the view wrote."""

        def say(request: HttpRequest) -> str:
            request.session["seen"] = True
            return "page"

        ask = cached(say)
        assert [ask(asked()), ask(asked())] == ["page 1", "page 2"]


class TestCookiesAndHeaders:
    def test_a_cookie_that_is_read(self) -> None:
        """Those who have it get their own each time; those who lack it share an entry."""

        def with_theme(theme: str | None) -> HttpRequest:
            request = asked()
            request.COOKIES |= {"theme": theme} if theme else {}
            return request

        ask = cached(lambda request: request.COOKIES.get("theme", "none"))
        themes = [None, "dark", None, "light", "dark"]
        assert [ask(with_theme(theme)) for theme in themes] == [
            "none 1",
            "dark 2",
            "none 1",
            "light 3",
            "dark 4",
        ]

    @pytest.mark.parametrize(
        "read",
        [
            lambda request: request.headers.get("Accept-Language", "none"),
            lambda request: request.META.get("HTTP_ACCEPT_LANGUAGE", "none"),
            lambda request: request.environ.get("HTTP_ACCEPT_LANGUAGE", "none"),
        ],
        ids=["headers", "META", "environ"],
    )
    def test_a_header_that_is_read_is_in_the_key(self, read: Callable[[HttpRequest], str]) -> None:
        """From the first look on each value has its own entry."""
        ask = cached(read)
        said = [ask(asked(HTTP_ACCEPT_LANGUAGE=one)) for one in ("de", "en", "de", "en")] + [ask(asked())]
        assert said == ["de 1", "en 2", "de 1", "en 2", "none 3"]

    def test_what_a_request_accepts_is_in_the_key(self) -> None:
        """`request.accepts` reads the header, also where a middleware has asked it before."""
        ask = cached(lambda request: request.accepts("application/json"))
        for accept, said in (
            ("text/html", "False 1"),
            ("application/json", "True 2"),
            ("text/html", "False 1"),
        ):
            request = asked(HTTP_ACCEPT=accept)
            request.accepts("image/png")
            assert ask(request) == said

    def test_a_header_that_is_not_read_is_not_in_the_key(self) -> None:
        """Browsers that differ share what does not depend on it."""
        ask = cached(lambda _: "page")
        assert {ask(asked(HTTP_USER_AGENT=agent)) for agent in ("a", "b")} == {"page 1"}

    def test_vary_names_headers_too(self) -> None:
        """`vary_on=` and the response's own Vary count as read."""
        plain = cached_view(vary_on=["X-Unit"])(
            lambda request: HttpResponse(request.META.get("HTTP_HOST", ""))
        )
        assert [plain(asked(HTTP_X_UNIT=unit))["X-Cache"] for unit in "aba"] == ["MISS", "MISS", "HIT"]
        said = cached_view()(vary_on_headers("X-Unit")(lambda _: HttpResponse("x")))
        assert [said(asked(HTTP_X_UNIT=unit))["X-Cache"] for unit in "aba"] == ["MISS", "MISS", "HIT"]

    def test_vary_cookie_on_a_shared_view(self) -> None:
        """A response that says it depends on cookies is not shared among users."""
        view = cached_view(per_user=False)(vary_on_cookie(lambda _: HttpResponse("x")))
        assert "X-Cache" not in view(asked())

    def test_all_headers_at_once_are_too_much(self) -> None:
        """A view that goes through all headers depends on all of them."""
        ask = cached(lambda request: len(dict(request.headers.items())))
        assert ask(asked()) != ask(asked())

    def test_a_request_with_authorization_is_not_cached(self) -> None:
        """Neither stored nor served, unless `scope=` says whose it is."""
        ask = cached(lambda request: request.headers.get("Authorization", "nobody"))
        asks = [asked(HTTP_AUTHORIZATION="Bearer a"), asked(), asked(HTTP_AUTHORIZATION="Bearer a"), asked()]
        assert [ask(one) for one in asks] == ["Bearer a 1", "nobody 2", "Bearer a 3", "nobody 2"]

    def test_a_scope_says_whose_a_request_with_authorization_is(self) -> None:
        """Its answer is in the key; None caches nothing."""

        def whose(request: HttpRequest) -> Any:
            return {"Bearer a": "ann", "Bearer b": Scope(user="bob")}.get(request.headers["Authorization"])

        ask = cached(lambda request: request.headers["Authorization"], scope=whose)
        tokens = ["Bearer a", "Bearer b", "Bearer a", "Bearer b", "Bearer c", "Bearer c"]
        said = [ask(asked(HTTP_AUTHORIZATION=token)) for token in tokens]
        assert said == ["Bearer a 1", "Bearer b 2", "Bearer a 1", "Bearer b 2", "Bearer c 3", "Bearer c 4"]


class TestTheRest:
    def test_a_csrf_token_is_for_one_visitor(self) -> None:
        """A page with a form is not cached."""
        ask = cached(get_token)
        first, second = asked(), asked()
        assert ask(first).split()[1] == "1"
        assert ask(second).split()[1] == "2"
        assert first.META["CSRF_COOKIE_NEEDS_UPDATE"]

    def test_each_language_has_its_entry(self) -> None:
        """The language that is active before the view is in the key; one that it activates is not cached."""
        ask = cached(lambda _: translation.get_language())
        for language in ("de", "en", "de"):
            with translation.override(language):
                assert ask(asked()) == {"de": "de 1", "en": "en 2"}[language]
        activating = cached(lambda _: translation.activate("fr"))
        with translation.override("en"):
            assert activating(asked()) == "None 1"
        with translation.override("en"):
            assert activating(asked()) == "None 2"

    def test_tenants_are_apart_and_none_is_nobody(self, caplog: pytest.LogCaptureFixture) -> None:
        """The setting TENANT is asked; where it does not know, nothing is cached."""
        ask = cached(lambda request: request.META.get("tenant"), vary_on=[])
        tenant = {"TENANT": lambda request: vars(request).get("tenant")}

        def of(number: int | None) -> HttpRequest:
            request = asked()
            request.tenant = number  # type: ignore[attr-defined]
            return request

        with override_settings(OXICACHE=tenant):
            assert [ask(of(number)) for number in (1, 2, 1, 0, 0, None, None)] == [
                f"None {number}" for number in (1, 2, 1, 3, 3, 4, 5)
            ]
        assert [record.message.partition(": ")[2] for record in caplog.records] == [
            "nobody knows its tenant: let OXICACHE['TENANT'] say it, or per_tenant=False leave it out."
        ]

    def test_anonymous_visitors_can_be_left_out(self) -> None:
        """`cache_anonymous=False` caches for users alone."""
        ask = cached(lambda _: "page", cache_anonymous=False)
        assert [ask(asked(user)) for user in (None, None, ANN, ANN)] == [
            "page 1",
            "page 2",
            "page 3",
            "page 3",
        ]

    def test_a_condition_decides(self) -> None:
        """Where it is false the view is asked, and what it says is not kept."""
        ask = cached(lambda _: "page", condition_func=lambda request: "draft" not in request.GET)
        paths = ["/?draft=1", "/?draft=1", "/", "/"]
        assert [ask(asked(path=path)) for path in paths] == ["page 1", "page 2", "page 3", "page 3"]

    def test_a_cached_view_may_call_another(self) -> None:
        """What the inner one looks at, the outer one looks at too, whether the inner one is a hit or not."""
        inner = cached_view()(lambda request: HttpResponse(request.user.username))
        ask = cached(lambda request: inner(request).content.decode(), per_user=False)
        said = [ask(asked(user)) for user in (ANN, BOB, ANN)]
        assert said == ["ann 1", "bob 2", "ann 3"]

    def test_an_inner_view_reads_for_the_outer_one(self) -> None:
        """A cookie that is there, and one that is not, count for both."""
        inner = cached_view()(lambda request: HttpResponse(request.COOKIES.get("theme", "none")))
        ask = cached(lambda request: inner(request).content.decode())
        said = []
        for theme in ("dark", "light", None, "dark", None):
            request = asked()
            request.COOKIES |= {"theme": theme} if theme else {}
            said.append(ask(request))
        assert said == ["dark 1", "light 2", "none 3", "dark 4", "none 3"]

    def test_an_inner_view_reads_headers_for_the_outer_one(self) -> None:
        """From the first request on."""
        inner = cached_view()(lambda request: HttpResponse(request.headers["Accept-Language"]))
        ask = cached(lambda request: inner(request).content.decode())
        said = [ask(asked(HTTP_ACCEPT_LANGUAGE=one)) for one in ("de", "en", "de")]
        assert said == ["de 1", "en 2", "de 1"]

    def test_an_async_view_is_guarded_alike(self) -> None:
        """`await request.auser()` is a look at the user."""

        @cached_view(per_user=False)
        async def view(request: HttpRequest) -> HttpResponse:
            return HttpResponse((await request.auser()).username)

        def of(user: User) -> HttpRequest:
            request = asked(user)

            async def auser() -> User:
                return user

            request.auser = auser  # type: ignore[attr-defined]
            return request

        assert [asyncio.run(view(of(user))).content for user in (ANN, BOB)] == [b"ann", b"bob"]
