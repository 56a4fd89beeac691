"""The timed rows of NativeCache, beside LocMemCache and the other backends of Django that people use.

"caches[...]" is the object that `django.core.cache.caches[alias]` gives, kept; `django.core.cache.cache` is Django's
proxy, which looks that object up in each call; `oxicache.django.cache` is the direct handle.
"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import cache, partial
from typing import Any

import backends
import django_setup
import threads
from cache_rows import SIZE, shuffled_keys
from rows import Result, Target, TimedRow
from timing import Contender

FEW = 50  # keys that one pass asks a slow backend for: a thousand would take it a tenth of a second
BATCH = 100  # keys in one get_many or set_many
LEAST_HELD = 0.99
FRAGMENT = "template.cache.sidebar.d41d8cd98f00b204e9800998ecf8427e"  # as {% cache %} makes keys
PAGES = 100  # keys of the row whose values are big
DIRECT = "oxicache.django.cache"
PROXY = "through django.core.cache.cache"
IN_PROCESS = (backends.OURS, backends.LOCMEM)

Values = Mapping[str, Any]


# ---------------------------------------------------------------- what is stored


def small(number: int) -> str:
    """A string of a dozen characters."""
    return f"value of {number}"


# Names of fields are the same objects in every dict, as in a program.
TEXTS = ("name", "title", "street", "city", "country", "phone", "email", "note", "author", "status")
NUMBERS = ("id", "rank", "count", "width", "height")


def record(number: int) -> dict[str, Any]:
    """A dict of 20 keys, as a serializer makes one of a row."""
    texts = {name: f"{name} of {number}" for name in TEXTS}
    numbers = {name: number * 1_000 + place for place, name in enumerate(NUMBERS)}
    rest = {"rate": number / 7, "share": number / 13, "is_open": True, "is_hidden": False, "parent": None}
    return texts | numbers | rest


def page(number: int) -> str:
    """10 kB of text."""
    return f"{number:010}" * 1_000


def listing(number: int) -> list[dict[str, Any]]:
    """A list of 100 dicts of 4 keys, as a page of a list view."""
    return [
        {"id": number * 100 + place, "name": f"name {place} of {number}", "rate": place / 7, "is_open": True}
        for place in range(100)
    ]


# ---------------------------------------------------------------- the caches


@dataclass(frozen=True)
class Found:
    """Django's caches on this machine, by name, ours first."""

    handlers: dict[str, Any]
    proxies: dict[str, Any]
    absent: dict[str, str]
    of_this_thread: Callable[[str], Any]  # Django keeps a handler for each thread

    def fill(self, name: str, entries: Values) -> list[str]:
        """Let the cache called `name` hold `entries` and nothing else; the keys that it then has.

        Two keys in a thousand may share a version word, and the write of one then ends the other, by design.
        """
        handler = self.handlers[name]
        handler.clear()
        handler.set_many(entries)
        held = handler.get_many(entries)
        if len(held) < LEAST_HELD * len(entries) or any(entries[key] != held[key] for key in held):
            message = f"{name} holds {len(held)} of {len(entries)} entries before its row starts"
            raise RuntimeError(message)
        return [key for key in entries if key in held]


@cache
def find() -> Found:
    """Every backend that works here, its server running; NativeCache is the alias "default"."""
    django_setup.set_up("oxicache.django")

    from django.core.cache import caches
    from django.test import override_settings
    from django.utils.connection import ConnectionProxy

    entries, absent = backends.entries(tuple(backends.BACKENDS))
    aliases = {name: "default" if name == backends.OURS else name for name in entries}
    # The signal that this sends is what makes Django, and oxicache with it, look at CACHES anew.
    override_settings(CACHES={aliases[name]: entry for name, entry in entries.items()}).enable()
    handlers: dict[str, Any] = {}
    for name, alias in aliases.items():
        try:
            handlers[name] = backends.connected(partial(caches.__getitem__, alias))
        except backends.AbsentError as error:
            if name in IN_PROCESS:
                raise
            absent[name] = str(error)
    # `django.core.cache.cache` is this class for "default": each backend stands behind the same proxy.
    proxies = {name: ConnectionProxy(caches, aliases[name]) for name in handlers}
    return Found(handlers, proxies, absent, lambda name: caches[aliases[name]])


# ---------------------------------------------------------------- the rows


@dataclass(frozen=True)
class BackendRow(TimedRow):
    """A timed row that also names the backends which cannot be had here."""

    names: tuple[str, ...] = tuple(backends.BACKENDS)

    def results(self, rounds: int, sample_ns: int) -> list[Result]:
        """Measure the row: one result for each rival, the absent ones without a figure."""
        measured = super().results(rounds, sample_ns)
        ours = measured[0].ours
        absent = [
            Result(self.name, f"{name}: {reason}", judged=ours, ours=ours, theirs=None, per="ns", unit="ns")
            for name, reason in find().absent.items()
            if name in self.names
        ]
        return [*measured, *absent]


