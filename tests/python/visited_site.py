"""A site whose views say what they looked at: what test_responses_machine.py asks. What they ought to say: visitors.py.

A `Page` says what a view looks at, what else it does, and how it is cached; `publish` makes it, and the site has it.
"""

import asyncio
import itertools
import json
import threading
from collections.abc import Callable
from contextvars import ContextVar
from dataclasses import dataclass, field, fields
from typing import Any, Final

from asgiref.sync import sync_to_async
from django.contrib import messages
from django.contrib.auth.models import AnonymousUser, Group, User
from django.core.exceptions import PermissionDenied
from django.db import OperationalError
from django.http import Http404, HttpRequest, HttpResponse, HttpResponseRedirect
from django.middleware.csrf import get_token
from django.template import engines
from django.template.response import TemplateResponse
from django.urls import path
from django.utils import translation
from django.utils.cache import patch_vary_headers
from django.utils.decorators import method_decorator
from django.utils.deprecation import MiddlewareMixin
from django.utils.functional import SimpleLazyObject
from django.utils.http import urlencode
from django.views import View

from oxicache.django.responses import cached_api, cached_view

__all__ = ["DEEDS", "FORMS", "LOOKS", "SETTINGS", "SOURCE", "TEMPLATE", "Gate", "Page", "publish"]

ROW: Final = "what a machine of responses shows"  # begins the name of a group
TEMPLATE: Final = "|".join(
    [
        "{{ said|safe }}",
        "{{ user.username }}",
        "{% for message in messages %}{{ message }},{% endfor %}",
        "{{ LANGUAGE_CODE }}",
    ]
)
PROCESSORS: Final = [
    "django.template.context_processors.request",
    "django.template.context_processors.i18n",
    "django.contrib.auth.context_processors.auth",
    "django.contrib.messages.context_processors.messages",
]
_tenant: ContextVar[str | None] = ContextVar("visited_tenant", default=None)
NATIVE: Final = "oxicache.django.backends.NativeCache"
LOCMEM: Final = "django.core.cache.backends.locmem.LocMemCache"
SETTINGS: Final[dict[str, Any]] = {
    "CACHES": {
        "default": {"BACKEND": NATIVE, "LOCATION": "visited"},
        "tiny": {"BACKEND": NATIVE, "LOCATION": "visited-tiny", "OPTIONS": {"MAX_ENTRIES": 3}},
        "local": {"BACKEND": LOCMEM, "LOCATION": "visited-local"},
        "sessions": {"BACKEND": LOCMEM, "LOCATION": "visited-sessions"},
    },
    "SESSION_ENGINE": "django.contrib.sessions.backends.cache",
    "SESSION_CACHE_ALIAS": "sessions",
    "ALLOWED_HOSTS": ["*"],
    "LANGUAGE_CODE": "en",
    "LANGUAGES": [("en", "English"), ("de", "German"), ("fr", "French")],
    "MIDDLEWARE": [
        "django.contrib.sessions.middleware.SessionMiddleware",
        "django.middleware.locale.LocaleMiddleware",
        "django.middleware.common.CommonMiddleware",
        "django.middleware.csrf.CsrfViewMiddleware",
        "django.contrib.auth.middleware.AuthenticationMiddleware",
        "visited_site.Places",
        "django.contrib.messages.middleware.MessageMiddleware",
    ],
    "OXICACHE": {"TENANT": _tenant.get},
    "ROOT_URLCONF": "visited_site",
    "TEMPLATES": [
        {
            "BACKEND": "django.template.backends.django.DjangoTemplates",
            "OPTIONS": {"context_processors": PROCESSORS},
        }
    ],
}


class Gate:
    """Where the first view to run stops until it is let on."""

    def __init__(self) -> None:
        self.is_in, self.go_on = threading.Event(), threading.Event()
        self.ais_in, self.ago_on = asyncio.Event(), asyncio.Event()
        self._first = threading.Lock()

    def stop(self) -> None:
        if self._first.acquire(blocking=False):
            self.is_in.set()
            assert self.go_on.wait(60)

    async def astop(self) -> None:
        if self._first.acquire(blocking=False):
            self.ais_in.set()
            await self.ago_on.wait()


@dataclass
class Source:
    """What views show beside their visitors."""

    fact: int = 0
    is_down: bool = False
    gate: Gate | None = None
    tickets: Any = field(default_factory=itertools.count)


SOURCE: Final = Source()

