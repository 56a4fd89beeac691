"""What a review of the leak guard and of keys found: ways in which a view sees a visitor past its key."""

import asyncio
import copy
import datetime as dt
import io
import pickle
from collections.abc import Awaitable, Callable, Iterator
from typing import Any

import pytest
from asked_views import Session, cached
from django.contrib.auth.models import AnonymousUser, Group, User
from django.contrib.messages import INFO, get_messages
from django.contrib.messages.storage.cookie import CookieStorage
from django.http import HttpRequest, HttpResponse, HttpResponseBase
from django.test import AsyncRequestFactory, RequestFactory, override_settings
from django.utils import timezone

from oxicache.django.responses import cached_view, keying

NATIVE = {"default": {"BACKEND": "oxicache.django.backends.NativeCache", "LOCATION": "responses"}}


@pytest.fixture(autouse=True)
def _caches() -> Iterator[None]:
    with override_settings(CACHES=NATIVE):
        yield


def asked(path: str = "/page/", **extra: Any) -> Any:
    """A GET of a visitor who is nobody, with a session that is empty."""
    request: Any = RequestFactory().get(path, **extra)
    request.user = AnonymousUser()
    request.session = Session()
    return request


class TestWhatAContentTypeSays:
    """A GET has no body, and may say all the same of which type it is."""

    @pytest.mark.parametrize(
        "read",
        [
            lambda request: request.content_type,
            lambda request: request.META.get("CONTENT_TYPE"),
            lambda request: request.headers.get("Content-Type"),
            lambda request: sorted(request.content_params.items()),
            lambda request: request.encoding,
        ],
        ids=["content_type", "META", "headers", "content_params", "encoding"],
    )
    def test_it_is_in_the_key_of_a_view_that_reads_it(self, read: Callable[[Any], Any]) -> None:
        """What is answered to `Content-Type: application/json` is not answered to a browser."""
        ask = cached(read)
        ask(asked())
        strange = asked(CONTENT_TYPE="application/json; charset=latin-1")
        assert ask(strange).rpartition(" ")[0] == str(read(strange))
        plain = asked()
        assert ask(plain).rpartition(" ")[0] == str(read(plain))


class TestAllAtOnce:
    """To print all that came is to look at all that came."""

    @pytest.mark.parametrize("name", ["META", "COOKIES", "headers"])
    @pytest.mark.parametrize(
        "read",
        [repr, lambda of: of == {}, lambda of: copy.copy(of).items(), lambda of: list(reversed(list(of)))],
        ids=["repr", "equal", "copy", "reversed"],
    )
    def test_what_prints_it_is_not_cached(self, name: str, read: Callable[[Any], Any]) -> None:
        """A page with `{{ request.META }}` in it is of one visitor."""
        ask = cached(lambda request: len(str(read(getattr(request, name)))) * 0)
        assert [ask(asked(HTTP_COOKIE="a=1")), ask(asked(HTTP_COOKIE="a=1"))] == ["0 1", "0 2"]

    @pytest.mark.parametrize("name", ["META", "COOKIES"])
    @pytest.mark.parametrize(
        "read", [lambda of: of | {}, lambda of: {} | of, lambda of: next(reversed(of)), dict.popitem], ids=str
    )
    def test_what_takes_it_over_is_not_cached(self, name: str, read: Callable[[Any], Any]) -> None:
        """An operator of dicts reads all of it too."""
        if read is dict.popitem:
            read = lambda of: of.popitem()  # noqa: E731 -- as a view calls it
        ask = cached(lambda request: read(getattr(request, name)) and 0)
        assert [ask(asked(HTTP_COOKIE="a=1")), ask(asked(HTTP_COOKIE="a=1"))] == ["0 1", "0 2"]

    def test_cookies_can_be_handed_on(self) -> None:
        """What is pickled or copied of COOKIES while a view runs is a plain dict."""
        found: list[Any] = []

        def say(request: HttpRequest) -> int:
            found.append(pickle.loads(pickle.dumps(request.COOKIES)))  # noqa: S301 -- its own
            found.append(copy.deepcopy(request.COOKIES))
            return 0

        ask = cached(say)
        assert [ask(asked(HTTP_COOKIE="a=1")), ask(asked(HTTP_COOKIE="a=1"))] == ["0 1", "0 2"]
        assert [type(one) for one in found] == [dict] * 4
        assert found[0] == {"a": "1"}


