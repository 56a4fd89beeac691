"""`cache_manager` of the EnterpriseLand document: what it tells and does of all caches together."""

import inspect
from collections.abc import Callable
from functools import partial
from typing import Any

from django.core.cache import caches

from oxicache import jobs, operations
from oxicache.compat.enterpriseland.invalidation import SmartInvalidator
from oxicache.django import conf, figures, probes, transactions

__all__ = ["CacheManager", "cache_manager"]


class CacheManager:
    """What the document's `cache_manager` tells of all caches together."""

    def __init__(self) -> None:
        self.smart_invalidator = SmartInvalidator()

    def invalidate(self, invalidator_type: str, **criteria: Any) -> Any:
        """Invalidate by "tag", "pattern" or "dependency", which return how many entries, or "smart": by strategy.

        ValueError lists these kinds.
        """
        return self._invalidator(invalidator_type)(**criteria)

    def schedule_invalidation(self, delay_seconds: float, invalidation_type: str, **criteria: Any) -> str:
        """Do that later, in this process; return the id that `cancel` takes. Jobs lost at its end are logged."""
        call = self._invalidator(invalidation_type)
        inspect.signature(call).bind(**criteria)  # TypeError now rather than in the log, later
        what = f"{invalidation_type} {', '.join(f'{name} {value!r}' for name, value in criteria.items())}"
        waits_for = transactions.beginner(None)  # what is to be committed first
        return jobs.take_on(what, delay_seconds, partial(_told, call, criteria), begin_when=waits_for)

    def cancel(self, job_id: str) -> bool:
        """Take a scheduled invalidation back; whether it was still waiting."""
        return jobs.cancel(job_id)

    def _invalidator(self, kind: str) -> Callable[..., Any]:
        smart = self.smart_invalidator
        kinds: dict[str, Callable[..., Any]] = {
            "tag": smart.tag_invalidator.invalidate,
            "pattern": smart.pattern_invalidator.invalidate,
            "dependency": smart.dependency_invalidator.invalidate,
            "smart": smart.invalidate_smart,
        }
        if kind not in kinds:
            raise ValueError(f"{kind!r} is no kind of invalidation; the kinds are {', '.join(kinds)}")
        return kinds[kind]

    def get_cache_status(self) -> dict[str, Any]:
        """Health of each alias, performance in all live workers, what is warmed and configured."""
        document = operations.status(figures.own_site(), document=probes.document()).document
        return {**document, "performance": _numbers(document["performance"])}

    def optimize_cache_configuration(self) -> dict[str, Any]:
        """Performance, and what to change, most urgent first."""
        unhealthy = {alias: one.error for alias, one in probes.probe_all().items() if one.error is not None}
        document = operations.optimize(
            figures.own_site(),
            default_timeout=conf.current().default_ttl or 0,
            unhealthy=unhealthy,
            sensitive=conf.current().sensitive,
        ).document
        return {**document, "current_performance": _numbers(document["current_performance"])}

    def clear_all_caches(self) -> dict[str, bool]:
        """Clear every alias of CACHES; by alias whether that worked."""
        return probes.clear_all()


def _told(call: Callable[..., Any], criteria: dict[str, Any]) -> str:
    try:
        return f"removed {call(**criteria)}"
    finally:
        caches.close_all()  # of the background thread, whose requests nobody ends


def _numbers(performance: dict[str, Any]) -> dict[str, Any]:
    """Where nothing was measured the document has 0, with which its callers reckon."""
    return {name: 0.0 if value is None else value for name, value in performance.items()}


cache_manager = CacheManager()
