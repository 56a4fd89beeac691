"""What a form class says of its cached dropdowns, `cached_dropdown_fields`: read, checked, and made into querysets.

What can be told from the class alone is said when it is made; what waits for models, by a system check or at the first
use. Where the choices are held: choices.py.
"""

import functools
import inspect
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass
from typing import Any, Final
from weakref import WeakSet

from django.apps import apps
from django.conf import settings
from django.core.checks import CheckMessage, Error, Tags, Warning, register  # noqa: A004 -- Django's name
from django.core.exceptions import FieldDoesNotExist
from django.db.models import Model, QuerySet
from django.forms.models import BaseModelForm, ModelChoiceField
from django.http import HttpRequest

from oxicache import keys
from oxicache.django import aliases
from oxicache.django.labels import model_named, with_rows

__all__ = ["Dropdown", "check_class", "check_dropdowns", "field_of"]

NAME: Final = "cached_dropdown_fields"
_KNOWN: Final = ("model", "filter_method", "version", "sitewise", "depends_on")

_forms: WeakSet[type[Any]] = WeakSet()  # every class that says something of its dropdowns


@dataclass(frozen=True, slots=True)
class Dropdown:
    """What is said of one field, by the class `form`."""

    form: type[Any]
    field: str
    model: type[Model] | str
    filter_method: str | None
    version: str
    sitewise: bool
    depends_on: tuple[type[Model] | str, ...]

    @property
    def where(self) -> str:
        """What messages call it."""
        return _where(self.form, self.field)

    def resolved(self) -> type[Model]:
        """Return the model. ValueError: there is no such model, or its manager has no such method."""
        model = self._named(self.model)
        if self.filter_method is not None:
            _method(self, model, self.filter_method)
        return model

    def also_read(self) -> tuple[type[Model], ...]:
        """Return the models of `depends_on`. ValueError: there is no such model."""
        return tuple(map(self._named, self.depends_on))

    def _named(self, model: type[Model] | str) -> type[Model]:
        try:
            return _found(model)
        except ValueError as error:
            raise ValueError(f"{self.where}: {error}") from None

    def rows(self, request: HttpRequest | None) -> QuerySet[Any] | None:
        """Return the queryset that the manager's method gives; None where no method is named."""
        if self.filter_method is None:
            return None
        model = self.resolved()
        found = self._asked(_method(self, model, self.filter_method), request)
        if not isinstance(found, QuerySet):
            raise TypeError(
                f"{self.where}: {self.filter_method} returned {type(found).__name__}; it must return a queryset"
            )
        if found.query.select_for_update:
            raise TypeError(f"{self.where}: {self.filter_method} locks rows: leave select_for_update() out")
        self.check_rows(found.model, model)
        return found

    def _asked(self, ask: Callable[..., Any], request: HttpRequest | None) -> Any:
        if self.sitewise:
            return ask(self._request(request), sitewise=True)
        wanted = _wants_request(getattr(ask, "__func__", ask), is_bound=hasattr(ask, "__func__"))
        if wanted is None:
            return ask()
        return ask(self._request(request) if wanted else request)

    def _request(self, request: HttpRequest | None) -> HttpRequest:
        if request is not None:
            return request
        why = "it is sitewise" if self.sitewise else f"{self.filter_method} takes the request"
        raise ValueError(
            f"{self.where}: {why}, and the form got none; pass request=, to a formset as "
            'form_kwargs={"request": request}, in the admin as docs/forms.md shows'
        )

    def check_field(self, field: Any, model: type[Model] | str | None = None) -> None:
        """TypeError for a field that chooses no row, or those of another model."""
        if not isinstance(field, ModelChoiceField):
            raise TypeError(f"{self.where}: {type(field).__name__} chooses no row of a model")
        queryset: Any = field.queryset
        model = model or self.model
        if queryset is not None and isinstance(model, type):
            self.check_rows(queryset.model, model)

    def check_rows(self, given: type[Model], model: type[Model]) -> None:
        """TypeError where rows of `given` are none of `model`, nor the other way round."""
        own, other = model._meta.concrete_model or model, given._meta.concrete_model or given
        if not issubclass(own, other) and not issubclass(other, own):
            raise TypeError(
                f"{self.where}: model is {model._meta.label}, and its rows are of {given._meta.label}"
            )


def _read_all(form: type[Any]) -> dict[str, Dropdown]:
    """Return what a class and those it is derived from say, by field. A None takes back what is inherited."""
    found: dict[str, Dropdown] = {}
    for kind in reversed(form.__mro__):
        for field, given in vars(kind).get(NAME, {}).items():
            if given is None:
                found.pop(field, None)
            else:
                found[field] = _read(kind, field, given)
    return found


