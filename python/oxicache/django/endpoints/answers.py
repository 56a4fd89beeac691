"""What the endpoints answer, as a status and a JSON object: the one body behind views.py and rest_views.py.

Who may ask is for those two to say. Each asks the live workers for one second at most, a server for as long as the
project's client of it waits.
"""

import json
import logging
from collections.abc import Mapping
from dataclasses import dataclass
from http import HTTPStatus
from typing import Any, Final, Self, TypeAlias

from django.core.cache import caches
from django.http import HttpRequest, QueryDict
from django.utils import timezone

from oxicache import operations
from oxicache.django import conf, probes
from oxicache.django.backends import NativeCache
from oxicache.django.endpoints import figures, namespaces
from oxicache.django.figures import own_site
from oxicache.errors import CannotEnumerateError, UnsafeFolderError
from oxicache.reports import Invalidated, Reach
from oxicache.selection import Selection
from oxicache.sites import reach_of

__all__ = ["Answer", "clear", "health", "reset", "stats"]

logger = logging.getLogger("oxicache.endpoints")

Answer: TypeAlias = tuple[int, dict[str, Any]]

FIELDS: Final = ("pattern", "namespace")
OUTCOMES: Final = {True: "passed", False: "failed", None: "skipped"}  # None: an operator has disabled it
TOKEN_FIELD: Final = "csrfmiddlewaretoken"  # noqa: S105 -- what Django's forms send it as


def stats(alias: str) -> Answer:
    """Answer `cache-stats/`: the figures of an alias. Source: document 002, "Check Cache Stats"."""
    if not conf.current().monitoring_enabled:
        return _error(HTTPStatus.NOT_FOUND, "CACHE_MONITORING_ENABLED is False")
    try:
        found = figures.figures_of(alias)
    except Exception as error:  # noqa: BLE001 -- each backend raises what its own client does
        # Anybody who is logged in may ask, so why stands in the log.
        logger.warning("The figures of cache '%s' could not be had: %r", alias, error)
        return _error(HTTPStatus.SERVICE_UNAVAILABLE, "The statistics of the cache could not be had")
    body = {"status": "success", "cache_stats": found.shown, "timestamp": timezone.now().isoformat()}
    return HTTPStatus.OK, {**body, **_asked(found.reach)}


def health(alias: str) -> Answer:
    """Answer `cache-health/`: a key of its own is set, read and deleted. Source: document 002, "Check Cache Health"."""
    found = probes.probe(alias)
    is_healthy = found.error is None
    body: dict[str, Any] = {
        "status": "healthy" if is_healthy else "unhealthy",
        "backend": found.backend.rpartition(".")[2],
        "tests": {name: OUTCOMES[found.tests.get(name)] for name in probes.TESTS},
    }
    if not is_healthy:
        return HTTPStatus.SERVICE_UNAVAILABLE, {**body, "message": found.error}
    if found.disabled:
        body["message"] = "Cache is disabled"
    return HTTPStatus.OK, {**body, **_asked(_alive(alias))}


def clear(alias: str, request: HttpRequest) -> Answer:
    """Answer `cache-clear/`: what the body names goes, or everything. Source: document 002, "Clear Cache".

    Success is said where every live worker has done it, or finds the entries outdated at its next read.
    """
    try:
        wish = Wish.of(request)
        done = _cleared(alias, wish)
    except (
        CannotEnumerateError,
        ValueError,
    ) as error:  # nothing would be found, so nothing is said to be cleared
        return _error(HTTPStatus.BAD_REQUEST, str(error))
    except UnsafeFolderError as error:
        return _error(HTTPStatus.SERVICE_UNAVAILABLE, str(error))
    lacking = _shortfall(alias, done)
    if lacking is not None:
        return _error(HTTPStatus.SERVICE_UNAVAILABLE, f"Not everything was cleared: {lacking}")
    body = {
        "status": "success",
        "message": "Cache cleared",
        "pattern": wish.pattern,
        "namespace": wish.namespace,
    }
    return HTTPStatus.OK, {**body, **_asked(done.reach if figures.is_in_workers(caches[alias]) else None)}


def reset(alias: str) -> Answer:
    """Answer `cache-reset-stats/`: figures begin at zero. Source: document 002, "Reset Statistics"."""
    try:
        done = figures.reset(alias)
    except ValueError as error:
        return _error(HTTPStatus.BAD_REQUEST, str(error))
    except UnsafeFolderError as error:
        return _error(HTTPStatus.SERVICE_UNAVAILABLE, str(error))
    except Exception as error:  # noqa: BLE001 -- as above: a server may be away, or refuse CONFIG
        logger.warning("The figures of cache '%s' could not be reset: %r", alias, error)
        return _error(HTTPStatus.SERVICE_UNAVAILABLE, f"{type(error).__name__}: {error}")
    lacking = None if done is None else done.shortfall()
    if lacking is not None:
        return _error(HTTPStatus.SERVICE_UNAVAILABLE, f"Not everything was reset: {lacking}")
    body = {"status": "success", "message": "Cache statistics reset"}
    return HTTPStatus.OK, {**body, **_asked(None if done is None else done.reach)}


