"""What a cached query finds, or loads: its key, the versions of what it reads, and when its result may be kept."""

import functools
import hashlib
import logging
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from contextvars import ContextVar
from dataclasses import dataclass
from typing import Any, Final, Protocol

from django.conf import settings
from django.core.signals import setting_changed
from django.db import connections, router
from django.db.models import Model

from oxicache import keys
from oxicache._native import MISSING, Stamps
from oxicache.django import conf, host, signals, transactions, words
from oxicache.django.holding import Found, holder_at
from oxicache.django.queries.tables import models_read
from oxicache.versions import MAX_WORDS

__all__ = ["Asked", "Caching", "Statement", "fetch", "key_of", "learned", "scope_of"]

logger = logging.getLogger("oxicache.queries")

KIND: Final = "query"  # begins every key
MAX_LEARNED: Final = 4096  # queries that read more than their own text names
MAX_SAID: Final = 1024
DIGEST_BYTES: Final = 16
DRIVERS: Final = frozenset({"psycopg", "psycopg2"})
# What their JSON, their bytes and their ranges have within.
WRAPPED: Final = (("obj",), ("adapted",), ("lower", "upper", "lower_inc", "upper_inc", "isempty"))
# By which values are converted that are held: a change of theirs, in a test, begins keys anew.
CONVERTING: Final = frozenset({"DATABASES", "TIME_ZONE", "USE_TZ"})

_settings = 0  # how often they have changed


@dataclass(frozen=True, slots=True)
class Caching:
    """What a cached queryset was told."""

    ttl: float | None
    alias: str
    tags: tuple[str, ...] = ()
    depends_on: tuple[type[Model], ...] = ()


def key_of(model: type[Model], kind: str, digest: str) -> str:
    """Return the key of what is held of a query about a model."""
    return f"{KIND}:{model._meta.label_lower}:{keys.escape(kind)}:{digest}"


def scope_of(using: str) -> str:
    """Return whose data a query on a database asks for, for its key. TypeError where the tenant has no spelling."""
    # A schema for each tenant: one text asks different tables.
    schema = getattr(connections[using], "schema_name", None)
    asked = conf.tenant_resolver()
    # A database may filter rows by what it was told of the connection: then the text does not say whose they are.
    tenant = "" if asked is None else keys.spell(asked(), f"what {conf.DICT}['TENANT'] returned")
    return f"{using}\0{schema!s}\0{tenant}\0{_settings}"


@dataclass(frozen=True, slots=True)
class Statement:
    """What is asked of a database. `is_all`: nothing but this text is executed."""

    using: str
    kind: str
    model: type[Model]
    sql: str
    params: tuple[Any, ...]
    is_all: bool

    def key(self) -> str:
        """Return the key of its result. TypeError names a parameter that has no spelling."""
        spelt = [
            keys.spell(_content(value), f"parameter {number}") for number, value in enumerate(self.params, 1)
        ]
        whole = "\0".join([scope_of(self.using), self.sql, *spelt])
        digest = hashlib.blake2b(whole.encode("utf-8", "surrogatepass"), digest_size=DIGEST_BYTES).hexdigest()
        return key_of(self.model, self.kind, digest)

    def reads(self) -> frozenset[type[Model]]:
        """Return the models that its text names."""
        return models_read([self.sql]) | {self.model}


def _content(value: Any) -> Any:
    """Return what tells a parameter apart: of what drivers wrap values in, their names and what is within."""
    kind = type(value)
    found: Any = value
    if kind is list or kind is tuple:
        return [_content(one) for one in value]
    if kind is memoryview:
        found = bytes(value)
    elif kind.__module__ == "ipaddress":
        found = str(value)
    elif kind.__module__.partition(".")[0] in DRIVERS:
        parts = next((names for names in WRAPPED if all(hasattr(value, name) for name in names)), ())
        found = [_content(getattr(value, name)) for name in parts] or value
    return value if found is value else (kind.__name__, found)


class Asked(Protocol):
    """What `fetch` wants to know of what is asked: as `Statement` has it."""

    @property
    def using(self) -> str:
        """The alias of the database."""
        ...

    @property
    def model(self) -> type[Model]:
        """What it is about."""
        ...

    @property
    def is_all(self) -> bool:
        """Whether nothing but this is executed."""
        ...

    def key(self) -> str:
        """Return the key of what is held. TypeError where it has none."""
        ...

    def reads(self) -> frozenset[type[Model]]:
        """Return the models whose changes outdate it."""
        ...


_learned: dict[str, frozenset[type[Model]]] = {}  # by key: models that a query read and its text did not name
_said: set[tuple[str, str]] = set()
# What the cached queries read that are asked while another is loaded: a hit executes no statement that tells.
_outer: ContextVar[set[type[Model]] | None] = ContextVar("oxicache_queries_outer", default=None)