def _found(model: type[Model] | str) -> type[Model]:
    if isinstance(model, str) and model.count(".") == 1:
        try:
            return apps.get_model(model)  # far faster, and as particular as most people are
        except LookupError:
            pass
    return model_named(model)


def _where(form: type[Any], field: str) -> str:
    return f"{form.__qualname__}.{NAME}[{field!r}]"


def _read(form: type[Any], field: Any, given: Any) -> Dropdown:
    where = _where(form, field)
    _check_keys(where, given)
    model, method, sitewise = given["model"], given.get("filter_method"), given.get("sitewise", False)
    depends_on = given.get("depends_on", ())
    if isinstance(depends_on, str) or not isinstance(depends_on, Iterable):
        raise TypeError(f"{where}: depends_on must be a list of models, not {depends_on!r}")
    for one in (model, *depends_on):
        _check_model(where, one)
    if method is not None and not isinstance(method, str):
        raise TypeError(f"{where}: filter_method must be the name of a method of the manager, not {method!r}")
    if not isinstance(sitewise, bool):
        raise TypeError(f"{where}: sitewise must be True or False, not {sitewise!r}")
    if sitewise and method is None:
        raise ValueError(f"{where} is sitewise and names no filter_method, which is what takes the request")
    version = given.get("version", "1.0")
    if not isinstance(version, str | int | float):
        raise TypeError(f"{where}: version must be a str or a number, not {version!r}")
    return Dropdown(form, field, model, method, keys.escape(str(version)), sitewise, tuple(depends_on))


def _check_keys(where: str, given: Any) -> None:
    if not isinstance(given, Mapping):
        raise TypeError(f"{where} must be a dict, not {given!r}")
    if unknown := sorted(str(key) for key in given if key not in _KNOWN):
        raise ValueError(f"{where} has {', '.join(unknown)}; known are {', '.join(_KNOWN)}")
    if "model" not in given:
        raise ValueError(f'{where} names no model: write "model": a class or "app.Model"')


def _check_model(where: str, model: Any) -> None:
    if isinstance(model, str):
        return  # which may not be loaded yet
    try:
        with_rows(model)
    except (TypeError, ValueError) as error:
        raise type(error)(f"{where}: {error}") from None


def _method(dropdown: Dropdown, model: type[Model], name: str) -> Callable[..., Any]:
    managers = [
        found for found in (getattr(model, "objects", None), model._default_manager) if found is not None
    ]
    for manager in managers:
        if callable(method := getattr(manager, name, None)):
            return method  # type: ignore[no-any-return]
    raise ValueError(
        f"{dropdown.where}: the manager of {model._meta.label}, {type(managers[0]).__name__}, has no method {name!r}"
    )


@functools.lru_cache(maxsize=256)
def _wants_request(ask: Callable[..., Any], *, is_bound: bool) -> bool | None:
    """Whether a method needs the request; None where it takes none."""
    try:
        parameters = list(inspect.signature(ask).parameters.values())
    except (TypeError, ValueError):  # of a callable that tells nobody
        return None
    for one in parameters[is_bound:]:
        if one.kind in {one.POSITIONAL_ONLY, one.POSITIONAL_OR_KEYWORD}:
            if one.default is one.empty:
                return True
            return False if one.name == "request" else None  # any other has its own default
    return None


# ---------------------------------------------------------------- when the class is made


def check_class(form: type[Any]) -> dict[str, Dropdown]:
    """Return what a class and those it is derived from say, by field.

    Raises what is wrong in what it says itself, as far as it can be told before its fields are made.
    """
    given = vars(form).get(NAME, {})
    if not isinstance(given, Mapping):
        raise TypeError(f"{form.__qualname__}.{NAME} must be a dict by names of fields, not {given!r}")
    dropdowns = _read_all(form)
    for name, one in given.items():
        if one is None:
            if not any(name in vars(kind).get(NAME, {}) for kind in form.__mro__[1:]):
                raise ValueError(
                    f"{_where(form, name)} is None, which takes back what is inherited: nothing is"
                )
        else:
            _check(dropdowns[name])
    if given:
        _forms.add(form)
    return dropdowns


def _check(dropdown: Dropdown) -> None:
    form = dropdown.form
    if isinstance(dropdown.model, type):
        dropdown.resolved()
    declared = _declared(form)
    if dropdown.field in declared:
        dropdown.check_field(declared[dropdown.field])
        return
    options: Any = getattr(form, "Meta", None)
    model = getattr(options, "model", None)
    if not any(hasattr(kind, "declared_fields") for kind in form.__mro__):
        return  # no form yet
    if issubclass(form, BaseModelForm):
        if model is None:
            return  # a base of others
        if _check_model_field(dropdown, model, options):
            return
    if not _may_add_fields(form):
        raise _missing(dropdown, [*(() if model is None else _model_fields(model, options)), *declared])


