"""Two visitors to choose from, kept in a signed cookie: who asks, for the pages that depend on it. No passwords."""

from collections.abc import Callable
from dataclasses import dataclass

from django.http import HttpRequest, HttpResponse
from django.utils.functional import SimpleLazyObject

__all__ = ["KNOWN", "NOBODY", "SESSION_KEY", "Visitor", "Visitors"]

Answer = Callable[[HttpRequest], HttpResponse]

SESSION_KEY = "visitor"


@dataclass(frozen=True)
class Visitor:
    """What Django's views ask of a user."""

    pk: int | None
    name: str
    home: str = ""  # an ISO code
    is_authenticated: bool = True
    is_active: bool = True
    is_staff: bool = False


NOBODY = Visitor(None, "Nobody in particular", is_authenticated=False, is_active=False)
KNOWN = {
    "ada": Visitor(1, "Ada", "GB", is_staff=True),
    "grace": Visitor(2, "Grace", "US"),
}


class Visitors:
    """Gives each request its `user`, who is looked up when somebody asks for him."""

    def __init__(self, get_response: Answer) -> None:
        self.get_response = get_response

    def __call__(self, request: HttpRequest) -> HttpResponse:
        """Answer, with a user."""
        request.user = SimpleLazyObject(  # type: ignore[assignment]  # no user of Django's, and all that is asked of one
            lambda: KNOWN.get(request.session.get(SESSION_KEY, ""), NOBODY)
        )
        return self.get_response(request)
