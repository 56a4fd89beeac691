"""Every setting of oxicache: name, default, unit and meaning. Read when first needed, forgotten on `setting_changed`.

A value is looked for under its own flat name (`RSR_...`, as the first source document spells it), then in the dict
`OXICACHE`, then among the defaults here. Who passes a value on to the engine or the loader: apps.py.
"""

# Long because one file holds every setting: its default, its unit, what it means and what it must be.

import hashlib
import inspect
import math
import os
import re
import sys
import tempfile
from collections.abc import Callable, Hashable, Iterable, Iterator, Mapping
from dataclasses import dataclass, field, fields
from datetime import timedelta
from pathlib import Path
from types import MappingProxyType
from typing import Any, TypeAlias

from django.apps import apps
from django.conf import settings
from django.core.cache import DEFAULT_CACHE_ALIAS
from django.core.exceptions import ImproperlyConfigured
from django.core.signals import setting_changed
from django.utils.module_loading import import_string

from oxicache import options
from oxicache.invalidation import Rule
from oxicache.thresholds import Thresholds

__all__ = [
    "Configuration",
    "Timeouts",
    "check_ttl",
    "current",
    "defaults",
    "is_checking",
    "namespace",
    "resolver",
    "runtime_directory",
    "settings_table",
    "takes_request",
    "tenant_resolver",
    "ttl_of",
    "usual_directories",
]

Resolver: TypeAlias = Callable[[], Hashable]
ScopeResolver: TypeAlias = Callable[..., Any]  # of the request, or of nothing
TENANT_OF_NOTHING = "tenant()"  # no part: what is asked for each row and each query
SCOPE_PARTS = ("tenant", "client", "unit", "user", "language")

DICT = "OXICACHE"
# Django runs the system checks in these, which say what is wrong; a server would begin without.
CHECKING_COMMANDS = frozenset({"check", "migrate", "runserver"})
SHARED_MEMORY = "/dev/shm"  # noqa: S108 -- memory, and what is made there has its owner and mode checked
NAMESPACE_LABEL = b"oxicache.namespace\0"  # so that the name says nothing about other hashes of SECRET_KEY


def _refuse(name: str, value: object, wanted: str) -> ImproperlyConfigured:
    return ImproperlyConfigured(f"{name} is {value!r}; it must be {wanted}.")


def _seconds(name: str, value: object) -> float:
    if isinstance(value, timedelta):
        value = value.total_seconds()
    if isinstance(value, bool) or not isinstance(value, int | float) or math.isnan(value) or value < 0:
        raise _refuse(name, value, "a number of seconds or a timedelta, not negative")
    return value


def _seconds_or_forever(name: str, value: object) -> float | None:
    if value is None:
        return None
    try:
        return _seconds(name, value)
    except ImproperlyConfigured:
        raise _refuse(
            name, value, "a number of seconds or a timedelta, not negative, or None for ever"
        ) from None


def _finite_seconds(name: str, value: object) -> float:
    seconds = _seconds(name, value)
    if math.isinf(seconds):
        raise _refuse(name, value, "a finite number of seconds or a timedelta")
    return seconds


def _count(name: str, value: object) -> int:
    if isinstance(value, bool) or not isinstance(value, int) or value < 0:
        raise _refuse(name, value, "a whole number, not negative")
    return value


def _positive(name: str, value: object) -> int:
    if _count(name, value) == 0:
        raise _refuse(name, value, "a whole number of at least 1")
    return _count(name, value)


def _switch(name: str, value: object) -> bool:
    if not isinstance(value, bool):
        raise _refuse(name, value, "True or False")
    return value


def _exceptions(name: str, value: object) -> tuple[type[BaseException], ...]:
    wanted = "a list of exception classes or of dotted paths to them"
    if isinstance(value, str) or not isinstance(value, Iterable):
        raise _refuse(name, value, wanted)
    classes = []
    for item in value:
        try:
            found = import_string(item) if isinstance(item, str) else item
        except ImportError as error:
            raise _refuse(name, item, wanted) from error
        if not (isinstance(found, type) and issubclass(found, BaseException)):
            raise _refuse(name, item, wanted)
        classes.append(found)
    return tuple(classes)


def _patterns(name: str, value: object) -> tuple[str, ...]:
    wanted = "a list of patterns, strings that are not empty"
    if isinstance(value, str) or not isinstance(value, Iterable):
        raise _refuse(name, value, wanted)
    for item in (found := tuple(value)):
        if not isinstance(item, str) or not item:
            raise _refuse(name, item, wanted)
    return found


