"""The processes that querysets.py compares: Django alone, oxicache, django-cacheops, django-cachalot.

python benches/querysets_sides.py SIDE PORT     (what run.py starts; PORT is Redis's)
"""

import sys
from collections.abc import Callable
from datetime import date
from decimal import Decimal
from typing import Any

import django_setup
from children import Task, serve
from django.apps import AppConfig

ALONE = "Django alone"
OURS = "oxicache"
CACHEOPS = "django-cacheops"
CACHALOT = "django-cachalot"
CACHALOT_ON_LOCMEM = "django-cachalot on LocMemCache"

HITS = ("get()", "20 rows", "100 rows", "count()", "20 rows, select_related", "20 rows, prefetch_related")
MISSES = ("miss, get()", "miss, 20 rows", "miss, 20 rows, prefetch_related")
ASKED = 20  # querysets of each kind, asked for in turn
SHELF, ROOM = 20, 100  # books
ROOMS = 5
BOOKS = ROOMS * ROOM
AUTHORS = 50
REVIEWS = 3  # of a book
APP = "querysets_sides.Benches"
TIMEOUT = 3_600  # nothing expires while a row runs

Rows = Callable[[Any], Any]  # of a manager: a queryset that is cached as this side does it


class Benches(AppConfig):
    """The app of the models here: what unpickles a row asks for it."""

    name = "querysets_sides"
    label = "benches"


def _model(model: str, /, **members: Any) -> Any:
    from django.db import models

    class Meta:
        app_label = "benches"

    made = type(model, (models.Model,), {"Meta": Meta, "__module__": __name__, **members})
    setattr(sys.modules[__name__], model, made)  # where what unpickles its instances looks
    return made


