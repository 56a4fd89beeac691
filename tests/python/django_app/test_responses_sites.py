"""`cached_view` beside Django's own middleware: sessions, users, CSRF, messages, languages, conditions, compression."""

import gzip
from collections.abc import Iterator
from contextvars import Context
from typing import Any

import pytest
from django.contrib import messages
from django.contrib.auth.models import User
from django.http import HttpRequest, HttpResponse
from django.template import engines
from django.test import Client, override_settings
from django.urls import path
from django.utils import translation
from django.views.generic import TemplateView

from oxicache.django.responses import cached_view

NATIVE = {"default": {"BACKEND": "oxicache.django.backends.NativeCache", "LOCATION": "responses"}}
MIDDLEWARE = [
    "django.middleware.gzip.GZipMiddleware",
    "django.middleware.http.ConditionalGetMiddleware",
    "django.contrib.sessions.middleware.SessionMiddleware",
    "django.middleware.locale.LocaleMiddleware",
    "django.middleware.common.CommonMiddleware",
    "django.middleware.csrf.CsrfViewMiddleware",
    "django.contrib.auth.middleware.AuthenticationMiddleware",
    "django.contrib.messages.middleware.MessageMiddleware",
]
PAGE = "{{ user.username }}|{% for message in messages %}{{ message }}{% endfor %}|"
calls: list[str] = []

pytestmark = pytest.mark.usefixtures("no_rows")


class Source:
    """A template by its text, as `TemplateResponse` takes one."""

    def __init__(self, text: str) -> None:
        self.text = text

    def render(self, context: Any, request: HttpRequest) -> str:
        return engines["django"].from_string(self.text).render(context, request)


@cached_view()
def page(request: HttpRequest) -> HttpResponse:
    calls.append("page")
    return HttpResponse(Source(PAGE).render({}, request) + "x" * 500)


@cached_view()
def form(request: HttpRequest) -> HttpResponse:
    calls.append("form")
    return HttpResponse(Source("<form>{% csrf_token %}</form>").render({}, request))


@cached_view(per_user=False)
def shared(request: HttpRequest) -> HttpResponse:
    calls.append("shared")
    return HttpResponse("shared")


@cached_view()
def login_state(request: HttpRequest) -> HttpResponse:
    calls.append("login")
    request.session["seen"] = "yes"
    return HttpResponse("seen")


def tell(request: HttpRequest) -> HttpResponse:
    messages.info(request, "saved")
    return HttpResponse("told")


@cached_view()
class Whole(TemplateView):
    def get_template_names(self) -> Any:
        calls.append("whole")
        return engines["django"].from_string("{{ request.path }}")


def around(request: HttpRequest) -> HttpResponse:
    return HttpResponse(page(request).content)


urlpatterns = [
    path("around/", around),
    path("page/", page),
    path("form/", form),
    path("shared/", shared),
    path("seen/", login_state),
    path("tell/", tell),
    path("whole/", Whole.as_view()),
]


@pytest.fixture(autouse=True)
def _site() -> Iterator[None]:
    calls.clear()
    with override_settings(CACHES=NATIVE, MIDDLEWARE=MIDDLEWARE, ROOT_URLCONF=__name__):
        yield
    translation.deactivate()  # what LocaleMiddleware activates stays until the thread's next request


def test_a_page_that_names_its_user(client: Client, member: Client, staff: Client) -> None:
    """Each user has his own page, visitors share one, and a page that is a hit asks no view."""
    for visitor in (client, Client(), member, staff, member, staff, client):
        body = visitor.get("/page/").content.decode()
        name = body.split("|")[0]
        session = visitor.session if visitor in (member, staff) else {}
        expected = User.objects.get(pk=session["_auth_user_id"]).username if session else ""
        assert name == expected
    assert calls == ["page"] * 3


def test_messages_are_shown_once_to_whom_they_are_for(client: Client) -> None:
    """A page that shows messages is not kept, and one that shows none is not shown in its place."""
    other = Client()
    assert other.get("/page/").content.decode().split("|")[1] == ""
    client.get("/tell/")
    assert client.get("/page/").content.decode().split("|")[1] == "saved"
    assert client.get("/page/").content.decode().split("|")[1] == ""
    assert other.get("/page/")["X-Cache"] == "HIT"


def test_a_form_has_its_own_token(client: Client) -> None:
    """CSRF tokens and their cookies are each visitor's own."""
    first, second = client.get("/form/"), Client().get("/form/")
    assert first.content != second.content
    assert first.cookies["csrftoken"].value != second.cookies["csrftoken"].value
    assert calls == ["form", "form"]


def test_a_session_that_a_view_begins(client: Client) -> None:
    """Its cookie is set for each visitor, so the view is asked each time."""
    assert "sessionid" in client.get("/seen/").cookies
    assert "sessionid" in Client().get("/seen/").cookies


def test_a_shared_page_asks_nobody_who_he_is(member: Client, client: Client) -> None:
    """A hit of a shared page runs no query, and no session is looked at."""
    from django.db import connection
    from django.test.utils import CaptureQueriesContext

    client.get("/shared/")
    with CaptureQueriesContext(
        connection,
    ) as queries:
        assert member.get("/shared/")["X-Cache"] == "HIT"
    assert not queries.captured_queries


def test_conditions_and_compression(client: Client) -> None:
    """The middleware compresses hits, and answers who has them; what is held is neither."""
    plain = client.get("/page/")
    packed = client.get("/page/", headers={"Accept-Encoding": "gzip"})
    assert packed["X-Cache"] == "HIT"
    assert gzip.decompress(packed.content) == plain.content
    assert client.get("/page/", headers={"If-None-Match": plain["ETag"]}).status_code == 304
    head = client.head("/page/")
    assert (head["X-Cache"], head["Content-Length"], head.content) == ("HIT", str(len(plain.content)), b"")


def test_languages_of_visitors(client: Client) -> None:
    """LocaleMiddleware chooses before the view: each language has its own page and its own Content-Language."""
    for language in ("de", "en", "de", "en"):
        found = client.get("/page/", headers={"Accept-Language": language})
        assert found["Content-Language"] == language
    assert calls == ["page", "page"]


def test_a_template_view_class(client: Client) -> None:
    """A TemplateView is rendered once."""
    first, second = client.get("/whole/"), client.get("/whole/")
    assert (first["X-Cache"], second["X-Cache"]) == ("MISS", "HIT")
    assert (first.content, second.content, calls) == (b"/whole/", b"/whole/", ["whole"])


def test_a_page_that_looked_at_the_user_varies_by_cookie(client: Client) -> None:
    """Also where it is a hit for a visitor without a session, which is not looked at: a proxy must not share it."""
    found = [client.get("/page/") for _ in range(2)]
    assert [one["X-Cache"] for one in found] == ["MISS", "HIT"]
    assert all("Cookie" in one["Vary"] for one in found)
    assert "Cookie" in client.get("/around/")["Vary"]  # of a view that shows the other's body


def test_languages_where_a_test_changes_them() -> None:
    """Django notes the language elsewhere from then on: it is in the key all the same."""

    def ask() -> list[tuple[str, str]]:
        found = [Client().get("/page/", headers={"Accept-Language": one}) for one in ("en", "de")]
        return [(one["Content-Language"], one["X-Cache"]) for one in found]

    with override_settings(LANGUAGES=[("en", "English"), ("de", "German")]):
        assert Context().run(ask) == [("en", "MISS"), ("de", "MISS")]  # where no language was ever activated