def _error(status: HTTPStatus, message: str) -> Answer:
    return status, {"status": "error", "message": message}


def _asked(reach: Reach | None) -> dict[str, int]:
    """Say how many workers there are and how many answered, beside what the document has."""
    return {} if reach is None else {"workers": reach.workers, "answered": len(reach.answered)}


def _alive(alias: str) -> Reach | None:
    """Return which workers answer, where it is they who hold the entries."""
    if not isinstance(caches[alias], NativeCache):
        return None
    site = own_site()
    try:
        return reach_of(site, site.ask("health"))
    except UnsafeFolderError:  # cache-clear/ says so; this alias works all the same
        return None


# ---------------------------------------------------------------- clearing


@dataclass(frozen=True, slots=True)
class Wish:
    """What a body names; neither is everything."""

    pattern: str | None = None
    namespace: str | None = None

    @classmethod
    def of(cls, request: HttpRequest) -> Self:
        """Read it. ValueError says what is wrong: a slip of the pen must not clear everything."""
        if not request.GET.keys().isdisjoint(FIELDS):
            raise ValueError("send `pattern` and `namespace` in the body, not in the address")
        given = dict(_fields(request))
        if not given and request.META.get("HTTP_TRANSFER_ENCODING"):  # of which WSGI hands on nothing
            raise ValueError(
                "the body is empty, or did not arrive; send it with a Content-Length, not in chunks"
            )
        given.pop(TOKEN_FIELD, None)
        for text in (*given, *given.values()):
            str(text).encode()  # what has no UTF-8, which is a ValueError too, could not be answered
        unknown = sorted(str(name) for name in given if name not in FIELDS)
        if unknown:
            raise ValueError(f"{', '.join(unknown)} is no field; send `pattern` or `namespace`, or nothing")
        named = {name: value for name, value in given.items() if value is not None}
        for name, value in named.items():
            if not isinstance(value, str) or not value:
                raise ValueError(f"{name} must be a text that is not empty, not {value!r}")
        if len(named) > 1:
            raise ValueError("send `pattern` or `namespace`, not both")
        return cls(**named)

    @property
    def globs(self) -> tuple[str, ...]:
        """The globs of the keys that are meant; none where all are."""
        if self.namespace is not None:
            return namespaces.globs_of(self.namespace)
        return () if self.pattern is None else (self.pattern,)


def _fields(request: HttpRequest) -> Mapping[str, Any]:
    """Return the fields of a body that is a form or a JSON object, which curl sends as a form unless told otherwise."""
    if request.content_type == "multipart/form-data":
        return _of_form(request.POST)
    body = request.body.strip()
    if request.content_type == "application/json" or body.startswith(b"{"):
        return _of_json(body or b"{}")
    if not body:
        return {}
    if request.content_type == "application/x-www-form-urlencoded":
        return _of_form(request.POST)
    raise ValueError(f"the body is {request.content_type or 'of no known type'}; send JSON or a form")


def _of_form(form: QueryDict) -> Mapping[str, Any]:
    for name, values in form.lists():
        if len(values) > 1:
            raise ValueError(f"{name} is given {len(values)} times")
    return form.dict()


def _of_json(body: bytes) -> Mapping[str, Any]:
    try:
        found = json.loads(body)
    except (ValueError, RecursionError) as error:
        raise ValueError(f"the body is no JSON: {error}") from error
    if not isinstance(found, dict):
        # A value that was sent, and no argument of the wrong type.
        raise ValueError(f"the body must be a JSON object, not {type(found).__name__}")  # noqa: TRY004
    return found


def _cleared(alias: str, wish: Wish) -> Invalidated:
    if wish == Wish():
        done = operations.clear_all(own_site(), (alias,))
    else:
        done = operations.invalidate(own_site(), Selection(globs=wish.globs, aliases=(alias,)))
    assert isinstance(done, Invalidated), "it was no dry run"
    return done


def _shortfall(alias: str, done: Invalidated) -> str | None:
    """Say what was not done. A worker that did not answer finds what is outdated for all processes gone, too."""
    cache = caches[alias]
    is_outdated = isinstance(cache, NativeCache) and cache._memory.name in done.outdated
    if is_outdated or not figures.is_in_workers(cache):
        return "; ".join(done.failures.values()) or None
    return done.shortfall()
