"""What is invalidated, and by which rule: an `Effect` says which entries, a `Rule` which changes of a model have which.

No framework here and nothing is carried out: which models there are and what happens to them is known to
oxicache.django.rules, where the entries are to oxicache.django.reaching.
"""

import re
import string
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field, replace
from typing import Any, Final, TypeAlias

from oxicache.keys import glob_literal

__all__ = ["EVENTS", "NOTHING", "Effect", "Gathered", "Names", "Pending", "Rule", "Template", "operations_of"]

Texts: TypeAlias = frozenset[str]
# What names entries: a template with `{pk}`, `{tenant}` or `{field}`, or what makes them of the instance that changed.
Source: TypeAlias = str | Callable[[Any], Iterable[str]]

_NONE: Final[Texts] = frozenset()


@dataclass(frozen=True, slots=True)
class Names:
    """Names of entries, and where they are looked for: in which aliases of CACHES, and in which named caches.

    For those two None is all, () none. `version` is one of Django's; None is each alias's own for keys, and all of them
    for patterns.
    """

    tags: tuple[str, ...] = ()
    keys: tuple[str, ...] = ()
    globs: tuple[str, ...] = ()
    regexes: tuple[str, ...] = ()
    aliases: tuple[str, ...] | None = None
    caches: tuple[str, ...] | None = None
    version: int | None = None
    every_tag: bool = False

    def coarser(self) -> "Names":
        """Return few names that reach at least as far. See Effect.coarser."""
        keys, globs = _coarse(self.keys, self.globs)
        every_tag = self.every_tag or bool(self.tags)
        return replace(
            self, tags=(), keys=tuple(sorted(keys)), globs=tuple(sorted(globs)), every_tag=every_tag
        )


@dataclass(frozen=True, slots=True)
class Effect:
    """Entries that are to go, each as soon as one of these applies to it. Effects are joined with `|`.

    `words` are version words, of rows, models and decorated callables. `tags` and `keys` are compared, `globs` matched
    against whole keys, without Django's prefix and version, in the aliases of CACHES named by `aliases`, or where these
    are None in all, in the named caches and, as for tags, in decorated callables. `every_tag` stands for all tags there
    are: somebody could not say which.
    """

    words: Texts = _NONE
    tags: Texts = _NONE
    keys: Texts = _NONE
    globs: Texts = _NONE
    aliases: tuple[str, ...] | None = None
    every_tag: bool = False
    also: frozenset[Names] = frozenset()  # what the fields above cannot say

    def __or__(self, other: "Effect") -> "Effect":
        """Return an effect that reaches what either does."""
        if not isinstance(other, Effect):
            return NotImplemented
        if not self._is_of_caches:
            return replace(other, words=self.words | other.words, also=self.also | other.also)
        words, also = self.words | other.words, self.also | other.also
        if other._is_of_caches and other.aliases != self.aliases:
            return replace(self, words=words, also=also | {other.as_names()})
        return Effect(
            words,
            self.tags | other.tags,
            self.keys | other.keys,
            self.globs | other.globs,
            self.aliases,
            self.every_tag or other.every_tag,
            also,
        )

    def __bool__(self) -> bool:
        """Whether it reaches anything."""
        return bool(self.words) or self.reaches_caches

    @property
    def reaches_caches(self) -> bool:
        """Whether it is more than version words."""
        return self._is_of_caches or bool(self.also)

    @property
    def _is_of_caches(self) -> bool:
        return bool(self.tags or self.keys or self.globs) or self.every_tag

    def __len__(self) -> int:
        """How many names it holds: what it takes to keep it until a commit."""
        return len(self.words) + len(self.tags) + len(self.keys) + len(self.globs) + len(self.also)

    def as_names(self) -> Names:
        """Return it without its words and without what it reaches `also`."""
        return Names(
            tags=tuple(sorted(self.tags)),
            keys=tuple(sorted(self.keys)),
            globs=tuple(sorted(self.globs)),
            aliases=self.aliases,
            caches=None if self.aliases is None else (),
            every_tag=self.every_tag,
        )

    def names(self) -> list[str]:
        """Return what the trail knows it by: words as they are, the rest by its kind."""
        found = [*self.words]
        parts: list[Effect | Names] = [self, *self.also]
        for part in parts:
            found += [f"tag:{tag}" for tag in part.tags]
            found += [f"key:{key}" for key in part.keys]
            found += [f"pattern:{glob}" for glob in part.globs]
            found += [f"regex:{regex}" for regex in part.regexes] if isinstance(part, Names) else []
            if part.every_tag:
                found.append("tag:*")
        return found

    def coarser(self) -> "Effect":
        """Return an effect of few names that reaches at least as far, `user:*` for thousands of users' keys.

        Keys and globs become globs of how they begin, tags become all tags. Words stay: they have a bound of their own.
        """
        keys, globs = _coarse(self.keys, self.globs)
        also = frozenset(names.coarser() for names in self.also)
        every_tag = self.every_tag or bool(self.tags)
        return Effect(self.words, _NONE, keys, globs, self.aliases, every_tag, also)


