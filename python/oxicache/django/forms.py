"""Forms whose dropdowns are cached: `CachedDropdownMixin`. What is held, and until when: choices.py.

    class JobForm(CachedDropdownMixin, forms.ModelForm):
        cached_dropdown_fields = {"people": {"model": People, "filter_method": "filter_for_dropdown"}}

After a hit no query is made for the choices; what is submitted is looked for in the database as ever.
"""

import inspect
from collections.abc import Mapping
from datetime import timedelta
from typing import Any, ClassVar, Final

from django.conf import settings
from django.core.cache import DEFAULT_CACHE_ALIAS
from django.core.exceptions import ImproperlyConfigured
from django.forms import BaseForm, Form, ModelForm
from django.forms.models import BaseModelForm, apply_limit_choices_to_to_formfield
from django.http import HttpRequest

from oxicache import keys, options
from oxicache.django import conf
from oxicache.django.choices import Choices
from oxicache.django.dropdowns import Dropdown, check_class, field_of
from oxicache.django.holding import NativeHolder, holder_at
from oxicache.django.invalidation import invalidate
from oxicache.django.queries.fetching import Caching
from oxicache.django.queries.managing import watch_all
from oxicache.django.scope import Resolver, scope_of
from oxicache.django.selects import hold_field

__all__ = ["CachedDropdownMixin", "OptimizedDropdownForm", "OptimizedModelForm"]

_TIMEOUT: Final = "DROPDOWN_DATA"


class _Timeout:
    """What CACHE_TIMEOUTS has for dropdowns, as it is when somebody looks."""

    def __get__(self, form: Any, kind: Any = None) -> float | None:
        return conf.current().timeouts[_TIMEOUT]


def _check_order(form: type[Any]) -> None:
    first = next((kind for kind in form.__mro__ if kind in {CachedDropdownMixin, BaseForm}), None)
    if first is BaseForm:  # whose __init__ calls no other: the mixin's would never run
        raise TypeError(
            f"{form.__qualname__}: CachedDropdownMixin stands behind the form class, where it does nothing; "
            f"write class {form.__name__}(CachedDropdownMixin, ...)"
        )