class TestAddresses:
    """A key is of one address and of one set of headers, however they are spelt."""

    def test_a_host_ends_where_the_path_begins(self) -> None:
        """`Host: shop.example/a` and `/b` are not `/a/b` at `shop.example`."""
        ask = cached(lambda request: request.path)
        assert ask(asked("/b", HTTP_HOST="shop.example/a")) == "/b 1"
        assert ask(asked("/a/b", HTTP_HOST="shop.example")) == "/a/b 2"

    def test_a_parameter_is_no_header(self) -> None:
        """A parameter that is named as a header is spelt in keys is told from it."""

        def say(request: HttpRequest) -> str:
            if not request.GET.get("~HTTP_X"):
                return f"header {request.META.get('HTTP_X')}"
            return "parameter"

        ask = cached(say)
        assert ask(asked("/page/?a=1&~HTTP_X=v")) == "parameter 1"
        assert ask(asked("/page/?a=1", HTTP_X="w")) == "header w 2"
        assert ask(asked("/page/?a=1", HTTP_X="v")) == "header v 3"

    @pytest.mark.parametrize(
        ("settings", "header"),
        [
            ({"USE_X_FORWARDED_PORT": True}, "HTTP_X_FORWARDED_HOST"),
            ({"USE_X_FORWARDED_PORT": True}, "HTTP_X_FORWARDED_PORT"),
            ({"USE_X_FORWARDED_HOST": True}, "HTTP_X_FORWARDED_PORT"),
            ({"USE_X_FORWARDED_HOST": True}, "HTTP_HOST"),
            ({}, "SERVER_PROTOCOL"),
        ],
        ids=str,
    )
    def test_what_of_the_connection_is_in_no_key(self, settings: dict[str, Any], header: str) -> None:
        """A header that the host is not taken from joins the key where a view reads it."""
        common = {"HTTP_HOST": "shop.example", "HTTP_X_FORWARDED_HOST": "shop.example"}
        if header in common:
            del common["HTTP_X_FORWARDED_HOST" if "USE_X_FORWARDED_PORT" in settings else "HTTP_HOST"]
        with override_settings(**settings):
            ask = cached(lambda request: request.META.get(header))
            assert ask(asked(**{**common, header: "one"})) == "one 1"
            assert ask(asked(**{**common, header: "two"})) == "two 2"

    def test_long_addresses_are_not_remembered(self) -> None:
        """Whoever sends them fills what is remembered of keys with none: they are spelt each time."""
        ask = cached(lambda request: len(request.GET["a"]))
        remembered = keying._remembered.cache_info().currsize
        for letter in "ab":
            assert ask(asked(f"/page/?a={letter * 2000}")) == ask(asked(f"/page/?a={letter * 2000}"))
        assert keying._remembered.cache_info().currsize == remembered

    def test_a_path_that_a_middleware_has_rewritten(self) -> None:
        """`X-Original-URL` and its like change `path_info` alone: it is in the key then."""
        ask = cached(lambda request: request.path_info)

        def rewritten(to: str) -> HttpRequest:
            request = asked("/page/")
            request.path_info = to
            return request  # type: ignore[no-any-return]

        assert ask(rewritten("/one/")) == "/one/ 1"
        assert ask(rewritten("/two/")) == "/two/ 2"
        assert ask(asked("/page/")) == "/page/ 3"
        assert ask(rewritten("/one/")) == "/one/ 1"

    def test_time_zones_of_one_name(self) -> None:
        """A zone of one offset is called as somebody likes, and two of a name are two."""
        ask = cached(lambda _: timezone.localtime(dt.datetime(2026, 1, 1, tzinfo=dt.UTC)).hour)
        with override_settings(USE_TZ=True):
            for hours in (1, 2):
                with timezone.override(dt.timezone(dt.timedelta(hours=hours), "visitor's")):
                    assert ask(asked()).startswith(str(hours))

    def test_what_an_inner_view_asks_for_its_cache(self) -> None:
        """A view that calls a cached one does not vary by what that one is asked to do with its cache."""

        @cached_view()
        def inner(request: HttpRequest) -> HttpResponse:
            return HttpResponse("inner")

        @cached_view()
        def outer(request: HttpRequest) -> HttpResponse:
            return HttpResponse(inner(request).content)

        assert outer(asked()).get("Vary", "") in {"", "Cookie"}

    def test_the_urls_that_a_middleware_has_chosen(self) -> None:
        """`request.urlconf` says what `reverse()` returns, of which nothing can be noted: it is in the key."""
        ask = cached(lambda request: getattr(request, "chosen", 0) * 0)

        def of(urlconf: Any) -> HttpRequest:
            request = asked()
            request.urlconf = urlconf
            return request  # type: ignore[no-any-return]

        first = ask(of("urls.staff"))
        assert ask(of("urls.shop")) != first
        assert ask(of("urls.staff")) == first
        assert ask(of(None)) not in {first, ask(of("urls.shop"))}
        assert ask(of([object()])) != ask(of([object()]))


