"""`SiteCacheMiddleware`: what it keeps, what it leaves alone, and that nobody is handed what is another's."""

import contextlib
import functools
import gzip
import logging
import threading
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import pytest
from asgiref.sync import async_to_sync
from django.contrib import admin, messages
from django.contrib.auth import views as auth
from django.contrib.auth.models import User
from django.http import Http404, HttpRequest, HttpResponse, StreamingHttpResponse
from django.template import engines
from django.template.response import TemplateResponse
from django.test import AsyncClient, Client, override_settings
from django.urls import include, path
from django.utils import translation
from django.utils.decorators import method_decorator
from django.utils.translation import gettext
from django.views import View
from django.views.decorators.cache import never_cache
from django.views.decorators.clickjacking import xframe_options_exempt
from rest_framework.response import Response
from rest_framework.views import APIView

from oxicache import testing
from oxicache.django.responses import cached_view, uncached

NATIVE = {"default": {"BACKEND": "oxicache.django.backends.NativeCache", "LOCATION": "site"}}
OURS = "oxicache.django.responses.SiteCacheMiddleware"
DJANGOS = [
    "django.middleware.gzip.GZipMiddleware",
    "django.contrib.sessions.middleware.SessionMiddleware",
    "django.middleware.locale.LocaleMiddleware",
    "django.middleware.common.CommonMiddleware",
    "django.middleware.csrf.CsrfViewMiddleware",
    "django.contrib.auth.middleware.AuthenticationMiddleware",
    "django.contrib.messages.middleware.MessageMiddleware",
    "django.middleware.clickjacking.XFrameOptionsMiddleware",
]
calls: list[str] = []


def plain(request: HttpRequest, **_: Any) -> HttpResponse:
    calls.append(request.get_full_path())
    return HttpResponse(f"plain {len(calls)}")


def long(request: HttpRequest) -> HttpResponse:
    calls.append("long")
    return HttpResponse("long " * 200)


async def plain_async(request: HttpRequest) -> HttpResponse:
    calls.append("async")
    return HttpResponse(f"async {len(calls)}")


def named(request: HttpRequest) -> HttpResponse:
    calls.append("named")
    return HttpResponse(f"for {request.user.pk}")


def themed(request: HttpRequest) -> HttpResponse:
    calls.append("themed")
    return HttpResponse(request.COOKIES.get("theme", "light"))


def spoken(request: HttpRequest) -> HttpResponse:
    calls.append("spoken")
    return HttpResponse(gettext("Yes"))


def form(request: HttpRequest) -> HttpResponse:
    calls.append("form")
    return HttpResponse(engines["django"].from_string("{% csrf_token %}").render({}, request))


def tell(request: HttpRequest) -> HttpResponse:
    messages.info(request, "saved")
    return HttpResponse("told")


def show(request: HttpRequest) -> TemplateResponse:
    calls.append("show")
    page = "{% for message in messages %}{{ message }}{% endfor %}"
    return TemplateResponse(request, engines["django"].from_string(page))


def status(request: HttpRequest) -> HttpResponse:
    calls.append("status")
    if request.GET["status"] == "404":
        raise Http404
    return HttpResponse("x", status=int(request.GET["status"]))


def failing(request: HttpRequest) -> HttpResponse:
    calls.append("failing")
    raise ValueError("broken")


def streamed(request: HttpRequest) -> StreamingHttpResponse:
    calls.append("streamed")
    return StreamingHttpResponse(iter(["a", "b"]))


@uncached
def left(request: HttpRequest) -> HttpResponse:
    calls.append("left")
    return HttpResponse("left")


@uncached
async def left_async(request: HttpRequest) -> HttpResponse:
    calls.append("left")
    return HttpResponse("left")


@uncached
class Left(View):
    def get(self, request: HttpRequest) -> HttpResponse:
        calls.append("left")
        return HttpResponse("left")


@uncached
class LeftAsync(View):
    async def get(self, request: HttpRequest) -> HttpResponse:
        calls.append("left")
        return HttpResponse("left")