def _text(name: str, value: object) -> str | None:
    if value is not None and (not isinstance(value, str) or not value):
        raise _refuse(name, value, "a string that is not empty, or None")
    return value


def _cache_alias(name: str, value: object) -> str:
    known = getattr(settings, "CACHES", {})
    if not isinstance(value, str) or value not in {*known, DEFAULT_CACHE_ALIAS}:
        raise _refuse(name, value, f"an alias of CACHES ({', '.join(known)})")
    return value


def _directory(name: str, value: object) -> str | None:
    if value is None:
        return None
    wanted = "the absolute path of a directory, or None"
    if not isinstance(value, str | os.PathLike):
        raise _refuse(name, value, wanted)
    path = os.fspath(value)
    if not isinstance(path, str) or not Path(path).is_absolute() or "\0" in path:
        raise _refuse(name, value, wanted)
    return path


def _namespace(name: str, value: object) -> str | None:
    if value is not None and (
        not isinstance(value, str)
        or not re.fullmatch(f"[A-Za-z0-9]{{1,{options.NAMESPACE_MAX_CHARS}}}", value)
    ):
        raise _refuse(name, value, f"1 to {options.NAMESPACE_MAX_CHARS} ASCII letters and digits, or None")
    return value


def _words(name: str, value: object) -> int:
    low, high = options.VERSION_WORDS_MIN, options.VERSION_WORDS_MAX
    if (
        isinstance(value, bool)
        or not isinstance(value, int)
        or not low <= value <= high
        or value & (value - 1)
    ):
        raise _refuse(name, value, f"a power of two from {low} to {high}")
    return value


def _token(name: str, value: object) -> str | None:
    if value is not None and (not isinstance(value, str) or not re.fullmatch(r"[\x21-\x7e]+", value)):
        shown = "..." if isinstance(value, str) else value  # whatever it is, it was to be secret
        raise _refuse(name, shown, "a string of ASCII characters without spaces, or None")
    return value


def _aliases(name: str, value: object) -> bool | tuple[str, ...]:
    if isinstance(value, bool):
        return value
    known = getattr(settings, "DATABASES", {})
    if not isinstance(value, list | tuple | set | frozenset) or not all(one in known for one in value):
        raise _refuse(name, value, f"True, False or a list of aliases of DATABASES ({', '.join(known)})")
    return tuple(value)


def _thresholds(name: str, value: object) -> Thresholds:
    if value is not None and not isinstance(value, dict):
        raise _refuse(name, value, "a dict of numbers, or None")
    try:
        return Thresholds.of(value or {})
    except (TypeError, ValueError) as error:
        raise ImproperlyConfigured(f"{name} is wrong: {error}.") from error


def _rules(name: str, value: object) -> tuple[Any, ...]:
    wanted = "a list of rules or of dotted paths to them"
    if isinstance(value, str) or not isinstance(value, Iterable):
        raise _refuse(name, value, wanted)
    for item in (found := tuple(value)):
        if not isinstance(item, Rule) and not (isinstance(item, str) and "." in item.strip(".")):
            raise _refuse(name, item, wanted)
    return found  # a path is imported later: what it imports may need models


def _strategies(name: str, value: object) -> Mapping[str, Any] | None:
    if value is not None and not isinstance(value, Mapping):
        raise _refuse(name, value, "a dict, or None")
    return value


def _timeouts(name: str, value: object) -> Mapping[str, float | None]:
    if value is not None and not isinstance(value, Mapping):
        raise _refuse(name, value, "a dict of seconds by name, or None")
    own = {key: _seconds_or_forever(f"{name}[{key!r}]", ttl) for key, ttl in (value or {}).items()}
    return MappingProxyType(own)


def _profile(name: str, value: object) -> str | None:
    if value is not None and (not isinstance(value, str) or value not in options.PROFILES):
        raise _refuse(name, value, f"{', '.join(map(repr, options.PROFILES))} or None")
    return value


def _resolver(name: str, value: object) -> Any:
    if value is None or callable(value) or (isinstance(value, str) and "." in value.strip(".")):
        return value  # a path is imported by `resolver`: what it imports may need models
    raise _refuse(name, value, "a callable of the request or of nothing, the dotted path of one, or None")


