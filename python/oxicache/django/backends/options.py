"""The OPTIONS of a backend: name, default, limits. Wrong ones are ImproperlyConfigured, and never half obeyed.

Django's own backends ignore what they do not know. A misspelt limit would then be found when memory is gone.
"""

import math
import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass, fields, replace
from datetime import timedelta
from typing import Any

from django.core.exceptions import ImproperlyConfigured

__all__ = ["MAX_BYTES", "MAX_ENTRIES", "StoreOptions", "deploy_version", "explicit_options"]

MAX_ENTRIES = 10_000  # Django's 300 would leave most of a site's pages and queries out
MAX_BYTES = 64 * 2**20  # bytes a process, keys included
MOST_ENTRIES = 2**32 - 2  # what a slot's 32 bits can number
MOST_BYTES = 2**63 - 1

# Accepted, because LocMemCache has it: entries go one by one here, by the policy, and nothing is culled in bulk.
IGNORED = frozenset({"CULL_FREQUENCY"})


class _Wrong(Exception):  # noqa: N818 -- never leaves this file
    """What an option has to be, for the message."""


def _count(most: int) -> Callable[[Any], int]:
    def count(value: Any) -> int:
        try:
            # As Django does it: int() of numbers and of strings.
            number = -1 if isinstance(value, bool) else int(value)
        except (TypeError, ValueError, OverflowError):
            number = -1
        if not 0 <= number <= most:
            raise _Wrong(f"a whole number from 0 to {most}")
        return number

    return count


def _bytes(value: Any) -> int | None:
    if value is None:
        return None
    try:
        return _count(MOST_BYTES)(value)
    except _Wrong as wrong:
        raise _Wrong(f"{wrong}, or None for no limit") from None


def _one_of(*names: str) -> Callable[[Any], str]:
    def one_of(value: Any) -> str:
        if not isinstance(value, str) or value not in names:
            raise _Wrong(" or ".join(repr(name) for name in names))
        return value

    return one_of


def _number(value: Any) -> float:
    if isinstance(value, bool) or not isinstance(value, int | float) or not 0 <= value < math.inf:
        raise _Wrong("a number, at least 0")
    return float(value)


def _seconds(value: Any) -> float:
    if isinstance(value, timedelta):
        value = value.total_seconds()
    try:
        return _number(value)
    except _Wrong:
        raise _Wrong("a number of seconds or a timedelta, not negative") from None


def _share(value: Any) -> float:
    if isinstance(value, bool) or not isinstance(value, int | float) or not 0 <= value < 1:
        raise _Wrong("a share of the timeout, from 0 up to, but not including, 1")
    return float(value)


def _deploy_version(value: Any) -> str:
    text = "" if value is None else str(value)
    # Memcached could not have the keys otherwise, and every single one would warn.
    if (
        isinstance(value, bool)
        or not isinstance(value, str | int | None)
        or not re.fullmatch(r"[!-~]*", text)
    ):
        raise _Wrong("a string without spaces and control characters, a number, or None")
    return text


CHECKS: dict[str, Callable[[Any], Any]] = {
    "MAX_ENTRIES": _count(MOST_ENTRIES),
    "MAX_BYTES": _bytes,
    "POLICY": _one_of("s3fifo", "lru"),
    "ISOLATION": _one_of("auto", "pickle", "none"),
    "COHERENCE": _one_of("host", "process"),
    "GRACE": _seconds,
    "EARLY_REFRESH": _number,
    "JITTER": _share,
    "DEPLOY_VERSION": _deploy_version,
}


@dataclass(frozen=True, slots=True)
class StoreOptions:
    """What the memory behind one LOCATION is told. `DEPLOY_VERSION` is a matter of keys and not among them."""

    max_entries: int = MAX_ENTRIES
    max_bytes: int | None = MAX_BYTES
    policy: str = "s3fifo"
    isolation: str = "auto"
    coherence: str = "host"
    grace: float = 0.0
    early_refresh: float = 0.0
    jitter: float = 0.0

    @classmethod
    def of(cls, given: Mapping[str, Any], otherwise: "StoreOptions | None" = None) -> "StoreOptions":
        """Make them from checked options by name; what is not given is as in `otherwise`, or has its default."""
        named = {name: given[name.upper()] for name in cls.names() if name.upper() in given}
        return cls(**named) if otherwise is None else replace(otherwise, **named)

    @classmethod
    def names(cls) -> tuple[str, ...]:
        """The fields, in their order."""
        return tuple(item.name for item in fields(cls))


def explicit_options(where: str, params: Mapping[str, Any]) -> dict[str, Any]:
    """Return the options that the parameters of an alias name, checked and converted.

    `MAX_ENTRIES` may stand beside `OPTIONS`, as Django has it. ImproperlyConfigured begins with `where`.
    """
    options = params.get("OPTIONS") or {}
    if not isinstance(options, Mapping):
        raise ImproperlyConfigured(f"{where}: OPTIONS is {options!r}; it must be a dict.")
    unknown = sorted(str(name) for name in options if name not in CHECKS and name not in IGNORED)
    if unknown:
        known = ", ".join(sorted({*CHECKS, *IGNORED}))
        raise ImproperlyConfigured(f"{where}: OPTIONS has no key {', '.join(unknown)}; its keys are {known}.")
    given = {name: value for name, value in options.items() if name in CHECKS}
    for name in ("MAX_ENTRIES", "max_entries"):  # Django prefers the small one to what stands in OPTIONS
        if name in params:
            given["MAX_ENTRIES"] = params[name]
    found = {}
    for name, value in given.items():
        try:
            found[name] = CHECKS[name](value)
        except _Wrong as wrong:
            message = f"{where}: the option {name} is {value!r}; it must be {wrong}."
            raise ImproperlyConfigured(message) from None
    return found


def deploy_version(given: Mapping[str, Any]) -> str:
    """Return `DEPLOY_VERSION` of checked options, empty without one."""
    return str(given.get("DEPLOY_VERSION", ""))
