"""Querysets whose results are cached until what they read changes: `.cached(ttl)` on a manager, `cached_queryset`.

What may be cached and under which key: compiling.py. What a statement reads: tables.py. Where results are held, loaded
once for all who wait: holding.py. What a user writes: managing.py.
"""

from oxicache.django.queries.managing import CachedManager, CachedQuerySet, cached_queryset

__all__ = ["CachedManager", "CachedQuerySet", "cached_queryset"]
