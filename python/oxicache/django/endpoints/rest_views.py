"""The endpoints as views of Django REST framework (extra `drf`). What they answer: answers.py.

Who asks is found out as the project's settings say: a token, a session with its CSRF token, or what else is in
DEFAULT_AUTHENTICATION_CLASSES. Throttles and renderers are the project's too.
"""

from typing import Any

from django.core.cache import DEFAULT_CACHE_ALIAS
from django.db.transaction import non_atomic_requests
from django.http import HttpRequest
from django.utils.decorators import method_decorator
from django.views.decorators.cache import never_cache

from oxicache.django.endpoints import answers
from oxicache.django.endpoints.answers import Answer

try:
    from rest_framework.permissions import IsAdminUser, IsAuthenticated
    from rest_framework.request import Request
    from rest_framework.response import Response
    from rest_framework.views import APIView
except ImportError as error:
    raise ImportError('Django REST framework is not installed; run: pip install "oxicache[drf]"') from error

__all__ = ["CacheClearView", "CacheHealthView", "CacheResetStatsView", "CacheStatsView"]


@method_decorator([never_cache, non_atomic_requests], name="dispatch")
class CacheEndpoint(APIView):  # type: ignore[misc]  # the framework has no types
    """What the four have in common.

    `as_view(alias="sessions", permission_classes=[...])` is about another alias of CACHES, and for others to see.
    What an address captures above them is no matter, and neither are the versions of the project's API.
    """

    alias: str = DEFAULT_CACHE_ALIAS
    permission_classes: Any = (IsAdminUser,)
    versioning_class = None

    def get_authenticate_header(self, request: Request) -> str:
        """Return what is asked of a visitor: 401 also where a session, which asks for nothing, comes first."""
        asked = (one.authenticate_header(request) for one in self.get_authenticators())
        return next((header for header in asked if header), 'Session realm="api"')


def _sent(answer: Answer) -> Response:
    status, body = answer
    return Response(body, status=int(status))


class CacheStatsView(CacheEndpoint):
    """`GET cache-stats/`, for whoever is authenticated."""

    permission_classes: Any = (IsAuthenticated,)

    def get(self, request: Request, *_: Any, **__: Any) -> Response:  # noqa: ARG002 -- a view is given it
        """Show the figures."""
        return _sent(answers.stats(self.alias))


class CacheHealthView(CacheEndpoint):
    """`GET cache-health/`, for staff."""

    def get(self, request: Request, *_: Any, **__: Any) -> Response:  # noqa: ARG002 -- as above
        """Try the cache."""
        return _sent(answers.health(self.alias))


class CacheClearView(CacheEndpoint):
    """`POST cache-clear/`, for staff."""

    def initialize_request(self, request: HttpRequest, *args: Any, **kwargs: Any) -> Request:
        """Keep the body, which a permission or a throttle of the project may read before it is read here."""
        if request.content_type != "multipart/form-data":
            _ = request.body
        return super().initialize_request(request, *args, **kwargs)

    def post(self, request: Request, *_: Any, **__: Any) -> Response:
        """Clear what is named, or everything."""
        return _sent(answers.clear(self.alias, request._request))


class CacheResetStatsView(CacheEndpoint):
    """`POST cache-reset-stats/`, for staff."""

    def post(self, request: Request, *_: Any, **__: Any) -> Response:  # noqa: ARG002 -- as above
        """Count from zero."""
        return _sent(answers.reset(self.alias))
