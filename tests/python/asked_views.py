"""Views that say what they looked at and how often they were called, and sessions whose content is given."""

from collections.abc import Callable
from typing import Any

from django.contrib.sessions.backends.base import SessionBase
from django.http import HttpRequest, HttpResponse

from oxicache.django.responses import cached_view

__all__ = ["Counter", "Session", "cached"]


class Session(SessionBase):
    """A session whose content is given; one without is one that nobody has begun."""

    def __init__(self, content: dict[str, Any] | None = None) -> None:
        super().__init__("k" * 8 if content else None)
        self._content = content or {}

    def load(self) -> dict[str, Any]:
        return dict(self._content)


class Counter:
    """A view that counts its calls, and says what `say` makes of the request before their number."""

    def __init__(self, say: Callable[[HttpRequest], Any] = lambda _: "page") -> None:
        self.calls = 0
        self.say = say

    def __call__(self, request: HttpRequest, *args: Any, **kwargs: Any) -> Any:
        self.calls += 1
        said = self.say(request)
        return HttpResponse(f"{said} {self.calls}") if isinstance(said, str) else said


def cached(say: Callable[[Any], Any], **options: Any) -> Callable[[HttpRequest], str]:
    """Decorate a view that says `say(request)` and how often it was called; return what asks it."""
    calls: list[None] = []

    @cached_view(**options)
    def view(request: HttpRequest) -> HttpResponse:
        calls.append(None)
        return HttpResponse(f"{say(request)} {len(calls)}")

    def ask(request: HttpRequest) -> str:
        return view(request).content.decode()

    return ask
