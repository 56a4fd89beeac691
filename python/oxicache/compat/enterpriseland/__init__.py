"""The names of the EnterpriseLand document that are about monitoring and invalidation, for `platform_core.caching`."""

from oxicache.compat.enterpriseland.invalidation import (
    DependencyInvalidator,
    PatternInvalidator,
    SmartInvalidator,
    TagInvalidator,
)
from oxicache.compat.enterpriseland.manager import CacheManager, cache_manager
from oxicache.compat.enterpriseland.monitoring import CacheMetrics, CacheMonitor, cache_monitor

__all__ = [
    "CacheManager",
    "CacheMetrics",
    "CacheMonitor",
    "DependencyInvalidator",
    "PatternInvalidator",
    "SmartInvalidator",
    "TagInvalidator",
    "cache_manager",
    "cache_monitor",
    "clear_all_caches",
    "get_cache_status",
    "optimize_cache_configuration",
]

get_cache_status = cache_manager.get_cache_status
optimize_cache_configuration = cache_manager.optimize_cache_configuration
clear_all_caches = cache_manager.clear_all_caches
