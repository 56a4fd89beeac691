"""Forms whose dropdowns are cached: `CachedDropdownMixin`. How choices are held: choices.py.

    class JobForm(CachedDropdownMixin, forms.ModelForm):
        cached_dropdown_fields = {"people": {"model": People, "filter_method": "filter_for_dropdown"}}

After a hit no query is made for the choices; what is submitted is looked for in the database as ever.
"""

import inspect
from collections.abc import Callable, Mapping
from datetime import timedelta
from typing import Any, ClassVar, Final

from django.core.cache import DEFAULT_CACHE_ALIAS
from django.db.models import QuerySet
from django.forms import Form, ModelForm
from django.forms.models import ModelChoiceField
from django.http import HttpRequest

from oxicache import keys, options
from oxicache.django.choices import Choices, hold
from oxicache.django.invalidation import invalidate
from oxicache.django.labels import model_named, with_rows
from oxicache.django.queries.fetching import Caching
from oxicache.django.queries.managing import watch_all
from oxicache.django.scope import scope_of

__all__ = ["CachedDropdownMixin", "OptimizedDropdownForm", "OptimizedModelForm"]

_KNOWN: Final = frozenset({"model", "filter_method", "version", "sitewise"})


class CachedDropdownMixin:
    """Stands before the form class. Each field of `cached_dropdown_fields` gets the rows that its manager's
    `filter_method` returns, and their choices are held until one of these rows changes.

    Of a field: `model`, a class or a label; `filter_method`, the name of a method of its manager, called with the
    request if it takes one, and without the method all rows are offered; `version`, part of the key; `sitewise`: the
    method wants the request and `sitewise=True`. `dropdown_cache_timeout` is in seconds, None for ever.

    The form takes `request=`. TypeError and ValueError name what is wrong in the class, when it is made or first used.
    """

    cached_dropdown_fields: ClassVar[Mapping[str, Mapping[str, Any]]] = {}
    dropdown_cache_timeout: ClassVar[float | timedelta | None] = 30 * 60
    dropdown_cache_alias: ClassVar[str] = DEFAULT_CACHE_ALIAS
    cache_prefix: ClassVar[str] = "form:dropdown"
    request: HttpRequest | None

    def __init_subclass__(cls, **kwargs: Any) -> None:
        """Refuse what is wrong whatever the fields are."""
        super().__init_subclass__(**kwargs)
        for field, given in cls.cached_dropdown_fields.items():
            _check(f"{cls.__qualname__}.cached_dropdown_fields[{field!r}]", given)

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        """Take `request=`, and pass it on to a form class that takes it too."""
        request = kwargs.get("request") or getattr(self, "request", None)
        if "request" in kwargs and not _takes_request(type(self)):
            del kwargs["request"]
        super().__init__(*args, **kwargs)
        self.request = request
        for name in self.cached_dropdown_fields:
            self._hold_choices(name)

    def _hold_choices(self, name: str) -> None:
        form: Any = self
        where = f"{type(self).__qualname__}.cached_dropdown_fields[{name!r}]"
        field = form.fields.get(name)
        if field is None:
            raise ValueError(
                f"{where}: the form has no such field; it has {', '.join(form.fields) or 'none'}"
            )
        if not isinstance(field, ModelChoiceField):
            raise TypeError(f"{where}: {type(field).__name__} chooses no row of a model")
        given = self.cached_dropdown_fields[name]
        queryset = _rows(where, given, self.request)
        version = keys.spell(given.get("version", "1.0"))
        own: Any = type(self)
        prefix = ":".join(
            [*self._scope(), self.cache_prefix, own.__qualname__.rpartition(".")[2], name, version]
        )
        watch_all()
        hold(field, Choices(self._caching(), prefix, f"{own.__module__}.{own.__qualname__}"))
        field.queryset = queryset
        limit = field.get_limit_choices_to()
        if limit:
            field.queryset = field.queryset.complex_filter(limit)

    def _scope(self) -> list[str]:
        """Return what begins the keys: by it patterns find a tenant's. The choices are told apart by what they are."""
        if self.request is None:
            return []
        found = scope_of(self.request, per_user=False)
        return [] if found.missing or not (prefix := found.prefix()) else [prefix]

    @classmethod
    def _caching(cls) -> Caching:
        timeout = cls.dropdown_cache_timeout
        seconds = None if timeout is None else options.seconds("dropdown_cache_timeout", timeout)
        return Caching(seconds, cls.dropdown_cache_alias)

    @classmethod
    def invalidate_dropdown_cache(cls, field: str | None = None) -> int:
        """Invalidate the choices of a field, of all if None; how many entries that were. ValueError for another."""
        if field is not None and field not in cls.cached_dropdown_fields:
            raise ValueError(
                f"{cls.__qualname__} caches no {field!r}; it caches {', '.join(cls.cached_dropdown_fields)}"
            )
        start = f"{cls.cache_prefix}:{cls.__name__}:{field or '*'}:"
        globs = [f"{start}*", f"*:{start}*"]
        return invalidate(globs=globs, aliases=[cls.dropdown_cache_alias]).total


