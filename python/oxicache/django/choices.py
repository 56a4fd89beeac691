"""Choices of a model's rows as forms show them, held until a row changes that they are made of.

What is held are pairs of value and label, never a queryset; under the text and the parameters of the queryset that
they are made of, so whatever narrowed it down (a user, a session, a tenant) tells them apart. The queryset itself goes
on to check what is submitted against the database.
"""

import functools
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any

from django.conf import settings
from django.db.models import Model
from django.forms.models import ModelChoiceField, ModelChoiceIterator, ModelChoiceIteratorValue
from django.forms.renderers import BaseRenderer
from django.forms.widgets import Select, SelectMultiple
from django.utils import timezone, translation
from django.utils.safestring import SafeString, mark_safe

from oxicache import keys
from oxicache.django.queries import rows
from oxicache.django.queries.fetching import Caching, Statement, fetch, learned

__all__ = ["Choices", "hold"]

_END = "\n</select>"


@dataclass(frozen=True, slots=True)
class Choices:
    """The choices of one field. `prefix` begins their keys; `label` spells how their labels are made."""

    caching: Caching
    prefix: str
    label: str


@dataclass(frozen=True, slots=True)
class _Asked:
    """What is asked for some choices: `fetching.Asked`."""

    choices: Choices
    statement: Statement
    kind: str
    is_all: bool = False  # a label may ask for more

    @property
    def using(self) -> str:
        return self.statement.using

    @property
    def model(self) -> type[Model]:
        return self.statement.model

    def key(self) -> str:
        language = translation.get_language() if settings.USE_I18N else None
        zone = timezone.get_current_timezone_name() if settings.USE_TZ else None
        digest = self.statement.key().rpartition(":")[2]
        places = [keys.spell(one) for one in (self.choices.label, language, zone)]
        return ":".join([self.choices.prefix, self.kind, *places, digest])

    def reads(self) -> frozenset[type[Model]]:
        found = self.statement.reads()
        return (
            found | learned(_Asked(self.choices, self.statement, "pairs").key())
            if self.kind != "pairs"
            else found
        )


class _Value(ModelChoiceIteratorValue):
    """The value of a choice; its instance is asked for, with those of all others, where a widget wants it."""

    def __init__(self, value: Any, instances: Callable[[], dict[Any, Model]]) -> None:
        self.value = value
        self._instances = instances

    @property
    def instance(self) -> Model:
        return self._instances()[self.value]

    @instance.setter
    def instance(self, _: Model) -> None:
        raise AttributeError("the instance of a held choice is the database's")


class _Iterator(ModelChoiceIterator):  # type: ignore[type-arg]  # at run time it takes none
    """As Django's, of choices that are held."""

    def __init__(
        self, field: "ModelChoiceField[Any]", choices: Choices, plain: "type[ModelChoiceIterator[Any]]"
    ) -> None:
        super().__init__(field)
        self._choices = choices
        self._plain = plain

    @functools.cached_property
    def statement(self) -> Statement:
        queryset: Any = self.queryset
        sql, params = queryset.query.clone().get_compiler(queryset.db).as_sql()
        return Statement(queryset.db, "choices", queryset.model, sql, tuple(params), is_all=False)

    def pairs(self) -> tuple[Any, ...]:
        """Return the choices but for the empty one: pairs of a value and a label, or of a group and its pairs."""
        return self._pairs

    @functools.cached_property
    def _pairs(self) -> tuple[Any, ...]:
        asked = _Asked(self._choices, self.statement, "pairs")
        return rows.thaw(fetch(self._choices.caching, asked, lambda: rows.freeze(self._made())))

    def _made(self) -> Iterator[tuple[Any, Any]]:
        field: Any = self.field
        iterator = self._plain(field)
        for value, label in iterator:
            if not (value == "" and label == field.empty_label):
                yield _plain(value), _label(label)

    def html(self, made: Callable[[], str], look: str) -> str:
        """Return what `made()` makes of these choices; `look` spells what it makes it with."""
        asked = _Asked(self._choices, self.statement, f"html:{look}")
        ((found,),) = rows.thaw(fetch(self._choices.caching, asked, lambda: rows.freeze([(str(made()),)])))
        return str(found)

    def __iter__(self) -> Iterator[Any]:
        field: Any = self.field
        if field.empty_label is not None:
            yield "", field.empty_label
        for value, label in self.pairs():
            if isinstance(label, tuple):
                yield value, [(_Value(one, self._instances), text) for one, text in label]
            else:
                yield _Value(value, self._instances), label

    @property
    def empty_label(self) -> Any:
        """The label of the choice of nothing, None where there is none."""
        return self.field.empty_label

    def flat(self) -> Iterator[tuple[Any, Any]]:
        """Yield all values and labels, groups taken apart."""
        if self.empty_label is not None:
            yield "", self.empty_label
        for value, label in self.pairs():
            yield from label if isinstance(label, tuple) else [(value, label)]

    def __len__(self) -> int:
        return len(self.pairs()) + (self.field.empty_label is not None)

    def __bool__(self) -> bool:
        return self.field.empty_label is not None or bool(self.pairs())

    def _instances(self) -> dict[Any, Model]:
        return self._all

    @functools.cached_property
    def _all(self) -> dict[Any, Model]:
        field: Any = self.field
        return {field.prepare_value(one): one for one in self.queryset}