def _tables(manager: Callable[[], Any]) -> Any:
    """Books with authors and reviews; each model with a manager that this makes."""
    from django.db import models

    author = _model("Author", name=models.CharField(max_length=40), objects=manager())
    book = _model(
        "Book",
        title=models.CharField(max_length=80),
        pages=models.IntegerField(),
        price=models.DecimalField(max_digits=8, decimal_places=2),
        published=models.DateField(),
        shelf=models.IntegerField(db_index=True),
        room=models.IntegerField(db_index=True),
        author=models.ForeignKey(author, models.CASCADE),
        objects=manager(),
    )
    review = _model(
        "Review",
        book=models.ForeignKey(book, models.CASCADE, related_name="reviews"),
        stars=models.IntegerField(),
        text=models.CharField(max_length=80),
        objects=manager(),
    )
    django_setup.create_table(author, [author(name=f"Author {number}") for number in range(AUTHORS)])
    numbers = range(BOOKS)
    django_setup.create_table(
        book,
        [
            book(
                pk=number + 1,
                title=f"The book with the number {number}",
                pages=number % 700,
                price=Decimal(number) / 100,
                published=date(2000 + number % 25, 1 + number % 12, 1),
                shelf=number // SHELF,
                room=number // ROOM,
                author_id=number % AUTHORS + 1,
            )
            for number in numbers
        ],
    )
    django_setup.create_table(
        review,
        [
            review(book_id=number // REVIEWS + 1, stars=number % 5, text=f"So says reader {number}")
            for number in range(BOOKS * REVIEWS)
        ],
    )
    return book


def _tasks(book: Any, rows: Rows, clear: Callable[[], object], *, is_cached: bool = True) -> dict[str, Task]:
    """Querysets that are built and evaluated anew each time, as each request does."""
    manager = book.objects
    asks: dict[str, Callable[[int], Any]] = {
        "get()": lambda number: rows(manager).get(pk=number * 7 + 1),
        "20 rows": lambda number: list(rows(manager.filter(shelf=number))),
        "100 rows": lambda number: list(rows(manager.filter(room=number % ROOMS))),
        "count()": lambda number: rows(manager.filter(pages__gt=number)).count(),
        "20 rows, select_related": lambda number: list(
            rows(manager.filter(shelf=number).select_related("author"))
        ),
        "20 rows, prefetch_related": lambda number: list(
            rows(manager.filter(shelf=number).prefetch_related("reviews"))
        ),
    }
    found = {}
    for name, ask in asks.items():
        act = _each(ask)
        found[name] = Task(act, check=_is_hit(ask, act, is_cached=is_cached))
    for name in MISSES:
        act = _each(asks[name.removeprefix("miss, ")])
        found[name] = Task(act, clear, _is_miss(act, clear))
    return found


def _as_it_is(found: Any) -> Any:
    return found


def _each(ask: Callable[[int], Any]) -> Callable[[], None]:
    def act() -> None:
        for number in range(ASKED):
            ask(number)

    return act


def _is_hit(ask: Callable[[int], Any], act: Callable[[], None], *, is_cached: bool) -> Callable[[], bool]:
    """Whether nothing is asked of the database any more, and what is found is what the database has."""

    def check() -> bool:
        first = ask(3)
        act()  # a prefetch may be learned by the first and held from the second on
        return (_queries(act) == 0) is is_cached and ask(3) == first

    return check


def _is_miss(act: Callable[[], None], clear: Callable[[], object]) -> Callable[[], bool]:
    def check() -> bool:
        clear()
        return _queries(act) >= ASKED

    return check


def _queries(ask: Callable[[], object]) -> int:
    from django.db import connection
    from django.test.utils import CaptureQueriesContext

    with CaptureQueriesContext(connection) as queries:
        ask()
    return len(queries)


# ---------------------------------------------------------------- the sides


def alone(_port: int) -> dict[str, Task]:
    """Django, which asks SQLite."""
    from django.db.models import Manager

    django_setup.set_up(APP)
    return _tasks(_tables(Manager), _as_it_is, lambda: None, is_cached=False)


def ours(_port: int) -> dict[str, Task]:
    """Rows held in a NativeCache."""
    options = {"MAX_ENTRIES": 10_000, "MAX_BYTES": None}
    entry = {"BACKEND": "oxicache.django.backends.NativeCache", "TIMEOUT": TIMEOUT, "OPTIONS": options}
    django_setup.set_up("oxicache.django", APP, CACHES={"default": entry})
    from django.core.cache import cache

    from oxicache.django.queries import CachedManager

    return _tasks(_tables(CachedManager), lambda found: found.all().cached(TIMEOUT), cache.clear)


def cacheops(port: int) -> dict[str, Task]:
    """Instances held in Redis, and the sets that tell which querysets a row is in."""
    from django.db.models import Manager

    django_setup.set_up(
        "cacheops",
        APP,
        CACHEOPS_REDIS={"host": "127.0.0.1", "port": port, "db": 1},
        CACHEOPS={"benches.*": {"ops": "all", "timeout": TIMEOUT}},
    )
    from cacheops import invalidate_all

    return _tasks(_tables(Manager), _as_it_is, invalidate_all)


def cachalot(port: int) -> dict[str, Task]:
    """Rows held in Redis, and the times at which tables were written."""
    entry = {
        "BACKEND": "django.core.cache.backends.redis.RedisCache",
        "LOCATION": f"redis://127.0.0.1:{port}/2",
        "TIMEOUT": TIMEOUT,
    }
    return _cachalot(entry)


def cachalot_on_locmem(_port: int) -> dict[str, Task]:
    """The same in this process."""
    entry = {
        "BACKEND": "django.core.cache.backends.locmem.LocMemCache",
        "TIMEOUT": TIMEOUT,
        "OPTIONS": {"MAX_ENTRIES": 10_000},
    }
    return _cachalot(entry)


def _cachalot(entry: dict[str, Any]) -> dict[str, Task]:
    from django.db.models import Manager

    django_setup.set_up("cachalot", APP, CACHES={"default": entry})
    from django.core.cache import cache

    return _tasks(_tables(Manager), _as_it_is, cache.clear)


SIDES: dict[str, Callable[[int], dict[str, Task]]] = {
    ALONE: alone,
    OURS: ours,
    CACHEOPS: cacheops,
    CACHALOT: cachalot,
    CACHALOT_ON_LOCMEM: cachalot_on_locmem,
}


if __name__ == "__main__":
    side, redis_port = sys.argv[1], int(sys.argv[2])
    serve(side, lambda: SIDES[side](redis_port))
