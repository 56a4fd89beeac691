"""A fragment is found, or rendered and held: once for all who wait, with what it depends on, and what inner ones do."""

import functools
from collections.abc import Callable, Iterable
from contextlib import AbstractContextManager
from typing import Any, Final, Protocol, TypeAlias

from django.conf import settings
from django.core.signals import setting_changed
from django.http import HttpRequest

from oxicache import keys
from oxicache._native import MISSING, Stamps, TTLCache
from oxicache.django import conf, nesting, transactions
from oxicache.django.fragments import guarding
from oxicache.django.fragments.guarding import (
    Looks,
    leaks,
    learns,
    report,
    say,
    segments,
    stand_ins,
    watched,
)
from oxicache.django.fragments.keying import Fragment, default_alias
from oxicache.django.fragments.options import words_of
from oxicache.django.holding import Found, Holder, NativeHolder, holder_at
from oxicache.django.nesting import Gathered, Needs
from oxicache.django.responses.attributes import is_watched_elsewhere, noting
from oxicache.django.responses.rest import user_kind
from oxicache.django.responses.sessions import naming
from oxicache.django.scope import Mark, Scope, request_scope, scope_of, session_places
from oxicache.errors import MissingScopeError

__all__ = ["Block", "Rendered", "render"]

PASS_SECONDS: Final = 10.0  # for so long those who render what was not kept do not wait for one another
PASS_MAX_KEYS: Final = 1024
PLAIN: Final = 2  # parts of what is held
_SIZES: Final = (PLAIN, 5)  # the second of what depends on something

_passing: TTLCache[Any, bool] = TTLCache(PASS_MAX_KEYS, PASS_SECONDS)


Rendered: TypeAlias = tuple[str, bool]  # what a tag shows, and whether it was held


class Block(Protocol):
    """What a tag of a template language can do with its block, and its context."""

    def names(self) -> Iterable[tuple[str, Any]]:
        """Return what the context holds, by name."""
        ...

    def put(self, stand_ins: dict[str, Any]) -> AbstractContextManager[Any]:
        """Have the context hold these instead for as long as a `with` lasts."""
        ...

    def given(self) -> tuple[Any, ...]:
        """Return what the fragment varies by, asked for anew."""
        ...

    def html(self) -> str:
        """Render the block."""
        ...


# What is held: the text, when it expires by the holder's time, and, if it depends on any, its tags, its words, and
# where its tags are.
Held: TypeAlias = (
    tuple[str, float | None] | tuple[str, float | None, tuple[str, ...], tuple[str, ...], tuple[str, ...]]
)


def render(
    fragment: Fragment,
    request: HttpRequest | None,
    given: tuple[Any, ...],
    block: Callable[[], Block],
    *,
    is_raw: bool = False,
) -> Rendered:
    """Return what is held of a fragment, or what its block renders.

    `given` is what it varies by besides; `is_raw`: what it shows is not escaped. Nothing is kept that was rendered
    inside a transaction that has written, that shows what the key does not hold, or whose key could not be made.
    """
    try:
        holder = holder_at(fragment.alias or default_alias())
        whose = _scope(fragment, request, block)
        names = guarding.known.get(fragment.digest, ())
        looked_at = segments(request, names) if names and request is not None else ()
        if fragment.per_user and request is not None and (kind := _kind(request, whose)):
            looked_at = (f"{keys.MARK}{keys.escape(kind)}", *looked_at)
        held = holder.key(fragment.key(whose.prefix(), given, looked_at, is_raw=is_raw))
    except MissingScopeError as error:
        say(fragment, f"nobody knows its {' and '.join(error.missing)}")
        return _apart(fragment, block)
    except Exception as error:  # noqa: BLE001 -- a resolver of the project's, or an object without a spelling
        say(fragment, f"its key could not be made: {error!r}")
        return _apart(fragment, block)
    found: Any = holder.find(held)
    whole = nesting.current()
    is_held = _is_whole(found)
    if is_held:
        if whole is None and len(found) == PLAIN:
            return found[0], True
        # What depends on something may be older than what this transaction has written.
        is_held = len(found) == PLAIN or not transactions.is_any_written()
    if not is_held:
        if request is not None and is_watched_elsewhere(request):
            return _apart(fragment, block)
        is_alone = found is not MISSING or held in _passing or transactions.in_transaction()
        making = _Making(fragment, request, block(), holder, held, names)
        found = holder.load(held, making.run, fragment.ttl, alone=is_alone)
        if not _is_whole(found):
            return _apart(fragment, block)
    if whole is not None:
        _tell(whole, fragment, whose, holder, held, found)
    return found[0], is_held