# What a view can look at, and how it does.
LOOKS: Final[dict[str, Callable[[HttpRequest], Any]]] = {
    "user": lambda request: request.user.get_username(),
    "cart": lambda request: request.session.get("cart", ""),
    "theme": lambda request: request.COOKIES.get("theme", ""),
    "unit": lambda request: request.headers.get("X-Unit", ""),
    "region": lambda request: request.META.get("HTTP_X_REGION", ""),
    "accepts": lambda request: request.accepts("application/json"),
    "credentials": lambda request: request.headers.get("Authorization", ""),
    "language": lambda _: translation.get_language(),
    "host": lambda request: request.get_host(),
    "tenant": lambda _: _tenant.get(),  # as a database router would know it
    "plan": lambda request: request.plan,  # type: ignore[attr-defined]
    "params": lambda request: sorted(request.GET.lists()),
    "token": get_token,
    "fact": lambda _: SOURCE.fact,
    "row": lambda _: Group.objects.get(name__startswith=ROW).name,
}
# What else it may do.
DEEDS: Final = [
    "ticket", "session", "no-store", "private", "max-age=30", "Vary: X-Region", "Vary: Cookie", "Vary: *", "activate"
]  # fmt: skip
FORMS: Final = ["function", "method", "method_decorator", "dispatch", "class", "as_view"]


@dataclass(frozen=True, kw_only=True)
class Page:
    """A view. Its name is in its address."""

    name: str
    looks: frozenset[str] = frozenset()
    deed: str | None = None
    form: str = "function"  # or another of FORMS, or "bare": not decorated
    kind: str = "plain"  # or "template", or "lazy": rendered after the view
    status: int = 200
    raises: str | None = None  # "missing" for all, "denied" for who is no staff
    inner: "Page | None" = None  # another cached view, which it asks
    options: dict[str, Any] = field(default_factory=dict)  # of cached_view, but for functions: their names
    is_async: bool = False
    is_api: bool = False  # cached by `cached_api`

    def __repr__(self) -> str:
        plain = {one.name: getattr(self, one.name) for one in fields(self) if one.name != "options"}
        return f"Page({plain | self.options})"


FUNCTIONS: Final[dict[str, Callable[..., Any]]] = {
    "key_func": lambda request, **_: [
        request.COOKIES.get("theme"), request.session.get("cart"), request.user.get_username()
    ],
    "condition_func": lambda request: "draft" not in request.GET,
    "scope": lambda request: request.user.pk or "nobody",
}  # fmt: skip


def _decorator(page: Page) -> Any:
    named = {name: FUNCTIONS[name] for name, value in page.options.items() if value is ...}
    given = {**page.options, **named}
    if page.is_api:
        return cached_api(vary_on_auth=given.pop("per_user", None) is not False, **given)
    return cached_view(**given)


# ---------------------------------------------------------------- views

_published: dict[str, Callable[..., Any]] = {}


def publish(page: Page) -> None:
    """Have the site show a page, and no page that has been shown before under its name."""
    _published[page.name] = _afinished(page) if page.is_async else _finished(page)


def unpublish() -> None:
    """Take all pages off."""
    _published.clear()


def _finished(page: Page) -> Callable[..., Any]:
    decorate = _decorator(page)
    inner = None if page.inner is None else _finished(page.inner)

    def answer(request: HttpRequest, **_: Any) -> HttpResponse:
        if SOURCE.gate is not None:
            SOURCE.gate.stop()
        _begin(page)
        said = {look: LOOKS[look](request) for look in sorted(page.looks)}
        if inner is not None:
            said["inner"] = inner(request).content.decode()
        return _response(page, said, request)

    if page.form == "bare":  # the site caches it
        return answer
    if page.form == "function":
        return decorate(answer)

    class Shown(View):
        def get(self, request: HttpRequest, **given: Any) -> HttpResponse:
            return answer(request, **given)

        post = get

        if page.form == "method":
            get = decorate(get)

    return _classed(page, decorate, Shown)


def _classed(page: Page, decorate: Any, kind: type[View]) -> Callable[..., Any]:
    if page.form == "method_decorator":
        kind = method_decorator(decorate, name="get")(kind)
    elif page.form == "dispatch":
        kind = method_decorator(decorate, name="dispatch")(kind)
    elif page.form == "class":
        kind = decorate(kind)
    return decorate(kind.as_view()) if page.form == "as_view" else kind.as_view()


