"""Each feature with two requests that this worker sends itself through all of its middleware, and what came back."""

import importlib.util
import itertools
import os
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from http import HTTPStatus
from typing import Any

from django.http import HttpRequest, HttpResponse, JsonResponse
from django.shortcuts import render
from django.urls import reverse
from django.views.decorators.cache import never_cache
from django.views.decorators.http import require_safe

from oxicache.demo.site.requests import ask

from .notes import notes_on
from .views import MOMENT, is_source_away
from .visitors import KNOWN

SHOWN = ("X-Cache", "Age", "ETag", "Cache-Control", "Vary", "Content-Type", "Content-Length")
HAS_REST = importlib.util.find_spec("rest_framework") is not None
_looks = itertools.count(1)


@dataclass(frozen=True)
class Reply:
    """What came back."""

    status: int
    headers: dict[str, str]

    @property
    def reason(self) -> str:
        """The status in words."""
        return HTTPStatus(self.status).phrase

    @property
    def verdict(self) -> str:
        """What `X-Cache` says, or nothing."""
        return self.headers.get("X-Cache", "")


def _again(_first: Reply) -> dict[str, str]:
    return {}


def _with_etag(first: Reply) -> dict[str, str]:
    return {"HTTP_IF_NONE_MATCH": first.headers.get("ETag", "")}


@dataclass(frozen=True)
class Feature:
    """One way to cache, where it is, and what the second of two requests says."""

    name: str  # of its URL
    title: str
    about: str
    code: str
    wanted: tuple[str, str]  # what X-Cache should be
    second: Callable[[Reply], dict[str, str]] = _again
    arguments: tuple[str, ...] = ()
    query: str = ""
    is_fresh: bool = True  # asked for by an address that nobody has asked for before
    is_source_away: bool = False  # when it is asked again
    status: int = HTTPStatus.OK  # of the second answer

    @property
    def path(self) -> str:
        """Where it is."""
        return reverse(f"features-{self.name}", args=self.arguments)


FEATURES = (
    Feature(
        "shared",
        "A cached view",
        "One entry for everybody. The second request asks neither the view nor the database.",
        "@cached_view(timeout=60, per_user=False)",
        ("MISS", "HIT"),
    ),
    Feature(
        "own",
        "A view of each visitor's own",
        "Without per_user=False a visitor who is logged in has entries of his own. Be somebody else, and look again.",
        "@cached_view(timeout=60)",
        ("MISS", "HIT"),
    ),
    Feature(
        "api",
        "A cached API",
        "JSON by the parameters of its query.",
        "@cached_api(timeout=60, vary_on_auth=False)",
        ("MISS", "HIT"),
        query="country=FR",
    ),
    Feature(
        "conditional",
        "Conditional GET",
        "Each response that is held has an ETag. Who sends it back is told 304, and no body.",
        "@cached_view(timeout=60, per_user=False)",
        ("MISS", "HIT"),
        second=_with_etag,
        status=HTTPStatus.NOT_MODIFIED,
    ),
    Feature(
        "told",
        "What browsers and proxies are told",
        "Nothing is held here: the middleware says what others may keep, and answers 304 to who has it already.",
        '"oxicache.django.responses.CacheMiddleware" in MIDDLEWARE',
        ("", ""),
        second=_with_etag,
        status=HTTPStatus.NOT_MODIFIED,
    ),
    Feature(
        "stale",
        "Stale, while the source is away",
        "It is fresh for a twentieth of a second. By the second request it is old, and its source cannot be reached: "
        "for an hour of grace the old one is served.",
        "@cached_view(timeout=0.05, per_user=False, grace=3600)",
        ("MISS", "STALE"),
        is_source_away=True,
    ),
    Feature(
        "leaking",
        "A mistake that leaks nothing",
        "The view is to be shared by all, and greets its visitor by name. That is noticed: nothing is kept, so there "
        "is no X-Cache, and a warning says why.",
        "@cached_view(timeout=60, per_user=False)  # and request.user inside",
        ("", ""),
    ),
    Feature(
        "saved",
        "Outdated by a save",
        "A country that is saved through either worker outdates it in both. Save one, and the first of the two is a "
        "miss again.",
        '@cached_view(timeout=3600, per_user=False, invalidate_on=["atlas.Country"])',
        ("", "HIT"),
        is_fresh=False,
    ),
)
REST_FEATURES = (
    Feature(
        "rest-list",
        "A list of Django REST framework",
        "Data, status and headers are held, and rendered as each client accepts it.",
        "class CountryViewSet(ListCacheMixin, DetailCacheMixin, ...)",
        ("MISS", "HIT"),
        query="continent=EU&format=json",
    ),
    Feature(
        "rest-detail",
        "A detail of Django REST framework",
        "Found by a lookup_field of its own; permissions are checked on hits, too.",
        "class CountryViewSet(ListCacheMixin, DetailCacheMixin, ...)",
        ("MISS", "HIT"),
        arguments=("FR",),
        query="format=json",
    ),
)


