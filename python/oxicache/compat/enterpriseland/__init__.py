"""The names of the EnterpriseLand document, for `platform_core.caching`: monitoring, invalidation, functions, views."""

from oxicache.compat.enterpriseland.functions import cached_method, smart_cache
from oxicache.compat.enterpriseland.invalidation import (
    DependencyInvalidator,
    PatternInvalidator,
    SmartInvalidator,
    TagInvalidator,
)
from oxicache.compat.enterpriseland.manager import CacheManager, cache_manager
from oxicache.compat.enterpriseland.monitoring import CacheMetrics, CacheMonitor, cache_monitor
from oxicache.compat.enterpriseland.responses import (
    cache_on_success,
    cached_api,
    cached_view,
    conditional_cache,
)

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
    "cache_on_success",
    "cached_api",
    "cached_method",
    "cached_view",
    "clear_all_caches",
    "conditional_cache",
    "get_cache_status",
    "optimize_cache_configuration",
    "smart_cache",
]

get_cache_status = cache_manager.get_cache_status
optimize_cache_configuration = cache_manager.optimize_cache_configuration
clear_all_caches = cache_manager.clear_all_caches
