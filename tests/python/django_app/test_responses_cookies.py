"""What Django keeps in cookies, tokens of forms and messages, is named by the guard as what it is."""

from collections.abc import Iterator

import pytest
from django.contrib import messages
from django.http import HttpRequest, HttpResponse
from django.middleware.csrf import get_token
from django.test import Client, override_settings
from django.urls import path

from oxicache import testing
from oxicache.django.responses import cached_view

NATIVE = {"default": {"BACKEND": "oxicache.django.backends.NativeCache", "LOCATION": "cookies"}}
MIDDLEWARE = [
    "django.contrib.sessions.middleware.SessionMiddleware",
    "django.middleware.csrf.CsrfViewMiddleware",
    "django.contrib.messages.middleware.MessageMiddleware",
]


def tell(request: HttpRequest) -> HttpResponse:
    messages.info(request, "saved")
    return HttpResponse("told")


def patterns() -> Iterator[object]:
    @cached_view()
    def form(request: HttpRequest) -> HttpResponse:
        return HttpResponse(get_token(request))

    @cached_view()
    def page(request: HttpRequest) -> HttpResponse:
        return HttpResponse(" ".join(map(str, messages.get_messages(request))))

    return map(path, ("form/", "page/", "tell/"), (form, page, tell))


@pytest.fixture(autouse=True)
def _site() -> Iterator[None]:
    with override_settings(CACHES=NATIVE, MIDDLEWARE=MIDDLEWARE, ROOT_URLCONF=tuple(patterns())):
        yield


def test_a_token_is_not_named_twice(caplog: pytest.LogCaptureFixture) -> None:
    """To key by its cookie, too, would help nobody."""
    client = Client()
    for _ in range(2):
        assert "X-Cache" not in client.get("/form/")
    assert [record.message.partition(",")[0].split()[-1] for record in caplog.records] == ["csrf"]


def test_messages_are_nothing_to_mend(caplog: pytest.LogCaptureFixture) -> None:
    """A page that shows some is not kept, without a word; without any it is."""
    client = Client()
    with testing.strict():
        assert [client.get("/page/")["X-Cache"] for _ in range(2)] == ["MISS", "HIT"]
        client.get("/tell/")
        shown = client.get("/page/")
        assert (shown.content, "X-Cache" in shown) == (b"saved", False)
        assert client.cookies["messages"].value == ""  # a browser lets go of it
        assert [client.get("/page/")["X-Cache"] for _ in range(2)] == ["MISS", "HIT"]
        del client.cookies["messages"]
        assert client.get("/page/")["X-Cache"] == "HIT"
    assert caplog.records == []
