"""Mistakes that somebody might make in caching querysets, by name: test_cached_querysets_machine.py must find each.

Each takes pytest's `monkeypatch` and replaces a part of oxicache for one test.
"""

import contextlib
import functools
import pickle
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import replace
from types import SimpleNamespace
from typing import Any, Final

import pytest
from library_questions import NEAR

from oxicache import keys
from oxicache.django import bulk, execution, host, marks, signals, transactions
from oxicache.django.queries import compiling, fetching, plans, whole
from oxicache.django.queries.fetching import Statement
from oxicache.django.queries.plans import Known

__all__ = ["MISTAKES"]

Patch = pytest.MonkeyPatch


def _wrapped(patch: Patch, owner: Any, name: str, wrap: Callable[..., Any]) -> None:
    """Put `wrap(before, ...)` in the place of a function."""
    before = getattr(owner, name)
    patch.setattr(owner, name, lambda *args, **kwargs: wrap(before, *args, **kwargs))


def _shape_of(patch: Patch, values: Callable[[Any], Any]) -> None:
    """Have keys made of shapes as though their values were others."""

    def wrap(before: Any, query: Any) -> Any:
        shape = before(query)
        return shape and shape._replace(values=values(shape.values))

    _wrapped(patch, plans, "shape_of", wrap)


def _key_of(patch: Patch, **others: Callable[[Statement], Any]) -> None:
    """Have keys made as though parts of the statement were others."""
    _wrapped(
        patch,
        Statement,
        "key",
        lambda before, self: before(replace(self, **{name: make(self) for name, make in others.items()})),
    )


# ---------------------------------------------------------------- what is in the key


def parameters_are_not_in_the_key(patch: Patch) -> None:
    _key_of(patch, params=lambda _: ())
    _shape_of(patch, lambda _: [])


def types_of_parameters_are_not_in_the_key(patch: Patch) -> None:
    patch.setattr(fetching, "keys", SimpleNamespace(**{**vars(keys), "spell": lambda value, _: str(value)}))


def limits_are_not_in_the_key(patch: Patch) -> None:
    _shape_of(patch, lambda values: values[2:])


def databases_share(patch: Patch) -> None:
    for module in (fetching, plans):
        _wrapped(patch, module, "scope_of", lambda before, _: before(NEAR))


def aggregates_share(patch: Patch) -> None:
    _key_of(patch, params=lambda one: one.params[:-1] if one.kind == "aggregate" else one.params)


def time_zones_share(patch: Patch) -> None:
    patch.setattr(compiling, "timezone", SimpleNamespace(get_current_timezone_name=lambda: ""))


def prefetches_share(patch: Patch) -> None:
    patch.setattr(whole, "_spelt", lambda _: [])


# ---------------------------------------------------------------- what is read


def joins_are_not_read(patch: Patch) -> None:
    for one in (Statement, Known):
        patch.setattr(one, "reads", lambda self: frozenset({self.model}))


def prefetched_models_are_not_noticed(patch: Patch) -> None:
    @contextmanager
    def noting() -> Iterator[list[str]]:
        yield []

    patch.setattr(fetching, "_noting", noting)


def querysets_within_are_not_noticed(patch: Patch) -> None:
    patch.setattr(fetching, "_asked_within", lambda: contextlib.nullcontext(set()))


def what_was_learned_is_forgotten(patch: Patch) -> None:
    patch.setattr(fetching, "learned", lambda _: frozenset())


# ---------------------------------------------------------------- transactions


def transactions_read_what_is_held(patch: Patch) -> None:
    allows = transactions.allows_storing
    bypass = transactions.is_written

    def allows_storing(using: str, stamps: Any) -> bool:
        return not bypass(using) and allows(using, stamps)

    patch.setattr(transactions, "is_written", lambda _: False)
    patch.setattr(transactions, "allows_storing", allows_storing)


def transactions_hold_what_they_read(patch: Patch) -> None:
    patch.setattr(transactions, "is_written", lambda _: False)
    patch.setattr(transactions, "allows_storing", lambda *_: True)


def other_databases_have_no_transactions(patch: Patch) -> None:
    patch.setattr(transactions, "is_any_written", lambda: False)
    patch.setattr(transactions, "allows_storing_anywhere", lambda _: True)


def old_views_are_held(patch: Patch) -> None:
    patch.setattr(transactions, "allows_storing", lambda *_: True)


def invalidates_before_the_commit(patch: Patch) -> None:
    def at_once(self: Any, effect: Any, note: Any) -> None:
        marks.bump(effect.words)

    patch.setattr(marks._Written, "add", at_once)


# ---------------------------------------------------------------- loads


def changes_during_a_load_are_missed(patch: Patch) -> None:
    def load(before: Any, caching: Any, statement: Any, key: str, models: Any, *args: Any) -> Any:
        found = before(caching, statement, key, models, *args)
        if found.stamps is not None:
            names = {word for model in models for word in fetching.words.model_words(model)}
            found.stamps = host.capture(sorted(names))
        return found

    _wrapped(patch, fetching, "_load", load)


def nothing_is_held(patch: Patch) -> None:
    _wrapped(patch, fetching, "_load", lambda before, *args: _unshared(before(*args)))


def _unshared(found: Any) -> Any:
    found.shared = False
    return found


def callers_share_instances(patch: Patch) -> None:
    patch.setattr(
        whole, "pickle", SimpleNamespace(**{**vars(pickle), "loads": functools.cache(pickle.loads)})
    )


# ---------------------------------------------------------------- changes


def words_do_not_move(patch: Patch) -> None:
    patch.setattr(marks, "bump", lambda _: None)


def bulk_changes_are_missed(patch: Patch) -> None:
    patch.setattr(bulk, "changed", lambda *_, **__: None)


def relations_are_missed(patch: Patch) -> None:
    patch.setattr(signals, "_invalidate_relation", lambda *_: None)


def raw_changes_are_missed(patch: Patch) -> None:
    patch.setattr(execution, "_invalidate", lambda *_, **__: None)


MISTAKES: Final[dict[str, Callable[[Patch], None]]] = {
    function.__name__: function
    for function in (
        parameters_are_not_in_the_key,
        types_of_parameters_are_not_in_the_key,
        limits_are_not_in_the_key,
        databases_share,
        aggregates_share,
        time_zones_share,
        prefetches_share,
        joins_are_not_read,
        prefetched_models_are_not_noticed,
        querysets_within_are_not_noticed,
        what_was_learned_is_forgotten,
        transactions_read_what_is_held,
        transactions_hold_what_they_read,
        other_databases_have_no_transactions,
        old_views_are_held,
        invalidates_before_the_commit,
        changes_during_a_load_are_missed,
        nothing_is_held,
        callers_share_instances,
        words_do_not_move,
        bulk_changes_are_missed,
        raw_changes_are_missed,
        relations_are_missed,
    )
}
