"""What makes choices of rows, besides the rows: the part of their key that tells one way to do it from another.

A field's class and its iterator by name, functions that somebody has put on a field by their code and what they hold
on to, and whatever else a project keeps on the field. What cannot be spelt may be anybody's: then nothing is held.
"""

import functools
from collections.abc import Iterator
from typing import Any, Final

from django.core.exceptions import EmptyResultSet
from django.db.models import Prefetch
from django.forms.models import ModelChoiceField

from oxicache import keys
from oxicache.django.codes import spell_code

__all__ = ["compiled", "made_with", "prefetched"]

LABELS: Final = "what makes its labels"


def made_with(field: Any, iterator: Any) -> str:
    """Return what spells a field's way to make values and labels. TypeError names what has no spelling."""
    own = {name: value for name, value in vars(field).items() if name not in _djangos()}
    parts = [
        spell_code(type(field), (), LABELS),
        spell_code(iterator, (), LABELS),
        keys.spell(field.to_field_name),
    ]
    parts += [f"{name}={spell_code(own[name], (), f'its {name}')}" for name in sorted(own)]
    return "\0".join(parts)


@functools.cache
def _djangos() -> frozenset[str]:
    """What every field has, and a model's: none of it is looked at when labels are made."""
    return frozenset({*vars(ModelChoiceField(None)), "iterator", "queryset", "_choices"})


def compiled(queryset: Any) -> tuple[str, tuple[Any, ...]]:
    """Return the text and the parameters of a queryset. EmptyResultSet: it asks for nothing."""
    sql, params = queryset.query.clone().get_compiler(queryset.db).as_sql()
    return sql, tuple(params)


def prefetched(lookups: Any) -> Iterator[Any]:
    """Yield what a queryset's prefetches ask for, which its own text does not tell."""
    for lookup in lookups:
        if not isinstance(lookup, Prefetch):
            yield lookup
            continue
        yield from (lookup.prefetch_through, lookup.prefetch_to, lookup.to_attr)
        for queryset in lookup.get_current_querysets(lookup.prefetch_to.count("__")) or ():
            try:
                yield from (queryset.db, *compiled(queryset))
            except EmptyResultSet:
                yield None
            yield from prefetched(queryset._prefetch_related_lookups)
