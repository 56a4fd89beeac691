"""What middleware sets on a request: a view that looks at it has it in its key, or is not cached."""

import asyncio
from collections.abc import Callable, Iterator
from typing import Any

import pytest
from asked_views import Session, cached
from django.contrib.auth.models import AnonymousUser, Group
from django.core.handlers.wsgi import WSGIRequest
from django.http import HttpRequest, HttpResponse
from django.test import AsyncRequestFactory, RequestFactory, override_settings
from django.utils.functional import SimpleLazyObject

from oxicache import testing
from oxicache.django.responses import cached_view
from oxicache.errors import LeakError

NATIVE = {"default": {"BACKEND": "oxicache.django.backends.NativeCache", "LOCATION": "responses"}}
GONE = object()


class Plain:
    """Something that has no text of its own."""

    def __init__(self, pk: int) -> None:
        self.pk = pk
        self.name = f"plain {pk}"


@pytest.fixture(autouse=True)
def _caches() -> Iterator[None]:
    with override_settings(CACHES=NATIVE):
        yield


def asked(path: str = "/page/", **attributes: Any) -> HttpRequest:
    """A GET as a middleware leaves it that has set these attributes."""
    request = RequestFactory().get(path)
    request.user = AnonymousUser()
    vars(request).update(attributes)
    return request


class TestInTheKey:
    @pytest.mark.parametrize(
        ("one", "other"),
        [
            ("a", "b"),
            (1, "1"),
            (1, True),
            (None, "none"),
            (Group(pk=1), Group(pk=2)),
            (["a"], ["b"]),
            (SimpleLazyObject(lambda: "a"), SimpleLazyObject(lambda: "b")),
            ("~absent", GONE),
        ],
        ids=["text", "number and text", "number and switch", "nothing", "rows", "lists", "lazy", "absent"],
    )
    def test_each_value_has_its_entry(self, one: Any, other: Any) -> None:
        """From the first look on, by type and by value; that there is none is a value too."""
        ask = cached(lambda request: str(getattr(request, "tenant", "none")))
        requests = [asked(**({} if value is GONE else {"tenant": value})) for value in (one, other) * 2]
        assert [ask(request).split()[-1] for request in requests] == ["1", "2", "1", "2"]

    def test_hasattr_is_a_look(self) -> None:
        """A view that is otherwise for those who have an attribute is not the others'."""
        ask = cached(lambda request: hasattr(request, "organisation"))
        said = [ask(one) for one in (asked(), asked(organisation=1), asked(), asked(organisation=2))]
        assert said == ["False 1", "True 2", "False 1", "True 3"]

    def test_what_is_not_looked_at_is_not_in_the_key(self) -> None:
        """Requests that differ in it share an entry, whether it has a text or not."""
        ask = cached(lambda _: "page")
        assert {ask(asked(tenant=value)) for value in ("a", "b", Plain(1))} == {"page 1"}

    def test_what_is_lazy_is_not_loaded_for_the_key(self) -> None:
        """A view that only passes it on has not looked."""
        loads: list[None] = []

        def lazy(name: str) -> Any:
            return SimpleLazyObject(lambda: loads.append(None) or name)  # type: ignore[func-returns-value]

        passing = cached(lambda request: request.organisation is None)
        assert [passing(asked(organisation=lazy(name))) for name in "ab"] == ["False 1", "False 1"]
        assert not loads
        looking = cached(lambda request: str(request.organisation))
        assert [looking(asked(organisation=lazy(name))) for name in "aba"] == ["a 1", "b 2", "a 1"]

    def test_what_a_view_sets_is_its_own(self) -> None:
        """It stays set, is in no key, and need have no text."""

        def say(request: Any) -> str:
            request.own = Plain(1)
            return str(request.own.name)

        ask = cached(say)
        request = asked()
        assert ask(request) == "plain 1 1"
        assert request.own.pk == 1  # type: ignore[attr-defined]
        assert ask(asked()) == "plain 1 1"

    def test_what_counts_is_what_was_set_before_the_view(self) -> None:
        """A view may set another value, also while it is first seen to look at a header."""

        def say(request: Any) -> str:
            tenant = request.tenant
            if request.headers.get("Accept"):
                return "none"
            request.tenant, request.GET, request.path = "b", {"page": "2"}, "/other/"
            request.META["HTTP_ACCEPT"] = "changed"
            return str(tenant)

        ask = cached(say)
        said = [ask(asked(tenant=tenant)) for tenant in ("a", "b", "a", "b")]
        assert said == ["a 1", "b 2", "a 1", "b 2"]

    def test_a_list_that_the_view_changes(self) -> None:
        """It is in the key as it was when the view first looked."""

        def say(request: Any) -> int:
            request.crumbs.append("page")
            return len(request.crumbs)

        ask = cached(say)
        said = [ask(asked(crumbs=["x"] * number)) for number in (1, 2, 1, 2)]
        assert said == ["2 1", "3 2", "2 1", "3 2"]

    def test_an_inner_view_looks_for_the_outer_one(self) -> None:
        """Whether the inner one is a hit or not."""
        inner = cached_view()(lambda request: HttpResponse(request.tenant))
        ask = cached(lambda request: inner(request).content.decode())
        for tenant in "ab":
            inner(asked(tenant=tenant))
        assert [ask(asked(tenant=tenant)) for tenant in "abab"] == ["a 1", "b 2", "a 1", "b 2"]

    def test_an_async_view_is_watched_alike(self) -> None:
        """A lazy attribute that its key needs is loaded in a thread."""

        @cached_view()
        async def view(request: Any) -> HttpResponse:
            return HttpResponse(str(request.tenant))

        def lazy(name: str) -> Any:
            def load() -> str:
                with pytest.raises(RuntimeError, match="no running event loop"):
                    asyncio.get_running_loop()
                return name

            return SimpleLazyObject(load)

        async def run() -> list[bytes]:
            found = [(await view(asked(tenant=name))).content for name in "aba"]
            return [*found, (await view(asked(tenant=lazy("a")))).content]

        assert asyncio.run(run()) == [b"a", b"b", b"a", b"a"]