def _plain(value: Any) -> Any:
    return vars(value)["value"] if isinstance(value, ModelChoiceIteratorValue) else value


def _label(label: Any) -> Any:
    if isinstance(label, list | tuple):
        return tuple((_plain(value), _label(text)) for value, text in label)
    return label if isinstance(label, SafeString) else str(label)


def hold(field: "ModelChoiceField[Any]", choices: Choices) -> None:
    """Have the choices of a form's own field held. Its queryset is to be set after that."""
    given: Any = field
    plain = given.iterator
    given.iterator = functools.partial(_Iterator, choices=choices, plain=plain)
    widget = given.widget
    widget = getattr(widget, "widget", widget)  # of the admin's wrapper
    if type(widget) in _HELD:
        widget.__class__ = _HELD[type(widget)]


# ---------------------------------------------------------------- widgets


class _UnusualError(Exception):
    """A project's own templates or renderer make something else of a select than Django's do."""


class _HeldOptions(Select):
    """A select whose options are rendered once, with none selected; of those that are, the text is replaced."""

    _plain: type[Select]

    def render(
        self, name: str, value: Any, attrs: dict[str, Any] | None = None, renderer: BaseRenderer | None = None
    ) -> SafeString:
        """Return what Django's own widget returns."""
        choices: Any = self.choices
        if isinstance(choices, _Iterator) and self.template_name == self._plain.template_name:
            try:
                return self._whole(choices, name, value, attrs, renderer)
            except _UnusualError:
                pass
        return super().render(name, value, attrs, renderer)

    def _whole(self, choices: _Iterator, name: str, value: Any, attrs: Any, renderer: Any) -> SafeString:
        look = keys.spell((type(renderer).__qualname__, self._plain.__name__, str(choices.empty_label)))
        options = choices.html(lambda: self._options(choices, renderer), look)
        for chosen in dict.fromkeys(self.format_value(value)):
            options = self._selected(choices, options, chosen, renderer)
        whole = str(self._plain(self.attrs).render(name, value, attrs, renderer))
        return mark_safe(_before_end(whole) + options + _END)  # noqa: S308 -- all of it rendered by Django

    def _options(self, choices: _Iterator, renderer: Any) -> str:
        start = _before_end(str(self._plain().render("name", [], None, renderer)))
        whole = _before_end(str(self._plain(choices=list(choices)).render("name", [], None, renderer)))
        if not whole.startswith(start):
            raise _UnusualError
        return whole.removeprefix(start)

    def _selected(self, choices: _Iterator, options: str, chosen: str, renderer: Any) -> str:
        found = [(value, label) for value, label in choices.flat() if str(value) == chosen]
        if not found:
            return options
        plain, selected = (self._option(*found[0], renderer, is_selected=one) for one in (False, True))
        if len(found) > 1 or options.count(plain) != 1:
            raise _UnusualError
        return options.replace(plain, selected)

    def _option(self, value: Any, label: Any, renderer: Any, *, is_selected: bool) -> str:
        option = self.create_option("name", value, label, is_selected, 0)
        return str(self._render(self.option_template_name, {"widget": option}, renderer))  # type: ignore[attr-defined]


def _before_end(whole: str) -> str:
    if not whole.endswith(_END):
        raise _UnusualError
    return whole.removesuffix(_END)


class _HeldSelect(_HeldOptions):
    _plain = Select


class _HeldSelectMultiple(_HeldOptions, SelectMultiple):
    _plain = SelectMultiple


_HELD: dict[type[Any], type[Any]] = {Select: _HeldSelect, SelectMultiple: _HeldSelectMultiple}
