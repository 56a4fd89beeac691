"""Templates that tests show: in which language, to whom, and how often their blocks were rendered."""

from typing import Any, Final

import jinja2
from django.contrib.auth.models import AnonymousUser
from django.contrib.sessions.backends.cache import SessionStore
from django.http import HttpRequest
from django.template import Context, Engine, RequestContext
from django.test import RequestFactory

__all__ = ["CACHES", "Counter", "asked", "jinja", "named", "shown"]

CACHES: Final[dict[str, Any]] = {
    "default": {"BACKEND": "oxicache.django.backends.NativeCache", "LOCATION": "shown"},
    "other": {"BACKEND": "oxicache.django.backends.NativeCache", "LOCATION": "shown-other"},
    "local": {"BACKEND": "django.core.cache.backends.locmem.LocMemCache", "LOCATION": "shown-local"},
}
_LIBRARIES: Final = {
    "cache": "django.templatetags.cache",
    "l10n": "django.templatetags.l10n",
    "tz": "django.templatetags.tz",
    "cache_tags": "oxicache.django.templatetags.cache_tags",
}
_LOAD: Final = "{% load cache_tags %}"


class Counter:
    """Something that a template shows, and that counts how often."""

    def __init__(self) -> None:
        self.count = 0

    def __str__(self) -> str:
        self.count += 1
        return str(self.count)


def asked(user: Any = None, path: str = "/", **given: Any) -> HttpRequest:
    """Return a request of somebody, with a session."""
    request = RequestFactory().get(path, **given)
    request.user = user or AnonymousUser()
    request.session = SessionStore()
    return request


def _context(given: dict[str, Any]) -> Context:
    return RequestContext(given["request"], given) if "request" in given else Context(given)


def shown(source: str, **context: Any) -> str:
    """Return what a template of Django's shows that is made of a string."""
    return Engine(libraries=_LIBRARIES).from_string(_LOAD + source).render(_context(context))


def named(name: str, templates: dict[str, str], **context: Any) -> str:
    """Return what the template `name` shows, which a cached loader finds among these."""
    loaders = [
        (
            "django.template.loaders.cached.Loader",
            [
                (
                    "django.template.loaders.locmem.Loader",
                    {
                        key: text if text.startswith("{% extends") else _LOAD + text
                        for key, text in templates.items()
                    },
                )
            ],
        )
    ]
    engine = Engine(libraries=_LIBRARIES, loaders=loaders)
    return engine.get_template(name).render(_context(context))


def jinja(
    source: str, templates: dict[str, str] | None = None, *, autoescape: bool = True, **context: Any
) -> str:
    """Return what a template of Jinja2's shows."""
    environment = jinja2.Environment(
        extensions=["oxicache.django.jinja.CacheExtension"],
        autoescape=autoescape,  # noqa: S701 -- both are tested
        loader=jinja2.DictLoader(templates or {}),
    )
    return environment.from_string(source).render(**context)
