"""`cached()`: on the querysets of a `CachedManager`, and of any other by `cached_queryset`.

    class Book(models.Model):
        objects = CachedManager()

    Book.objects.filter(year=2026).select_related("author").cached(300)

Its results are held until any row changes of a model that it reads, through joins, subqueries and prefetches too, or
their time has passed. Changes that go past signals are noticed as everywhere (bulk.py, execution.py): the manager's
own `update()` and bulk operations are, and those of another manager are for `invalidate`.
"""

import functools
from collections.abc import Iterable
from datetime import timedelta
from typing import Any, Self, TypeVar

from django.conf import settings
from django.core.cache import DEFAULT_CACHE_ALIAS
from django.core.exceptions import ImproperlyConfigured
from django.db.models import Model, QuerySet
from django.db.models.manager import BaseManager
from django.db.models.query import RawQuerySet

from oxicache import options
from oxicache.django import labels
from oxicache.django.holding import NativeHolder, holder_at
from oxicache.django.queries import compiling, whole
from oxicache.django.queries.fetching import Caching
from oxicache.django.querysets import InvalidatingManager, InvalidatingQuerySet
from oxicache.django.signals import watch_all
from oxicache.tags import checked_tags

__all__ = ["CachedManager", "CachedQuerySet", "cached_queryset", "watch_all"]

_Row = TypeVar("_Row", bound=Model)

DEFAULT_TTL = 300.0  # seconds
UNCACHED = "call uncached() first"


class _CachedRows(QuerySet[_Row, _Row]):
    """What cached querysets do, to stand before the class of any queryset."""

    def cached(
        self,
        ttl: float | timedelta | None = DEFAULT_TTL,
        *,
        tags: Iterable[str] = (),
        depends_on: Iterable[type[Model] | str] = (),
        alias: str = DEFAULT_CACHE_ALIAS,
    ) -> Self:
        """Return a copy whose results are held, in a NativeCache, until a row changes of a model that they read.

        `ttl` is in seconds, None for ever. What is derived from the copy is cached too: filters, slices, `values`,
        `count`, `exists`, `aggregate`. Each hit builds instances of its own. `tags` reach the results by name.
        `depends_on` names models that a statement reads without naming their tables: through a view of the database,
        or a function. TypeError and ValueError name a wrong argument, and what cannot be cached: `select_for_update`;
        ImproperlyConfigured says that `alias` is no NativeCache.
        """
        if isinstance(depends_on, str) or not isinstance(depends_on, Iterable):
            raise TypeError(f"depends_on must be a list of models, not {depends_on!r}")
        caching = Caching(
            None if ttl is None else options.seconds("ttl", ttl),
            alias,
            checked_tags(tags),
            tuple(labels.model_named(one) for one in depends_on),
        )
        _check_alias(alias)
        compiling.check(self.query)
        clone: Self = self._chain()  # type: ignore[attr-defined]
        compiling.cached(clone.query, caching)
        return clone

    def uncached(self) -> Self:
        """Return a copy that asks the database."""
        clone: Self = self._chain()  # type: ignore[attr-defined]
        clone.query = compiling.uncached(clone.query)
        return clone

    @property
    def _caching(self) -> Caching | None:
        return getattr(self.query, "caching", None)

    def _fetch_all(self) -> None:
        caching = self._caching
        known: Any = self
        if caching is not None and known._result_cache is None:
            if whole.is_wanted(self):
                known._result_cache = whole.fetch_all(self, caching, self.uncached())
                known._prefetch_done = True
            else:
                known._result_cache = compiling.instances(self)
        super()._fetch_all()

    # ------------------------------------------------------------ what asks the database

    def iterator(self, *args: Any, **kwargs: Any) -> Any:
        """As Django's. TypeError for a cached queryset: this holds no rows."""
        self._forbid("iterator()", f"{UNCACHED}; a field of a form takes a queryset without cached()")
        return super().iterator(*args, **kwargs)

    def aiterator(self, *args: Any, **kwargs: Any) -> Any:
        """As `iterator`."""
        self._forbid("aiterator()", UNCACHED)
        return super().aiterator(*args, **kwargs)

    def select_for_update(self, *args: Any, **kwargs: Any) -> Any:
        """As Django's. TypeError for a cached queryset: this locks rows in the database."""
        self._forbid("select_for_update()", UNCACHED)
        return super().select_for_update(*args, **kwargs)

    def raw(self, *args: Any, **kwargs: Any) -> Any:
        """As Django's. TypeError for a cached queryset: of what raw SQL reads nobody knows when it changes."""
        self._forbid("raw()", "call it of the manager")
        return super().raw(*args, **kwargs)

    def _forbid(self, what: str, remedy: str) -> None:
        if self._caching is not None:
            raise TypeError(f"{what} asks the database, and a cached queryset does not: {remedy}")


