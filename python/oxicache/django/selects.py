"""The widgets of held choices: a select's options are rendered once, with none selected, and held like the choices.

Rendering options is most of what a long dropdown costs. Only Django's own options are held, of its own templates: of a
widget that makes options itself, a renderer of a project's own or a template that takes the place of Django's nobody
knows what else it looks at. Those are rendered as ever.
"""

import copy
import functools
import itertools
import re
from pathlib import Path
from typing import Any, Final

import django.forms
from django.forms.renderers import BaseRenderer, get_default_renderer
from django.forms.widgets import ChoiceWidget, Select, SelectMultiple
from django.template import TemplateDoesNotExist
from django.utils.safestring import SafeString, mark_safe

from oxicache.django.choices import Choices, HeldIterator, hold

__all__ = ["hold_field"]

_END: Final = "\n</select>"
_SELECTED: Final = " selected"
_TEMPLATES: Final = tuple(
    f"django/forms/widgets/{name}.html" for name in ("select", "select_option", "attrs")
)
_DJANGOS: Final = str(Path(django.forms.__file__).parent) + "/"
# What decides what an option looks like, and which is selected.
_DECIDING: Final = (
    "_render",
    "build_attrs",
    "checked_attribute",
    "create_option",
    "format_value",
    "id_for_label",
    "optgroups",
    "option_inherits_attrs",
    "option_template_name",
    "options",
    "render",
    "template_name",
)
_DECIDING_NAMES: Final = frozenset(_DECIDING) - {"template_name"}  # which somebody may have put on one widget
_tag = re.compile(r'<option value="[^"]*"(?=>)')


def hold_field(field: Any, choices: Choices) -> None:
    """Have the choices of a form's own field held, and the options of its select. Its queryset is to be set after that.

    A widget that looks for its options itself, as those with autocompletion do, goes on to ask the database.
    """
    widget = field.widget
    widget = getattr(widget, "widget", widget)  # of the admin's wrapper
    kind: Any = type(widget)
    if isinstance(widget, ChoiceWidget) and kind.optgroups is not ChoiceWidget.optgroups:
        return
    hold(field, choices)
    if not issubclass(kind, _HeldOptions) and _makes_djangos_options(kind):
        widget.__class__ = _class_of(kind)


@functools.lru_cache(maxsize=256)
def _makes_djangos_options(kind: Any) -> bool:
    if not issubclass(kind, Select):
        return False
    base: type[Select] = SelectMultiple if issubclass(kind, SelectMultiple) else Select
    if any(getattr(kind, name) != getattr(base, name) for name in _DECIDING):
        return False
    # The admin's adds attributes of the select.
    return kind.get_context is base.get_context or kind.__module__ == "django.contrib.admin.widgets"


class _HeldOptions(Select):
    """Stands before the class of a select."""

    _plain: type[Select]

    def render(
        self, name: str, value: Any, attrs: dict[str, Any] | None = None, renderer: BaseRenderer | None = None
    ) -> SafeString:
        """Return what the widget itself returns."""
        choices: Any = self.choices
        if isinstance(choices, HeldIterator):
            whole = self._whole(choices, name, value, attrs, renderer or get_default_renderer())
            if whole is not None:
                return whole
        return super().render(name, value, attrs, renderer)

    def _whole(
        self, choices: HeldIterator, name: str, value: Any, attrs: Any, renderer: Any
    ) -> SafeString | None:
        if not _DECIDING_NAMES.isdisjoint(vars(self)) or not _are_djangos(self, renderer):
            return None
        kind = type(renderer)
        look = f"{kind.__module__}.{kind.__qualname__}"
        held = choices.made_of("options", look, lambda: _options(choices, renderer))
        if held is None or not held[0]:
            return None
        (options,), ends, values = held
        bare: Any = copy.copy(self)
        bare.__class__ = self._plain
        bare.choices = ()
        start = str(bare.render(name, value, attrs, renderer)).removesuffix(_END)
        wanted = frozenset(self.format_value(value))
        marked = _marked(options, ends, values, wanted, len(values) if self.allow_multiple_selected else 1)
        return mark_safe(start + marked + _END)  # noqa: S308 -- all of it rendered by Django


def _are_djangos(widget: Any, renderer: Any) -> bool:
    """Whether the templates are those of Django's forms, and no project's of the same name."""
    if type(renderer).render is not BaseRenderer.render or widget.template_name != _TEMPLATES[0]:
        return False
    try:
        found = [renderer.get_template(name).origin.name for name in _TEMPLATES]
    except (AttributeError, TemplateDoesNotExist):  # of an engine of a project's own
        return False
    return widget.option_template_name == _TEMPLATES[1] and all(
        str(one).startswith(_DJANGOS) for one in found
    )


def _options(choices: HeldIterator, renderer: Any) -> tuple[Any, ...]:
    """Make the options, where the tag of each ends, and their values; nothing where they are not as expected."""
    given = list(choices)
    start = str(Select().render("name", [], None, renderer)).removesuffix(_END)
    whole = str(Select(choices=given).render("name", [], None, renderer))
    options = whole.removeprefix(start).removesuffix(_END)
    ends = tuple(found.end() for found in _tag.finditer(options))
    values = tuple(text for value, label in given for text in _values(value, label))
    if len(start) + len(options) + len(_END) != len(whole) or len(ends) != len(values):
        return (), (), ()
    return (options,), ends, values


def _values(value: Any, label: Any) -> list[str]:
    """What a select compares with what is selected, as Django's own does."""
    if isinstance(label, list | tuple):
        return [str(one) for one, _ in label]
    return ["" if value is None else str(value)]


def _marked(
    options: str, ends: tuple[int, ...], values: tuple[str, ...], wanted: frozenset[str], most: int
) -> str:
    """Mark the options of the values that are wanted, the first `most` of them."""
    at = [end for end, value in zip(ends, values, strict=True) if value in wanted][:most] if wanted else []
    parts = [options[start:end] for start, end in itertools.pairwise([0, *at, len(options)])]
    return _SELECTED.join(parts)


@functools.lru_cache(maxsize=256)
def _class_of(plain: Any) -> type[Any]:
    # By its own name: templates and libraries look at it.
    names = {"__module__": plain.__module__, "__qualname__": plain.__qualname__, "_plain": plain}
    return type(plain.__name__, (_HeldOptions, plain), names)
