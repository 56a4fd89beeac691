"""System checks: wrong settings, parted processes, members that may go stale. Each stands in docs/checks.md.

What stands in the way of shared version words is found in neighbours.py; what a NativeCache is used for, in
aliases.py; what a setting must be, in conf.py.
"""

import importlib
import logging
import sys
from collections.abc import Callable, Iterator
from contextlib import suppress
from typing import Any, TypeAlias

from django.apps import apps
from django.conf import settings
from django.core.checks import CheckMessage, Error, Tags, Warning, register  # noqa: A004 -- Django's name
from django.core.exceptions import ImproperlyConfigured
from django.db import router
from django.db.models import Model

from oxicache import memos, options, rows
from oxicache._native import TTLCache
from oxicache.django import conf, control, host, neighbours, ordering, rules
from oxicache.registry import cache_manager
from oxicache.rows import Member

__all__ = ["CHECKS", "begin"]

Found: TypeAlias = Iterator[CheckMessage]

# Whose rows a table holds is a matter of the connection, which no key shows.
TENANT_APPS = ("django_tenants", "tenant_schemas", "django_pgschemas")

logger = logging.getLogger("oxicache")


def begin() -> None:
    """Register the checks. What only a server meets with, which runs none, is logged."""
    for check in CHECKS:
        register(check, Tags.caches)
    for message in _interpreters():
        logger.warning("%s %s", message.msg, message.hint)


def _check(find: Callable[[], Found]) -> Callable[..., list[CheckMessage]]:
    """Make a system check of a function that yields what it finds, silent while the settings cannot be read."""

    def check(app_configs: Any = None, **_: Any) -> list[CheckMessage]:  # noqa: ARG001 -- Django passes it by name
        try:
            conf.current()
        except ImproperlyConfigured as error:
            return [_wrong_settings(error)] if find is _settings else []
        return list(find())

    check.__name__ = find.__name__.lstrip("_")
    check.__doc__ = find.__doc__
    return check


# ---------------------------------------------------------------- settings


def _wrong_settings(error: ImproperlyConfigured) -> CheckMessage:
    return Error(
        str(error), hint="The settings and what they may be are listed in the README.", id="oxicache.E001"
    )


def _settings() -> Found:
    """A setting of oxicache is wrong, or leads to nothing."""
    for part in conf.SCOPE_PARTS:
        try:
            conf.resolver(part)
        except ImproperlyConfigured as error:
            yield Error(str(error), hint="Name a function of the request, or of nothing.", id="oxicache.E002")


def _tenants() -> Found:
    """Rows of several tenants have the same primary keys, and nobody says whose they are."""
    installed = [name for name in TENANT_APPS if apps.is_installed(name)]
    models = _row_models()
    if installed and models and not _rows_have_tenants():
        yield Error(
            f"{installed[0]} is installed, and {conf.DICT}['TENANT'] is not set, or needs a request: what is cached "
            f"for a row of one tenant would be served to another. {models[0]._meta.label} has cached members.",
            hint=f"Set {conf.DICT}['TENANT'] to a function that returns `django.db.connection.schema_name`.",
            id="oxicache.E003",
        )


def _rows_have_tenants() -> bool:
    try:
        return conf.tenant_resolver() is not None
    except ImproperlyConfigured:
        return True  # it was to be one: E002 says what is wrong


def _rules() -> Found:
    """A rule of the settings names a model, a field, an event or a key that there is not."""
    for mistake in rules.mistakes():
        yield Error(
            mistake, hint="How rules are written is said in docs/invalidation.md.", id="oxicache.E005"
        )


# ---------------------------------------------------------------- CACHES


def _options() -> Found:
    """OPTIONS of a NativeCache are wrong."""
    from oxicache.django import aliases  # here: only who has such a cache, or checks, need load its backend

    for mistake in aliases.mistakes():
        yield Error(mistake, hint="The options are listed in docs/backend.md.", id="oxicache.E004")


def _sessions() -> Found:
    """Sessions are kept where only one worker finds them."""
    from oxicache.django import aliases

    found = aliases.sessions()
    if found is not None:
        alias, why = found
        yield Warning(
            f"{why}. SESSION_ENGINE is {settings.SESSION_ENGINE!r}, and CACHES[{alias!r}] keeps the values of each "
            "process apart.",
            hint=f"{_REDIS.format(what='SESSION_CACHE_ALIAS')}, or keep sessions in "
            "`django.contrib.sessions.backends.cached_db`.",
            id="oxicache.W008",
            obj=f"CACHES[{alias!r}]",
        )