def _row(
    name: str,
    statement: str,
    make: Callable[[int], Any] = small,
    *,
    faster: float | None = None,
    items: Callable[[list[str], Values], Sequence[Any]] = lambda keys, _: keys,
    prepare: str = "pass",
    names: tuple[str, ...] = tuple(backends.BACKENDS),
    proxied: bool = False,
    count: int = SIZE,
    few: int = FEW,
    prefix: str = "key",
) -> BackendRow:
    """A row in which each cache holds `make(0)`, `make(1)` ... under `count` keys, or `few` where it is slow.

    `items` makes the items of the loop from keys and entries; `value` is a value in the statement. `faster` is how
    many times faster than LocMemCache the row is to be.
    """

    def build() -> list[Contender]:
        found = find()
        contenders = []
        for backend in names:
            if backend in found.absent:
                continue
            keys = shuffled_keys(count if backend in IN_PROCESS else min(count, few), prefix)
            entries = {key: make(number) for number, key in enumerate(keys)}
            keys = found.fill(backend, entries)
            handler = (found.proxies if proxied else found.handlers)[backend]
            variables = {"cache": handler, "value": make(0)}
            contenders.append(Contender(backend, statement, variables, items(keys, entries), prepare))
        return contenders

    targets = {} if faster is None else {backends.LOCMEM: Target(">=", faster, "x faster")}
    return BackendRow(name, build, targets, countable=False, names=names)


def _absent_keys(keys: list[str], _: Values) -> list[str]:
    return shuffled_keys(len(keys), prefix="absent")


def _key_batches(keys: list[str], _: Values) -> list[list[str]]:
    return [keys[start : start + BATCH] for start in range(0, len(keys), BATCH)]


def _entry_batches(keys: list[str], entries: Values) -> list[dict[str, Any]]:
    return [{key: entries[key] for key in batch} for batch in _key_batches(keys, entries)]


def _direct() -> list[Contender]:
    from oxicache.django import cache as direct

    found = find()
    keys = shuffled_keys(SIZE)
    entries = {key: small(number) for number, key in enumerate(keys)}
    found.fill(backends.LOCMEM, entries)
    keys = found.fill(backends.OURS, entries)
    assert len(direct.get_many(keys)) == len(keys)
    ways = {
        DIRECT: direct,
        f"{backends.OURS}, caches[...]": found.handlers[backends.OURS],
        f"{backends.OURS}, {PROXY}": found.proxies[backends.OURS],
        f"{backends.LOCMEM}, caches[...]": found.handlers[backends.LOCMEM],
        f"{backends.LOCMEM}, {PROXY}": found.proxies[backends.LOCMEM],
    }
    return [Contender(name, GET, {"cache": way}, keys) for name, way in ways.items()]


GET = "cache.get(item)"
SET = "cache.set(item, value)"
ASIDE = "if cache.get(item) is None:\n    cache.set(item, value)"

ROWS = (
    _row("NativeCache.get hit, small/1k", GET, small, faster=50),
    _row("NativeCache.get hit, small, long keys/1k", GET, small, names=IN_PROCESS, prefix=FRAGMENT),
    _row("NativeCache.get hit, 20-key dict/1k", GET, record, faster=20),
    _row("NativeCache.get hit, 10 kB/100", GET, page, count=100),
    _row("NativeCache.get hit, 100 small dicts/100", GET, listing, faster=4, count=100),
    _row("NativeCache.get miss/1k", GET, items=_absent_keys, faster=50),
    _row(f"NativeCache.get hit, small, {PROXY}/1k", GET, small, proxied=True, faster=2),
    _row(
        f"NativeCache.get hit, 20-key dict, {PROXY}/1k",
        GET,
        record,
        proxied=True,
        faster=2,
        names=IN_PROCESS,
    ),
    _row(
        f"NativeCache.get hit, 100 small dicts, {PROXY}/100",
        GET,
        listing,
        proxied=True,
        faster=2,
        names=IN_PROCESS,
        count=100,
    ),
    _row(
        f"NativeCache.get miss, {PROXY}/1k", GET, items=_absent_keys, proxied=True, faster=2, names=IN_PROCESS
    ),
    TimedRow(f"get hit, small, {DIRECT}/1k", _direct, countable=False),
    _row("NativeCache.set, small/1k", SET, small, faster=8),
    _row("NativeCache.set, 20-key dict/1k", SET, record),
    _row("NativeCache.add, key held/1k", "cache.add(item, value)", faster=8),
    _row("NativeCache.add, key new/1k", "cache.add(item, value)", prepare="cache.clear()", faster=8),
    _row("NativeCache.incr/1k", "cache.incr(item)", int, faster=8),
    _row("NativeCache.get_many(100)/1k", "cache.get_many(item)", items=_key_batches, faster=15, few=BATCH),
    _row("NativeCache.set_many(100)/1k", "cache.set_many(item)", items=_entry_batches, few=BATCH),
    _row("NativeCache.get miss, then set/1k", ASIDE, prepare="cache.clear()"),
)


# ---------------------------------------------------------------- threads


def in_threads() -> list[threads.Entrant]:
    """What four threads do, as threads.py has it: each thread asks the handler that Django gives it."""
    found = find()
    contenders = []
    for name in found.handlers:
        keys = shuffled_keys(SIZE if name in IN_PROCESS else FEW)
        keys = found.fill(name, {key: small(number) for number, key in enumerate(keys)})
        row = f"four threads, get: {name}/{'1k' if name in IN_PROCESS else FEW}"
        limit = threads.TARGET if name == backends.OURS else None
        variables = {"found": found, "name": name}
        prepare = "get = found.of_this_thread(name).get"
        contenders.append((row, Contender(name, "get(item)", variables, keys, prepare), limit))
    return contenders