class LeftMethod(View):
    @method_decorator(uncached)
    def get(self, request: HttpRequest) -> HttpResponse:
        calls.append("left")
        return HttpResponse("left")


class LeftInherited(Left):
    pass


@uncached
class LeftApi(APIView):
    def get(self, request: Any) -> Response:
        calls.append("left")
        return Response({})


class LeftApiMethod(APIView):
    @uncached
    def get(self, request: Any) -> Response:
        calls.append("left")
        return Response({})


class Api(APIView):
    def get(self, request: Any) -> Response:
        calls.append("api")
        return Response({"user": request.user.pk})


def hidden(view: Any) -> Any:
    """A decorator that keeps nothing of what it decorates."""

    def other(request: HttpRequest) -> HttpResponse:
        found: HttpResponse = view(request)
        return found

    return other


@cached_view(timeout=1000)
def own(request: HttpRequest) -> HttpResponse:
    calls.append("own")
    return HttpResponse("own")


@cached_view(condition_func=lambda request: False)
def never_own(request: HttpRequest) -> HttpResponse:
    calls.append("never own")
    return HttpResponse("never")


@xframe_options_exempt
def framed(request: HttpRequest) -> HttpResponse:
    calls.append("framed")
    return HttpResponse("framed")


urlpatterns = [
    path("plain/", plain, name="plain"),
    path("plain/<int:pk>/", plain),
    path("shop/", include(([path("list/", plain, name="list")], "shop"))),
    path("async/", plain_async),
    path("long/", long),
    path("named/", named),
    path("themed/", themed),
    path("spoken/", spoken),
    path("form/", form),
    path("tell/", tell),
    path("show/", show),
    path("status/", status),
    path("failing/", failing),
    path("streamed/", streamed),
    path("never/", never_cache(plain)),
    path("left/function/", left),
    path("left/async/", left_async),
    path("left/class/", Left.as_view()),
    path("left/class/async/", LeftAsync.as_view()),
    path("left/method/", LeftMethod.as_view()),
    path("left/inherited/", LeftInherited.as_view()),
    path("left/hidden/", hidden(left)),
    path("left/partial/", functools.partial(left)),
    path("left/api/", LeftApi.as_view()),
    path("left/api/method/", LeftApiMethod.as_view()),
    path("api/", Api.as_view()),
    path("own/", own),
    path("own/hidden/", hidden(own)),
    path("own/never/", hidden(never_own)),
    path("framed/", framed),
    path("admin/", admin.site.urls),
    path("login/", auth.LoginView.as_view(template_name="admin/login.html")),
]


@contextlib.contextmanager
def site(middleware: list[str], **settings: Any) -> Iterator[None]:
    calls.clear()
    overridden = override_settings(
        CACHES=NATIVE,
        MIDDLEWARE=middleware,
        ROOT_URLCONF=__name__,
        PASSWORD_HASHERS=["django.contrib.auth.hashers.MD5PasswordHasher"],
        LANGUAGES=[("en", "E"), ("de", "D")],
        **settings,
    )
    with translation.override("en"), overridden:
        yield


ORDERS = {
    "last": [*DJANGOS, OURS],
    "first": [OURS, *DJANGOS],
    "before users": [*DJANGOS[:5], OURS, *DJANGOS[5:]],
    "before sessions": [DJANGOS[0], OURS, *DJANGOS[1:]],
}


@pytest.fixture(params=[False, True], ids=["anonymous", "users"])
def has_users(request: Any) -> bool:
    """Whether users are cached, too."""
    return bool(request.param)


@pytest.fixture(params=ORDERS.values(), ids=list(ORDERS))
def anywhere(request: Any, has_users: bool) -> Iterator[None]:
    """The middleware wherever it stands, where it should and where it should not."""
    with site(request.param, OXICACHE={"SITE_USERS": has_users}):
        yield


@pytest.fixture
def last() -> Iterator[None]:
    """The middleware where it should be."""
    with site([*DJANGOS, OURS]):
        yield


def status_of(response: Any) -> str:
    return str(response.get("X-Cache", ""))


