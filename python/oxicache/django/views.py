"""Pages for who looks after a site: is the cache well, how well, and its figures for Prometheus. Routed by urls.py.

Any worker answers for all of the host: it asks the others through their sockets, and itself natively. All are plain
functions that wait for one second at most, so they serve under WSGI and ASGI alike.
"""

import functools
import secrets
from collections.abc import Callable, Mapping
from typing import Any, TypeAlias

from django.conf import settings
from django.contrib.auth.decorators import login_not_required
from django.core.cache import DEFAULT_CACHE_ALIAS
from django.core.exceptions import PermissionDenied
from django.db.transaction import non_atomic_requests
from django.http import Http404, HttpRequest, HttpResponse, JsonResponse
from django.urls import NoReverseMatch, reverse
from django.utils import timezone
from django.views.decorators.cache import never_cache
from django.views.decorators.http import require_safe

from oxicache import advice, memory, metrics, prometheus
from oxicache import health as judgement
from oxicache.django import conf, probes
from oxicache.django.figures import live_snapshot

__all__ = ["health", "health_detail", "memory_health_check", "prometheus_metrics"]

View: TypeAlias = Callable[[HttpRequest], HttpResponse]

BY_PROCESS = "process"


@login_not_required
@never_cache
@non_atomic_requests
@require_safe
def health(request: HttpRequest) -> HttpResponse:  # noqa: ARG001 -- a view is given it
    """Whether CACHES["default"] works, for load balancers: public, and says no more than that. Source: document 004."""
    found = probes.probe(DEFAULT_CACHE_ALIAS)
    if found.error is not None:
        # Why stands in the log and on the page for staff.
        return JsonResponse({"status": "unhealthy", "message": "Cache is not working properly"}, status=500)
    if found.disabled:
        return JsonResponse({"status": "healthy", "message": "Cache is disabled"})
    return JsonResponse({"status": "healthy", "message": "Cache is working properly"})


def _for_staff(view: View) -> View:
    """Let staff in. Others are sent to the login, or refused where they are logged in. For all nothing is cached."""

    @never_cache
    @non_atomic_requests
    @require_safe
    @functools.wraps(view)
    def guarded(request: HttpRequest) -> HttpResponse:
        if not conf.current().monitoring_enabled:
            raise Http404("CACHE_MONITORING_ENABLED is False")
        user = getattr(request, "user", None)  # a site without authentication has none
        if user is None or (user.is_authenticated and not (user.is_active and user.is_staff)):
            raise PermissionDenied
        if not user.is_authenticated:
            from django.contrib.auth.views import (
                redirect_to_login,
            )  # here: it needs models that a site may not have

            return redirect_to_login(request.get_full_path(), _login_url())
        return view(request)

    return guarded


def _login_url() -> str:
    try:
        return reverse("admin:login")
    except NoReverseMatch:
        return str(settings.LOGIN_URL)


def _or_by_token(view: View, guarded: View) -> View:
    """Let those in besides who send METRICS_TOKEN. A wrong one is refused and not sent to the login."""

    @login_not_required
    @never_cache
    @non_atomic_requests
    @require_safe
    @functools.wraps(view)
    def checked(request: HttpRequest) -> HttpResponse:
        scheme, _, sent = request.headers.get("Authorization", "").partition(" ")
        token = conf.current().metrics_token
        if token is None or scheme.lower() != "bearer":
            return guarded(request)
        if not secrets.compare_digest(sent.strip().encode(), token.encode()):
            return HttpResponse(status=401, headers={"WWW-Authenticate": 'Bearer error="invalid_token"'})
        if not conf.current().monitoring_enabled:
            raise Http404("CACHE_MONITORING_ENABLED is False")
        return view(request)

    return checked


@_for_staff
def health_detail(request: HttpRequest) -> HttpResponse:  # noqa: ARG001 -- a view is given it
    """Status and its reasons, targets, advice and the figures of every live worker of this host."""
    snapshot, reach = live_snapshot()
    tried = probes.probe_all()
    in_use = memory.usage()
    percent = None if in_use is None else in_use.percent
    found = judgement.assess(snapshot, memory_percent=percent)
    unhealthy = {alias: one.error for alias, one in tried.items() if one.error is not None}
    advised = advice.advise(snapshot, identities=advice.identities(), unhealthy=unhealthy)
    judged = found.as_json()
    judged["reasons"] = [
        *({"status": "critical", "message": f"Cache '{alias}' is unhealthy"} for alias in unhealthy),
        *judged["reasons"],
    ]
    return JsonResponse(
        {
            **judged,
            "status": "critical" if unhealthy else found.status,
            "timestamp": timezone.now().isoformat(),
            "backends": {alias: one.as_json() for alias, one in tried.items()},
            "memory": None if in_use is None else {"percent": in_use.percent, "source": in_use.source},
            "caches": snapshot.caches,
            "_global": {
                **metrics.global_stats(snapshot.caches),
                **reach.as_json(),
                "exact": snapshot.is_exact,
            },
            "workers": {str(one.pid): _worker(one) for one in snapshot.processes},
            "recommendations": [one.as_json() for one in advised],
        }
    )


def _worker(process: metrics.Process) -> dict[str, Any]:
    facts: Mapping[str, Any] = process.config.get("describe") or {}
    return {
        "started": process.started,
        "enabled": process.enabled,
        "version": process.config.get("version"),
        "role": facts.get("role"),
        **{name: process.health.get(name) for name in ("uptime_seconds", "rss_bytes", "python")},
        "caches": process.caches,
    }


def _metrics(request: HttpRequest) -> HttpResponse:
    """The figures of every live worker of this host as Prometheus text; `?by=process` keeps the workers apart."""
    snapshot, _ = live_snapshot()
    text = prometheus.exposition(snapshot, by_process=request.GET.get("by") == BY_PROCESS)
    return HttpResponse(text, content_type=prometheus.CONTENT_TYPE)


prometheus_metrics = _or_by_token(_metrics, _for_staff(_metrics))


@never_cache
def memory_health_check(request: HttpRequest) -> JsonResponse:  # noqa: ARG001 -- a view is given it
    """Figures of this worker, and what is high among them. Who may see it is for the project's urls to say.

    Source: document 000, "Health Check Endpoints".
    """
    found = memory.collect_memory_metrics()
    expired = sum(
        number for name, number in found.items() if name.startswith("cache_") and name.endswith("_expired")
    )
    warnings = judgement.memory_warnings(
        found["cache_utilization_percent"], found["deletion_tracker_size"], expired
    )
    return JsonResponse(
        {
            "status": "warning" if warnings else "healthy",
            "warnings": warnings,
            "metrics": found,
            "timestamp": timezone.now().isoformat(),
        }
    )
