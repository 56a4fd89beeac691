"""Choices of a model's rows as forms show them, held until a row changes that they are made of.

What is held are pairs of value and label, never a queryset; under the text and the parameters of the queryset that
they are made of and the code that makes labels of them (choice_keys.py), so whatever narrowed them down (a user, a
session, a tenant) tells them apart. The queryset itself goes on to check what is submitted against the database.
How a widget shows them: selects.py.
"""

import functools
import hashlib
import logging
import pickle
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import Any, Final

from django.conf import settings
from django.core.exceptions import EmptyResultSet, ObjectDoesNotExist
from django.db.models import Model
from django.forms.models import ModelChoiceField, ModelChoiceIterator, ModelChoiceIteratorValue
from django.utils import timezone, translation
from django.utils.safestring import SafeString, mark_safe

from oxicache.django.choice_keys import compiled, made_with, prefetched
from oxicache.django.queries import rows
from oxicache.django.queries.fetching import Caching, Statement, fetch, learned
from oxicache.django.queries.managing import cached_queryset

__all__ = ["Choices", "HeldIterator", "hold"]

logger = logging.getLogger("oxicache.forms")

MAX_SAID: Final = 1024  # reasons that the log was told
PLAIN, OF_ROW, GROUP = 0, 1, 2  # what a value is: as an iterator gave it, a row's, the name of a group

Asking = Callable[[], tuple[Any, ...]]


@dataclass(frozen=True, slots=True)
class Choices:
    """The choices of one field. `prefix` begins their keys, `where` is what the log calls them."""

    caching: Caching
    prefix: str
    where: str


@dataclass(frozen=True, slots=True)
class _Asked:
    """What is asked for some choices: `fetching.Asked`. `look` tells apart what is made of one statement."""

    choices: Choices
    statement: Statement
    kind: str
    look: str
    is_all: bool = False  # a label may ask for more

    @property
    def using(self) -> str:
        return self.statement.using

    @property
    def model(self) -> type[Model]:
        return self.statement.model

    def key(self) -> str:
        parts = [self.statement.key(), self.look]
        digest = hashlib.blake2b("\0".join(parts).encode("utf-8", "surrogatepass"), digest_size=16)
        return f"{self.choices.prefix}:{self.kind}:{digest.hexdigest()}"

    def reads(self) -> frozenset[type[Model]]:
        return self.statement.reads()


@dataclass(frozen=True, slots=True)
class _Made(_Asked):
    """What is asked for something that is made of choices, which reads what they read."""

    of: str = ""  # the key of the choices

    def reads(self) -> frozenset[type[Model]]:
        return self.statement.reads() | learned(self.of)


class _UnheldError(Exception):
    """What was made cannot be held."""

    def __init__(self, made: list[Any]) -> None:
        super().__init__()
        self.made = made


class _Value(ModelChoiceIteratorValue):
    """The value of a choice; its instance is asked for, with those of all others, where a widget wants it."""

    def __init__(self, value: Any, instances: Callable[[], dict[Any, Model]]) -> None:
        self.value = value
        self._instances = instances

    @property
    def instance(self) -> Model:
        """The row. ObjectDoesNotExist where it has gone since its choice was held, and nobody has noticed."""
        try:
            return self._instances()[self.value]
        except KeyError:
            raise ObjectDoesNotExist(f"there is no row {self.value!r} any more") from None

    @instance.setter
    def instance(self, _: Model) -> None:
        raise AttributeError("the instance of a held choice is the database's")


