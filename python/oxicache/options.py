"""Defaults and limits: value, unit, reason. What a Django project sets instead stands in oxicache.django.conf."""

import math
from collections.abc import Mapping
from datetime import timedelta
from types import MappingProxyType
from typing import Final

__all__ = [
    "ADAPTIVE_MAX_KEYS",
    "DEFAULT_CACHE_CLEANUP_INTERVAL",
    "DEFAULT_CACHE_MAX_SIZE",
    "DEFAULT_CACHE_NAME",
    "DEFAULT_CACHE_TTL",
    "DEFAULT_TIMEOUT",
    "DESCENDANTS_CHUNK_SIZE",
    "GRACE_ERRORS",
    "GRACE_NEVER",
    "GRACE_THROTTLE",
    "KEY_MAX_CHARS",
    "LARGE_MAX_SIZE",
    "LOCK_TIMEOUT",
    "LONG_TTL",
    "MAX_AGGREGATION_DEPTH",
    "MAX_DESCENDANTS_PER_REQUEST",
    "NAMESPACE_MAX_CHARS",
    "PRIVATE_MAX_AGE",
    "PROFILES",
    "PUBLIC_MAX_AGE",
    "REFRESH_MARK_TTL",
    "REPLICA_HOLD",
    "RESTING_MAX_KEYS",
    "SCHEDULE_IDLE",
    "SCHEDULE_MAX_JOBS",
    "SELECTION_MAX_NAMES",
    "SITE_TTL",
    "STORE_LOG_INTERVAL",
    "TAG_MAX_CHARS",
    "TAG_MAX_EXPANDED",
    "TAG_MAX_PARENTS",
    "TIMEOUTS",
    "TRAIL_SIZE",
    "VERSION_WORDS",
    "VERSION_WORDS_MAX",
    "VERSION_WORDS_MIN",
    "seconds",
]

# Source: API reference (akvo), "Default Settings".
DEFAULT_CACHE_TTL: Final = 3600  # seconds
DEFAULT_CACHE_MAX_SIZE: Final = 1000  # entries
DEFAULT_CACHE_CLEANUP_INTERVAL: Final = 300  # seconds between two sweeps that a `set` begins
MAX_DESCENDANTS_PER_REQUEST: Final = 1000  # rows in one response
DESCENDANTS_CHUNK_SIZE: Final = 500  # rows fetched at a time
MAX_AGGREGATION_DEPTH: Final = 100  # levels of a hierarchy

# Other defaults for several of these at once. Source: document 000, "Cache Size Optimization".
PROFILES: Final[Mapping[str, Mapping[str, int]]] = MappingProxyType(
    {
        "high-memory": {"default_max_size": 2000, "default_ttl": 7200, "descendants_chunk_size": 1000},
        "low-memory": {
            "default_max_size": 200,
            "default_ttl": 900,
            "descendants_chunk_size": 100,
            "max_descendants_per_request": 200,
        },
        "development": {"default_max_size": 500, "default_ttl": 3600, "descendants_chunk_size": 500},
    }
)

DEFAULT_CACHE_NAME: Final = "default"  # where `get_or_compute` keeps its values; document 000 uses this name

LOCK_TIMEOUT: Final = (
    10.0  # seconds; longer than a slow query, shorter than the 30 s after which servers kill a worker
)
GRACE_THROTTLE: Final = 30.0  # seconds; a source that has failed is left alone so long
RESTING_MAX_KEYS: Final = (
    1024  # sources left alone at a time; past it the oldest is tried again too early, no more
)
REFRESH_MARK_TTL: Final = (
    60.0  # seconds after which a background refresh that never ran may be asked for again
)

# Names, so that nothing is imported for them. These say that a source is out of reach, and only these:
GRACE_ERRORS: Final = (
    "builtins.ConnectionError",
    "builtins.TimeoutError",
    "django.db.utils.OperationalError",
)
# These are answers, which grace must not hide even where a project's own class inherits from both.
GRACE_NEVER: Final = (
    "django.http.response.Http404",
    "django.core.exceptions.PermissionDenied",
    "django.core.exceptions.ObjectDoesNotExist",
)