def _setting(
    default: Any,
    unit: str,
    doc: str,
    check: Callable[[str, object], Any],
    *,
    flat: str | None = None,
    in_dict: bool = True,
) -> Any:
    return field(
        default=default, metadata={"unit": unit, "doc": doc, "check": check, "flat": flat, "in_dict": in_dict}
    )


@dataclass(frozen=True, slots=True, kw_only=True)
class Configuration:
    """The settings in force. `lock_timeout` is `OXICACHE["LOCK_TIMEOUT"]`; some are known by a flat name too."""

    default_ttl: float | None = _setting(
        options.DEFAULT_CACHE_TTL,
        "seconds",
        "How long an entry lives where nothing else is said; None is for ever.",
        _seconds_or_forever,
        flat="RSR_CACHE_TTL",
    )
    default_max_size: int = _setting(
        options.DEFAULT_CACHE_MAX_SIZE,
        "entries",
        "How many entries a cache holds where nothing else is said.",
        _count,
        flat="RSR_CACHE_MAX_SIZE",
    )
    cleanup_interval: float = _setting(
        options.DEFAULT_CACHE_CLEANUP_INTERVAL,
        "seconds",
        "How long after a sweep a `set` sweeps the expired entries again.",
        _seconds,
        flat="RSR_CACHE_CLEANUP_INTERVAL",
    )
    lock_timeout: float = _setting(
        options.LOCK_TIMEOUT,
        "seconds",
        "How long a caller waits for another that computes the same value before one of the waiters computes it too.",
        _seconds,
    )
    grace_errors: tuple[type[BaseException], ...] = _setting(
        options.GRACE_ERRORS,
        "exception classes or dotted paths",
        "Which errors of a loader let a cache that has a grace serve the expired value.",
        _exceptions,
    )
    grace_throttle: float = _setting(
        options.GRACE_THROTTLE,
        "seconds",
        "How long an expired value is served after such an error before the loader is tried again.",
        _seconds,
    )
    runtime_dir: str | None = _setting(
        None,
        "absolute path",
        "Where the processes of one host share their version words; None is `/dev/shm`, else the directory for "
        "temporary files.",
        _directory,
    )
    namespace: str | None = _setting(
        None,
        "letters and digits",
        "Which processes of a user belong together; None is a hash of `SECRET_KEY`.",
        _namespace,
    )
    version_words: int = _setting(
        options.VERSION_WORDS,
        "words of 4 bytes",
        "How many version words they share, a power of two: the more, the fewer entries die with another's.",
        _words,
    )
    tenant: ScopeResolver | str | None = _setting(  # noqa: RUF009 -- it makes a field, and only the type can be changed
        None,
        "callable or dotted path",
        "Says whose data is shown now, as [scopes](docs/keys.md#scopes) have it; of a callable of nothing the answer "
        "is part of the key of each row too.",
        _resolver,
    )
    client: ScopeResolver | str | None = _setting(  # noqa: RUF009 -- as above
        None, "callable or dotted path", "The same for the client of a tenant, in scopes alone.", _resolver
    )
    unit: ScopeResolver | str | None = _setting(  # noqa: RUF009 -- as above
        None, "callable or dotted path", "The same for the business unit of a client.", _resolver
    )
    user: ScopeResolver | str | None = _setting(  # noqa: RUF009 -- as above
        None,
        "callable or dotted path",
        "Says who asks, where it is not `request.user`; None of it is a visitor who is not logged in.",
        _resolver,
    )
    language: ScopeResolver | str | None = _setting(  # noqa: RUF009 -- as above
        None, "callable or dotted path", "Says in which language, where it is not the active one.", _resolver
    )
    replica_hold: float = _setting(
        options.REPLICA_HOLD,
        "seconds",
        "How long after an invalidation what was read from a replica is not stored.",
        _seconds,
    )
    test_isolation: bool = _setting(
        True,
        "on or off",
        "Whether `manage.py test` isolates tests: empty caches, private version words, time from `time.time`, no "
        "background thread.",
        _switch,
    )
    trail_size: int = _setting(
        options.TRAIL_SIZE,
        "invalidations",
        "How many invalidations a process remembers, with the line of code each came from; 0 is none.",
        _count,
    )
    sensitive: tuple[str, ...] = _setting(
        (),
        "patterns",
        "Caches, keys and key patterns whose keys no command and no page shows: a list of patterns as `sessions:*`.",
        _patterns,
    )
    control: bool = _setting(
        True,
        "on or off",
        "Whether a process that serves can be reached by `manage.py manage_cache`, through a socket of its own.",
        _switch,
    )
    invalidation_enabled: bool = _setting(
        True,
        "on or off",
        "Whether rules invalidate by themselves when rows change; what decorated members hold for rows always is.",
        _switch,
        flat="CACHE_INVALIDATION_ENABLED",
    )
    rules: tuple[Any, ...] = _setting(
        (),
        "list of `Rule` or dotted paths",
        "[What is invalidated](docs/invalidation.md#rules) when rows of which models change; a path leads to one rule "
        "or several.",
        _rules,
    )
    strategies: Mapping[str, Any] | None = _setting(
        None,
        "a dict",
        "The same as document 003 writes it: `{'models': [{'model': ..., 'invalidate_on': ..., 'related': ...}]}`.",
        _strategies,
        flat="CACHE_STRATEGIES",
        in_dict=False,
    )
    timeouts: Mapping[str, float | None] = _setting(
        None,
        "a dict of seconds",
        "[Times to live by name](docs/migrating.md#times-by-name), over those that documents 002 and 004 name.",
        _timeouts,
        flat="CACHE_TIMEOUTS",
        in_dict=False,
    )
    default_timeout: float | None = _setting(
        options.TIMEOUTS[options.DEFAULT_TIMEOUT],
        "seconds",
        "The time of the name `'default'` where `CACHE_TIMEOUTS` has none: of views and of what the dialects decorate, "
        "where nothing else is said; None is for ever.",
        _seconds_or_forever,
        flat="CACHE_DEFAULT_TIMEOUT",
        in_dict=False,
    )
    monitoring_enabled: bool = _setting(
        True,
        "on or off",
        "Whether the pages with figures and `cache_monitor` answer; what is counted costs next to nothing and goes on.",
        _switch,
        flat="CACHE_MONITORING_ENABLED",
    )
    metrics_token: str | None = _setting(
        None,
        "text without spaces",
        "Who sends it as `Authorization: Bearer ...` may read the metrics page, as staff may; None is staff alone.",
        _token,
    )
    thresholds: Thresholds = _setting(  # noqa: RUF009 -- as above
        None,
        "a dict",
        "At which figures health and advice speak up, and the targets shown: those of [monitoring]"
        "(docs/monitoring.md#thresholds), where None leaves their defaults.",
        _thresholds,
    )
    enabled: bool = _setting(
        True,
        "on or off",
        "Whether anything is cached at all; off, every read is a miss and nothing is stored. Live: "
        "`manage_cache disable` and `enable`.",
        _switch,
    )
    watch_models: bool = _setting(
        False,
        "on or off",
        "Whether changes of all models are noticed from the start, as "
        "[cached querysets](docs/queries.md#other-processes) need it; a CachedManager does so where it is imported.",
        _switch,
    )
    watch_statements: bool | tuple[str, ...] = _setting(
        False,
        "on or off, or aliases",
        "Whether [what raw SQL writes](docs/bulk.md#raw-sql) invalidates: on all databases, or on a list of them.",
        _aliases,
    )
    public_max_age: float = _setting(
        options.PUBLIC_MAX_AGE,
        "seconds",
        "How long browsers and proxies may keep what is [everybody's](docs/response-headers.md#cachemiddleware), as "
        "CacheMiddleware says it.",
        _finite_seconds,
    )
    private_max_age: float = _setting(
        options.PRIVATE_MAX_AGE,
        "seconds",
        "How long a browser may keep what is its visitor's own.",
        _finite_seconds,
    )
    site_ttl: float = _setting(
        options.SITE_TTL,
        "seconds",
        "How long [SiteCacheMiddleware](docs/response-headers.md#sitecachemiddleware) keeps a response.",
        _finite_seconds,
    )
    site_alias: str = _setting(
        "default", "alias of `CACHES`", "Where SiteCacheMiddleware keeps responses.", _cache_alias
    )
    site_key_prefix: str | None = _setting(
        None, "text", "What begins the keys of SiteCacheMiddleware, after the scope.", _text
    )
    site_exempt: tuple[str, ...] = _setting(
        (),
        "patterns",
        "What SiteCacheMiddleware leaves alone: paths as `/api/*`, and views by their names as `accounts:*`.",
        _patterns,
    )
    site_users: bool = _setting(
        False,
        "on or off",
        "Whether SiteCacheMiddleware caches for visitors with a session too, each user's pages apart.",
        _switch,
    )
    profile: str | None = _setting(
        None,
        "name",
        "Other defaults for TTL, size and hierarchies: `'high-memory'`, `'low-memory'` or `'development'`.",
        _profile,
    )
    max_descendants_per_request: int = _setting(
        options.MAX_DESCENDANTS_PER_REQUEST,
        "rows",
        "How many descendants one response may hold before it is cut short.",
        _positive,
        flat="RSR_MAX_DESCENDANTS_PER_REQUEST",
        in_dict=False,
    )
    descendants_chunk_size: int = _setting(
        options.DESCENDANTS_CHUNK_SIZE,
        "rows",
        "How many descendants are read at a time.",
        _positive,
        flat="RSR_DESCENDANTS_CHUNK_SIZE",
        in_dict=False,
    )
    max_aggregation_depth: int = _setting(
        options.MAX_AGGREGATION_DEPTH,
        "levels",
        "How many levels of a hierarchy an aggregation climbs.",
        _positive,
        flat="RSR_MAX_AGGREGATION_DEPTH",
        in_dict=False,
    )


