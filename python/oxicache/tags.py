"""Tags: what one may be, how their version words are spelt, and which tags die with another.

A load with tags captures their words before it begins, so that a tag reaches every process of the host at its next
read. Who captures: loader.py and rows.py. Who moves the words: oxicache.django.reaching.
"""

import logging
import re
from collections.abc import Callable, Collection, Iterable
from typing import Any, Final

from oxicache.options import TAG_MAX_CHARS, TAG_MAX_EXPANDED, TAG_MAX_PARENTS

__all__ = [
    "ANY_TAG",
    "EVERY_TAG",
    "are_alone",
    "captured_words",
    "checked_tags",
    "expand",
    "forget_parents",
    "moved_words",
    "tag_parent",
    "tag_word",
]

logger = logging.getLogger("oxicache.tags")

ANY_TAG: Final = "tags"  # the word that any tag moves, for values with more tags than there is room for
EVERY_TAG: Final = "tags:*"  # the word that moves where nobody can say which tags
TAG_MAX_OF_MANY: Final = 100  # more descendants for each of several tags, so that a million bounds them all
_FIELD: Final = re.compile(r"\{(\w*)\}")


def checked_tags(tags: Iterable[str]) -> tuple[str, ...]:
    """Return tags as a tuple; TypeError and ValueError name what is none."""
    given: Any = tags  # whatever the annotation says
    names = (None,) if isinstance(given, str) or not isinstance(given, Iterable) else tuple(given)
    for name in names:
        if not isinstance(name, str):
            raise TypeError(f"tags must be an iterable of strings, not {tags!r}")
    for name in names:
        if not 0 < len(name) <= TAG_MAX_CHARS:
            _check_length(name)
    return names


def _check_length(tag: str) -> None:
    if not tag:
        raise ValueError("a tag must not be empty")
    if len(tag) > TAG_MAX_CHARS:
        raise ValueError(f"a tag has at most {TAG_MAX_CHARS} characters, and {tag[:40]!r}... has {len(tag)}")


# ---------------------------------------------------------------- version words


def tag_word(tag: str) -> str:
    """Return the word of one tag."""
    return f"tag:{tag}"


def captured_words(tags: Iterable[str], room: int) -> list[str]:
    """Return the words that a value with these tags depends on, at most `room`; past that the one that any tag moves.

    So a value with very many tags goes with any tag: too early, and never too late.
    """
    words = [tag_word(tag) for tag in dict.fromkeys(tags)]
    if not words:
        return []
    return [EVERY_TAG, *words] if len(words) < room else [ANY_TAG]


def moved_words(tags: Iterable[str]) -> list[str]:
    """Return the words that are moved when these tags are invalidated."""
    words = [tag_word(tag) for tag in tags]
    return [*words, ANY_TAG] if words else []


# ---------------------------------------------------------------- parents

# As rules they are registered when modules are imported, by each process for itself. Each step is one atomic operation
# on a dict, so that a fork finds nothing locked.
_edges: dict[tuple[str, str], int] = {}  # how often each was registered, by parent and child
_children: dict[str, dict[str, None]] = {}
_templates: dict[str, tuple[re.Pattern[str], dict[str, None]]] = {}  # the same of parents with fields
_reported: set[str] = set()  # what was said already of expansions that do not end