# What the processes of a host share.
NAMESPACE_MAX_CHARS: Final = 32  # part of a folder's name, and a socket's whole path has room for 107 bytes
VERSION_WORDS_MIN: Final = 2**16  # as many as there are groups of "last bumped at" seconds
VERSION_WORDS: Final = 2**20  # 4 MiB
VERSION_WORDS_MAX: Final = 2**24  # 64 MiB
TRAIL_SIZE: Final = 256  # invalidations that a process remembers, with the line of code each came from
# What CacheMiddleware lets browsers and proxies keep. Source: document 002, `CacheMiddleware`
PUBLIC_MAX_AGE: Final = 3600.0  # seconds
PRIVATE_MAX_AGE: Final = 300.0  # seconds
SITE_TTL: Final = 300.0  # seconds; as views that are decorated. Source: document 003, `cached_view`
ADAPTIVE_MAX_KEYS: Final = 10_000  # keys of one callable whose asks are remembered
REPLICA_HOLD: Final = 5.0  # seconds; longer than a replica that is well lags behind

# Times to live by name, in seconds. Source: documents 002, "TTL Presets", and 004, "Tiered Timeout Configuration".
TIMEOUTS: Final[Mapping[str, float | None]] = MappingProxyType(
    {
        "default": 300,
        "short": 60,
        "medium": 600,
        "long": 3600,
        "static": 86400,
        "materials_list": 1800,
        "material_detail": 3600,
        "reports": 300,
        "analytics": 1800,
        "notifications": 60,
        "user_profile": 600,
        "dashboard": 300,
        "DASHBOARD_METRICS": 900,
        "DROPDOWN_DATA": 1800,
        "FORM_CHOICES": 7200,
        "MONTHLY_TRENDS": 7200,
        "ASSET_STATUS": 300,
        "ATTENDANCE_SUMMARY": 3600,
    }
)

DEFAULT_TIMEOUT: Final = "default"  # the name among these of what is taken where a decorator is told no time

# What system checks warn of.
LONG_TTL: Final = (
    4 * 3600
)  # seconds. Source: document 004, "very long timeouts (>4 hours) without invalidation"
LARGE_MAX_SIZE: Final = 1_000_000  # entries; some 70 MB of the engine's own, before any key or value

SCHEDULE_MAX_JOBS: Final = 1024  # jobs; with a second each, the last would wait for a quarter of an hour
SCHEDULE_IDLE: Final = (
    5.0  # seconds; then the thread ends, because os.fork() warns about threads from 3.12 on
)

KEY_MAX_CHARS: Final = 200  # memcached takes 250 bytes; the rest is for Django's own prefix and version

SELECTION_MAX_NAMES: Final = 1000  # of one kind; a request to a worker has 64 KiB for all of them

TAG_MAX_CHARS: Final = 250  # as keys have it on memcached, where a tag's marker is a key
TAG_MAX_PARENTS: Final = 10_000  # children of tags that are registered; each costs memory in every process
TAG_MAX_EXPANDED: Final = 10_000  # tags that die with one; past it somebody's tags grow without end

STORE_LOG_INTERVAL: Final = 30.0  # seconds between two lines about the same failing operation of a cache


def seconds(name: str, value: object) -> float:
    """Return a duration in seconds. TypeError and ValueError name `name`, the value and the limit."""
    if isinstance(value, timedelta):
        value = value.total_seconds()
    if isinstance(value, bool) or not isinstance(value, int | float):
        raise TypeError(f"{name} must be a number of seconds or a timedelta, not {value!r}")
    if math.isnan(value) or value < 0:
        raise ValueError(f"{name} must be at least 0 seconds, not {value!r}")
    return float(value)