class TestHits:
    @pytest.mark.parametrize("address", ["/plain/", "/async/", "/plain/5/", "/api/", "/show/"])
    def test_the_second_visitor_gets_what_the_first_got(self, last: None, address: str) -> None:
        """No view is called for him, and the response is the same."""
        first, second = Client().get(address), Client().get(address)
        assert (status_of(first), status_of(second)) == ("MISS", "HIT")
        assert len(calls) == 1
        assert second.content == first.content
        left_out = {"Age", "X-Cache"}
        assert {k: v for k, v in second.items() if k not in left_out} == {
            k: v for k, v in first.items() if k not in left_out
        }

    def test_what_is_asked_for_is_in_the_key(self, last: None, client: Client) -> None:
        """Path, query and host part entries."""
        for address in ("/plain/", "/plain/?a=1", "/plain/?a=2", "/plain/1/", "/plain/2/"):
            client.get(address)
        client.get("/plain/", headers={"Host": "testserver:81"})
        assert len(calls) == 6

    def test_it_expires(self, last: None, client: Client) -> None:
        """After SITE_TTL seconds the view is asked again."""
        with testing.clock() as clock, override_settings(OXICACHE={"SITE_TTL": 60}):
            client.get("/plain/")
            clock.advance(59)
            assert client.get("/plain/")["Age"] == "59"
            clock.advance(1)
            assert status_of(client.get("/plain/")) == "MISS"

    def test_a_head_is_answered_by_what_get_has_left(self, last: None, client: Client) -> None:
        """It fills nothing itself."""
        assert status_of(client.head("/plain/")) == ""
        body = client.get("/plain/").content
        head = client.head("/plain/")
        assert (status_of(head), head.content, head["Content-Length"]) == ("HIT", b"", str(len(body)))

    def test_a_hit_is_conditional(self, last: None, client: Client) -> None:
        """Who has the page gets a 304."""
        tag = client.get("/plain/")["ETag"]
        response = client.get("/plain/", headers={"If-None-Match": tag})
        assert (response.status_code, status_of(response)) == (304, "HIT")

    def test_many_at_once_ask_the_view_once(self, last: None) -> None:
        """Those who come while a page is made wait for it."""
        is_asked, go_on = threading.Event(), threading.Event()

        def slow(request: HttpRequest) -> HttpResponse:
            calls.append("slow")
            is_asked.set()
            assert go_on.wait(30)
            return HttpResponse("slow")

        with override_settings(ROOT_URLCONF=(path("slow/", slow),)), ThreadPoolExecutor(4) as pool:
            asked = [pool.submit(Client().get, "/slow/") for _ in range(4)]
            assert is_asked.wait(30)
            go_on.set()
            assert {one.result().content for one in asked} == {b"slow"}
        assert calls == ["slow"]

    def test_what_a_view_tells_middleware_by_attribute(self, last: None, client: Client) -> None:
        """A page that may be framed may be framed on a hit."""
        first, second = client.get("/framed/"), client.get("/framed/")
        assert (status_of(first), status_of(second)) == ("MISS", "HIT")
        assert "X-Frame-Options" not in first
        assert "X-Frame-Options" not in second
        assert client.get("/plain/")["X-Frame-Options"] == "DENY"

    def test_the_match_is_there_for_middleware(self, last: None, client: Client) -> None:
        """`request.resolver_match` of a hit is that of its view."""
        client.get("/plain/5/")
        response = client.get("/plain/5/")
        assert status_of(response) == "HIT"
        assert response.wsgi_request.resolver_match.kwargs == {"pk": 5}

    def test_outside_of_compression(self) -> None:
        """What is compressed before it is kept is kept for those who ask for that."""
        asked: list[dict[str, str]] = [
            {}, {"Accept-Encoding": "gzip"}, {"Accept-Encoding": "identity"}, {"Accept-Encoding": "br, gzip"}
        ]  # fmt: skip
        with site([OURS, DJANGOS[0]]):
            for headers in (*asked, *reversed(asked)):
                response = Client().get("/long/", headers=headers)
                is_gzip = response.get("Content-Encoding") == "gzip"
                assert is_gzip == ("gzip" in headers.get("Accept-Encoding", ""))
                assert (gzip.decompress(response.content) if is_gzip else response.content) == b"long " * 200
        assert len(calls) == len(asked)