def _declared(form: type[Any]) -> dict[str, Any]:
    """The fields that Django will find: its metaclass has put a class's own aside, and goes on to look for those."""
    found: dict[str, Any] = {}
    for kind in reversed(form.__mro__):
        found.update(vars(kind).get("declared_fields", {}))
        for name, value in vars(kind).items():
            if value is None:
                found.pop(name, None)
    return found


def _check_model_field(dropdown: Dropdown, model: type[Model], options: Any) -> bool:
    """Whether the model gives the form this field. TypeError: it chooses no row, or those of another model."""
    name = dropdown.field
    fields, exclude = getattr(options, "fields", None), getattr(options, "exclude", None)
    if (fields not in {None, "__all__"} if isinstance(fields, str | None) else name not in fields) or (
        exclude and name in exclude
    ):
        return False
    try:
        field: Any = model._meta.get_field(name)
    except FieldDoesNotExist:
        return False
    classes = getattr(options, "field_classes", None) or {}
    if name in classes or getattr(options, "formfield_callback", None) is not None:
        return True  # what they make of it is told when the form is used
    if field.remote_field is None:
        raise TypeError(f"{dropdown.where}: {type(field).__name__} chooses no row of a model")
    if isinstance(field.remote_field.model, type) and isinstance(dropdown.model, type):
        dropdown.check_rows(field.remote_field.model, dropdown.model)
    return True


def _model_fields(model: type[Model], options: Any) -> list[str]:
    """Return the names of the fields that a model gives its form, as the form's Meta says."""
    fields, exclude = getattr(options, "fields", None), getattr(options, "exclude", None) or ()
    every = [one.name for one in (*model._meta.fields, *model._meta.many_to_many) if one.editable]
    return [name for name in (every if isinstance(fields, str | None) else fields) if name not in exclude]


def _may_add_fields(form: type[Any]) -> bool:
    """Whether a class that it is derived from makes instances in a way of its own: it may add fields to them."""
    return any(
        "__init__" in vars(kind)
        and not kind.__module__.startswith(("django.forms.", "oxicache.", "builtins"))
        for kind in form.__mro__[1:]
    )


def _missing(dropdown: Dropdown, fields: Iterable[str]) -> ValueError:
    return ValueError(f"{dropdown.where}: the form has no such field; it has {', '.join(fields) or 'none'}")


def field_of(form: Any, dropdown: Dropdown) -> Any:
    """Return the field of a form; None where somebody has taken it away. ValueError: there never was one."""
    field = form.fields.get(dropdown.field)
    if field is not None:
        dropdown.check_field(field, dropdown.resolved())
        return field
    if any(dropdown.field in getattr(kind, "base_fields", ()) for kind in type(form).__mro__):
        return None  # as the admin takes away what may only be read
    raise _missing(dropdown, form.fields)


# ---------------------------------------------------------------- when all models are there


@register(Tags.caches)
def check_dropdowns(app_configs: Any = None, **_: Any) -> list[CheckMessage]:  # noqa: ARG001 -- Django passes it by name
    """A cached dropdown names a model, a method or a field that there is not, or a cache that holds none."""
    found: list[CheckMessage] = []
    for form in sorted(_forms, key=_name):
        hint, name = "What cached_dropdown_fields may say is in docs/forms.md.", _name(form)
        found += [Error(mistake, hint=hint, id="oxicache.E006", obj=name) for mistake in _mistakes(form)]
        alias = form.dropdown_cache_alias
        if alias not in aliases.native():
            what = (
                f"CACHES[{alias!r}] is no NativeCache"
                if alias in settings.CACHES
                else f"CACHES has no {alias!r}"
            )
            found.append(
                Warning(
                    f"{what}, and no other cache knows when choices are outdated: they are asked for each time.",
                    hint="Name the alias of a NativeCache as dropdown_cache_alias.",
                    id="oxicache.W014",
                    obj=name,
                )
            )
    return found


def _name(form: type[Any]) -> str:
    return f"{form.__module__}.{form.__qualname__}"


def _mistakes(form: type[Any]) -> Iterator[str]:
    for dropdown in _read_all(form).values():
        if dropdown.form is not form or not apps.models_ready:
            continue
        try:
            model = dropdown.resolved()
            dropdown.also_read()
            field: Any = getattr(form, "base_fields", {}).get(dropdown.field)
            if field is not None:
                dropdown.check_field(field, model)
        except (TypeError, ValueError) as error:
            yield str(error)