def _check_alias(alias: object) -> None:
    if not isinstance(alias, str) or alias not in settings.CACHES:
        raise ImproperlyConfigured(f"{alias!r} is no alias of CACHES ({', '.join(settings.CACHES)})")
    if not isinstance(holder_at(alias), NativeHolder):
        natives = [name for name in settings.CACHES if isinstance(holder_at(name), NativeHolder)]
        remedy = f"alias={natives[0]!r} is one" if natives else "set one up, and name it with alias="
        raise ImproperlyConfigured(
            f"CACHES[{alias!r}] is no NativeCache, and only that knows what has changed: {remedy}"
        )


def _asking_the_database(name: str) -> Any:
    plain = getattr(QuerySet, name)

    @functools.wraps(plain)
    def method(self: Any, *args: Any, **kwargs: Any) -> Any:
        # Decided by what a cache holds, it would write over what others have written since.
        of = self if self._caching is None else self.uncached()
        return getattr(super(_CachedRows, of), name)(*args, **kwargs)

    return method


for _method in (
    "bulk_create",
    "bulk_update",
    "delete",
    "get_or_create",
    "update",
    "update_or_create",
    "_raw_delete",
):
    setattr(_CachedRows, _method, _asking_the_database(_method))


class CachedQuerySet(_CachedRows[_Row], InvalidatingQuerySet[_Row]):
    """A queryset with `cached()`, whose writes invalidate. Stands before other bases."""

    @classmethod
    def as_manager(cls) -> Any:
        """As Django's, and every process notices changes from its start."""
        watch_all()
        return super().as_manager()


class CachedManager(InvalidatingManager[_Row]):
    """A manager whose querysets are CachedQuerySet; `from_queryset` takes a class derived from that."""

    _queryset_class = CachedQuerySet

    def cached(self, ttl: float | timedelta | None = DEFAULT_TTL, **given: Any) -> Any:
        """Return all rows as a queryset whose results are held: `CachedQuerySet.cached`."""
        rows: Any = self.get_queryset()
        return rows.cached(ttl, **given)

    def contribute_to_class(self, cls: type[Model], name: str) -> None:
        """Be the manager of a model: from now on changes of all models are noticed, whichever a queryset joins."""
        watch_all()
        super().contribute_to_class(cls, name)


def cached_queryset(
    queryset: QuerySet[_Row, Any], ttl: float | timedelta | None = DEFAULT_TTL, **given: Any
) -> Any:
    """Return a copy of any queryset with its results held; parameters as of `cached`.

    For models whose manager is another's. Changes are noticed from now on, so where no model of the project has a
    CachedManager, call this in each process that writes, or before it does: in `AppConfig.ready`, say.
    """
    found: Any = queryset  # whatever the annotation says
    if not isinstance(found, QuerySet):
        raise TypeError(f"cached_queryset takes a queryset, not {found!r}{_remedy(found)}")
    watch_all()
    copied: Any = queryset._chain()  # type: ignore[attr-defined]
    copied.__class__ = _class_of(type(copied))
    return copied.cached(ttl, **given)


def _remedy(found: Any) -> str:
    if isinstance(found, BaseManager):
        return ": call all() of it"
    if isinstance(found, type) and issubclass(found, Model):
        return f": pass {found.__name__}._default_manager.all()"
    return ": raw() has no results to hold" if isinstance(found, RawQuerySet) else ""


def _class_of(plain: type[Any]) -> type[Any]:
    return compiling.derived(_CachedRows, plain, __reduce__=_reduced)


def _reduced(queryset: Any) -> Any:
    return _restored, (type(queryset).__mro__[2], queryset.__getstate__())


def _restored(plain: type[Any], state: dict[str, Any]) -> Any:
    queryset = object.__new__(_class_of(plain))
    queryset.__setstate__(state)
    return queryset