def _is_whole(found: Any) -> bool:
    """Whether it is what was held here: others may write to a cache, too."""
    return type(found) is tuple and len(found) in _SIZES and type(found[0]) is str


def _apart(fragment: Fragment, block: Callable[[], Block]) -> Rendered:
    """Render the block for who asks alone. What it is part of does not learn what it would depend on."""
    whole = nesting.current()
    if whole is not None and (fragment.tags or fragment.depends_on):
        whole.spoil()
    _note_whose(fragment, is_somebodys=_asks_settings())
    return str(block().html()), False


def _note_whose(fragment: Fragment, *, is_somebodys: bool) -> None:
    """Tell an outer fragment by whom this one is told apart; `is_somebodys`: somebody knows of a tenant."""
    around = guarding.outer()
    if around is None:
        return
    if fragment.per_user:
        around.note("user")
    if fragment.per_tenant and is_somebodys:
        around.note("tenant")


def _scope(fragment: Fragment, request: HttpRequest | None, block: Callable[[], Block]) -> Scope:
    if request is None:
        user = dict(block().names()).get("user") if fragment.per_user else None
        pk = getattr(user, "pk", None) if getattr(user, "is_authenticated", False) else None
        if pk is not None:  # a template that is rendered for somebody, as that of a mail
            return scope_of(None, per_tenant=fragment.per_tenant, user=pk)
        return scope_of(None, per_tenant=fragment.per_tenant, per_user=fragment.per_user)
    if fragment.per_tenant and _asks_settings():
        return _within(request, lambda: scope_of(request, per_user=fragment.per_user))
    if fragment.names_tenant:
        return _within(request, lambda: _session_scope(request, fragment))
    if not fragment.per_user:
        return request_scope(request, per_user=False)
    return _within(request, lambda: _user_scope(request))


def _session_scope(request: HttpRequest, fragment: Fragment) -> Scope:
    """Whose it is where the settings name nobody: by what the session says, as document 004 has it."""
    given = session_places(request)
    if not given and conf.resolver("user") is None:
        return request_scope(request, per_user=fragment.per_user)
    return scope_of(request, per_tenant=False, per_user=fragment.per_user, **given)


def _user_scope(request: HttpRequest) -> Scope:
    if _asks_for_user():
        return scope_of(request, per_tenant=False, per_user=True)
    return request_scope(request, per_user=True)


@functools.cache
def _asks_settings() -> bool:
    """Whether the settings say who knows of a place whose it is."""
    return any(conf.resolver(part) is not None for part in ("tenant", "client", "unit"))


@functools.cache
def _asks_for_user() -> bool:
    """Whether the settings say who knows the user."""
    return conf.resolver("user") is not None


def _reset(**_: Any) -> None:
    _asks_settings.cache_clear()
    _asks_for_user.cache_clear()


setting_changed.connect(_reset, dispatch_uid="oxicache.django.fragments.rendering")


def _kind(request: HttpRequest, whose: Scope) -> str | None:
    """Return of which model a user is, if of another than the project's: each model numbers its rows for itself."""
    if isinstance(whose.user, Mark) or _asks_for_user():
        return None
    return user_kind(request.user)


def _within(request: HttpRequest, scope: Callable[[], Scope]) -> Scope:
    """Ask for a scope. What is asked of the request for it an outer fragment need not hold: it is told apart below."""
    around = guarding.outer()
    if around is None or getattr(request.COOKIES, "record", None) is not around:
        return scope()
    places: tuple[Any, ...] = (request.COOKIES, request.META)
    stands = [one for one in places if getattr(one, "record", None) is around]
    unheard = Looks()
    unheard.outer = None
    for one in stands:
        one.record = unheard
    try:
        return scope()
    finally:
        for one in stands:
            one.record = around