_KEYS = tuple(item.name.upper() for item in fields(Configuration) if item.metadata["in_dict"])
_FLAT = frozenset(item.metadata["flat"] for item in fields(Configuration) if item.metadata["flat"])
_read: list[Configuration] = []  # at most one: what `current` found, until a setting changes
_resolvers: dict[str, ScopeResolver | None] = {}  # by part, as above


def current() -> Configuration:
    """The settings in force now.

    ImproperlyConfigured names a value of the wrong type or range, and a key of OXICACHE that does not exist.
    """
    if not _read:
        _read.append(_configuration(getattr(settings, DICT, {})))
    return _read[-1]


class Timeouts(Mapping[str, float | None]):
    """CACHE_TIMEOUTS over the presets, as they are when a name is looked up; importing it reads no setting."""

    def __getitem__(self, name: str) -> float | None:
        return current().timeouts[name]

    def __iter__(self) -> Iterator[str]:
        return iter(current().timeouts)

    def __len__(self) -> int:
        return len(current().timeouts)


def defaults() -> Configuration:
    """The settings of a project that sets nothing: for where wrong ones are reported by somebody else."""
    return _configuration({}, flat_names=False)


def _configuration(given: object, *, flat_names: bool = True) -> Configuration:
    if not isinstance(given, dict):
        raise _refuse(DICT, given, "a dict")
    unknown = sorted(str(key) for key in given if key not in _KEYS)
    if unknown:
        raise ImproperlyConfigured(
            f"{DICT} has no key {', '.join(unknown)}; its keys are {', '.join(_KEYS)}."
        )
    profile = options.PROFILES.get(_profile(f"{DICT}['PROFILE']", given.get("PROFILE")) or "", {})
    values = {}
    for item in fields(Configuration):
        key, flat = item.name.upper(), item.metadata["flat"]
        if flat and flat_names and hasattr(settings, flat):
            name, value = flat, getattr(settings, flat)
        elif item.metadata["in_dict"] and key in given:
            name, value = f"{DICT}[{key!r}]", given[key]
        else:
            name, value = key, profile.get(item.name, item.default)
        values[item.name] = item.metadata["check"](name, value)
    by_default = {options.DEFAULT_TIMEOUT: values["default_timeout"]}
    values["timeouts"] = MappingProxyType({**options.TIMEOUTS, **by_default, **values["timeouts"]})
    return Configuration(**values)


