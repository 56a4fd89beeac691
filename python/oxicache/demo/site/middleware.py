"""Two small middlewares: nothing from outside is loaded, and each answer says what the cache did for it."""

import os
from collections.abc import Callable

from django.http import HttpRequest, HttpResponse

from .atlas.counters import totals

Answer = Callable[[HttpRequest], HttpResponse]

# What tells by itself what a cache did for it.
TELLING = ("/features/", "/api/features/", "/parts/", "/api/parts/")
POLICY = (
    "default-src 'none'; style-src 'self'; script-src 'self'; connect-src 'self'; img-src 'self'; "
    "base-uri 'none'; form-action 'self'; frame-ancestors 'none'"
)


class ContentSecurityPolicy:
    """Everything on the pages comes from the demo itself; the browser is told to hold it to that."""

    def __init__(self, get_response: Answer) -> None:
        self.get_response = get_response

    def __call__(self, request: HttpRequest) -> HttpResponse:
        """Answer, and add the policy."""
        response = self.get_response(request)
        response["Content-Security-Policy"] = POLICY
        return response


class CacheHeaders:
    """`X-Cache: HIT` when nothing had to be computed, `MISS` when something had; with counts and the worker.

    The counts are the worker's totals after the answer less those before it: exact because the workers here are
    of the sync class, one request at a time. Of a page that is cached as a whole its own `X-Cache` tells.
    """

    def __init__(self, get_response: Answer) -> None:
        self.get_response = get_response

    def __call__(self, request: HttpRequest) -> HttpResponse:
        """Answer, and add what the cache did for it."""
        before = totals()
        response = self.get_response(request)
        spent = totals().since(before)
        response["X-Worker"] = str(os.getpid())
        if spent.verdict and not request.path.startswith(TELLING):
            response["X-Cache"] = spent.verdict
            response["X-Cache-Hits"] = str(spent.hits)
            response["X-Cache-Misses"] = str(spent.misses)
        return response
