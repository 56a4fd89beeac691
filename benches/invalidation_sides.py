"""The processes that invalidation.py compares: Django alone, oxicache, django-cacheops, django-cachalot, django-redis.

python benches/invalidation_sides.py SIDE PORT MEMBERS KEYS     (what run.py starts; PORT is Redis's)
"""

import re
import sys
from collections.abc import Callable
from typing import Any

import django_setup
from children import Task, serve
from django.apps import AppConfig

ALONE = "Django alone"
OURS = "oxicache"
WATCHING = "oxicache, WATCH_STATEMENTS"
CACHEOPS = "django-cacheops"
CACHALOT = "django-cachalot"
DJANGO_REDIS = "django-redis"

MANY_RULES = "save, 100 rules"
MEMBERS_ROWS = "save, 5 rows whose values depend on it"
SAVES = {"save, no dependants": 0, "save, 1 dependant": 1, "save, 5 dependants": 5, MANY_RULES: 100}
TAG = "tag"
TAG_OF_TTLCACHE = "tag of a TTLCache"
GLOB = "glob"
PATTERN = "key:*7:9?:*"  # finds one key in a hundred
FOUND = re.compile("key:[0-9]*7:9[0-9]:value")
APP = "invalidation_sides.Benches"
TIMEOUT = 3_600


def key(number: int) -> str:
    """One of the keys that a glob is matched with."""
    return f"key:{number // 100}:{number % 100}:value"


def found_by_glob(count: int) -> list[str]:
    """Which of `count` keys PATTERN finds."""
    return [key(number) for number in range(count) if FOUND.fullmatch(key(number))]


class Benches(AppConfig):
    """The app of the models here: what unpickles a row asks for it."""

    name = "invalidation_sides"
    label = "benches"


def _model(name: str, **members: Any) -> Any:
    from django.db import models

    class Meta:
        app_label = "benches"

    fields = {"number": models.IntegerField(default=0), "Meta": Meta, "__module__": __name__, **members}
    model = type(name, (models.Model,), fields)
    django_setup.create_table(model, [model(number=0)])
    return model


def _saving(row: Any) -> Callable[[], None]:
    def save() -> None:
        row.number += 1
        row.save()

    return save


def _queries(ask: Callable[[], object]) -> int:
    from django.db import connection
    from django.test.utils import CaptureQueriesContext

    with CaptureQueriesContext(connection) as queries:
        ask()
    return len(queries)


# ---------------------------------------------------------------- the sides


def alone(*_: Any) -> dict[str, Task]:
    """Django with nothing that invalidates."""
    django_setup.set_up(APP)
    save = _saving(_model("Row")._base_manager.get())
    return dict.fromkeys([*SAVES, MEMBERS_ROWS], Task(save))


def ours(_port: int, members: int, keys: int, **settings: Any) -> dict[str, Task]:
    """Rules whose entries lie in a NativeCache."""
    options = {"MAX_ENTRIES": 4 * max(members, keys), "MAX_BYTES": None}
    entry = {"BACKEND": "oxicache.django.backends.NativeCache", "TIMEOUT": TIMEOUT, "OPTIONS": options}
    django_setup.set_up("oxicache.django", APP, CACHES={"default": entry}, more_oxicache=settings)

    from django.core.cache import caches

    from oxicache import TTLCache

    cache = caches["default"]
    tasks = {
        name: _save_with_rules(f"Row{dependants}", dependants, cache) for name, dependants in SAVES.items()
    }
    held: TTLCache[str, int] = TTLCache(max_size=2 * members, ttl=TIMEOUT)

    def fill() -> None:
        for number in range(members):
            held.set(str(number), number, tags=["team"])

    def fill_backend() -> None:
        for number in range(members):
            cache.set(f"member:{number}", number, tags=["team"])

    def fill_keys() -> None:
        cache.set_many(dict.fromkeys(found if cache.get(key(0)) else map(key, range(keys)), 1))

    found = found_by_glob(keys)
    tasks[MEMBERS_ROWS] = _save_with_members()
    tasks[TAG] = Task(
        lambda: cache.delete_by_tag("team"), fill_backend, lambda: cache.get("member:7") is None
    )
    tasks[TAG_OF_TTLCACHE] = Task(lambda: held.delete_by_tag("team"), fill, lambda: len(held) == 0)
    tasks[GLOB] = Task(lambda: cache.delete_pattern(PATTERN), fill_keys, lambda: cache.get_many(found) == {})
    return tasks


def _save_with_rules(name: str, dependants: int, cache: Any) -> Task:
    from oxicache.django.rules import Rule, register_rule

    model = _model(name)
    row = model._base_manager.get()
    names = [f"{name.lower()}:{number}" for number in range(dependants)]
    for tag in names:
        register_rule(Rule(model, tags=f"{tag}:{{pk}}"))

    def fill() -> None:
        for tag in names:
            cache.set(tag, 1, tags=[f"{tag}:{row.pk}"])

    return Task(_saving(row), fill, lambda: cache.get_many(names) == {})


