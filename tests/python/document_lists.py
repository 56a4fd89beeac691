"""What is to be said of single blocks of the source documents: where they are wrong, what of them is still to come.

A key is a document, the heading above the block, and its number below that heading.
"""

from typing import Final, NamedTuple

__all__ = ["CORRECTIONS", "LINES_TO_COME", "NOTHING_TO_RUN", "STILL_TO_COME", "Correction"]


class Correction(NamedTuple):
    """What stands in a block, what is run in its place, and why."""

    wrong: str
    right: str
    why: str


_LEAKS: Final = (
    "Django has set the id to None by then, so it stayed tracked for an hour; `deleting` remembers it."
)
_NEVER_FRESH: Final = "It asks for a key that ends with a literal '*', which nobody stores."

CORRECTIONS: Final[dict[tuple[str, str, int], list[Correction]]] = {
    ("000", "Memory-Aware Model Design", 1): [
        Correction(
            """\
        DELETION_SET.add(self.id)
        try:
            super().delete(*args, **kwargs)
        finally:
            DELETION_SET.discard(self.id)
""",
            """\
        with DELETION_SET.deleting(self):
            super().delete(*args, **kwargs)
""",
            _LEAKS,
        )
    ],
    ("001", "add(project_id)", 2): [
        Correction(
            """\
DELETION_SET.add(project.id)
try:
    project.delete()
finally:
    DELETION_SET.discard(project.id)
""",
            """\
with DELETION_SET.deleting(project):
    project.delete()
""",
            _LEAKS,
        )
    ],
    ("001", "@ttl_cached_property", 2): [
        Correction(
            "    del self.expensive_calculation\n",
            "    def forget(self):\n        del self.expensive_calculation\n",
            "A class body has no `self`: the line belongs into a method.",
        )
    ],
    ("001", "__contains__(project_id)", 2): [
        Correction(
            "if project.id in DELETION_SET:\n    return  # Skip signal processing\n",
            "def handler(project):\n    if project.id in DELETION_SET:\n        return  # Skip signal processing\n"
            "    processed.append(project.id)\n",
            "`return` stands in a function.",
        )
    ],
    ("002", "Cache Expiration Tracking", 1): [
        Correction("import CacheKeyBuilder\n", "import check_cache_freshness as is_fresh\n", _NEVER_FRESH),
        Correction(
            """\
    key = CacheKeyBuilder.pattern_key(namespace)
    value = cache.get(key)
    return value is not None""",
            "    return is_fresh(namespace)",
            _NEVER_FRESH,
        ),
    ],
    ("004", "Don'ts", 1): [
        Correction(
            "\n# CORRECT",
            "wrong = user_profile\n\n# CORRECT",
            "Both views have one name: the first is kept under another.",
        )
    ],
    ("004", "Migrating Existing Views to Use Caching", 2): [
        Correction(
            "invalidate_on=['Model']",
            "invalidate_on=['Asset']",
            "`Model` stands for any model of the reader's: no app has one of this name.",
        )
    ],
}

# Of a block that has several lines for the shell, those whose part does not exist yet.
LINES_TO_COME: Final[dict[tuple[str, str, int], dict[str, str]]] = {
    ("003", "Cache Management", 1): {
        "python manage.py manage_cache warm": "warmers",
        "python manage.py manage_cache warm --model=auth.User": "warmers",
        "python manage.py manage_cache warm --view=dashboard": "warmers",
        "python manage.py manage_cache warm --api=users": "warmers",
    },
    ("004", "Issue: Low Cache Hit Ratio (<60%)", 1): {"python manage.py warm_caches": "warmers"},
}

_STRATEGIES: Final = "strategies"
_TIERS: Final = "tiers: MultiTierCache, DistributedCache, EdgeCache"
_WARMERS: Final = "warmers: warm_cache, start_warming_schedule, warm_caches"

STILL_TO_COME: Final[dict[tuple[str, str, int], str]] = {
    ("003", "TTL (Time-To-Live) Strategy", 1): _STRATEGIES,
    ("003", "LRU (Least Recently Used) Strategy", 1): _STRATEGIES,
    ("003", "Tag-Based Strategy", 1): _STRATEGIES,
    ("003", "Adaptive Strategy", 1): _STRATEGIES,
    ("003", "Proactive Query Warming", 1): _WARMERS,
    ("003", "Scheduled Warming", 1): _WARMERS,
    ("003", "4. Cache Warming Configuration", 1): _WARMERS,
    ("003", "Settings Configuration", 1): _TIERS,
    ("003", "1. Distributed Caching", 1): _TIERS,
    ("003", "2. Edge Caching", 1): _TIERS,
    ("004", "Cache Warming", 1): _WARMERS,
    ("004", "Do's", 2): _WARMERS,
}

NOTHING_TO_RUN: Final[dict[tuple[str, str, int], str]] = {
    ("003", "1. Multi-Tier Cache Architecture", 1): "a drawing",
    ("004", "Caching System Components", 1): "a drawing of that system's files",
    ("004", "Run All Cache Tests", 1): "that system's own tests",
}
