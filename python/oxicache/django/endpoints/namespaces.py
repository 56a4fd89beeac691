"""Which keys belong to a namespace, for each way in which a project spells its keys."""

from collections.abc import Callable
from typing import Final

from oxicache import keys

__all__ = ["globs_of", "register_spelling"]


def _plain(namespace: str) -> str:
    """`materials:*`: as `oxicache.keys.make_key` begins them."""
    return keys.glob_literal(f"{keys.spell(namespace, 'namespace')}:") + "*"


_spellings: Final[list[Callable[[str], str]]] = [_plain]


def register_spelling(glob_of: Callable[[str], str]) -> None:
    """Have `glob_of(namespace)` say which keys belong to a namespace, beside what is known; once is enough."""
    if not callable(glob_of):
        raise TypeError(f"glob_of must be callable, not {glob_of!r}")
    if glob_of not in _spellings:
        _spellings.append(glob_of)


def globs_of(namespace: str) -> tuple[str, ...]:
    """Return the globs of a namespace's keys in all spellings."""
    return tuple(dict.fromkeys(glob_of(namespace) for glob_of in _spellings))