def _save_with_members() -> Task:
    from oxicache import ttl_cached_property

    depended = _model("Depended")
    computed: list[int] = []
    rows = []
    for number in range(5):

        def value(self: Any) -> int:
            computed.append(self.pk)
            return 1

        value.__qualname__ = f"Depending{number}.value"
        model = _model(f"Depending{number}", value=ttl_cached_property(depends_on=depended)(value))
        rows.append(model._base_manager.get())

    def read() -> None:
        for row in rows:
            row.value  # noqa: B018 -- read for what it leaves in the cache

    def check() -> bool:
        computed.clear()
        read()
        return len(computed) == len(rows)

    return Task(_saving(depended._base_manager.get()), read, check)


def watching(port: int, members: int, keys: int) -> dict[str, Task]:
    """The same with each statement looked at."""
    return ours(port, members, keys, WATCH_STATEMENTS=True)


def cacheops(port: int, members: int, _keys: int) -> dict[str, Task]:
    """Querysets kept in Redis, and the sets that tell which of them a row is in."""
    watched = {"ops": {"fetch"}, "timeout": TIMEOUT}
    models = {f"benches.row{dependants}": watched for dependants in SAVES.values() if dependants}
    django_setup.set_up(
        "cacheops",
        APP,
        CACHEOPS_REDIS={"host": "127.0.0.1", "port": port, "db": 1},
        CACHEOPS={**models, "benches.member": watched},
    )
    from cacheops import invalidate_model

    tasks = _querysets()
    member = _model("Member")

    def fill() -> None:
        for number in range(members):
            list(member.objects.filter(pk=number))

    asked = member.objects.filter(pk=7)
    tasks[TAG] = Task(
        lambda: invalidate_model(member), fill, lambda: _queries(lambda: list(asked.all())) == 1
    )
    return tasks


def cachalot(port: int, members: int, _keys: int) -> dict[str, Task]:
    """Querysets kept in Redis, and the times at which tables were written."""
    entry = {
        "BACKEND": "django.core.cache.backends.redis.RedisCache",
        "LOCATION": f"redis://127.0.0.1:{port}/2",
        "TIMEOUT": TIMEOUT,
    }
    django_setup.set_up("cachalot", APP, CACHES={"default": entry})
    from cachalot.api import invalidate

    tasks = _querysets()
    member = _model("Member")
    filled: list[int] = []

    def fill() -> None:
        # What is outdated stays where it is, so later fills would only repeat the first.
        for number in range(members if not filled else 1):
            list(member.objects.filter(pk=number))
        filled.append(members)

    asked = member.objects.filter(pk=0)
    tasks[TAG] = Task(lambda: invalidate(member), fill, lambda: _queries(lambda: list(asked.all())) == 1)
    return tasks


def _querysets() -> dict[str, Task]:
    """Saves of rows on which so many cached querysets depend."""
    tasks = {}
    for name, dependants in SAVES.items():
        model = _model(f"Row{dependants}")
        row = model._base_manager.get()
        asked = [model.objects.filter(pk=row.pk)[: number + 1] for number in range(dependants)]

        def fill(asked: list[Any] = asked) -> None:
            for one in asked:
                list(one.all())

        def check(asked: list[Any] = asked, fill: Callable[[], None] = fill) -> bool:
            return _queries(fill) == len(asked) and _queries(fill) == 0

        tasks[name] = Task(_saving(row), fill, check)
    return tasks


def django_redis(port: int, _members: int, keys: int) -> dict[str, Task]:
    """A backend whose server is asked for its keys."""
    location = f"redis://127.0.0.1:{port}/3"
    django_setup.set_up(
        CACHES={"default": {"BACKEND": "django_redis.cache.RedisCache", "LOCATION": location}}
    )
    from django.core.cache import cache

    found = found_by_glob(keys)

    def fill() -> None:
        cache.set_many(dict.fromkeys(found if cache.get(key(0)) else map(key, range(keys)), 1), TIMEOUT)

    # In steps of a thousand keys, where ten at a time would be its default.
    delete = lambda: cache.delete_pattern(PATTERN, itersize=1_000)  # noqa: E731 -- as the other tasks
    return {GLOB: Task(delete, fill, lambda: cache.get_many(found) == {})}


SIDES: dict[str, Callable[..., dict[str, Task]]] = {
    ALONE: alone,
    OURS: ours,
    WATCHING: watching,
    CACHEOPS: cacheops,
    CACHALOT: cachalot,
    DJANGO_REDIS: django_redis,
}


if __name__ == "__main__":
    asked, *given = sys.argv[1:]
    serve(asked, lambda: SIDES[asked](*map(int, given)))