NOTHING: Final = Effect()
MAX_COARSE_NAMES: Final = 1_000  # what a coarse effect may still tell apart
MAX_PENDING_NAMES: Final = 10_000  # as many as a transaction keeps words: names take memory


def _coarse(keys: Iterable[str], globs: Iterable[str]) -> tuple[Texts, Texts]:
    single = {key for key in keys if not _start(glob_literal(key))}
    found = {_start(glob_literal(key)) or key for key in keys if key not in single}
    found |= {_start(glob) or glob for glob in globs}
    if len(single) + len(found) > MAX_COARSE_NAMES:
        return _NONE, frozenset({"*"})
    return frozenset(single), frozenset(found)


# A key's first segment; of one that has no other, what stands before its first digit, as in `user_7`.
_head = re.compile(r"((?:\\.|[^:*?\[\\])+:)|((?:\\.|[^:*?\[\\0-9])+)(?=[0-9])")


def _start(glob: str) -> str | None:
    """A glob of all keys that begin as this one does; None where nothing says which part of it varies."""
    found = _head.match(glob)
    return f"{found[1] or found[2]}*" if found else None


class Pending:
    """Effects that wait for something, joined as they come. Their words are not kept here."""

    __slots__ = ("_also", "_by_aliases")

    def __init__(self) -> None:
        self._by_aliases: dict[tuple[str, ...] | None, Gathered] = {}
        self._also: set[Names] = set()

    def add(self, effect: Effect) -> bool:
        """Add an effect; whether it made more than MAX_PENDING_NAMES, so that what waits is coarser now."""
        if effect.also:
            self._also |= effect.also
        if effect._is_of_caches:
            gathered = self._by_aliases.get(effect.aliases)
            if gathered is None:
                gathered = self._by_aliases[effect.aliases] = Gathered()
            gathered.tags |= effect.tags
            gathered.keys |= effect.keys
            gathered.globs |= effect.globs
            gathered.every_tag = gathered.every_tag or effect.every_tag
        if sum(map(len, self._by_aliases.values())) + len(self._also) <= MAX_PENDING_NAMES:
            return False
        coarse = self.effect().coarser()
        self.clear()
        self._also |= coarse.also
        return self.add(replace(coarse, also=frozenset())) or True

    def join(self, other: "Pending") -> None:
        """Add what waits in another."""
        self.add(other.effect())

    def effect(self) -> Effect:
        """Return what waits."""
        found = Effect(also=frozenset(self._also))
        for aliases, gathered in self._by_aliases.items():
            found |= gathered.effect(aliases)
        return found

    def clear(self) -> None:
        """Forget all."""
        self._by_aliases.clear()
        self._also.clear()

    def __bool__(self) -> bool:
        """Whether anything waits."""
        return bool(self._by_aliases or self._also)


class Gathered:
    """An effect that is being put together, of entries in the same aliases."""

    __slots__ = ("every_tag", "globs", "keys", "tags", "words")

    def __init__(self) -> None:
        self.words: set[str] = set()
        self.tags: set[str] = set()
        self.keys: set[str] = set()
        self.globs: set[str] = set()
        self.every_tag = False

    def effect(self, aliases: tuple[str, ...] | None) -> Effect:
        """Return it as it is now."""
        return Effect(
            frozenset(self.words),
            frozenset(self.tags),
            frozenset(self.keys),
            frozenset(self.globs),
            aliases,
            self.every_tag,
        )

    def __len__(self) -> int:
        """How many names it holds."""
        return len(self.words) + len(self.tags) + len(self.keys) + len(self.globs)


# ---------------------------------------------------------------- rules

EVENTS: Final = ("save", "create", "update", "delete", "m2m", "bulk")
# What callers of other systems say. Source: 003, "Model-Based Invalidation"; 004, "Invalidation Triggers".
_OTHER_NAMES: Final[Mapping[str, tuple[str, ...]]] = {
    "save": ("create", "update"),
    "m2m_change": ("m2m",),
    "m2m_changed": ("m2m",),
    "post_save": ("create", "update"),
    "post_delete": ("delete",),
}


def operations_of(event: Any) -> tuple[str, ...]:
    """Return which of create, update, delete, m2m and bulk an event stands for: "save" for two of them."""
    if isinstance(event, str):
        found = _OTHER_NAMES.get(event) or ((event,) if event in EVENTS else ())
        if found:
            return found
    raise ValueError(f"{event!r} is no event; the events are {', '.join(EVENTS)}")


