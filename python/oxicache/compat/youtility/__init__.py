"""The names of the YOUTILITY5 document: `apps.core.caching.utils`, `.invalidation`, `.decorators`, `.form_mixins`.

Tenant, client and unit are those of the session where the settings name nobody else. There a missing one was taken for
1, and 0 for a missing one; here it raises `oxicache.errors.MissingScopeError`, and 0 is an id.
"""

from oxicache.compat.youtility.forms import CachedDropdownMixin, OptimizedDropdownForm, OptimizedModelForm
from oxicache.compat.youtility.functions import get_cache_stats, method_cache, warm_cache_pattern
from oxicache.compat.youtility.invalidation import (
    CacheInvalidationManager,
    cache_invalidation_manager,
    clear_cache_pattern,
    invalidate_cache_pattern,
    invalidate_model_caches,
)
from oxicache.compat.youtility.keys import cache_key_generator, get_tenant_cache_key, get_user_cache_key
from oxicache.compat.youtility.responses import (
    CACHE_TIMEOUTS,
    cache_dashboard_metrics,
    cache_dropdown_data,
    cache_with_invalidation,
    smart_cache_view,
)

__all__ = [
    "CACHE_TIMEOUTS",
    "CacheInvalidationManager",
    "CachedDropdownMixin",
    "OptimizedDropdownForm",
    "OptimizedModelForm",
    "cache_dashboard_metrics",
    "cache_dropdown_data",
    "cache_invalidation_manager",
    "cache_key_generator",
    "cache_with_invalidation",
    "clear_cache_pattern",
    "get_cache_stats",
    "get_tenant_cache_key",
    "get_user_cache_key",
    "invalidate_cache_pattern",
    "invalidate_model_caches",
    "method_cache",
    "smart_cache_view",
    "warm_cache_pattern",
]
