"""The endpoints as plain Django views, for a user who is logged in with a session. What they answer: answers.py.

Who may not is told so in JSON, as Django REST framework would: 401, 403 or 405 and a `detail`. A POST needs Django's
CSRF token, whether or not the project has the middleware.
"""

from http import HTTPStatus
from typing import Any, ClassVar

from django.contrib.auth.decorators import login_not_required
from django.core.cache import DEFAULT_CACHE_ALIAS
from django.db.transaction import non_atomic_requests
from django.http import HttpRequest, HttpResponse, HttpResponseBase, JsonResponse
from django.middleware.csrf import CsrfViewMiddleware
from django.utils.decorators import method_decorator
from django.views import View
from django.views.decorators.cache import never_cache
from django.views.decorators.csrf import csrf_exempt

from oxicache.django.endpoints import answers
from oxicache.django.endpoints.answers import Answer

__all__ = ["CacheClearView", "CacheHealthView", "CacheResetStatsView", "CacheStatsView"]


class _CsrfCheck(CsrfViewMiddleware):
    """Says why a request is refused, in place of a page."""

    def _reject(self, request: HttpRequest, reason: str) -> Any:  # noqa: ARG002 -- as Django calls it
        return reason


def _csrf_problem(request: HttpRequest) -> str | None:
    check = _CsrfCheck(lambda _: HttpResponse())
    check.process_request(request)
    problem: Any = check.process_view(request, None, (), {})  # type: ignore[arg-type]  # of no view it asks nothing
    return None if problem is None else str(problem)


# The view checks itself, in JSON, and lets nobody be sent to a login page.
@method_decorator([login_not_required, csrf_exempt, never_cache, non_atomic_requests], name="dispatch")
class CacheEndpoint(View):
    """What the four have in common. `as_view(alias="sessions")` is about another alias of CACHES.

    What an address captures above them, a tenant or a version, is no matter.
    """

    alias: str = DEFAULT_CACHE_ALIAS
    needs_staff: ClassVar[bool] = True

    def has_permission(self, user: Any) -> bool:
        """Whether a user who is logged in may ask: staff, and of `cache-stats/` everybody. To be overridden."""
        return bool(not self.needs_staff or user.is_staff)

    def dispatch(self, request: HttpRequest, *args: Any, **kwargs: Any) -> HttpResponseBase:
        """Ask who it is before anything else, so that a visitor learns nothing."""
        user = getattr(request, "user", None)  # a site without authentication has none
        if user is None or not user.is_authenticated or not user.is_active:
            # A 401 names a scheme; there is no registered one for a session.
            response = _refused(HTTPStatus.UNAUTHORIZED, "Authentication credentials were not provided.")
            response["WWW-Authenticate"] = 'Session realm="api"'
            return response
        if not self.has_permission(user):
            return _refused(HTTPStatus.FORBIDDEN, "You do not have permission to perform this action.")
        problem = _csrf_problem(request)
        if problem is not None:
            return _refused(HTTPStatus.FORBIDDEN, f"CSRF Failed: {problem}")
        return super().dispatch(request, *args, **kwargs)

    def http_method_not_allowed(self, request: HttpRequest, *_: Any, **__: Any) -> HttpResponse:
        """Say so in JSON."""
        response = _refused(HTTPStatus.METHOD_NOT_ALLOWED, f'Method "{request.method}" not allowed.')
        response["Allow"] = super().http_method_not_allowed(request)["Allow"]
        return response


def _refused(status: HTTPStatus, detail: str) -> HttpResponse:
    return JsonResponse({"detail": detail}, status=status)


def _sent(answer: Answer) -> HttpResponse:
    status, body = answer
    return JsonResponse(body, status=status)


class CacheStatsView(CacheEndpoint):
    """`GET cache-stats/`, for whoever is logged in."""

    needs_staff = False

    def get(self, request: HttpRequest, *_: Any, **__: Any) -> HttpResponse:  # noqa: ARG002 -- a view is given it
        """Show the figures."""
        return _sent(answers.stats(self.alias))


class CacheHealthView(CacheEndpoint):
    """`GET cache-health/`, for staff."""

    def get(self, request: HttpRequest, *_: Any, **__: Any) -> HttpResponse:  # noqa: ARG002 -- as above
        """Try the cache."""
        return _sent(answers.health(self.alias))


class CacheClearView(CacheEndpoint):
    """`POST cache-clear/`, for staff."""

    def post(self, request: HttpRequest, *_: Any, **__: Any) -> HttpResponse:
        """Clear what is named, or everything."""
        return _sent(answers.clear(self.alias, request))


class CacheResetStatsView(CacheEndpoint):
    """`POST cache-reset-stats/`, for staff."""

    def post(self, request: HttpRequest, *_: Any, **__: Any) -> HttpResponse:  # noqa: ARG002 -- as above
        """Count from zero."""
        return _sent(answers.reset(self.alias))