def check_ttl(name: str, given: object) -> None:
    """Refuse what `ttl_of` could not take, where a decorator is given it.

    Of the settings only the names of CACHE_TIMEOUTS are looked at, as far as there are settings yet.
    """
    if not isinstance(given, str):
        ttl_of(name, given)
        return
    own = getattr(settings, "CACHE_TIMEOUTS", None) if settings.configured else None
    names = {**options.TIMEOUTS, **(own if isinstance(own, Mapping) else {})}
    if settings.configured and given not in names:
        raise TypeError(
            f"{name} must be a number of seconds, a timedelta, None or a name of CACHE_TIMEOUTS "
            f"({', '.join(names)}), not {given!r}"
        )


def ttl_of(name: str, given: object) -> float | None:
    """Return seconds: of a duration, or of a name of CACHE_TIMEOUTS, which is looked up now. None is for ever.

    TypeError and ValueError say what `name` is that is no duration; ImproperlyConfigured, that there is no such name.
    """
    if not isinstance(given, str):
        return None if given is None else options.seconds(name, given)
    timeouts = current().timeouts
    if given not in timeouts:
        raise ImproperlyConfigured(
            f"{name} is {given!r}; the names of CACHE_TIMEOUTS are {', '.join(timeouts)}."
        )
    return timeouts[given]


