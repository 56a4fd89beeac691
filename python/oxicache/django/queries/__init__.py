"""Querysets whose results are cached until what they read changes: `.cached(ttl)` on a manager, `cached_queryset`.

What a user writes: managing.py. What looks into the cache where Django would ask the database: compiling.py, and
whole.py for prefetches. The key of a query, without its SQL where that is possible: shapes.py, plans.py. How instances
and rows are held: instances.py, rows.py. When a result may be held, and what outdates it: fetching.py, tables.py. Where
it is held, loaded once for all who wait: oxicache.django.holding.
"""

from oxicache.django.queries.managing import CachedManager, CachedQuerySet, cached_queryset

__all__ = ["CachedManager", "CachedQuerySet", "cached_queryset"]
