"""`cache_manager` of the EnterpriseLand document: what it tells and does of all caches together."""

import uuid
from collections.abc import Callable
from typing import Any

from oxicache import operations, scheduling
from oxicache.compat.enterpriseland.invalidation import SmartInvalidator
from oxicache.django import conf, figures, probes

__all__ = ["CacheManager", "cache_manager"]


class CacheManager:
    """What the document's `cache_manager` tells of all caches together."""

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


def _numbers(performance: dict[str, Any]) -> dict[str, Any]:
    """Where nothing was measured the document has 0, with which its callers reckon."""
    return {name: 0.0 if value is None else value for name, value in performance.items()}


cache_manager = CacheManager()