def fetch(
    caching: Caching, statement: Asked, run: Callable[[], Any], give: Callable[[Any], Any] | None = None
) -> Any:
    """Return what is held of a statement's result, or what `run()` returns: something that may be held.

    `give` makes one caller's own of what several get that `run()` was called for once; a cache does so by itself.
    """
    if transactions.is_written(statement.using) or (not statement.is_all and transactions.is_any_written()):
        return run()
    try:
        key = statement.key()
    except TypeError as error:
        _say(statement.model, f"its key could not be made: {error}")
        return run()
    holder = holder_at(caching.alias)
    held = holder.key(key + _terms(caching.ttl, caching.tags, caching.depends_on))
    found = holder.find(held)

    def models() -> frozenset[type[Model]]:
        return statement.reads() | frozenset(caching.depends_on) | learned(key)

    def load() -> Found:
        return _load(caching, statement, key, models(), run, give)

    if found is MISSING:
        # Who is in a transaction may hold what the one that he waited for needs.
        found = holder.load(held, load, caching.ttl, alone=transactions.in_transaction())
    if give is not None and holder.shares:
        found = give(found)
    if (outer := _outer.get()) is not None:
        outer.update(models())
    return found


@functools.lru_cache(maxsize=256)
def _terms(ttl: float | None, tags: tuple[str, ...], depends_on: tuple[type[Model], ...]) -> str:
    """Return the end of a key: what depends on less, or may be older, is not for who wants otherwise."""
    whole = repr((ttl, tags, [one._meta.label_lower for one in depends_on]))
    return f"-{hashlib.blake2b(whole.encode('utf-8', 'surrogatepass'), digest_size=8).hexdigest()}"


def learned(key: str) -> frozenset[type[Model]]:
    """Return the models that what is held under a key turned out to read besides."""
    return _learned.get(key, frozenset())


def _load(  # noqa: PLR0917 -- one call, of `fetch`
    caching: Caching,
    statement: Asked,
    key: str,
    models: frozenset[type[Model]],
    run: Callable[[], Any],
    give: Callable[[Any], Any] | None,
) -> Found:
    names = {word for model in models for word in words.model_words(model)}
    if len(names) > MAX_WORDS:
        _say(
            statement.model,
            f"it reads {len(models)} models, of {len(names)} version words; {MAX_WORDS} is the limit",
        )
        return Found(run(), shared=False, give=give)
    for model in models:
        signals.watch(model)
    stamps = host.capture(sorted(names))
    if statement.is_all:
        value = run()
    else:
        with _noting() as statements, _asked_within() as inner:
            value = run()
        more = (models_read(statements) | inner) - models
        if more:
            if len(_learned) < MAX_LEARNED:
                _learned[key] = models | more
            return Found(value, shared=False, give=give)
    return Found(
        value, shared=_may_keep(statement, models, stamps), stamps=stamps, tags=caching.tags, give=give
    )


def _may_keep(statement: Asked, models: frozenset[type[Model]], stamps: Stamps) -> bool:
    if not transactions.allows_storing(statement.using, stamps):
        return False
    if not statement.is_all and not transactions.allows_storing_anywhere(stamps):
        return False  # a prefetch may ask another database
    if not settings.DATABASE_ROUTERS or all(router.db_for_write(one) == statement.using for one in models):
        return True
    return not stamps.was_bumped_within(conf.current().replica_hold)  # a replica may not have caught up


@contextmanager
def _noting() -> Iterator[list[str]]:
    """Note the text of every statement that this thread executes."""
    statements: list[str] = []

    def note(execute: Any, sql: Any, params: Any, many: bool, context: Any) -> Any:
        statements.append(str(sql))
        return execute(sql, params, many, context)

    with ExitStack() as stack:
        for connection in connections.all():
            stack.enter_context(connection.execute_wrapper(note))
        yield statements


@contextmanager
def _asked_within() -> Iterator[set[type[Model]]]:
    """Collect what cached queries read that are asked in this block, and tell the next outer block."""
    outer = _outer.get()
    inner: set[type[Model]] = set()
    token = _outer.set(inner)
    try:
        yield inner
    finally:
        _outer.reset(token)
        if outer is not None:
            outer |= inner


def _say(model: type[Model], reason: str) -> None:
    mark = (model._meta.label, reason)
    if mark not in _said and len(_said) < MAX_SAID:
        _said.add(mark)
        logger.warning("A queryset of %s is not cached: %s.", *mark)


def _reset(*, setting: str, **_: Any) -> None:
    global _settings  # noqa: PLW0603 -- a number of this process
    if setting in CONVERTING:
        _settings += 1


setting_changed.connect(_reset, dispatch_uid="oxicache.django.queries.fetching")
