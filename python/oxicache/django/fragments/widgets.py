"""Cached widgets: `widgets/NAME.html`, held, and shown through `core/cached_widget.html`."""

from collections.abc import Mapping
from typing import Any, Final

from oxicache.django.fragments.keying import WIDGET, Fragment, digest_of
from oxicache.django.fragments.options import OPTIONS, fragment_of

__all__ = ["WRAPPER", "template_name", "widget"]

# Shown {content, cached, error}. The last is None: what a widget raises passes through, as from `{% include %}`.
WRAPPER: Final = "core/cached_widget.html"


def template_name(name: Any) -> str:
    """Return the template of a widget. TypeError names what is no name of one."""
    if not isinstance(name, str) or not name:
        raise TypeError(f"the name of a widget must be text that is not empty, not {name!r}")
    return f"widgets/{name}.html"


def widget(name: Any, said: Mapping[str, Any], language: str) -> tuple[Fragment, tuple[Any, ...]]:
    """Return a widget as a fragment, and what it varies by: all that is `said` and no option of a block.

    `language`: of its template. TypeError and ValueError name what is wrong.
    """
    options = {option: value for option, value in said.items() if option in OPTIONS}
    fragment = fragment_of(name, options, digest_of(language, template_name(name)), kind=WIDGET)
    given = [part for option in sorted(said.keys() - OPTIONS) for part in (option, said[option])]
    return fragment, tuple(given)
