"""Every setting of oxicache: name, default, unit and meaning. Read when first needed, forgotten on `setting_changed`.

A value is looked for under its own flat name (`RSR_...`, as the first source document spells it), then in the dict
`OXICACHE`, then among the defaults here. Who passes a value on to the engine or the loader: apps.py.
"""

import math
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field, fields
from datetime import timedelta
from typing import Any

from django.conf import settings
from django.core.exceptions import ImproperlyConfigured
from django.core.signals import setting_changed
from django.utils.module_loading import import_string

from oxicache import options

__all__ = ["Configuration", "current", "settings_table"]

DICT = "OXICACHE"


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
    test_isolation: bool = _setting(
        True,
        "on or off",
        "Whether `manage.py test` isolates tests: empty caches, time from `time.time`, no background thread.",
        _switch,
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


def current() -> Configuration:
    """The settings in force now.

    ImproperlyConfigured names a value of the wrong type or range, and a key of OXICACHE that does not exist.
    """
    if not _read:
        _read.append(_configuration())
    return _read[-1]


def _configuration() -> Configuration:
    given = getattr(settings, DICT, {})
    if not isinstance(given, dict):
        raise _refuse(DICT, given, "a dict")
    unknown = sorted(str(key) for key in given if key not in _KEYS)
    if unknown:
        raise ImproperlyConfigured(
            f"{DICT} has no key {', '.join(unknown)}; its keys are {', '.join(_KEYS)}."
        )
    values = {}
    for item in fields(Configuration):
        key, flat = item.name.upper(), item.metadata["flat"]
        if flat and hasattr(settings, flat):
            name, value = flat, getattr(settings, flat)
        elif item.metadata["in_dict"] and key in given:
            name, value = f"{DICT}[{key!r}]", given[key]
        else:
            name, value = key, item.default
        values[item.name] = item.metadata["check"](name, value)
    return Configuration(**values)


def _forget(*, setting: str, **_: object) -> None:
    if setting == DICT or setting in _FLAT:
        _read.clear()


setting_changed.connect(_forget, dispatch_uid="oxicache.django.conf")


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