def features() -> tuple[Feature, ...]:
    """Return those that can be shown here."""
    return FEATURES + REST_FEATURES if HAS_REST else FEATURES


# ---------------------------------------------------------------- asked


@dataclass(frozen=True)
class Look:
    """A feature, where it was asked for, and the two answers."""

    feature: Feature
    url: str
    replies: tuple[Reply, Reply]
    rows: list[tuple[str, str, str]]  # a header, and its value in both
    notes: list[str]  # what was logged of it

    @property
    def is_as_wanted(self) -> bool:
        """Whether both answers are what the feature promises."""
        pairs = zip(self.feature.wanted, self.replies, strict=True)
        verdicts = all(wanted == reply.verdict for wanted, reply in pairs if wanted or self.feature.is_fresh)
        return verdicts and self.replies[1].status == self.feature.status


def _ask(request: HttpRequest, path: str, query: str, headers: dict[str, str]) -> Reply:
    response = ask(request, path, query, headers)
    found = {name: str(response[name]) for name in SHOWN if response.has_header(name)}
    return Reply(response.status_code, found)


def _look(request: HttpRequest, feature: Feature) -> Look:
    parts = [feature.query] if feature.query else []
    if feature.is_fresh:
        parts.append(f"look={os.getpid()}-{next(_looks)}")
    query = "&".join(parts)
    first = _ask(request, feature.path, query, {})
    token = is_source_away.set(feature.is_source_away)
    try:
        if feature.is_source_away:
            time.sleep(1.2 * MOMENT)  # a demonstration: it is to be old
        second = _ask(request, feature.path, query, feature.second(first))
    finally:
        is_source_away.reset(token)
    names = [name for name in SHOWN if name in first.headers or name in second.headers]
    rows = [(name, first.headers.get(name, ""), second.headers.get(name, "")) for name in names]
    url = f"{feature.path}?{query}" if query else feature.path
    return Look(feature, url, (first, second), rows, list(notes_on(f".features.views.{feature.name}")))


def _looks_of(request: HttpRequest) -> Iterator[Look]:
    return (_look(request, feature) for feature in features())


@never_cache
@require_safe
def index(request: HttpRequest) -> HttpResponse:
    """All features, each with the headers of two requests."""
    saved_by = request.GET.get("saved_by", "")
    user: Any = request.user
    looks = list(_looks_of(request))
    shown = {
        "looks": looks,
        "known": KNOWN,
        "visitor": user,
        "worker": os.getpid(),
        "saved_by": saved_by if saved_by.isascii() and saved_by.isdecimal() else "",
        "has_rest": HAS_REST,
    }
    return render(request, "features/index.html", shown)


@never_cache
@require_safe
def api_index(request: HttpRequest) -> JsonResponse:
    """The same as JSON, for who checks it."""
    found = [
        {
            "feature": look.feature.name,
            "path": look.url,
            "as_wanted": look.is_as_wanted,
            "answers": [{"status": reply.status, **reply.headers} for reply in look.replies],
            "notes": look.notes,
        }
        for look in _looks_of(request)
    ]
    return JsonResponse({"worker": os.getpid(), "features": found})
