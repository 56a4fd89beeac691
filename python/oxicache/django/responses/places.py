"""The language and the time zone that a response is rendered in, as segments of its key.

Most requests activate neither, and Django takes longest to find that out: it raises an error and catches it, twice.
What a request has activated is asked of Django.
"""

import functools
from contextvars import ContextVar, copy_context
from typing import Any

from asgiref.local import Local
from django.conf import settings
from django.utils import timezone, translation
from django.utils.translation import trans_real

from oxicache import keys

__all__ = ["places"]


def places() -> tuple[str, ...]:
    """Return the language and the time zone in use, of those that the project has several of."""
    language = name = None
    if settings.USE_I18N:
        language = settings.LANGUAGE_CODE if _has_no_language() else translation.get_language() or "none"
    if settings.USE_TZ:
        zone = timezone.get_default_timezone() if _has_no_zone() else timezone.get_current_timezone()
        name = zone.tzname(None) or str(zone)
    return _spelt(language, name)


@functools.lru_cache(maxsize=1024)
def _spelt(language: str | None, zone: str | None) -> tuple[str, ...]:
    found = {"lang": language, "tz": zone}
    return tuple(
        f"{keys.MARK}{name}={keys.escape(value)}" for name, value in found.items() if value is not None
    )


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


@functools.cache
def _is_understood() -> bool:
    return copy_context().run(_is_known)


class _Unset:
    """Tells at once whether nothing was set on the Local of a module. False may mean that Django is to be asked."""

    def __init__(self, module: Any) -> None:
        self.module = module
        self.local: Any = None
        self.variable: ContextVar[Any] | None = None

    def __call__(self) -> bool:
        local = getattr(self.module, "_active", None)
        if local is not self.local:  # Django makes another when settings change
            self.variable = _variable(local) if _is_understood() else None
            self.local = local
        return self.variable is not None and self.variable.get(None) is None


_has_no_language = _Unset(trans_real)
_has_no_zone = _Unset(timezone)
