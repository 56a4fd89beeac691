"""Responses that are rendered after their view: templates, and those of Django REST framework."""

import functools
from typing import Any

from django.conf import settings
from django.core.signals import setting_changed
from django.http import HttpResponseBase
from django.utils.module_loading import import_string

__all__ = ["is_unrendered", "no_response", "problem", "rendered"]


def no_response(response: Any) -> str | None:
    """Say that a view returned no response; None where it did."""
    if isinstance(response, HttpResponseBase):
        return None
    return f"the view returned {type(response).__name__}, which is no response"


def is_unrendered(response: Any) -> bool:
    """Whether it has no content yet."""
    return not getattr(response, "is_rendered", True)


def problem(response: Any) -> str | None:
    """Say why a response cannot be rendered here; None where it can, or has been."""
    if not is_unrendered(response):
        return None
    if hasattr(response, "data") and getattr(response, "accepted_renderer", None) is None:
        return "no renderer has been chosen for it yet; cache the view that as_view() returns"
    changing = _changing_middleware()
    if changing:
        return f"{changing[0]} changes template responses before they are rendered"
    return None


def rendered(response: Any) -> Any:
    """Return the response with its content."""
    return response.render() if is_unrendered(response) else response


@functools.cache
def _changing_middleware() -> tuple[str, ...]:
    """Return the middleware that would find a template response rendered, and could not change it any more."""
    found = []
    for path in settings.MIDDLEWARE:
        middleware = import_string(path) if isinstance(path, str) else path
        if hasattr(middleware, "process_template_response"):
            found.append(str(path))
    return tuple(found)


def _reset(*, setting: str, **_: Any) -> None:
    if setting == "MIDDLEWARE":
        _changing_middleware.cache_clear()


setting_changed.connect(_reset, dispatch_uid="oxicache.django.responses.rendering")