class _Making:
    """One rendering of a fragment."""

    def __init__(  # noqa: PLR0917 -- all that is known of it
        self,
        fragment: Fragment,
        request: HttpRequest | None,
        block: Block,
        holder: Holder,
        held: Any,
        names: tuple[str, ...],
    ) -> None:
        self._fragment = fragment
        self._request = request
        self._block = block
        self._holder = holder
        self._held = held
        self._names = names  # of what it looks at, in its key

    def run(self) -> Found:
        """Render the block."""
        fragment, holder = self._fragment, self._holder
        locations = [holder.location] if isinstance(holder, NativeHolder) else []
        own = Needs(fragment.tags, words_of(fragment.depends_on), locations)
        first = nesting.captured(own)
        keyed, looks = Looks(), Looks()
        self._look_at_key(keyed)
        replaced = stand_ins(self._block.names(), self._request, looks)
        with nesting.gathering() as inner, watched(self._request, looks), self._block.put(replaced):
            html = str.__str__(self._block.html())  # a plain one, which is held as it is
        needs, ttl = own | inner.needs, inner.limited(fragment.ttl)
        found = leaks(fragment, keyed, looks)
        for root in found:
            report(fragment, root)
        is_new = learns(fragment, self._names, keyed, looks)
        stamps = tags = None
        is_kept = not (found or is_new or inner.is_spoilt)
        if is_kept and needs:
            tags, stamps = self._dependence(needs, inner, first)
        is_kept = is_kept and (not needs or stamps is not None) and _may_keep(stamps)
        if is_kept:
            _passing.delete(self._held)
        elif not is_new:
            _passing.set(self._held, True)
        until = None if ttl is None else holder.now() + ttl
        value: Held = (html, until)
        if needs:
            value = (html, until, tuple(needs.tags), tuple(needs.words), tuple(needs.locations))
        return Found(value, shared=is_kept, stamps=stamps, tags=tags or (), ttl=ttl)

    def _look_at_key(self, keyed: Looks) -> None:
        """Note what is in the key: by whom it is told apart, and what it varies by."""
        request, fragment = self._request, self._fragment
        if request is not None and fragment.per_tenant:
            _look_at_names(request, keyed, lambda: _scope(fragment, request, lambda: self._block))
        replaced = stand_ins(self._block.names(), request, keyed)
        with watched(request, keyed), self._block.put(replaced):
            self._block.given()

    def _dependence(
        self, needs: Needs, inner: Gathered, first: list[Stamps]
    ) -> tuple[tuple[str, ...], Stamps | None]:
        if not isinstance(self._holder, NativeHolder):
            say(
                self._fragment,
                f"it has tags or depends on models, of which {self._holder.name} knows nothing: name an alias that is "
                "a NativeCache",
            )
            return (), None
        fitted = needs.fitted()
        if fitted is None:
            say(self._fragment, f"it depends on more than {nesting.ROOM} models")
            return (), None
        tags, names = fitted
        return tags, inner.captured(names, first)


def _look_at_names(request: HttpRequest, keyed: Looks, call: Callable[[], object]) -> None:
    """Note which attributes of the request and which names of its session are asked for, and nothing else."""
    session: Any = vars(request).get("session")
    keyed.outer = around = getattr(request.COOKIES, "record", None)
    with noting(request, keyed), naming(session, keyed):
        call()
    if keyed.has_session:
        if around is not None:
            around.has_session = True
        else:
            session.accessed = True


def _may_keep(stamps: Stamps | None) -> bool:
    if not transactions.allows_storing_anywhere(stamps):
        return False
    # A replica may not have caught up.
    return not (
        stamps is not None
        and settings.DATABASE_ROUTERS
        and stamps.was_bumped_within(conf.current().replica_hold)
    )


def _tell(  # noqa: PLR0917 -- all that is known of it
    whole: Gathered, fragment: Fragment, whose: Scope, holder: Holder, held: Any, found: Held
) -> None:
    """Tell what this one is part of on what it depends, and by whom it is told apart."""
    _, until, *depends = found
    _note_whose(fragment, is_somebodys=(whose.tenant, whose.client, whose.unit) != (None, None, None))
    seconds = None if until is None else max(0.0, until - holder.now())
    needs = Needs(*depends)
    if not needs:
        whole.add(needs, seconds)
        return
    stamps = nesting.captured(needs)
    # What is still there after that was made with just these.
    if holder.peek(held, MISSING) is MISSING:
        whole.spoil()
    whole.add(needs, seconds, stamps)