class TestLeaks:
    def test_what_has_no_text_is_not_cached(self, caplog: pytest.LogCaptureFixture) -> None:
        """Each gets his own response, and one warning names the attribute and what to do."""
        ask = cached(lambda request: request.organisation.name)
        assert [ask(asked(organisation=Plain(pk))) for pk in (1, 2, 1)] == [
            "plain 1 1",
            "plain 2 2",
            "plain 1 3",
        ]
        said = [record.message for record in caplog.records]
        assert len(said) == 1
        assert "request.organisation" in said[0]
        assert "key_func=" in said[0]

    def test_strict_makes_it_an_error(self) -> None:
        """LeakError names the attribute."""
        ask = cached(lambda request: request.organisation.name)
        with testing.strict(), pytest.raises(LeakError, match=r"request\.organisation"):
            ask(asked(organisation=Plain(1)))

    def test_a_value_without_a_text_after_others_that_had_one(self) -> None:
        """It is not cached either, and takes nobody else's entry."""
        ask = cached(lambda request: getattr(request.organisation, "name", request.organisation))
        values = ("plain 1", Plain(1), Plain(2), "plain 1")
        said = [ask(asked(organisation=value)) for value in values]
        assert said == ["plain 1 1", "plain 1 2", "plain 2 3", "plain 1 1"]

    def test_what_the_key_function_looked_at_is_in_the_key(self) -> None:
        """It says what of it counts; so does scope=."""
        by_key = cached(
            lambda request: request.organisation.name, key_func=lambda request: request.organisation.pk
        )
        by_scope = cached(
            lambda request: request.organisation.name, scope=lambda request: request.organisation.pk
        )
        for ask in (by_key, by_scope):
            said = [ask(asked(organisation=Plain(pk))) for pk in (1, 2, 1)]
            assert said == ["plain 1 1", "plain 2 2", "plain 1 1"]

    def test_what_a_resolver_of_the_settings_looked_at_is_in_the_key(self) -> None:
        """The tenant is told apart anyway."""
        ask = cached(lambda request: request.tenant.name)
        with override_settings(OXICACHE={"TENANT": lambda request: request.tenant.pk}):
            said = [ask(asked(tenant=Plain(pk))) for pk in (1, 2, 1)]
        assert said == ["plain 1 1", "plain 2 2", "plain 1 1"]

    def test_the_scope_of_an_asgi_request(self) -> None:
        """A view that reads the address of its client there is not cached."""
        view = cached_view()(lambda request: HttpResponse(str(request.scope["client"])))
        plain = cached_view()(lambda request: HttpResponse(request.scope["path"] + str(request.is_secure())))
        for one, status in ((view, [None, None]), (plain, ["MISS", "HIT"])):
            asks = [AsyncRequestFactory().get("/page/") for _ in range(2)]
            assert [one(request).get("X-Cache") for request in asks] == status