class TestWhose:
    def test_pages_that_name_their_user(self, anywhere: None, member: Client, staff: Client) -> None:
        """In every order each gets his own, and who is nobody gets nobody's."""
        for visitor in (Client(), member, staff, Client(), staff, member):
            pk = visitor.session.get("_auth_user_id")
            assert visitor.get("/named/").content.decode() == f"for {pk}"

    def test_users_are_left_alone_unless_they_are_wanted(self, last: None, member: Client) -> None:
        """Neither their session nor they themselves are loaded to find that out."""
        Client().get("/plain/")
        response = member.get("/plain/")
        assert status_of(response) == ""
        assert not hasattr(response.wsgi_request.session, "_session_cache")

    def test_each_user_has_entries_of_his_own(self, last: None, member: Client, staff: Client) -> None:
        """With SITE_USERS a user's second visit is a hit, and another's is none."""
        with override_settings(OXICACHE={"SITE_USERS": True}):
            found = [status_of(one.get("/named/")) for one in (member, staff, member, staff)]
        assert found == ["MISS", "MISS", "HIT", "HIT"]

    def test_a_user_known_by_something_else(self, last: None) -> None:
        """Whom the setting USER names is a user."""
        with override_settings(OXICACHE={"USER": lambda request: request.META.get("HTTP_X_USER")}):
            for _ in range(2):
                assert status_of(Client().get("/plain/", headers={"X-User": "7"})) == ""
            assert [status_of(Client().get("/plain/")) for _ in range(2)] == ["MISS", "HIT"]

    def test_who_has_authorization(self, anywhere: None) -> None:
        """He may be anybody: he is given nothing that is held, and leaves nothing."""
        for _ in range(2):
            assert status_of(Client().get("/plain/", headers={"Authorization": "Token a"})) == ""
        assert len(calls) == 2

    def test_cookies(self, anywhere: None) -> None:
        """A page that reads one is shared by those who lack it, and by nobody else."""
        for theme in (None, "dark", None, "blue", "dark"):
            client = Client()
            if theme:
                client.cookies.load({"theme": theme})
            assert client.get("/themed/").content.decode() == (theme or "light")

    def test_languages(self, anywhere: None) -> None:
        """By header or by cookie, in every order."""
        for language, by_cookie, expected in (
            ("de", False, "Ja"), ("en", False, "Yes"), ("de", True, "Ja"), ("en", True, "Yes"), ("de", False, "Ja"),
        ):  # fmt: skip
            client = Client()
            if by_cookie:
                client.cookies.load({"django_language": language})
            headers = {} if by_cookie else {"Accept-Language": language}
            response = client.get("/spoken/", headers=headers)
            assert (response.content.decode(), response["Content-Language"]) == (expected, language)

    def test_a_form_is_each_visitors_own(self, anywhere: None) -> None:
        """Its token, and the cookie that belongs to it."""
        tokens = set()
        for _ in range(3):
            client = Client()
            response = client.get("/form/")
            assert status_of(response) == ""
            assert "csrftoken" in client.cookies
            tokens.add(client.cookies["csrftoken"].value)
        assert len(tokens) == 3

    def test_messages(self, anywhere: None, has_users: bool) -> None:
        """They are shown once, to whom they are for."""
        one, other = Client(), Client()
        other.get("/show/")
        one.get("/tell/")
        assert one.get("/show/").content == b"saved"
        assert other.get("/show/").content == b""
        assert one.get("/show/").content == b""
        one.get("/tell/")
        assert one.get("/show/").content == b"saved"


