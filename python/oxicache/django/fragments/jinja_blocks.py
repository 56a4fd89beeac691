"""Blocks of Jinja2's templates: what of a visitor they have at hand, and what stands in for it meanwhile."""

from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import contextmanager
from contextvars import ContextVar
from types import MappingProxyType
from typing import Any

from jinja2.environment import TemplateModule
from jinja2.runtime import Context, Macro

from oxicache.django.fragments import guarding

__all__ = ["Block", "seen"]

# Of the fragment that is being rendered: what stands in for what, by its identity. A template has names at hand that it
# took from the context before, and names that no context has: of loops, and of arguments of macros.
_replaced: ContextVar[dict[int, Any]] = ContextVar("oxicache_jinja_replaced", default={})  # noqa: B039 -- never changed


def seen(value: Any) -> Any:
    """Return what stands in for a value while a fragment is rendered that shows it, whatever its name."""
    replaced = _replaced.get()
    if replaced and isinstance(value, (Macro, TemplateModule)):
        _look_within(value, replaced)
        return value
    return replaced.get(id(value), value)


def _look_within(found: Macro | TemplateModule, replaced: dict[int, Any]) -> None:
    """Ask stand-ins of what a macro has had at hand since before the fragment: it may show that."""
    macros = (
        [found] if isinstance(found, Macro) else [one for one in vars(found).values() if type(one) is Macro]
    )
    for macro in macros:
        function: Any = macro._func
        for cell in function.__closure__ or ():
            try:
                content = cell.cell_contents
            except ValueError:
                continue  # nothing is in it yet
            bool(replaced.get(id(content)))
            context = getattr(content, "__self__", None)
            if isinstance(context, Context):  # of where it was imported from, which it asks for names
                names = [one for one in function.__code__.co_consts if isinstance(one, str)]
                for name in names:
                    bool(replaced.get(id(context.resolve_or_missing(name))))


class Block:
    """A block in a context, as `fragments.rendering.Block` has it."""

    def __init__(
        self,
        context: Context,
        html: Callable[[], Any],
        given: tuple[Any, ...],
        roots: tuple[str, ...] = (),
        session: tuple[str, ...] = (),
        *,
        local: Mapping[str, Any] = MappingProxyType({}),
        has_includes: bool = False,
    ) -> None:
        self._caller = html
        self._local = local
        self._has_includes = has_includes
        self._context = context
        self._given = given
        self._roots = roots
        self._session = session

    def names(self) -> Iterable[tuple[str, Any]]:
        """Return what there is by a name: in the context, and where that does not see it."""
        return [*self._context.get_all().items(), *self._hidden()]

    def _hidden(self) -> list[tuple[str, Any]]:
        """Return names that the context does not have, of loops and of arguments; marked, for they say nothing."""
        known = self._context.get_all()
        return [(f"\0{name}", value) for name, value in self._local.items() if known.get(name) is not value]

    def html(self) -> str:
        """Render the block."""
        if self._has_includes:  # which are handed these as they are
            for _, value in self._hidden():
                bool(_replaced.get().get(id(value)))
        content: str = self._caller()
        return content

    @contextmanager
    def put(self, stand_ins: dict[str, Any]) -> Iterator[None]:
        """Have these stand there meanwhile."""
        places = (self._context.parent, self._context.vars)
        kept = [(place, name, place[name]) for place in places for name in stand_ins.keys() & place.keys()]
        found = {id(value): stand_ins[name] for _, name, value in kept}
        found |= {id(value): stand_ins[name] for name, value in self._hidden() if name in stand_ins}
        token = _replaced.set(found)
        for place, name, _ in kept:
            place[name] = stand_ins[name]
        try:
            yield
        finally:
            for place, name, value in kept:
                place[name] = value
            _replaced.reset(token)

    def given(self) -> tuple[Any, ...]:
        """Return what was asked for already; note what its source says that it looks at."""
        looks = guarding.outer()
        if looks is not None:
            for root in self._roots:
                looks.note(root)
            for name in self._session:
                looks.note_session(name)
        return self._given
