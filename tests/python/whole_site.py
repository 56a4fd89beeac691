"""A site of views that count their calls, and SiteCacheMiddleware at every place among Django's middleware."""

import contextlib
import functools
from collections.abc import Iterator
from typing import Any

import pytest
from django.contrib import admin, messages
from django.contrib.auth import views as auth
from django.contrib.sessions.models import Session
from django.http import Http404, HttpRequest, HttpResponse, StreamingHttpResponse
from django.template import engines
from django.template.response import TemplateResponse
from django.test import override_settings
from django.urls import include, path
from django.utils import translation
from django.utils.decorators import method_decorator
from django.utils.translation import gettext
from django.views import View
from django.views.decorators.cache import never_cache
from django.views.decorators.clickjacking import xframe_options_exempt
from rest_framework.response import Response
from rest_framework.views import APIView

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
    Session.objects.all().delete()


ORDERS = {
    "last": [*DJANGOS, OURS],
    "first": [OURS, *DJANGOS],
    "before users": [*DJANGOS[:5], OURS, *DJANGOS[5:]],
    "before sessions": [DJANGOS[0], OURS, *DJANGOS[1:]],
}


def status_of(response: Any) -> str:
    """What we say of it: HIT, MISS, or nothing."""
    return str(response.get("X-Cache", ""))


@pytest.fixture(params=[False, True], ids=["anonymous", "users"])
def has_users(request: Any) -> bool:
    """Whether users are cached, too."""
    return bool(request.param)


@pytest.fixture(params=ORDERS.values(), ids=list(ORDERS))
def site_anywhere(request: Any, has_users: bool) -> Iterator[None]:
    """The middleware wherever it stands, where it should and where it should not."""
    with site(request.param, OXICACHE={"SITE_USERS": has_users}):
        yield


@pytest.fixture
def site_last() -> Iterator[None]:
    """The middleware where it should be."""
    with site([*DJANGOS, OURS]):
        yield