class TestRestored:
    @pytest.mark.parametrize("error", [None, ValueError("mine")], ids=["answered", "raised"])
    def test_a_request_is_what_it_was(self, error: Exception | None) -> None:
        """Its class is its own again, whatever the view did; meanwhile it says that it is."""
        seen: list[Any] = []

        @cached_view()
        def view(request: Any) -> HttpResponse:
            seen.extend([request.__class__, isinstance(request, WSGIRequest), repr(request)])
            if error:
                raise error
            return HttpResponse("page")

        request = asked(tenant="a")
        assert not request.COOKIES  # Django keeps them from here on
        before = dict(vars(request))
        if error:
            with pytest.raises(ValueError, match="mine"):
                view(request)
        else:
            view(request)
        assert seen == [WSGIRequest, True, "<WSGIRequest: GET '/page/'>"]
        assert type(request) is WSGIRequest
        assert vars(request).keys() == before.keys()


def with_session(**content: Any) -> HttpRequest:
    request = asked(session=Session(content))
    request.COOKIES["sessionid"] = "key"
    return request


class TestSessions:
    def test_a_name_that_the_key_function_looked_at(self) -> None:
        """The view may look at it too, and at no other."""
        ask = cached(
            lambda request: request.session["unit"], key_func=lambda request: request.session.get("unit")
        )
        said = [ask(with_session(unit=unit, theme="dark")) for unit in (1, 2, 1)]
        assert said == ["1 1", "2 2", "1 1"]
        other = cached(
            lambda request: request.session["theme"], key_func=lambda request: request.session.get("unit")
        )
        said = [other(with_session(unit=1, theme=theme)) for theme in ("dark", "light")]
        assert said == ["dark 1", "light 2"]

    @pytest.mark.parametrize(
        "look",
        [
            lambda session: session.session_key,
            lambda session: session.items(),
            lambda session: "theme" in session,
            lambda session: session.has_key("theme"),
            lambda session: session.get("theme"),
            lambda session: session.setdefault("theme", 1),
        ],
        ids=["its key", "all", "in", "has_key", "get", "setdefault"],
    )
    def test_looks_at_a_session(self, look: Callable[[Any], Any]) -> None:
        """However a guest's session is looked at, the page is his own, and the session says that it was accessed."""
        view = cached_view()(lambda request: HttpResponse(str(look(request.session))))
        for _ in range(2):
            request = with_session(theme="dark")
            assert "X-Cache" not in view(request)
            assert type(request.session) is Session
            assert "_oxicache_record" not in vars(request.session)

    def test_a_session_says_that_it_was_accessed(self) -> None:
        """Its middleware adds `Vary: Cookie` for that, for names that a resolver of the settings has read too."""
        view = cached_view()(lambda request: HttpResponse("page"))
        request = with_session(tenant=1)
        with override_settings(OXICACHE={"TENANT": lambda request: request.session["tenant"]}):
            view(request)
        assert request.session.accessed
        untouched = with_session(tenant=1)
        view(untouched)
        assert not untouched.session.accessed