class TestDjangosOwnPages:
    def test_the_admin(self, anywhere: None, member: Client) -> None:
        """An administrator's pages are his, another is sent to the login page, with and without entries of users."""
        user = User.objects.create_superuser("boss")
        boss, other = Client(), Client()
        boss.force_login(user)
        try:
            for _ in range(2):
                page = boss.get("/admin/")
                assert page.status_code == 200
                assert b"boss" in page.content.lower()
                assert status_of(page) == ""
                for stranger in (other, member):
                    found = stranger.get("/admin/")
                    assert (found.status_code, status_of(found)) == (302, "")
                assert boss.get(f"/admin/auth/user/{user.pk}/change/").status_code == 200
                assert other.get(f"/admin/auth/user/{user.pk}/change/").status_code == 302
        finally:
            user.delete()

    @pytest.mark.parametrize("address", ["/login/", "/admin/login/"])
    def test_login(self, anywhere: None, address: str) -> None:
        """Two visitors log in by forms of their own, and what was cached before is not theirs."""
        users = [
            User.objects.create_superuser(name, password="p")  # noqa: S106 -- of a test
            for name in ("one", "two")
        ]
        try:
            for user in users:
                client = Client(enforce_csrf_checks=True)
                assert client.get("/named/").content == b"for None"
                page = client.get(address)
                assert status_of(page) == ""
                token = client.cookies["csrftoken"].value
                form = {
                    "username": user.username,
                    "password": "p",
                    "csrfmiddlewaretoken": token,
                    "next": "/named/",
                }
                assert client.post(address, form).status_code == 302
                assert client.get("/named/").content.decode() == f"for {user.pk}"
                client.logout()
                assert client.get("/named/").content == b"for None"
        finally:
            for user in users:
                user.delete()


class TestWhatIsLeftAlone:
    @pytest.mark.parametrize(
        "address",
        [
            "/streamed/", "/never/", "/status/?status=404", "/status/?status=301", "/status/?status=500",
            "/status/?status=206", "/left/function/", "/left/async/", "/left/class/", "/left/class/async/",
            "/left/method/", "/left/inherited/", "/left/hidden/", "/left/partial/", "/left/api/", "/left/api/method/",
        ],
    )  # fmt: skip
    def test_what_is_not_cached(self, anywhere: None, address: str) -> None:
        """Streams, other statuses, what says so itself, and views marked `uncached`, however they are wrapped."""
        for _ in range(3):
            assert status_of(Client().get(address)) == ""
        assert len(calls) == 3

    def test_a_view_that_fails(self, last: None) -> None:
        """Its exception reaches who would get it without us, each time."""
        for _ in range(2):
            with pytest.raises(ValueError, match="broken"):
                Client().get("/failing/")
            assert Client(raise_request_exception=False).get("/failing/").status_code == 500
        assert len(calls) == 4

    def test_an_address_of_nothing(self, last: None, client: Client) -> None:
        """404, as ever."""
        assert [client.get("/nowhere/").status_code for _ in range(2)] == [404, 404]
        assert client.get("/plain").status_code == 301

    @pytest.mark.parametrize("method", ["post", "put", "patch", "delete", "options"])
    def test_other_methods(self, last: None, client: Client, method: str) -> None:
        """They reach the view, find nothing and leave nothing."""
        client.get("/plain/")
        for _ in range(2):
            assert status_of(getattr(client, method)("/plain/")) == ""
        assert len(calls) == 3

    @pytest.mark.parametrize(
        ("pattern", "expected"),
        [
            ("/plain/*", ["", "", "HIT"]),
            ("/plain/", ["", "HIT", "HIT"]),
            ("plain", ["", "HIT", "HIT"]),
            ("shop:*", ["HIT", "HIT", ""]),
            (f"{__name__}.plain", ["", "", ""]),
            ("*.plain", ["", "", ""]),
            ("/other/*", ["HIT", "HIT", "HIT"]),
        ],
    )
    def test_what_the_settings_exempt(
        self, last: None, client: Client, pattern: str, expected: list[str]
    ) -> None:
        """SITE_EXEMPT names paths, names of views as in reverse(), and where views are defined."""
        with override_settings(OXICACHE={"SITE_EXEMPT": [pattern]}):
            addresses = ("/plain/", "/plain/5/", "/shop/list/")
            assert [(client.get(one), status_of(client.get(one)))[1] for one in addresses] == expected

    def test_what_does_not_fit_is_no_mistake(self, last: None, caplog: Any) -> None:
        """Of a view that nobody has decorated nothing is said aloud, nor does strict() raise."""
        client = Client()
        client.cookies.load({"theme": "dark"})
        with testing.strict(), caplog.at_level(logging.INFO, "oxicache"):
            assert client.get("/themed/").content == b"dark"
            assert client.get("/form/").status_code == 200
        assert caplog.records == []

    def test_why_is_said_to_who_listens(self, last: None, caplog: Any) -> None:
        """At level DEBUG, once for each view and reason."""
        own = override_settings(OXICACHE={"SITE_KEY_PREFIX": "listening"})
        with own, caplog.at_level(logging.DEBUG, "oxicache.responses"):
            for _ in range(2):
                Client().get("/form/")
        said = [one.getMessage() for one in caplog.records]
        assert len([one for one in said if "form looks at csrf" in one]) == 1


