"""Each dialect has the names that its document, and what is settled beside it, say that callers rely on."""

import inspect
from typing import Any

import pytest

from oxicache.compat import akvo_rsr, enterpriseland, the_bot, youtility

DIALECTS: dict[str, Any] = {
    "akvo_rsr": akvo_rsr,
    "enterpriseland": enterpriseland,
    "the_bot": the_bot,
    "youtility": youtility,
}

# Names that need what not every project has are not in `__all__`.
LAZY = {
    "akvo_rsr": {"memory_health_check", "should_stream_response", "stream_response"},
    "the_bot": {"CACHE_KEY_PREFIX", "DetailCacheMixin", "ListCacheMixin"},
}
# By module: names, with the parameters that callers give by name or position, in their order.
NAMES: dict[str, dict[str, str]] = {
    "akvo_rsr": {
        "TTLCache": "",
        "CacheManager": "",
        "cache_manager.get_cache": "",
        "cache_manager.cleanup_all": "",
        "cache_manager.clear_all": "",
        "cache_manager.get_global_stats": "",
        "cache_manager._caches": "",
        "ProjectDeletionTracker": "",
        "DELETION_SET.add": "",
        "DELETION_SET.discard": "",
        "DELETION_SET.force_cleanup": "",
        "DELETION_SET.clear_all": "",
        "DELETION_SET._lock": "",
        "DELETION_SET._deletion_set": "",
        "DELETION_SET._timestamps": "",
        "ttl_cached_property": "ttl max_size",
        "cached_method": "ttl max_size",
        "get_data_with_fallback": "key compute_func cache_name",
        "handle_memory_pressure": "",
        "collect_memory_metrics": "",
        "memory_health_check": "request",
        "should_stream_response": "",
        "stream_response": "",
        "DEFAULT_CACHE_TTL": "",
        "DEFAULT_CACHE_MAX_SIZE": "",
        "DEFAULT_CACHE_CLEANUP_INTERVAL": "",
        "DEFAULT_MAX_DESCENDANTS_PER_REQUEST": "",
        "DEFAULT_DESCENDANTS_CHUNK_SIZE": "",
        "MAX_AGGREGATION_DEPTH": "",
    },
    "the_bot": {
        "CACHE_KEY_PREFIX": "",
        "CACHE_TIMEOUTS": "",
        "CacheKeyBuilder.make_key": "namespace",
        "CacheKeyBuilder.user_key": "namespace user_id",
        "CacheKeyBuilder.pattern_key": "namespace pattern",
        "cache_response": "ttl key_func cache_name",
        "cache_page_conditional": "ttl key_builder",
        "cache_query_result": "namespace ttl",
        "get_or_compute": "cache_key compute_func ttl",
        "invalidate_cache": "namespace",
        "cache_etag_condition": "etag_func last_modified_func",
        "ListCacheMixin.cache_timeout": "",
        "DetailCacheMixin.cache_timeout": "",
        "CacheMiddleware": "get_response",
        "get_cache_headers": "ttl is_private",
        "CacheInvalidator.invalidate_material": "material_id",
        "CacheInvalidator.invalidate_user_data": "user_id",
        "CacheInvalidator.invalidate_assignments": "assignment_id",
        "CacheInvalidator.clear_dashboard_cache": "user_id",
        "check_cache_freshness": "namespace",
    },
    "enterpriseland": {
        "cached_view": "timeout key_prefix vary_on tags cache_strategy",
        "cached_method": "timeout key_func tags_func cache_none",
        "cached_api": "timeout key_prefix vary_on_auth vary_on_params cache_errors",
        "smart_cache": "base_timeout min_timeout max_timeout monitor",
        "conditional_cache": "condition_func timeout",
        "cache_on_success": "timeout success_func",
        "TagInvalidator.invalidate": "self tags",
        "TagInvalidator.register_dependency": "self key tags",
        "PatternInvalidator.invalidate": "self pattern",
        "PatternInvalidator.invalidate_prefix": "self prefix",
        "PatternInvalidator.register_dependency": "self key",
        "DependencyInvalidator.invalidate": "self model instance_id operation",
        "DependencyInvalidator.register_dependency": "self key model instance_id",
        "SmartInvalidator.invalidate_smart": "self context",
        "SmartInvalidator.add_rule": "self name condition action",
        "SmartInvalidator.cascade_invalidation": "self",
        "cache_manager.invalidate": "invalidator_type",
        "cache_manager.schedule_invalidation": "delay_seconds invalidation_type",
        "cache_manager.get_cache_status": "",
        "cache_manager.optimize_cache_configuration": "",
        "cache_manager.clear_all_caches": "",
        "get_cache_status": "",
        "CacheMetrics.record_hit": "self key",
        "CacheMetrics.record_miss": "self key",
        "CacheMetrics.record_set": "self key size",
        "CacheMetrics.record_delete": "self key",
        "CacheMonitor": "cache_alias",
        "cache_monitor.metrics.get_hit_rate": "",
        "cache_monitor.metrics.get_key_statistics": "",
        "cache_monitor.analyze_memory_usage": "",
        "cache_monitor.export_metrics": "format",
        "cache_monitor.generate_report": "",
    },
    "youtility": {
        "CACHE_TIMEOUTS": "",
        "get_tenant_cache_key": "base_key request tenant_id client_id bu_id include_version",
        "get_user_cache_key": "base_key user_id request include_tenant",
        "cache_key_generator": "prefix",
        "smart_cache_view": "timeout key_prefix per_user per_tenant cache_anonymous vary_headers invalidate_on",
        "cache_dropdown_data": "timeout model_name",
        "cache_dashboard_metrics": "timeout per_user",
        "cache_with_invalidation": "timeout cache_key invalidate_on per_tenant",
        "method_cache": "timeout key_prefix per_instance",
        "warm_cache_pattern": "pattern data_generator timeout chunk_size",
        "clear_cache_pattern": "pattern",
        "invalidate_cache_pattern": "pattern tenant_id",
        "invalidate_model_caches": "model_name tenant_id",
        "cache_invalidation_manager.invalidate_for_model": "instance operation",
        "cache_invalidation_manager.register_dependency": "model_name cache_patterns",
        "cache_invalidation_manager.model_dependencies": "",
        "get_cache_stats": "",
        "CachedDropdownMixin.invalidate_dropdown_cache": "",
        "OptimizedModelForm": "",
        "OptimizedDropdownForm": "",
    },
}
CASES = [(module, name, taken) for module, names in NAMES.items() for name, taken in names.items()]


def found(module: str, name: str) -> Any:
    here = DIALECTS[module]
    for part in name.split("."):
        here = getattr(here, part)
    return here


@pytest.mark.parametrize(("module", "name", "taken"), CASES, ids=[f"{one[0]}.{one[1]}" for one in CASES])
def test_it_is_there(module: str, name: str, taken: str) -> None:
    """Under its name, with its parameters at their places."""
    here = found(module, name)
    if taken:
        given = list(inspect.signature(here).parameters)
        assert given[: len(taken.split())] == taken.split()


@pytest.mark.parametrize("module", NAMES)
def test_what_is_exported(module: str) -> None:
    """A star-import gives what callers rely on, but for what not every project can import."""
    dialect = DIALECTS[module]
    relied_on = {name.partition(".")[0] for name in NAMES[module]}
    assert relied_on - LAZY.get(module, set()) <= set(dialect.__all__)
    assert not set(dialect.__all__) & LAZY.get(module, set())
    with pytest.raises(AttributeError, match="no attribute 'no_such_name'"):
        found(module, "no_such_name")
