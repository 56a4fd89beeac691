"""What tags are told, in whatever template language: TypeError and ValueError name the value, the limit, the remedy."""

import math
from collections.abc import Iterable, Mapping
from typing import Any, Final

from django.core.cache import caches
from django.db.models import Model, QuerySet

from oxicache import options
from oxicache.django import conf, signals, words
from oxicache.django.fragments.keying import FRAGMENT, Fragment
from oxicache.django.labels import model_named
from oxicache.tags import checked_tags

__all__ = [
    "DEFAULT_TTL",
    "OPTIONS",
    "VARIES",
    "check_option",
    "fragment_of",
    "listed",
    "varies_of",
    "words_of",
]

DEFAULT_TTL: Final = 300.0  # seconds, as Django's own caches
VARIES: Final = ("none", "tenant", "user")
OPTIONS: Final = frozenset(
    {"alias", "depends_on", "tags", "timeout", "using", "vary_on", "version"}
)  # of every block


def fragment_of(
    name: Any,
    given: Mapping[str, Any],
    digest: str,
    *,
    kind: str = FRAGMENT,
) -> Fragment:
    """Return the fragment that a tag means by its name and its options."""
    if not isinstance(name, str) or not name:
        remedy = (
            f": write 'name' timeout={name}" if isinstance(name, int) and name > 0 else ""
        )  # as {% cache %} has it
        raise TypeError(f"its name must be text that is not empty, not {name!r}{remedy}")
    found = {option: check_option(option, value) for option, value in given.items()}
    if "alias" in found and "using" in found:
        raise ValueError("alias and using are two names of one option: leave one of the two out")
    return Fragment(
        name=str(name),
        digest=digest,
        ttl=found.get("timeout", DEFAULT_TTL),
        varies=found.get("vary_on", frozenset({"tenant"})),
        version=found.get("version", 1),
        tags=found.get("tags", ()),
        depends_on=found.get("depends_on", ()),
        alias=found.get("alias") or found.get("using"),
        kind=kind,
        names_tenant="tenant" in found.get("vary_on", ()),
    )


def check_option(option: str, value: Any) -> Any:
    """Return the value of an option as a fragment has it."""
    check = _CHECKS.get(option)
    return value if check is None else check(value)


def _seconds(given: Any) -> float | None:
    if given is None:
        return None
    if isinstance(given, str):
        return _seconds_of_text(str(given))
    try:
        seconds = options.seconds("timeout", given)
    except TypeError:
        raise TypeError(
            f"timeout must be seconds, a timedelta, a name of CACHE_TIMEOUTS or None for ever, not {given!r}"
        ) from None
    return None if seconds == math.inf else seconds


def _seconds_of_text(text: str) -> float | None:
    try:
        number = float(text)
    except ValueError:
        known = conf.Timeouts()
        if text in known:
            return known[text]
        raise ValueError(
            f"timeout is {text!r}; it must be seconds, or one of CACHE_TIMEOUTS: {', '.join(sorted(known))}"
        ) from None
    return _seconds(number)


def listed(option: str, given: Any) -> list[Any]:
    """Return the values of an option that takes several: text with commas, or a list."""
    if isinstance(given, str):
        return [part for one in given.split(",") if (part := one.strip())]
    if not isinstance(given, Iterable):
        raise TypeError(f"{option} must be text with commas between the values, or a list, not {given!r}")
    return list(given)


def varies_of(given: Any) -> frozenset[str]:
    """Return what `vary_on` names but for none. A user is one of his tenant."""
    found = listed("vary_on", given)
    if unknown := [one for one in found if one not in VARIES]:
        raise ValueError(
            f"vary_on is {given!r}; it may name {', '.join(VARIES)}, and not {', '.join(map(str, unknown))}: what else "
            "a fragment varies by stands behind its name"
        )
    if not found:
        raise ValueError(f"vary_on must not be empty; it may name {', '.join(VARIES)}")
    if "none" in found and len(set(found)) > 1:
        raise ValueError(f"vary_on is {given!r}, and none stands alone")
    return frozenset({*found, "tenant"} if "user" in found else found) - {"none"}


def _tags(given: Any) -> tuple[str, ...]:
    return checked_tags([str(one) if isinstance(one, str) else one for one in listed("tags", given)])


def _models(given: Any) -> tuple[Any, ...]:
    if isinstance(
        given, QuerySet
    ):  # its rows would be asked for each time, and a new one would outdate nothing
        raise TypeError(f'depends_on is a queryset; name its model: "{given.model._meta.label}"')
    found = [given] if isinstance(given, (Model, type)) else listed("depends_on", given)
    for one in found:
        if not isinstance(one, (str, type, Model)):
            raise TypeError(f'depends_on must name models ("app.Model"), or saved rows of them, not {one!r}')
    return tuple(found)


def _alias(given: Any) -> str | None:
    if given is not None and (not isinstance(given, str) or given not in caches.settings):
        known = ", ".join(sorted(caches.settings))
        raise ValueError(f"CACHES has no {given!r}; it has {known}")
    return given


_CHECKS: Final = {
    "timeout": _seconds,
    "vary_on": varies_of,
    "tags": _tags,
    "depends_on": _models,
    "alias": _alias,
    "using": _alias,
}


def words_of(depends_on: tuple[Any, ...]) -> frozenset[str]:
    """Return the version words of models, and of single rows; they are watched from now on.

    ValueError names what is no model, and what is no saved row.
    """
    found: set[str] = set()
    for one in depends_on:
        if not isinstance(one, Model):
            try:
                model = model_named(one)
            except (TypeError, ValueError) as error:
                raise ValueError(f"depends_on: {error}") from error
            found.update(words.model_words(model))
        else:
            model = one.__class__  # of a lazy object, that of what it stands for
            if one.pk is None:
                raise ValueError(f"depends_on names an unsaved {model._meta.label}")
            apart = [words.model_word(label) for label in words.lineage(model).apart]
            found.update([*words.rows_words(model), *words.row_words(model, one.pk), *apart])
        signals.watch(model)
    return frozenset(found)
