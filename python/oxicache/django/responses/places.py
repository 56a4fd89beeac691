"""The language and the time zone that a response is rendered in, as segments of its key.

Most requests activate neither, and Django takes longest to find that out: it raises an error and catches it, twice.
What a request has activated is asked of Django.
"""

import datetime as dt
import functools
from contextvars import ContextVar, copy_context
from typing import Any

from asgiref.local import Local
from django.conf import settings
from django.core.signals import setting_changed
from django.utils import timezone, translation
from django.utils.translation import trans_real

from oxicache import keys

__all__ = ["places"]


def places() -> tuple[str, ...]:
    """Return the language and the time zone in use, of those that the project has several of."""
    # As _has_no_language() and _has_no_zone(), in fewer calls: each fragment of a page asks.
    language, zone = (
        _variable(getattr(trans_real, "_active", None)),
        _variable(getattr(timezone, "_active", None)),
    )
    if not _knows_variables or language is None or zone is None:
        return _places()
    return _usual() if language.get(None) is None and zone.get(None) is None else _places()


def _places() -> tuple[str, ...]:
    language = name = None
    if settings.USE_I18N:
        language = settings.LANGUAGE_CODE if _has_no_language() else translation.get_language() or "none"
    if settings.USE_TZ:
        zone: Any = timezone.get_default_timezone() if _has_no_zone() else timezone.get_current_timezone()
        name = zone.tzname(None) or str(zone)
        if type(zone) is dt.timezone:  # whose name is anything that somebody called it
            name = f"{name} {zone.utcoffset(None)}"
    return _spelt(language, name)


_usual = functools.cache(_places)  # where nothing was activated


def _forget(**_: Any) -> None:
    _usual.cache_clear()


setting_changed.connect(_forget, dispatch_uid="oxicache.django.responses.places")


@functools.lru_cache(maxsize=1024)
def _spelt(language: str | None, zone: str | None) -> tuple[str, ...]:
    found = {"lang": language, "tz": zone}
    return tuple(
        f"{keys.MARK}{name}={keys.escape(value)}" for name, value in found.items() if value is not None
    )


@functools.lru_cache(
    maxsize=8
)  # there are two, and where a test changes LANGUAGES, Django begins with another
def _variable(local: Any) -> ContextVar[Any] | None:
    """Return the variable in which a Local keeps what was set on it, as far as this asgiref is known here."""
    found = getattr(getattr(local, "_storage", None), "_data", None)
    return found if isinstance(found, ContextVar) else None


def _is_known() -> bool:
    """Whether that variable is empty as long as nothing was set, and no longer."""
    local: Any = Local()
    variable = _variable(local)
    if variable is None or variable.get(None) is not None:
        return False
    local.value = "set"
    return variable.get(None) is not None


_knows_variables = copy_context().run(_is_known)


def _is_empty(local: Any) -> bool:
    """Whether nothing was set on a Local, told at once; False may also mean that Django is to be asked."""
    variable = _variable(local) if _knows_variables else None
    return variable is not None and variable.get(None) is None


def _has_no_language() -> bool:
    return _is_empty(getattr(trans_real, "_active", None))


def _has_no_zone() -> bool:
    return _is_empty(getattr(timezone, "_active", None))
