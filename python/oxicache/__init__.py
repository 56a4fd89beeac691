"""oxicache: a cache with its engine in Rust. This is the public face; it imports names and defines none."""

from oxicache._native import CacheManager, ProjectDeletionTracker, TTLCache, __version__
from oxicache.adaptive import AdaptiveTtl
from oxicache.decorators import (
    aget_or_compute,
    cached_function,
    cached_method,
    get_or_compute,
    ttl_cached_property,
)
from oxicache.registry import DELETION_SET, cache_manager

__all__ = [
    "DELETION_SET",
    "AdaptiveTtl",
    "CacheManager",
    "ProjectDeletionTracker",
    "TTLCache",
    "__version__",
    "aget_or_compute",
    "cache_manager",
    "cached_function",
    "cached_method",
    "get_or_compute",
    "ttl_cached_property",
]
