"""All of an answer that a caller can see, and what he may do to it."""

from collections.abc import Iterable
from typing import Any

from django.db.models import Model, QuerySet

__all__ = ["ruin", "told"]


def told(answer: Any, seen: tuple[int, ...] = ()) -> Any:
    """Say all of an answer that a caller can see: values and their types, what is loaded, deferred and prefetched."""
    if isinstance(answer, Model):
        if id(answer) in seen:
            return ("again", type(answer).__name__)
        inner = (*seen, id(answer))
        # A model that was pickled says of which Django it is.
        known = {
            name: value for name, value in vars(answer).items() if name not in {"_state", "_django_version"}
        }
        state = answer._state
        return (
            type(answer).__name__,
            answer.pk,
            state.db,
            state.adding,
            sorted(answer.get_deferred_fields()),
            {name: told(value, inner) for name, value in sorted(known.items())},
            {name: told(value, inner) for name, value in sorted(state.fields_cache.items())},
        )
    if isinstance(answer, QuerySet):
        return ("queryset", answer._prefetch_done, [told(one, seen) for one in answer._result_cache or ()])
    if isinstance(answer, dict):
        return ("dict", [(name, told(value, seen)) for name, value in answer.items()])
    if isinstance(answer, list | tuple):
        return (type(answer).__name__, [told(one, seen) for one in answer])
    return (type(answer).__name__, answer, getattr(answer, "tzinfo", None) and str(answer.tzinfo))


def ruin(answer: Any) -> None:
    """Change all of an answer that can be changed, as its caller may: nobody else is to see that."""
    if isinstance(answer, Model):
        related = list(answer._state.fields_cache.values())
        answer._state.fields_cache.clear()  # first: rows refer to one another
        ruin_all(related)
        for name, value in list(vars(answer).items()):
            if not name.startswith("_") and name != answer._meta.pk.attname:
                setattr(answer, name, "ruined")
            if name != "_state":
                ruin(value)
    elif isinstance(answer, QuerySet):
        ruin(answer._result_cache)
    elif isinstance(answer, dict | list):
        inner = list(answer.values() if isinstance(answer, dict) else answer)
        answer.clear()
        ruin_all(inner)
    elif isinstance(answer, tuple):
        ruin_all(answer)


def ruin_all(answers: Iterable[Any]) -> None:
    """Change each of them."""
    for one in list(answers):
        ruin(one)