class CachedDropdownMixin:
    """Stands before the form class. The choices of each field of `cached_dropdown_fields` are held until a row changes
    that they are made of.

    Of a field: `model`, a class or "app.Model"; `filter_method`, the name of a method of its manager, which gives the
    rows, called with the request if it takes it; without one the field's own rows are offered. `sitewise`: the method
    is called with the request and `sitewise=True`. `version` is a part of the key. `depends_on` names models that
    labels are made of and no query tells, as where labels are cached themselves. A class adds to what it inherits;
    None takes a field out.

    `dropdown_cache_timeout` is in seconds, None for ever; CACHE_TIMEOUTS["DROPDOWN_DATA"] unless it is set.
    `dropdown_cache_alias` names a NativeCache; with another cache nothing is held. The form takes `request=`. TypeError
    and ValueError name what is wrong in the class, when it is made or first used; `manage.py check` says it as
    oxicache.E006. Source: document 004, "Form Dropdown Caching".
    """

    cached_dropdown_fields: ClassVar[Mapping[str, Mapping[str, Any] | None]] = {}
    dropdown_cache_timeout: ClassVar[Any] = _Timeout()  # float | timedelta | None
    dropdown_cache_alias: ClassVar[str] = DEFAULT_CACHE_ALIAS
    cache_prefix: ClassVar[str] = "form:dropdown"
    dropdown_scope: ClassVar[
        Mapping[str, Resolver]
    ] = {}  # who knows the tenant where the settings name nobody
    request: HttpRequest | None
    _dropdowns: ClassVar[Mapping[str, Dropdown]] = {}
    _passes_request: ClassVar[bool]

    def __init_subclass__(cls, **kwargs: Any) -> None:
        """Refuse what is wrong, as far as it can be told yet, and notice changes of rows from now on."""
        super().__init_subclass__(**kwargs)
        _check_order(cls)
        cls._dropdowns = check_class(cls)
        if "dropdown_cache_timeout" in vars(cls):
            cls._seconds()
        cls._passes_request = _takes_request(cls)
        if vars(cls).get("cached_dropdown_fields"):
            watch_all()

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        """Take `request=`, and pass it on to a form class that takes it too."""
        request = kwargs.get("request")
        if "request" in kwargs and not self._passes_request:
            del kwargs["request"]
        super().__init__(*args, **kwargs)
        # A form class may have taken it by itself, or been given it.
        self.request = getattr(self, "request", None) if request is None else request
        for dropdown in self._dropdowns.values():
            field = field_of(self, dropdown)
            if field is not None:
                self._hold_choices(dropdown, field)

    def _hold_choices(self, dropdown: Dropdown, field: Any) -> None:
        queryset = dropdown.rows(self.request)
        found: Any = field.queryset if queryset is None else queryset
        if found is None:
            return  # the form sets it later, in a way of its own
        if getattr(found.query, "caching", None) is not None:
            found = found.uncached()  # what is held are its choices
        prefix = self._prefix(dropdown)
        if prefix is not None:
            hold_field(field, Choices(self._caching(dropdown), prefix, dropdown.where))
        field.queryset = found
        if queryset is not None and isinstance(self, BaseModelForm):
            apply_limit_choices_to_to_formfield(field)

    def _prefix(self, dropdown: Dropdown) -> str | None:
        """Return what begins the keys; None where nothing may be held. By it patterns find a tenant's choices."""
        alias = self.dropdown_cache_alias
        if alias not in settings.CACHES:
            raise ImproperlyConfigured(
                f"{type(self).__qualname__}.dropdown_cache_alias is {alias!r}, which is no alias of CACHES "
                f"({', '.join(settings.CACHES)})"
            )
        if not isinstance(holder_at(alias), NativeHolder):
            return None
        scope = scope_of(self.request, per_user=False, otherwise=self.dropdown_scope)
        if scope.missing:
            return None
        parts = [scope.prefix(), self.cache_prefix, _key(dropdown)]
        return ":".join(part for part in parts if part)

    @classmethod
    def _caching(cls, dropdown: Dropdown) -> Caching:
        return Caching(cls._seconds(), cls.dropdown_cache_alias, depends_on=dropdown.also_read())

    @classmethod
    def _seconds(cls) -> float | None:
        timeout: float | timedelta | None = cls.dropdown_cache_timeout
        return (
            None
            if timeout is None
            else options.seconds(f"{cls.__qualname__}.dropdown_cache_timeout", timeout)
        )

    @classmethod
    def invalidate_dropdown_cache(cls, field: str | None = None) -> int:
        """Invalidate the choices of a field, of all if None; how many entries that were, of all tenants and versions.

        Inside a transaction that has written they go at its commit, and none is counted. ValueError for another field.
        """
        dropdowns = cls._dropdowns
        if field is not None and field not in dropdowns:
            raise ValueError(
                f"{cls.__qualname__} caches no {field!r}; it caches {', '.join(dropdowns) or 'none'}"
            )
        globs = []
        for name, dropdown in dropdowns.items():
            if field in {None, name}:
                start = keys.glob_literal(f"{cls.cache_prefix}:{_key(dropdown).rpartition(':')[0]}:")
                globs += [f"{start}*", f"*:{start}*"]
        return invalidate(globs=globs, aliases=[cls.dropdown_cache_alias]).total if globs else 0


def _key(dropdown: Dropdown) -> str:
    """The part of the keys that says which field it is: of the class that says so, which others are derived from."""
    return f"{keys.escape(dropdown.form.__name__)}:{keys.escape(dropdown.field)}:{dropdown.version}"


def _takes_request(form: type[Any]) -> bool:
    """Whether a class behind the mixin names `request`: as a parameter, or to take it out of its keyword arguments."""
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