@dataclass(frozen=True, slots=True)
class Rule:
    """What goes when rows of a model change: of `model`, its label or itself, by one of the events `on`.

    `tags`, `keys` and `globs` are templates (`user:{pk}`, `{tenant}`, `{author_id}`), or callables of the instance that
    changed. A glob without wildcards means whole segments of a key. `related` names kinds: `profile` is the tag and the
    key `profile:{pk}`, and all keys that have these segments. `models` are others whose rows' values go, all of them.
    `cascade` applies to the rows that refer to this one what applies when they change. With `per_tenant` globs stay
    below the tenant of the row, where that is known. `aliases` of CACHES: None is all. A rule that looks at more of a
    row than its key is applied to what the row was before a save too, which takes a query; not with `previous=False`.
    TypeError and ValueError name what is wrong; what needs the models, as a field that does not exist, is found when
    the rule is registered.
    """

    model: Any
    on: Iterable[str] = ("save", "delete", "m2m", "bulk")
    tags: Source | Iterable[Source] = ()
    keys: Source | Iterable[Source] = ()
    globs: Source | Iterable[Source] = ()
    related: str | Iterable[str] = ()
    cascade: bool = False
    models: Any = ()
    aliases: str | Iterable[str] | None = None
    name: str | None = None
    per_tenant: bool = False
    previous: bool = True
    operations: frozenset[str] = field(init=False, repr=False, compare=False)

    def __post_init__(self) -> None:
        """Check and normalise what was given."""
        if not isinstance(self.model, type | str) or not self.model:
            raise TypeError(
                f'the model of a rule must be a model or its label "app.Model", not {self.model!r}'
            )
        name: Any = self.name  # whatever the annotation says
        if name is not None and not (isinstance(name, str) and name):
            raise TypeError(f"the name of a rule must be a str that is not empty, or None, not {name!r}")
        self._settle_events()
        self._settle_sources()
        self._settle_names()
        for switch in ("cascade", "per_tenant", "previous"):
            if not isinstance(getattr(self, switch), bool):
                raise TypeError(
                    f"{self.title}: {switch} must be True or False, not {getattr(self, switch)!r}"
                )

    def _settle_events(self) -> None:
        on = self._several("on")
        found = {operation for event in on for operation in self._operations(event)}
        if not found:
            raise ValueError(f"{self.title}: on must name an event, one of {', '.join(EVENTS)}")
        object.__setattr__(self, "operations", frozenset(found))
        object.__setattr__(self, "on", on)

    def _settle_sources(self) -> None:
        for name in ("tags", "keys", "globs"):
            sources = self._several(name)
            for source in sources:
                self._check(name, source)
            object.__setattr__(self, name, sources)

    def _settle_names(self) -> None:
        object.__setattr__(self, "models", self._several("models"))
        for name in ("related", "aliases"):
            if (given := getattr(self, name)) is not None:
                texts = self._several(name)
                if not all(isinstance(text, str) and text for text in texts):
                    raise TypeError(f"{self.title}: {name} must hold str that are not empty, not {given!r}")
                object.__setattr__(self, name, texts)

    @property
    def title(self) -> str:
        """What it is called in messages and in the trail."""
        model = self.model if isinstance(self.model, str) else self.model.__name__
        return self.name or f"rule of {model}"

    def _several(self, name: str) -> tuple[Any, ...]:
        given = getattr(self, name)
        if isinstance(given, str | type) or callable(given):
            return (given,)
        if not isinstance(given, Iterable):
            raise TypeError(f"{self.title}: {name} must be one or several, not {given!r}")
        return tuple(given)

    def _operations(self, event: Any) -> tuple[str, ...]:
        try:
            return operations_of(event)
        except ValueError as error:
            raise ValueError(f"{self.title}: {error}") from None

    def _check(self, name: str, source: Any) -> None:
        if callable(source):
            return
        if not isinstance(source, str):
            raise TypeError(f"{self.title}: {name} must hold templates or callables, not {source!r}")
        try:
            Template(source)
        except ValueError as error:
            raise ValueError(f"{self.title}: {name}: {error}") from None


# ---------------------------------------------------------------- templates


class Template:
    """A text with names in braces, taken apart once. `form` is it for Python's `%`, with a tuple of values."""

    __slots__ = ("form", "names", "text")

    def __init__(self, text: str) -> None:
        """Parse it. ValueError says what is wrong: nothing but names may stand in braces."""
        if not text:
            raise ValueError("a template must not be empty")
        parts: list[str] = []
        names: list[str] = []
        try:
            parsed = list(string.Formatter().parse(text))
        except ValueError as error:
            raise ValueError(f"{text!r} is no template: {error}") from None
        for literal, name, spec, conversion in parsed:
            parts.append(literal.replace("%", "%%"))
            if name is not None:
                if not name.isidentifier() or spec or conversion:
                    raise ValueError(f"{text!r} is no template: only names may stand in braces")
                parts.append("%s")
                names.append(name)
        self.text = text
        self.names = tuple(names)
        self.form = "".join(parts)

    def render(self, values: Iterable[str]) -> str:
        """Return the text with these in the place of its names."""
        return self.form % tuple(values)

    @property
    def literal(self) -> str:
        """What stands outside the braces, with nothing in their place."""
        return self.render("" for _ in self.names)