def tag_parent(child: str, parent: str) -> Callable[[], None]:
    """Have `child` invalidated whenever `parent` is, and so on down; return what undoes that.

    Both may have fields, as in `tag_parent("profile:{pk}", "user:{pk}")`: a field stands for one segment between
    colons, and each of the child's must be one of the parent's. Tags that are each other's parents die together, and a
    warning names them. To be registered by every process that invalidates: at import. ValueError past TAG_MAX_PARENTS.
    """
    for tag in (child, parent):
        if not isinstance(tag, str):
            raise TypeError(f"a tag must be a str, not {tag!r}")
        _check_length(tag)
    fields = _FIELD.findall(parent)
    unknown = [name for name in _FIELD.findall(child) if name not in fields or not name]
    if unknown or "" in fields or len(set(fields)) < len(fields):
        wrong = (
            f"{{{unknown[0]}}} is no field of it" if unknown else "each of its fields needs a name of its own"
        )
        raise ValueError(f"{child!r} cannot be a child of {parent!r}: {wrong}")
    edge = (parent, child)
    if edge not in _edges and len(_edges) >= TAG_MAX_PARENTS:
        raise ValueError(
            f"{TAG_MAX_PARENTS} children of tags are registered, which is the limit: not {child!r}"
        )
    below = frozenset[str]() if fields else expand([child])
    if below is not None and parent in below:
        logger.warning(
            "The tags %r and %r are each other's parents: they are invalidated together.", child, parent
        )
    _children_of(parent, fields)[child] = None
    _edges[edge] = _edges.get(edge, 0) + 1
    left = [edge]

    def undo() -> None:
        if left:
            left.clear()
            _leave(parent, child, fields)

    return undo


def _children_of(parent: str, fields: list[str]) -> dict[str, None]:
    if not fields:
        return _children.setdefault(parent, {})
    parts = _FIELD.split(parent)
    pattern = "".join(
        f"(?P<{part}>[^:]+)" if number % 2 else re.escape(part) for number, part in enumerate(parts)
    )
    return _templates.setdefault(parent, (re.compile(pattern), {}))[1]


def _leave(parent: str, child: str, fields: list[str]) -> None:
    _edges[parent, child] = _edges.get((parent, child), 1) - 1
    if _edges[parent, child] <= 0:
        del _edges[parent, child]
        _children_of(parent, fields).pop(child, None)


def are_alone(tags: Collection[str]) -> bool:
    """Whether nothing dies with these, which are tags if they are str. There must be one at least."""
    return not _edges and "" not in tags and max(map(len, tags)) <= TAG_MAX_CHARS


def expand(tags: Iterable[str]) -> frozenset[str] | None:
    """Return these tags and all that die with them; None for every tag there is, where those are too many.

    More than TAG_MAX_EXPANDED, which is said once for each tag. O(what is returned, times the parents with fields).
    TypeError and ValueError name what is no tag.
    """
    given = checked_tags(tags)
    if not _edges:
        return frozenset(given)
    found = dict.fromkeys(given)
    waiting = list(found)
    # A transaction names very many at once, and each has children: what has no end is the descendants of one.
    most = TAG_MAX_EXPANDED + len(given) + (len(given) - 1) * min(len(_edges), TAG_MAX_OF_MANY)
    while waiting:
        tag = waiting.pop()
        new = [child for child in _direct(tag) if child not in found]
        found.update(dict.fromkeys(new))
        if len(found) > most:
            _report(given)
            return None
        waiting += new
    return frozenset(found)


def _direct(tag: str) -> list[str]:
    children = list(_children.get(tag, ()))
    for pattern, templates in list(_templates.values()):
        if templates and (match := pattern.fullmatch(tag)) is not None:
            filled = [_FIELD.sub(lambda field: match[field[1]], child) for child in list(templates)]
            children += [child for child in filled if len(child) <= TAG_MAX_CHARS]
    return children


def _report(tags: tuple[str, ...]) -> None:
    first = tags[0]
    if first not in _reported and len(_reported) < TAG_MAX_PARENTS:
        _reported.add(first)
        logger.warning(
            "The tag %r has more than %d descendants: every entry that has a tag is invalidated instead. A child whose "
            "field makes ever longer tags has no end: see `tag_parent`.",
            first,
            TAG_MAX_EXPANDED,
        )


def forget_parents() -> None:
    """Forget what was registered, for tests."""
    _edges.clear()
    _children.clear()
    _templates.clear()
    _reported.clear()