def _counters() -> Found:
    """What must be counted for all workers together is counted in each."""
    from oxicache.django import aliases

    for who, alias in aliases.counters():
        yield Warning(
            f"{who} counts in CACHES[{alias!r}], which keeps the values of each process apart: with four workers four "
            "times as much is let through.",
            hint=f"{_REDIS.format(what=who)}. With a single worker process silence this check.",
            id="oxicache.W009",
            obj=f"CACHES[{alias!r}]",
        )


_REDIS = "Give {what} an alias with `django.core.cache.backends.redis.RedisCache`"


def _unbounded() -> Found:
    """Entries never expire, and may take all memory there is."""
    from oxicache.django import aliases

    for alias in aliases.unbounded():
        yield Warning(
            "Its TIMEOUT is None, for ever, and its MAX_BYTES is None, unlimited: each worker keeps the largest values "
            "that it ever met.",
            hint="Give it a TIMEOUT, or leave MAX_BYTES at its default.",
            id="oxicache.W010",
            obj=f"CACHES[{alias!r}]",
        )


# ---------------------------------------------------------------- MIDDLEWARE


def _site_cache() -> Found:
    """Middleware runs only for what the site cache does not hold."""
    after = ordering.after_site_cache()
    if after:
        yield Warning(
            f"{', '.join(after)} in MIDDLEWARE after SiteCacheMiddleware: what is held is sent without asking them, "
            "and what they say of a visitor or a language is in no key.",
            hint="Put SiteCacheMiddleware last.",
            id="oxicache.W012",
        )


def _compression() -> Found:
    """What is compressed has no ETag."""
    if ordering.gzip_inside():
        yield Warning(
            "GZipMiddleware stands after CacheMiddleware in MIDDLEWARE: what it has compressed gets no ETag, since no "
            "two compressions are alike, and is sent again to who has it.",
            hint="Put GZipMiddleware before CacheMiddleware.",
            id="oxicache.W013",
        )


# ---------------------------------------------------------------- who shares the version words


def _sharing() -> Found:
    """The processes of this host cannot tell each other of invalidations."""
    reason = host.failure()
    if reason is None and _row_models():  # nothing else is shared
        reason = neighbours.obstacle()
    if reason is not None:
        yield Warning(
            f"Invalidations do not reach other processes of this host: {reason}.",
            hint=f"Set {conf.DICT}['RUNTIME_DIR'] to a directory that the site's user may write. One process alone "
            "needs none: then silence this check.",
            id="oxicache.W001",
        )


def _unreachable() -> Found:
    """Commands cannot reach the processes of this site."""
    if not conf.current().control or sys.platform != "linux":
        return
    reason = control.failure()
    if reason is None and host.failure() is None and not _row_models():  # else W001 has said it
        reason = neighbours.obstacle()
    if reason is not None:
        yield Warning(
            f"`manage.py manage_cache` cannot reach the processes of this site: {reason}.",
            hint=f"Set {conf.DICT}['RUNTIME_DIR'] to a directory that the site's user may write, or "
            f"{conf.DICT}['CONTROL'] to False.",
            id="oxicache.W011",
        )


def _parted() -> Found:
    """Some processes of this site meet elsewhere."""
    for one in neighbours.parted() if _row_models() else ():
        yield Warning(
            f"{one.what} Neither sees the other's invalidations.", hint=one.remedy, id="oxicache.W002"
        )


def _replicas() -> Found:
    """What is read from a replica that lags behind is stored."""
    if conf.current().replica_hold > 0 or not settings.DATABASE_ROUTERS:
        return
    for model in _row_models():
        read, written = router.db_for_read(model), router.db_for_write(model)
        if read != written:
            yield Warning(
                f"{model._meta.label} is written to {written!r} and read from {read!r}, and "
                f"{conf.DICT}['REPLICA_HOLD'] is 0: a row read before the replica has caught up is cached as if new.",
                hint=f"Set {conf.DICT}['REPLICA_HOLD'] to the seconds that {read!r} may lag behind.",
                id="oxicache.W003",
            )
            return


def _interpreters() -> Found:
    """This is not the process's main interpreter, and the native half knows of one only."""
    if _in_subinterpreter():
        yield Warning(
            "This application runs in a sub-interpreter: its caches are those of every other application of the "
            "process.",
            hint="Write `WSGIApplicationGroup %{GLOBAL}` for mod_wsgi, `single-interpreter = true` for uWSGI.",
            id="oxicache.W007",
        )