def _afinished(page: Page) -> Callable[..., Any]:
    decorate = _decorator(page)
    inner = None if page.inner is None else _afinished(page.inner)

    async def answer(request: HttpRequest, **_: Any) -> HttpResponse:
        if SOURCE.gate is not None:
            await SOURCE.gate.astop()
        _begin(page)
        said = {}
        for look in sorted(page.looks):
            if look == "user":
                said[look] = (await request.auser()).get_username()
            elif look == "cart":
                said[look] = await request.session.aget("cart", "")
            elif look == "row":
                said[look] = (await Group.objects.aget(name__startswith=ROW)).name
            else:
                said[look] = LOOKS[look](request)
        if inner is not None:
            said["inner"] = (await inner(request)).content.decode()
        if page.kind == "template" or page.raises == "denied" or page.deed == "session":
            await request.auser()
            return await sync_to_async(_response)(page, said, request)
        return _response(page, said, request)

    if page.form == "function":
        return decorate(answer)

    class Shown(View):
        async def get(self, request: HttpRequest, **given: Any) -> HttpResponse:
            return await answer(request, **given)

        post = get

        if page.form == "method":
            get = decorate(get)

    return _classed(page, decorate, Shown)


def _begin(page: Page) -> None:
    if SOURCE.is_down:
        raise OperationalError("down")
    if page.deed == "activate":
        translation.activate("fr")


def _response(page: Page, said: dict[str, Any], request: HttpRequest) -> HttpResponse:
    text = json.dumps(said, sort_keys=True)
    if page.raises == "missing" and "missing" in request.GET:
        raise Http404(text)
    if page.raises == "denied" and not request.user.is_staff:
        raise PermissionDenied(text)
    response: HttpResponse
    if page.status == 302:
        response = HttpResponseRedirect(f"/elsewhere/?{urlencode({'said': text})}")
    elif page.kind == "plain":
        kind = "application/json" if said.get("accepts") else "text/plain"
        response = HttpResponse(text, content_type=kind, status=page.status)
    else:
        template = engines["django"].from_string(TEMPLATE)
        if page.kind == "lazy":
            response = TemplateResponse(request, template, {"said": text}, status=page.status)
        else:
            response = HttpResponse(template.render({"said": text}, request), status=page.status)
    _do(page, request, response)
    return response


def _do(page: Page, request: HttpRequest, response: HttpResponse) -> None:
    deed = page.deed or ""
    if deed == "ticket":
        response.set_cookie("ticket", str(next(SOURCE.tickets)))
    elif deed == "session":
        request.session["seen"] = next(SOURCE.tickets)
    elif deed.startswith("Vary: "):
        patch_vary_headers(response, [deed.removeprefix("Vary: ")])
    elif deed and deed != "activate":
        response["Cache-Control"] = deed


def show(request: HttpRequest, name: str, **given: Any) -> Any:
    return _published[name](request, **given)


async def ashow(request: HttpRequest, name: str, **given: Any) -> Any:
    return await _published[name](request, **given)


def tell(request: HttpRequest) -> HttpResponse:
    """Add a message."""
    messages.info(request, request.GET["text"])
    return HttpResponse("told")


def missing(request: HttpRequest, exception: Exception) -> HttpResponse:
    return HttpResponse(str(exception), status=404)


def denied(request: HttpRequest, exception: Exception) -> HttpResponse:
    return HttpResponse(str(exception), status=403)


def failed(request: HttpRequest) -> HttpResponse:
    return HttpResponse("failed", status=500)


handler403, handler404, handler500 = denied, missing, failed

urlpatterns = [
    path("v/<slug:name>/", show),
    path("v/<slug:name>/<int:pk>/", show),
    path("a/<slug:name>/", ashow),
    path("a/<slug:name>/<int:pk>/", ashow),
    path("tell/", tell),
]


# ---------------------------------------------------------------- middleware


class Places(MiddlewareMixin):
    """Puts on the request which tenant it is of, and who has a token or comes through a proxy that knows him."""

    def process_request(self, request: HttpRequest) -> None:
        _tenant.set(request.META.get("HTTP_X_TENANT"))
        request.plan = request.META.get("HTTP_X_PLAN", "")  # type: ignore[attr-defined]
        name = request.META.get("HTTP_AUTHORIZATION", "").removeprefix("Token ")
        if not name and (remote := request.META.get("HTTP_X_REMOTE")):
            request.user = user = _named(remote)
            request.auser = lambda: _at_once(user)  # type: ignore[method-assign]
        if name:
            request.user = SimpleLazyObject(lambda: _named(name))  # type: ignore[assignment]
            request.auser = lambda: sync_to_async(_named)(name)  # type: ignore[method-assign]


async def _at_once(user: Any) -> Any:
    return user


def _named(name: str) -> Any:
    return User.objects.filter(username=name).first() or AnonymousUser()