def _forget(*, setting: str, **_: object) -> None:
    if setting == DICT or setting in _FLAT:
        _read.clear()
        _resolvers.clear()


setting_changed.connect(_forget, dispatch_uid="oxicache.django.conf")


def runtime_directory() -> str:
    """Where the processes of this host meet.

    Never XDG_RUNTIME_DIR: a worker that systemd started and a command in a shell would silently part.
    """
    given = current().runtime_dir
    if given is not None:
        return given
    if Path(SHARED_MEMORY).is_dir() and os.access(SHARED_MEMORY, os.W_OK | os.X_OK):
        return SHARED_MEMORY
    return tempfile.gettempdir()


def usual_directories() -> list[str]:
    """Where processes meet that were not told where to."""
    return [SHARED_MEMORY, tempfile.gettempdir()]


def namespace() -> str:
    """What parts this project's processes from those of others. ImproperlyConfigured without a SECRET_KEY."""
    given = current().namespace
    if given is not None:
        return given
    secret = settings.SECRET_KEY
    key = secret if isinstance(secret, bytes) else str(secret).encode()
    return hashlib.sha256(NAMESPACE_LABEL + key).hexdigest()[: options.NAMESPACE_MAX_CHARS // 2]


def resolver(part: str) -> ScopeResolver | None:
    """The setting of one of SCOPE_PARTS as a callable. ImproperlyConfigured names a dotted path to no callable."""
    if part not in _resolvers:
        name, value = f"{DICT}[{part.upper()!r}]", getattr(current(), part)
        try:
            found = import_string(value) if isinstance(value, str) else value
        except ImportError as error:
            raise _refuse(name, value, "the dotted path of a callable that exists") from error
        if found is not None and not callable(found):
            raise _refuse(name, value, "the dotted path of a callable")
        _resolvers[part] = found
    return _resolvers[part]


def takes_request(asked: ScopeResolver) -> bool:
    """Whether a resolver is called with the request: it has a parameter that must be given, or one named `request`."""
    first = _first_parameter(asked)
    return first is not None and (first.default is first.empty or first.name == "request")


def tenant_resolver() -> Resolver | None:
    """TENANT where it can do without a request, which a connection does not have; else None."""
    if TENANT_OF_NOTHING not in _resolvers:
        found = resolver("tenant")
        first = None if found is None else _first_parameter(found)
        is_of_request = first is not None and first.default is first.empty
        _resolvers[TENANT_OF_NOTHING] = None if is_of_request else found
    return _resolvers[TENANT_OF_NOTHING]


def _first_parameter(asked: ScopeResolver) -> inspect.Parameter | None:
    try:
        parameters = inspect.signature(asked).parameters.values()
    except (TypeError, ValueError):
        return None  # some built-in functions have none that could be read
    return next((each for each in parameters if each.kind <= each.POSITIONAL_OR_KEYWORD), None)


def is_checking() -> bool:
    """Whether this process runs the system checks, ours among them, before it does anything else."""
    return sys.argv[1:2] != [] and sys.argv[1] in CHECKING_COMMANDS and "oxicache" in apps.app_configs


def settings_table() -> str:
    """The settings as a Markdown table: the one in the README."""
    rows = ["| setting | default | unit | meaning |", "|---|---|---|---|"]
    for item in fields(Configuration):
        flat = item.metadata["flat"]
        names = [f'`{DICT}["{item.name.upper()}"]`'] if item.metadata["in_dict"] else []
        names += [f"`{flat}`"] if flat else []
        rows.append(
            f"| {' or '.join(names)} | {_shown(item.default)} | {item.metadata['unit']} | {item.metadata['doc']} |"
        )
    return "\n".join(rows) + "\n"


def _shown(default: object) -> str:
    if isinstance(default, tuple):
        return ", ".join(f"`{item if isinstance(item, str) else item.__name__}`" for item in default)
    return f"`{default}`"
