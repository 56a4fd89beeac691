"""What one rule means for one row: its templates taken apart once, and what they make of the row that changed.

A value that nobody knows, because the row is not known or the field was deferred, makes the effect wider: `*` in keys
and globs, every tag where a tag was meant. Nothing here asks the database. Which rules there are: rulebook.py.
"""

import logging
import re
from collections.abc import Callable, Iterable
from typing import Any, TypeAlias

from django.core.exceptions import FieldDoesNotExist
from django.db.models import Model

from oxicache.django import words
from oxicache.django.changes import Row
from oxicache.invalidation import Gathered, Rule, Template
from oxicache.keys import glob_literal

__all__ = ["CompiledRule", "every_row_words"]

logger = logging.getLogger("oxicache.rules")

# Texts for Python's `%`, by the names whose values they take.
Forms: TypeAlias = dict[tuple[str, ...], list[str]]

_wildcard = re.compile(r"[*?\[\\]")


class CompiledRule:
    """A rule whose model is loaded: what it makes of a row, and how often it did."""

    # What is counted is not locked: of two threads at the same instant one may go uncounted.

    def __init__(self, rule: Rule, model: type[Model], others: Iterable[type[Model]]) -> None:
        """Take its templates apart. ValueError names a field that the model does not have."""
        self.rule = rule
        self.model = model
        self.title = rule.title
        self.runs = self.failures = self.cycles = self._called = 0
        self.last_error: str | None = None
        self._warned: set[str] = set()
        self._words = {word for other in others for word in every_row_words(other)}
        self._fixed_tags: set[str] = set()
        self._tags: Forms = {}
        self._always = _Keys()
        self._narrow = _Keys()  # for a row whose tenant is known,
        self._wide = _Keys()  # and for one whose tenant is not
        self._calls: list[tuple[str, Callable[[Any], Iterable[str]]]] = []
        self._take_apart()
        parts = (self._tags, *(forms for keys in self._keys() for forms in (keys.keys, keys.globs)))
        self.names = frozenset(name for forms in parts for names in forms for name in names)
        self._refuse_unknown()
        # What changes from row to row, and more than the primary key of which has to be known.
        self.differs_by_row = bool(self._calls or self.names - {"tenant"})
        self._has_keys, self._has_tenant = self._always.is_any, self._narrow.is_any
        self.has_calls = bool(self._calls)
        fixed = len(self._fixed_tags) + self._always.number_fixed
        self._size = sum(map(len, (*self._tags.values(), *self._always.forms()))) + fixed
        self.needs_instance = bool(self._calls or self.names - {"pk", "tenant"})

    def gather(self, row: Row, into: Gathered) -> None:
        """Add what this rule asks for when the row changes. What its callables raise is logged and counted."""
        self.runs += 1
        try:
            self._gather(row, into)
        except Exception as error:  # noqa: BLE001 - a resolver of tenants, a field's own type: theirs must not stop a save
            self.failed("entries", None, error)

    @property
    def effects(self) -> int:
        """How many names it gave, a template counting once for each row."""
        return self.runs * self._size + self._called

    def _gather(self, row: Row, into: Gathered) -> None:
        if self._words:
            into.words |= self._words
        if self._fixed_tags:
            into.tags |= self._fixed_tags
        for name, call in self._calls:
            self._gather_call(name, call, row, into)
        for names, forms in self._tags.items():
            variants = row.variants(names)
            if variants is None:
                into.every_tag = True
                self._warn_once(
                    f"a tag with {', '.join(names)}", "every entry that has a tag is invalidated instead"
                )
            else:
                for values in variants:
                    into.tags.update([form % values for form in forms])
        if self._has_keys:
            self._always.render(row, into)
        if self._has_tenant:
            (self._narrow if row.knows("tenant") else self._wide).render(row, into)

    def _gather_call(self, name: str, call: Callable[[Any], Iterable[str]], row: Row, into: Gathered) -> None:
        if row.instance is None:
            self._gather_unknown(name, into)
            return
        try:
            texts = _texts(call(row.instance))
        except Exception as error:  # noqa: BLE001 - whatever a project's own function raises must not stop its save
            self.failed(name, call, error)
            return
        self._called += len(texts)
        if name != "globs":
            getattr(into, name).update(texts)
            return
        for glob in [glob for text in texts for glob in _whole_segments(text, text)]:
            (into.globs if _wildcard.search(glob) else into.keys).add(glob)

    def _gather_unknown(self, name: str, into: Gathered) -> None:
        """Without an instance nobody knows what a callable would name."""
        if name == "tags":
            into.every_tag = True
            self._warn_once("a callable of tags", "every entry that has a tag is invalidated instead")
        elif self.rule.aliases is not None:
            into.globs.add("*")
            self._warn_once(f"a callable of {name}", "all entries of its aliases are invalidated instead")
        else:
            # Everything there is may include sessions, which are no copies of anything.
            self._warn_once(
                f"a callable of {name}", "nothing is invalidated by it: name aliases, or use a template"
            )

    def failed(self, name: str, call: Callable[[Any], Iterable[str]] | None, error: Exception) -> None:
        """Count a failure, and say the first."""
        self.failures += 1
        self.last_error = f"{type(error).__name__}: {error}"
        shown = "a template" if call is None else getattr(call, "__qualname__", repr(call))
        if self.failures == 1:
            logger.warning(
                "%s: %s failed for %s, and its %s are not invalidated; further failures are counted, and not logged",
                self.title,
                shown,
                self.model._meta.label,
                name,
                exc_info=error,
            )

    def cut(self, path: list[str]) -> None:
        """Count a cycle of cascades that was not followed any further, and say it once."""
        self.cycles += 1
        if (shown := " -> ".join(path)) not in self._warned:
            self._warned.add(shown)
            logger.warning("%s: its cascade leads back to where it was: %s; it ends there", self.title, shown)

    def _warn_once(self, what: str, consequence: str) -> None:
        if what not in self._warned:
            self._warned.add(what)
            logger.warning(
                "%s: rows of %s changed of which it is not known what %s means; %s",
                self.title,
                self.model._meta.label,
                what,
                consequence,
            )

    # ------------------------------------------------------------ taken apart

    def _take_apart(self) -> None:
        rule = self.rule
        for name in ("tags", "keys", "globs"):
            for source in getattr(rule, name):
                if callable(source):
                    self._calls.append((name, source))
                elif name == "globs":
                    self._take_glob(source)
                else:
                    (self._take_tag if name == "tags" else self._always.add_key)(source)
        for kind in rule.related:
            self._take_tag(f"{kind}:{{pk}}")
            for glob in _whole_segments(f"{kind}:{{pk}}", kind):
                self._always.add(glob)

    def _take_tag(self, text: str) -> None:
        template = Template(text)
        if template.names:
            self._tags.setdefault(template.names, []).append(template.form)
        else:
            self._fixed_tags.add(template.literal)

    def _take_glob(self, text: str) -> None:
        literal = Template(text).literal
        globs = _whole_segments(text, literal)
        if not self.rule.per_tenant or text.startswith("tenant:"):
            for glob in globs:
                self._always.add(glob)
            return
        for glob in globs:
            self._wide.add(glob)
        for glob in _of_tenant(text, literal):
            self._narrow.add(glob)

    def _keys(self) -> tuple["_Keys", ...]:
        return self._always, self._narrow, self._wide

    def _refuse_unknown(self) -> None:
        fields = {field.attname for field in self.model._meta.concrete_fields}
        for name in sorted(self.names - {"pk", "tenant"} - fields):
            raise ValueError(f"{self.title}: {_unknown_name(self.model, name)}")