def _in_subinterpreter() -> bool:
    for name in ("_interpreters", "_xxsubinterpreters"):  # from 3.13 on, and before
        with suppress(ImportError):
            interpreters: Any = importlib.import_module(name)
            return bool(interpreters.get_current() != interpreters.get_main())
    return False


# ---------------------------------------------------------------- what may go stale, or grow


def _long_ttls() -> Found:
    """Values live for hours, and nothing can invalidate them."""
    by_default = conf.current().default_ttl
    if _is_long(by_default):
        yield Warning(
            f"The default TTL is {_hours(by_default)}, longer than 4 hours, for whatever names none of its own.",
            hint=_SHORTER,
            id="oxicache.W004",
            obj=f'{conf.DICT}["DEFAULT_TTL"]',
        )
    for member, cache in sorted(memos.decorated(), key=lambda one: one[0].name):
        if not _outlives_objects(member) or member.has_tags or cache.ttl == by_default:
            continue
        if _is_long(cache.ttl):
            yield Warning(
                f"Its TTL is {_hours(cache.ttl)}, longer than 4 hours, and it has no tags to invalidate it by.",
                hint=_SHORTER,
                id="oxicache.W004",
                obj=member.name,
            )


_SHORTER = (
    "Give it `tags=` and invalidate them when the source changes, or a shorter TTL. If you call `invalidate` or "
    "`cache_clear` by hand, silence this check."
)


def _for_ever() -> Found:
    """Values never expire, so that one missed invalidation lasts as long as the process."""
    by_default = conf.current().default_ttl
    hint = "Give it a TTL, however long: then a missed invalidation ends some time."
    if by_default is None:
        yield Warning(
            "The default TTL is None, for ever.",
            hint=hint,
            id="oxicache.W005",
            obj=f'{conf.DICT}["DEFAULT_TTL"]',
        )
        return
    of_rows = {
        member for model in apps.get_models() for member in rows.members_of(model) if member.is_of_rows
    }
    # These die with their object, as what Django's own cached_property keeps does.
    exempt = {
        id(cache)
        for member, cache in memos.decorated()
        if not _outlives_objects(member) and member not in of_rows
    }
    for name, cache in _caches():
        if cache.ttl is None and id(cache) not in exempt:
            yield Warning("Its TTL is None, for ever.", hint=hint, id="oxicache.W005", obj=name)


def _unlimited_sizes() -> Found:
    """A cache may take all memory there is."""
    hint = (
        f"Set `max_size` to what you would wish to hold, at most {options.LARGE_MAX_SIZE:,}, or limit it by "
        "`max_bytes` besides."
    )
    by_default = conf.current().default_max_size
    if by_default > options.LARGE_MAX_SIZE:
        yield Warning(
            f"A cache holds {by_default:,} entries by default, which is no limit.",
            hint=hint,
            id="oxicache.W006",
            obj=f'{conf.DICT}["DEFAULT_MAX_SIZE"]',
        )
    for name, cache in _caches():
        if (
            cache.max_size > options.LARGE_MAX_SIZE
            and cache.max_size != by_default
            and cache.max_bytes is None
        ):
            yield Warning(
                f"It holds {cache.max_size:,} entries, which is no limit, and has no `max_bytes`.",
                hint=hint,
                id="oxicache.W006",
                obj=name,
            )


def _is_long(ttl: float | None) -> bool:
    return ttl is not None and ttl > options.LONG_TTL


def _hours(ttl: float | None) -> str:
    return f"{(ttl or 0) / 3600:.4g} hours"


def _caches() -> list[tuple[str, TTLCache[Any, Any]]]:
    found = [(name, cache_manager._caches.get(name)) for name in cache_manager.names()]
    return [(name, cache) for name, cache in found if cache is not None]


def _outlives_objects(member: Member) -> bool:
    """Whether its values live on when the object dies that they were computed on, and no save invalidates them."""
    return member.identity not in ("auto", "row", "instance")


def _row_models() -> list[type[Model]]:
    """Models that have a member whose values belong to rows."""
    return [
        model for model in apps.get_models() if any(member.is_of_rows for member in rows.members_of(model))
    ]


CHECKS = tuple(
    _check(find)
    for find in (
        _settings,
        _tenants,
        _rules,
        _options,
        _sessions,
        _counters,
        _unbounded,
        _site_cache,
        _compression,
        _sharing,
        _unreachable,
        _parted,
        _replicas,
        _interpreters,
        _long_ttls,
        _for_ever,
        _unlimited_sizes,
    )
)