class TestViewsThatAreCachedThemselves:
    @pytest.mark.parametrize("address", ["/own/", "/own/hidden/"])
    def test_they_are_held_once(self, last: None, client: Client, address: str) -> None:
        """By their own decorator, for as long as that says, hidden by another decorator or not."""
        with testing.clock() as clock:
            assert [status_of(client.get(address)) for _ in range(3)] == ["MISS", "HIT", "HIT"]
            clock.advance(999)  # longer than SITE_TTL
            assert status_of(client.get(address)) == "HIT"
            clock.advance(2)
            assert status_of(client.get(address)) == "MISS"

    def test_what_they_do_not_cache_is_not_cached(self, last: None, client: Client) -> None:
        """A condition of theirs that is not met holds for the whole site."""
        for _ in range(3):
            assert status_of(client.get("/own/never/")) == ""
        assert len(calls) == 3


class TestAsync:
    async def ask(self, *addresses: str, **headers: str) -> list[Any]:
        return [await AsyncClient().get(one, headers=headers) for one in addresses]

    @pytest.mark.parametrize("address", ["/plain/", "/async/", "/named/"])
    def test_asgi(self, last: None, address: str) -> None:
        """An async site is cached alike, its sync and its async views."""
        found = async_to_sync(self.ask)(address, address)
        assert [status_of(one) for one in found] == ["MISS", "HIT"]
        assert found[0].content == found[1].content
        assert len(calls) == 1

    def test_a_hit_takes_no_thread(self) -> None:
        """Nothing of a hit of an anonymous visitor leaves the loop."""
        from asgiref.sync import sync_to_async
        from django.test import AsyncRequestFactory

        from oxicache.django.responses import SiteCacheMiddleware

        async def inside(request: HttpRequest) -> HttpResponse:
            return HttpResponse("x")

        async def run() -> list[str]:
            served = SiteCacheMiddleware(inside)
            return [status_of(await served(AsyncRequestFactory().get("/plain/"))) for _ in range(3)]

        hops = []
        with site([]), pytest.MonkeyPatch.context() as patch:
            patch.setattr(
                "oxicache.django.responses.serving.sync_to_async",
                lambda *args, **kw: hops.append(args) or sync_to_async(*args, **kw),
            )
            assert async_to_sync(run)() == ["MISS", "HIT", "HIT"]
        assert hops == []


class TestUncached:
    def test_it_stays_what_it_was(self) -> None:
        """Names, documentation and kind of a view are kept; a class is the same class."""
        from asgiref.sync import iscoroutinefunction

        assert left.__name__ == "left"
        assert iscoroutinefunction(left_async)
        assert not iscoroutinefunction(left)
        assert iscoroutinefunction(LeftAsync.as_view())

        class Kind(View):
            pass

        assert uncached(Kind) is Kind

    @pytest.mark.parametrize("wrong", [5, "view", int, None])
    def test_what_is_no_view(self, wrong: Any) -> None:
        """It is refused where it is decorated."""
        with pytest.raises(TypeError, match="uncached decorates views"):
            uncached(wrong)