def every_row_words(model: type[Model]) -> list[str]:
    """Return the words of all rows of a model and of all that shows one."""
    apart = [f"rows:{label}" for label in words.lineage(model).apart]
    return [*words.rows_words(model), *words.model_words(model), *apart]


class _Keys:
    """Templates of keys and of globs. What has no wildcard is a key: nobody need search for it."""

    __slots__ = ("_keys_as_globs", "fixed_globs", "fixed_keys", "globs", "keys")

    def __init__(self) -> None:
        self.fixed_globs: set[str] = set()
        self.fixed_keys: set[str] = set()
        self.globs: Forms = {}
        self.keys: Forms = {}
        self._keys_as_globs: Forms = {}  # for values that are unknown

    def add(self, text: str) -> None:
        template = Template(text)
        if not _wildcard.search(template.literal):
            self.add_key(text)
        elif template.names:
            self.globs.setdefault(template.names, []).append(template.form)
        else:
            self.fixed_globs.add(template.literal)

    def add_key(self, text: str) -> None:
        template = Template(text)
        if template.names:
            self.keys.setdefault(template.names, []).append(template.form)
            self._keys_as_globs.setdefault(template.names, []).append(Template(glob_literal(text)).form)
        else:
            self.fixed_keys.add(template.literal)

    def render(self, row: Row, into: Gathered) -> None:
        into.globs |= self.fixed_globs
        into.keys |= self.fixed_keys
        for names, forms in self.keys.items():
            variants = row.variants(names)
            if variants is not None:
                for values in variants:
                    into.keys.update([form % values for form in forms])
            else:
                for values in row.escaped(names):
                    into.globs.update([form % values for form in self._keys_as_globs[names]])
        for names, forms in self.globs.items():
            for values in row.escaped(names):
                into.globs.update([form % values for form in forms])

    def forms(self) -> list[list[str]]:
        return [*self.globs.values(), *self.keys.values()]

    @property
    def number_fixed(self) -> int:
        return len(self.fixed_keys) + len(self.fixed_globs)

    @property
    def is_any(self) -> bool:
        return bool(self.globs or self.keys or self.fixed_globs or self.fixed_keys)


def _texts(found: Any) -> list[str]:
    texts: list[Any] = [found] if isinstance(found, str) else list(found or ())
    for text in texts:
        if not isinstance(text, str) or not text:
            raise TypeError(f"it must return str that are not empty, not {text!r}")
    return texts


def _whole_segments(text: str, literal: str) -> tuple[str, ...]:
    """A glob as it is; of a text without wildcards those of its segments, wherever they stand in a key."""
    if _wildcard.search(literal):
        return (text,)
    return (text, f"{text}:*", f"*:{text}", f"*:{text}:*")


def _of_tenant(text: str, literal: str) -> tuple[str, ...]:
    """The same below the tenant's prefix, and of keys that say nothing of a tenant. Source: 004, "Key Patterns"."""
    scoped = [f"tenant:{{tenant}}:{glob}" for glob in _whole_segments(text, literal)]
    if _wildcard.search(literal):
        return tuple(scoped)
    return (*scoped, text, f"{text}:*", f"user:*:{text}", f"user:*:{text}:*")


def _unknown_name(model: type[Model], name: str) -> str:
    label = model._meta.label
    try:
        field: Any = model._meta.get_field(name)
    except FieldDoesNotExist:
        field = None
    attname = None if getattr(field, "many_to_many", True) else getattr(field, "attname", None)
    if attname is not None:
        return f"{{{name}}} is a relation of {label}; write {{{attname}}}"
    return f"{label} has no column {name}; a template takes pk, tenant and the attributes that hold columns"
