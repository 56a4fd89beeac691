"""System checks of MIDDLEWARE: W012 and W013."""

import pytest
from django.core import checks as django_checks
from django.test import override_settings

from oxicache.django import ordering
from oxicache.django.responses import SiteCacheMiddleware

SITE = "oxicache.django.responses.SiteCacheMiddleware"
CACHE = "oxicache.django.responses.CacheMiddleware"
GZIP = "django.middleware.gzip.GZipMiddleware"
USERS = "django.contrib.auth.middleware.AuthenticationMiddleware"
SESSIONS = "django.contrib.sessions.middleware.SessionMiddleware"


class Derived(SiteCacheMiddleware):
    pass


def said(number: str, *middleware: str) -> list[str]:
    with override_settings(MIDDLEWARE=list(middleware)):
        messages = django_checks.run_checks(tags=[django_checks.Tags.caches])
    return [one.msg for one in messages if one.id == f"oxicache.{number}"]


def test_the_names_are_those_of_the_classes() -> None:
    """ordering.py, which is further down, knows ours by name."""
    with override_settings(MIDDLEWARE=[CACHE, SITE]):
        found = ordering._classes()
        assert ordering._place(found, ordering._CACHE) == 0
        assert ordering._place(found, ordering._SITE_CACHE) == 1
    with override_settings(MIDDLEWARE=[GZIP]):
        assert ordering._place(ordering._classes(), ordering._GZIP) == 0


@pytest.mark.parametrize("ours", [SITE, "oxicache.django.responses.site.SiteCacheMiddleware"])
def test_what_stands_after_the_site_cache_is_named(ours: str) -> None:
    """W012: all of it, however ours is imported."""
    (message,) = said("W012", SESSIONS, ours, USERS, GZIP)
    assert message.startswith(f"{USERS}, {GZIP} in MIDDLEWARE after SiteCacheMiddleware")


@pytest.mark.parametrize(
    "middleware", [(SESSIONS, USERS, SITE), (SITE,), (SESSIONS, USERS, CACHE), ("no.such.Middleware",), ()]
)
def test_the_right_order_is_silent(middleware: tuple[str, ...]) -> None:
    """W012: last, or not there. A path that leads to nothing is Django's to report."""
    assert said("W012", *middleware) == []


def test_one_that_is_derived_is_known(monkeypatch: pytest.MonkeyPatch) -> None:
    """W012: a project's own class over ours is ours."""
    import sys
    import types

    module = types.ModuleType("derived_site_cache")
    module.Derived = Derived  # type: ignore[attr-defined]
    monkeypatch.setitem(sys.modules, "derived_site_cache", module)
    assert said("W012", "derived_site_cache.Derived", USERS) != []


def test_compression_inside() -> None:
    """W013: GZipMiddleware after CacheMiddleware, and no other order."""
    assert len(said("W013", CACHE, SESSIONS, GZIP)) == 1
    for right in ((GZIP, CACHE), (CACHE,), (GZIP,), ()):
        assert said("W013", *right) == []
