"""Cached fragments of templates: whose they are, their keys, and what they must not look at. Tags: templatetags/.

A fragment's key is its scope, its name, its version, what it varies by and a digest of its source, so two blocks never
share one. While it is rendered, what belongs to one visitor has stand-ins: the user, permissions, messages, the token
against forgery, the request. A fragment that looks at what its key does not hold is not kept.
"""

import logging
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager, nullcontext
from contextvars import ContextVar
from dataclasses import dataclass, replace
from typing import Any, Final

from django.core.cache import DEFAULT_CACHE_ALIAS, caches
from django.http import HttpRequest
from django.utils.functional import SimpleLazyObject
from django.utils.safestring import SafeString, mark_safe

from oxicache import keys
from oxicache._native import MISSING
from oxicache.django import transactions
from oxicache.django.holding import Found, NativeHolder, holder_at
from oxicache.django.responses.guard import watching
from oxicache.django.responses.places import places
from oxicache.django.responses.records import Record, resolved
from oxicache.django.scope import Scope, scope_of
from oxicache.errors import LeakError
from oxicache.testing import is_strict

__all__ = ["DEFAULT_TTL", "VARIES", "Fragment", "default_alias", "render"]

logger = logging.getLogger("oxicache.fragments")

DEFAULT_TTL: Final = 300.0  # seconds
VARIES: Final = ("none", "tenant", "user")
MAX_SAID: Final = 1024
# In a context beside the request, each with what it says of who is looking.
_VISITORS: Final[Mapping[str, str]] = {
    "csrf_input": "csrf",
    "csrf_token": "csrf",
    "messages": "messages",
    "perms": "user",
    "user": "user",
}
_REMEDIES: Final[Mapping[str, str]] = {
    "user": "add user to vary_on",
    "csrf": "leave the form out of it",
    "messages": "show messages outside of it",
}
_said: set[tuple[str, str]] = set()
# The tags that fragments inside of one that is being rendered have.
_inner: ContextVar["set[str] | None"] = ContextVar("oxicache_fragment_tags", default=None)


@dataclass(frozen=True, slots=True, kw_only=True)
class Fragment:
    """One fragment as its tag has it, everything resolved. `digest` tells its source from that of all others."""

    name: str
    digest: str
    ttl: float | None = DEFAULT_TTL
    varies: frozenset[str] = frozenset({"tenant"})
    version: Any = 1
    given: tuple[Any, ...] = ()  # what else it varies by
    tags: tuple[str, ...] = ()
    alias: str | None = None
    kind: str = "template:fragment"

    def key(self, scope: Scope) -> str:
        """Return its key within a scope. MissingScopeError, and TypeError that names what has no spelling."""
        start = scope.prefix()
        given = [keys.spell(value, f"what fragment {self.name!r} varies by") for value in self.given]
        segments = [
            self.kind,
            keys.escape(self.name),
            f"v{keys.spell(self.version, 'version')}",
            *places(),
            *given,
        ]
        return keys.bounded(":".join([*([start] if start else ()), *segments, self.digest]))


def default_alias() -> str:
    """Return the alias that fragments are held in where none is named: Django's own for them, if CACHES has it."""
    return "template_fragments" if "template_fragments" in caches.settings else DEFAULT_CACHE_ALIAS


Context = Mapping[str, Any]
Make = Callable[[dict[str, Any]], str]  # given stand-ins for what a context holds


def render(
    fragment: Fragment, context: Context, make: Make, given: Callable[[], tuple[Any, ...]] = tuple
) -> SafeString:
    """Return a fragment: what is held, or what `make(stand_ins)` renders. `given()` is what else it varies by.

    Nothing is kept that was rendered inside a transaction that has written, and nothing without a request where the
    fragment is each user's own.
    """
    request = context.get("request")
    request = request if isinstance(request, HttpRequest) else None
    holder = holder_at(fragment.alias or default_alias())
    if fragment.tags and not isinstance(holder, NativeHolder):
        _say(fragment, "its cache has no tags, and it has some")
        return mark_safe(make({}))  # noqa: S308 -- what a template has rendered
    try:
        whose = scope_of(request, per_tenant="tenant" in fragment.varies, per_user="user" in fragment.varies)
        if whose.missing:
            _say(fragment, f"nobody knows its {' and '.join(whose.missing)}")
            return mark_safe(make({}))  # noqa: S308 -- as above
        held = holder.key(replace(fragment, given=given()).key(whose))
    except Exception as error:  # noqa: BLE001 -- a resolver of the project's, or an object without a spelling
        _say(fragment, f"its key could not be made: {error!r}")
        return mark_safe(make({}))  # noqa: S308 -- as above
    found = holder.find(held)
    if found is MISSING:
        found = holder.load(
            held,
            lambda: _made(fragment, context, request, make, given),
            fragment.ttl,
            alone=transactions.in_transaction(),
        )
    html, tags = found
    outer = _inner.get()
    if outer is not None:
        outer.update(tags)
    return SafeString(html)


def _made(
    fragment: Fragment,
    context: Context,
    request: HttpRequest | None,
    make: Make,
    given: Callable[[], tuple[Any, ...]],
) -> Found:
    keyed, record = Record(), Record()
    with _watching(request, keyed):
        given()
    token = _inner.set(set())
    try:
        with _watching(request, record):
            html = str(make(_stand_ins(context, record)))
        tags = tuple(sorted({*fragment.tags, *(_inner.get() or ())}))
    finally:
        _inner.reset(token)
    leaks = _leaks(fragment, keyed, record)
    for root in leaks:
        _report(fragment, root)
    is_kept = not leaks and transactions.allows_storing_anywhere(None)
    return Found((html, tags), shared=is_kept, tags=tags)


@contextmanager
def _watching(request: HttpRequest | None, record: Record) -> Iterator[None]:
    with nullcontext() if request is None else watching(request, record):
        yield


def _stand_ins(context: Context, record: Record) -> dict[str, Any]:
    def stand_in(name: str, value: Any) -> Any:
        def asked() -> Any:
            record.note(_VISITORS[name])
            return resolved(value)

        return SimpleLazyObject(asked)

    return {name: stand_in(name, context[name]) for name in _VISITORS if name in context}


def _leaks(fragment: Fragment, keyed: Record, record: Record) -> list[str]:
    held = set(keyed.roots)
    if "user" in fragment.varies:
        held |= {"user", "session", "COOKIES"}  # whose they are is in the key
    found = [*(record.roots - held), *(f"header {name}" for name in record.headers - keyed.headers)]
    if "tenant" not in fragment.varies:
        found += [f"request.{name}" for name in record.read_attributes().keys() - keyed.attributes.keys()]
    return sorted(found)


def _report(fragment: Fragment, root: str) -> None:
    name = f"Fragment {fragment.name!r}"
    remedy = _REMEDIES.get(root, "name what it takes from it among what the fragment varies by")
    if is_strict() and root != "messages":
        raise LeakError(name, root, remedy)
    _say(fragment, f"it looks at {root}, which its key does not hold; {remedy}")


def _say(fragment: Fragment, reason: str) -> None:
    mark = (fragment.name, reason)
    if mark not in _said and len(_said) < MAX_SAID:
        _said.add(mark)
        logger.warning("Fragment %r is not cached: %s.", *mark)