def _check(where: str, given: Any) -> None:
    if not isinstance(given, Mapping):
        raise TypeError(f"{where} must be a dict, not {given!r}")
    if unknown := set(given) - _KNOWN:
        raise ValueError(
            f"{where}: {', '.join(sorted(unknown))}: unknown; known are {', '.join(sorted(_KNOWN))}"
        )
    if "model" not in given:
        raise ValueError(f"{where}: name a model")
    method = given.get("filter_method")
    if method is not None and not isinstance(method, str):
        raise TypeError(f"{where}: filter_method must be the name of a method of the manager, not {method!r}")
    if isinstance(given["model"], type):
        _manager(where, with_rows(given["model"]), method)


def _manager(where: str, model: Any, method: str | None) -> Any:
    manager = model._default_manager
    if method is None or callable(getattr(manager, method, None)):
        return manager
    raise ValueError(
        f"{where}: the manager of {model._meta.label}, {type(manager).__name__}, has no method {method!r}"
    )


def _rows(where: str, given: Mapping[str, Any], request: HttpRequest | None) -> QuerySet[Any]:
    model, method = model_named(given["model"]), given.get("filter_method")
    manager = _manager(where, model, method)
    if method is None:
        return manager.all()  # type: ignore[no-any-return]
    ask: Callable[..., Any] = getattr(manager, method)
    if given.get("sitewise"):
        if request is None:
            raise ValueError(f"{where} is sitewise, and the form got no request: pass request=")
        found = ask(request, sitewise=True)
    else:
        found = ask(request) if _wants_one(ask) else ask()
    if not isinstance(found, QuerySet):
        raise TypeError(f"{where}: {method} returned {type(found).__name__}; it must return a queryset")
    return found


def _wants_one(ask: Callable[..., Any]) -> bool:
    """Whether a method takes an argument by position."""
    try:
        parameters = inspect.signature(ask).parameters.values()
    except (TypeError, ValueError):
        return False
    return any(one.kind in {one.POSITIONAL_ONLY, one.POSITIONAL_OR_KEYWORD} for one in parameters)


def _takes_request(form: type[Any]) -> bool:
    """Whether a class behind the mixin names `request`: as a parameter, or by popping it from its keyword arguments."""
    behind = form.__mro__[form.__mro__.index(CachedDropdownMixin) + 1 :]
    for kind in behind:
        init = vars(kind).get("__init__")
        code = getattr(inspect.unwrap(init), "__code__", None) if init is not None else None
        if code is not None and (
            "request" in code.co_varnames[: code.co_argcount + code.co_kwonlyargcount]
            or "request" in code.co_consts
        ):
            return True
    return False


class OptimizedModelForm(CachedDropdownMixin, ModelForm):  # type: ignore[type-arg]
    """A ModelForm with cached dropdowns."""


class OptimizedDropdownForm(CachedDropdownMixin, Form):
    """A Form with cached dropdowns."""