class TestSessions:
    """A visitor without a cookie of a session may have a session: from this request on."""

    def test_what_a_middleware_puts_there_is_not_everybodys(self) -> None:
        """A group drawn by lot at the first request stands in the session, and the view that reads it is not shared."""
        ask = cached(lambda request: request.session.get("group"))

        def drawn(group: str) -> HttpRequest:
            request = asked()
            request.session["group"] = group
            return request  # type: ignore[no-any-return]

        assert ask(drawn("a")) == "a 1"
        assert ask(drawn("b")) == "b 2"
        assert ask(asked()) == "None 3"
        assert ask(drawn("a")) == "a 4"
        assert ask(asked()) == "None 3"

    def test_a_view_that_writes_where_a_middleware_has_written(self) -> None:
        """What a view writes into a session that was changed before is not lost on hits: it is not cached."""

        def say(request: Any) -> int:
            request.session.modified = True
            return 0

        def changed() -> HttpRequest:
            request = asked()
            request.session.modified = True
            return request  # type: ignore[no-any-return]

        ask = cached(say)
        assert [ask(changed()), ask(changed())] == ["0 1", "0 2"]

    def test_whether_there_is_any(self) -> None:
        """That a session is empty tells one guest from another."""
        ask = cached(lambda request: request.session.is_empty())

        def guest(key: str | None) -> HttpRequest:
            request = asked(HTTP_COOKIE="sessionid=x")
            request.session = Session(key)
            return request  # type: ignore[no-any-return]

        assert ask(guest("k" * 8)) == "False 1"
        assert ask(guest(None)) == "True 2"

    def test_the_mark_of_a_middleware_stays(self) -> None:
        """A session that was changed before its view is saved after it."""
        ask = cached(lambda request: 0)
        request = asked()
        request.session["seen"] = 1
        ask(request)
        assert request.session.modified


class TestUsers:
    """Who a visitor is has more sides than the number of a user."""

    def test_users_of_two_models(self) -> None:
        """A middleware may find users of another model than the project's: their numbers are their own."""

        class Customer(Group):
            is_authenticated = True

            class Meta:
                app_label = "auth"
                proxy = True

        ask = cached(lambda request: type(request.user.pk).__name__)

        def of(user: Any) -> HttpRequest:
            request = asked()
            request.user = user
            return request  # type: ignore[no-any-return]

        assert ask(of(User(pk=7))) == "int 1"
        assert ask(of(Customer(pk=7))) == "int 2"
        assert ask(of(User(pk=7))) == "int 1"

    def test_nobody_of_whom_something_is_known(self) -> None:
        """A middleware may tell something of a visitor who is no user: a view that looks at him is not shared."""
        ask = cached(lambda request: getattr(request.user, "country", None))

        def of(country: str | None) -> HttpRequest:
            request = asked()
            request.user.otp_device = None  # as django-otp sets it
            if country:
                request.user.country = country
            return request  # type: ignore[no-any-return]

        assert ask(of("de")) == "de 1"
        assert ask(of("fr")) == "fr 2"
        assert [ask(of(None)), ask(of(None))] == ["None 3", "None 3"]

    def test_what_is_known_of_a_user_in_one_session(self) -> None:
        """Who has shown a second factor in one session has not in another: a view that looks at him is not cached."""

        def say(request: Any) -> str:
            return "secret" if request.user.is_verified() else "ask"

        ask = cached(say)

        def of(device: str | None) -> HttpRequest:
            request = asked()
            request.user = User(pk=1)
            request.user.otp_device = device
            request.user.is_verified = lambda: device is not None
            return request  # type: ignore[no-any-return]

        assert [ask(of("key")), ask(of(None)), ask(of("key"))] == ["secret 1", "ask 2", "ask 2"]


class TestOthers:
    """What is seldom seen."""

    def test_a_response_of_a_base_class(self) -> None:
        """What is a response without being an HttpResponse is handed on as it is."""

        class Bare(HttpResponseBase):
            pass

        bare = Bare()

        @cached_view()
        def view(request: HttpRequest) -> Any:
            return bare

        assert view(asked()) is bare

    def test_a_key_function_of_the_cache_that_fails(self, caplog: pytest.LogCaptureFixture) -> None:
        """The view is called as if it were not cached, and a warning says so."""

        def broken(*_: Any) -> str:
            raise KeyError("tenant")

        with override_settings(CACHES={"default": {**NATIVE["default"], "KEY_FUNCTION": broken}}):
            ask = cached(lambda _: 0)
            assert [ask(asked()), ask(asked())] == ["0 1", "0 2"]
        assert "its key could not be made: KeyError('tenant')" in caplog.text

    def test_messages_that_are_counted(self) -> None:
        """A view that says how many messages wait, of which a middleware has added one, is not cached."""
        ask = cached(lambda request: len(get_messages(request)))

        def told(count: int) -> HttpRequest:
            request = asked()
            request._messages = CookieStorage(request)
            for number in range(count):
                request._messages.add(INFO, f"message {number}")
            return request  # type: ignore[no-any-return]

        assert [ask(told(2)), ask(told(0)), ask(told(1))] == ["2 1", "0 2", "0 2"]

    def test_a_body_without_a_length(self) -> None:
        """A GET over HTTP/2 may have a body and say nothing of it: a view that reads one is not cached."""

        async def main() -> None:
            @cached_view()
            async def view(request: HttpRequest) -> HttpResponse:
                return HttpResponse(request.body or b"none")

            ask: Callable[[HttpRequest], Awaitable[HttpResponse]] = view

            def of(body: bytes) -> HttpRequest:
                request: Any = AsyncRequestFactory().get("/page/")
                request._stream = io.BytesIO(body)
                return request  # type: ignore[no-any-return]

            assert (await ask(of(b"poison"))).content == b"poison"
            assert (await ask(of(b""))).content == b"none"
            assert (await ask(of(b"")))["X-Cache"] == "HIT"

        asyncio.run(main())