class HeldIterator(ModelChoiceIterator):  # type: ignore[type-arg]  # at run time it takes none
    """Stands before the class of a field's iterator, whose choices are held then."""

    choices: Choices
    plain: Any  # what the field had: a class, or what is called like one
    field: Any
    queryset: Any

    def __iter__(self) -> Iterator[Any]:
        if not self._is_django:
            yield from map(self._given, self._pairs())
            return
        # First of all, and without a look at the rows: a widget that shows none of them asks for this one.
        if self.field.empty_label is not None:
            yield "", self.field.empty_label
        instances = self._instances
        for value, label, _ in self._pairs():
            yield _Value(value, instances), label

    def __len__(self) -> int:
        if not self._is_django:
            return super().__len__()
        return len(self._pairs()) + (self.field.empty_label is not None)

    def __bool__(self) -> bool:
        if not self._is_django:
            return super().__bool__()
        return self.field.empty_label is not None or bool(self._pairs())

    @property
    def _is_django(self) -> bool:
        """Whether its choices are a row each, in one list, after the empty one."""
        return super().__iter__.__func__ is ModelChoiceIterator.__iter__  # type: ignore[attr-defined]

    def _given(self, held: tuple[Any, Any, int]) -> tuple[Any, Any]:
        value, label, kind = held
        if kind == GROUP:
            return value, [self._given(one) for one in label]
        return (_Value(value, self._instances) if kind == OF_ROW else value), label

    # ------------------------------------------------------------ what is held

    def _pairs(self) -> Sequence[tuple[Any, Any, int]]:
        asked = self._asked("pairs")
        if asked is None:
            return self._made()
        try:
            return rows.thaw(fetch(self.choices.caching, asked, lambda: _frozen(self._made())))
        except _UnheldError as error:
            self._say("a value or a label of theirs cannot be pickled")
            return error.made

    def _made(self) -> list[tuple[Any, Any, int]]:
        shown = self.queryset
        self.queryset = _with_fresh_related(shown)
        try:
            given = super().__iter__()
            if self._is_django and self.field.empty_label is not None:
                next(given)
            return [_held(value, label) for value, label in given]
        finally:
            self.queryset = shown

    def made_of(self, kind: str, look: str, make: Asking) -> tuple[Any, ...] | None:
        """Return what `make` makes of these choices, which is held like them; None where they are not held.

        `look` spells what it makes it with. What it makes are rows: `queries.rows`.
        """
        pairs, asked = self._asked("pairs"), self._asked(kind, look)
        if pairs is None or asked is None:
            return None
        try:
            of = pairs.key()
        except TypeError:  # which `fetch` says of the pairs
            return None
        one = _Made(asked.choices, asked.statement, asked.kind, asked.look, of=of)
        return rows.thaw(fetch(self.choices.caching, one, lambda: rows.freeze(make())))

    def _asked(self, kind: str, look: str = "") -> _Asked | None:
        if self._statement is None:
            return None
        try:
            made = made_with(self.field, self.plain)
        except (TypeError, RecursionError) as error:
            self._say(str(error))
            return None
        language = translation.get_language() if settings.USE_I18N else None
        zone = timezone.get_current_timezone_name() if settings.USE_TZ else None
        empty = "" if self._is_django and kind == "pairs" else _looks(self.field.empty_label)
        looks = "\0".join([made, str(language), str(zone), empty, look])
        return _Asked(self.choices, self._statement, kind, looks)

    @functools.cached_property
    def _statement(self) -> Statement | None:
        """What its queryset asks; None where it asks for nothing."""
        queryset = self.queryset
        try:
            sql, params = compiled(queryset)
        except EmptyResultSet:
            return None
        params += tuple(prefetched(queryset._prefetch_related_lookups))
        return Statement(queryset.db, "choices", queryset.model, sql, params, is_all=False)

    def _instances(self) -> dict[Any, Model]:
        return self._by_value

    @functools.cached_property
    def _by_value(self) -> dict[Any, Model]:
        caching = self.choices.caching
        found = cached_queryset(self.queryset, caching.ttl, alias=caching.alias)
        return {self.field.prepare_value(one): one for one in found}

    def _say(self, reason: str) -> None:
        mark = (self.choices.where, reason)
        if mark not in _said and len(_said) < MAX_SAID:
            _said.add(mark)
            logger.warning("The choices of %s are not cached: %s.", *mark)


_said: set[tuple[str, str]] = set()


def _with_fresh_related(queryset: Any) -> Any:
    """Have labels read the rows that a related manager knows as the database has them, by queries that are noted.

    Each row of `author.items.all()` has that very author: it may be older than what is held, and reads nothing.
    """
    known = queryset._known_related_objects
    if not known:
        return queryset
    found = queryset.all()
    found._known_related_objects = {field: _loaded(rows_of, queryset.db) for field, rows_of in known.items()}
    return found


def _loaded(known: dict[Any, Model], using: str) -> dict[Any, Model]:
    fresh: dict[Any, Model] = {}
    for value, row in known.items():
        fresh_row = type(row)._base_manager.using(row._state.db or using).filter(pk=row.pk).first()
        if fresh_row is not None:
            fresh[value] = fresh_row
    return fresh


def _frozen(made: list[Any]) -> Any:
    try:
        return rows.freeze(made)
    except (AttributeError, TypeError, pickle.PicklingError) as error:  # as pickle says it
        raise _UnheldError(made) from error


def _held(value: Any, label: Any) -> tuple[Any, Any, int]:
    if isinstance(label, list | tuple):
        return _text(value), tuple(_held(*one) for one in label), GROUP
    if isinstance(value, ModelChoiceIteratorValue):
        return vars(value)["value"], _text(label), OF_ROW
    return value, _text(label), PLAIN


def _text(label: Any) -> Any:
    """Return a label that is the same whenever it is shown: a lazy one is of one language."""
    if type(label) in rows.ATOMS or type(label) is SafeString:
        return label
    if isinstance(label, str) and hasattr(label, "__html__"):
        return mark_safe(label.__html__())  # noqa: S308 -- as a template has it
    return str(label)  # a SafeString where a lazy one is of that kind


def _looks(label: Any) -> str:
    return "" if label is None else f"{hasattr(label, '__html__')}{label}"


def hold(field: "ModelChoiceField[Any]", choices: Choices) -> None:
    """Have the choices of a form's own field held. Its queryset is to be set after that."""
    given: Any = field
    plain = given.iterator
    if isinstance(plain, functools.partial) and plain.func is _iterator:
        plain = plain.keywords["plain"]  # of a form whose field is a copy of another's
    given.iterator = functools.partial(_iterator, choices=choices, plain=plain)


def _iterator(field: Any, *, choices: Choices, plain: Any) -> Any:
    found = plain(field)
    if isinstance(found, ModelChoiceIterator):
        held: Any = found
        held.__class__ = _class_of(held.__class__)
        held.choices, held.plain = choices, plain
    return found


@functools.lru_cache(maxsize=256)  # a class that is made in a function is made anew each time
def _class_of(plain: Any) -> type[Any]:
    return type(plain.__name__, (HeldIterator, plain), {"__module__": plain.__module__})
