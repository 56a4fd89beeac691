"""From a request to a response: what is held, or what the view returns, loaded once for all who wait.

What may be cached: policy.py. What is in the key: keying.py. What a view must not look at: guard.py and findings.py.
Where it is held: shelves.py. By what views get here: decorating.py.
"""
# Long because each step is there for sync and for async views.

import functools
import logging
from collections.abc import Awaitable, Callable, Iterable
from contextlib import nullcontext
from dataclasses import dataclass, field
from typing import Any, Final, TypeAlias

from asgiref.sync import sync_to_async
from django.http import HttpRequest

from oxicache._native import MISSING, Stamps, TTLCache
from oxicache.django import host, nesting, scope, transactions
from oxicache.django.nesting import Gathered, Needs
from oxicache.django.responses import findings, policy, rendering, rest, stored
from oxicache.django.responses.attributes import is_waiting, is_watched_elsewhere
from oxicache.django.responses.guard import watching, watching_names
from oxicache.django.responses.headers import vary_on_seen
from oxicache.django.responses.keying import Keying, Parts, key_of
from oxicache.django.responses.policy import Wish
from oxicache.django.responses.records import ATTRIBUTE, Record, looked_up, meta_name, take
from oxicache.django.responses.shelves import Loaded, ServerError, Shelf, Wanted, shelf_at
from oxicache.django.responses.stored import Data, Stored
from oxicache.errors import MissingScopeError
from oxicache.grace import is_graced
from oxicache.store import attempt
from oxicache.tags import checked_tags
from oxicache.versions import MAX_WORDS

__all__ = ["Further", "ResponseCache", "Tags"]

logger = logging.getLogger("oxicache.responses")

Tags: TypeAlias = Iterable[str] | Callable[..., Iterable[str]]
Arguments: TypeAlias = tuple[tuple[Any, ...], dict[str, Any]]

NOTHING: Final = Record()  # what was looked at for a key, where no function of the project is asked
PASS_SECONDS: Final = 10.0  # for so long requests whose response was not kept do not wait for one another
SERVER_ERRORS: Final = 500  # and above
PASS_MAX_KEYS: Final = 1024
MAX_TURNS: Final = 3  # keys that a request tries while others find out which headers its view looks at
MAX_HEADERS: Final = 16  # of one view; past that its responses are nearly each their own


@dataclass(slots=True)
class View:
    """What is known of one view in this process."""

    name: str
    headers: tuple[str, ...] = ()  # whose values are in its keys, by their names in a record
    said: set[str] = field(default_factory=set)  # each reason not to cache is logged once


@dataclass(frozen=True, slots=True)
class Further:
    """What a view adds to how its responses are cached, for one request."""

    permit: Callable[[], object] | None = None  # raises where this request may not have what is held
    words: Callable[[], list[str]] | None = None  # of what this response depends on
    tags: Tags | None = None  # in place of those of its cache


class Ask:
    """One request on its way."""

    __slots__ = (
        "arguments",
        "further",
        "has_begun",
        "headers",
        "key",
        "keyed",
        "parts",
        "problem",
        "request",
        "scope",
        "shelf",
        "tags",
        "view",
        "wanted",
        "words",
    )

    wanted: Wanted  # from here on where nothing was found
    tags: tuple[str, ...]

    def __init__(  # noqa: PLR0917 -- what there is to know of a request
        self,
        request: HttpRequest,
        arguments: Arguments,
        view: View,
        shelf: Shelf,
        scope: scope.Scope,
        headers: tuple[str, ...],
        parts: Parts,
        key: str,
        keyed: Record,
        further: Further | None,
    ) -> None:
        self.request = request
        self.arguments = arguments
        self.view = view
        self.shelf = shelf
        self.scope = scope
        self.headers = headers  # whose values are in the key
        self.parts = parts
        self.key = key
        self.keyed = keyed  # what functions that are part of the key have looked at
        self.further = further
        self.has_begun = False  # to ask its view
        self.words: list[str] = []  # of models that it depends on
        self.problem: str | None = None  # why nothing can be kept, known before its view is asked


@dataclass(frozen=True, slots=True, kw_only=True)
class ResponseCache:
    """Responses of views, as one decorator wants them cached. See `cached_view` for what each parameter means."""

    ttl: float | Callable[[], float | None] | None  # a callable is asked for each response
    keying: Keying
    alias: str
    vary_on: frozenset[str] = frozenset()  # by their names in META
    tags: Tags = ()
    words: Callable[[], list[str]] | None = None  # version words of the models that invalidate
    condition_func: Callable[..., Any] | None = None
    success_func: Callable[[Any], Any] | None = None
    cache_anonymous: bool = True
    cache_users: bool = True
    statuses: frozenset[int] = frozenset({200})
    max_bytes: int | None = None
    grace: float = 0.0
    header: str = stored.CACHE_STATUS  # which says HIT, MISS or STALE
    is_of_site: bool = (
        False  # of views that nobody has decorated: what does not fit is not cached, and no mistake
    )
    _views: dict[str, View] = field(default_factory=dict)
    _passing: TTLCache[str, bool] = field(default_factory=lambda: TTLCache(PASS_MAX_KEYS, PASS_SECONDS))

    def serve(
        self,
        request: HttpRequest,
        call: Callable[[], Any],
        name: str,
        arguments: Arguments = ((), {}),
        further: Further | None = None,
    ) -> Any:
        """Return the response of the view `name` to this request: what is held, or what `call()` returns."""
        take(request)
        wish = policy.wish_of(request, has_scope=self._knows_whose(request))
        if wish is Wish.NEITHER:
            return call()
        for _ in range(MAX_TURNS):
            ask = self._ask(request, name, arguments, further)
            if ask is None:
                return call()
            found = ask.shelf.find(ask.key) if wish is Wish.CACHED else None
            if found is not None and found.is_fresh(ask.shelf.now()):
                answer = self._answer(ask, found)
                return call() if answer is MISSING else answer
            answer = self._missed(ask, call, wish)
            if answer is not MISSING:
                return answer
        return call()

    def _missed(self, missed: Ask, call: Callable[[], Any], wish: Wish) -> Any:
        """Return the response that is loaded now, by this request or by another; MISSING where it is to look again."""
        ask = missed if self._is_plain else self._again(missed)
        if ask is None or ask.request.method == "HEAD" or not self._wants(ask, wish):
            return call()  # the response to HEAD is no answer to GET

        def load() -> Loaded:
            return self._load(ask, call)

        try:
            if self._passes(ask):
                token = self._token(ask)
                return self._pass(ask, load(), token)
            loaded = ask.shelf.loader.load_missed(ask.wanted, load, tags=ask.tags)
        except Exception as error:  # noqa: BLE001 -- raised again, unless it is of another request's view
            return _own_error(ask, error)
        return self._of(ask, loaded)

    async def aserve(
        self,
        request: HttpRequest,
        call: Callable[[], Awaitable[Any]],
        name: str,
        arguments: Arguments = ((), {}),
    ) -> Any:
        """As `serve`, for a view that is async. A session and a user are loaded in a thread where they are needed."""
        take(request)
        wish = policy.wish_of(request, has_scope=self._knows_whose(request))
        if wish is Wish.NEITHER:
            return await call()
        for _ in range(MAX_TURNS):
            if self._may_block(request, name):
                ask = await sync_to_async(self._ask)(request, name, arguments)
            else:
                ask = self._ask(request, name, arguments)
            if ask is None:
                return await call()
            found = await _afound(ask) if wish is Wish.CACHED else None
            if found is not None and found.is_fresh(ask.shelf.now()):
                return self._answer(ask, found)
            answer = await self._amissed(ask, call, wish, found)
            if answer is not MISSING:
                return answer
        return await call()

    async def _amissed(
        self, missed: Ask, call: Callable[[], Awaitable[Any]], wish: Wish, past: Stored | None
    ) -> Any:
        """As `_missed`."""
        ask = missed if self._is_plain else await sync_to_async(self._again)(missed)
        if ask is None or ask.request.method == "HEAD" or not self._wants(ask, wish):
            return await call()
        if ask.shelf.is_far:
            ask.wanted.past = past

        async def load() -> Loaded:
            loaded = await self._aload(ask, call)
            if ask.shelf.is_far and loaded.stored is not None:
                await ask.shelf.akeep(loaded)
            return loaded

        try:
            if self._passes(ask):
                token = self._token(ask)
                return self._pass(ask, await load(), token)
            loaded = await ask.shelf.loader.aload_missed(ask.wanted, load, tags=ask.tags)
        except Exception as error:  # noqa: BLE001 -- as in `_missed`
            return _own_error(ask, error)
        return self._of(ask, loaded)

    # ------------------------------------------------------------ before the view

    def _knows_whose(self, request: HttpRequest) -> bool:
        """Whether it is known of a request with `Authorization` whose it is: by who says so, or authenticated."""
        return self.keying.scope is not None or not rest.is_plain(request)

    def _ask(
        self,
        request: HttpRequest,
        name: str,
        arguments: Arguments,
        further: Further | None = None,
        *,
        is_watched: bool = False,
    ) -> Ask | None:
        """Return what to look for; None where this request's response is not cached.

        `is_watched`: it will be loaded, so what functions of the project look at for the key must be known.
        """
        view = self._views.get(name) or self._views.setdefault(name, View(name, tuple(sorted(self.vary_on))))
        shelf = shelf_at(self.alias, self.grace)
        if not shelf.has_tags and (self.words or self.tags != () or (further and further.words)):
            self._refused(view, f"CACHES[{self.alias!r}] has no tags, and tags= or invalidate_on= needs them")
            return None
        keying, headers = self.keying, view.headers
        args, kwargs = arguments
        keyed = Record() if is_watched else NOTHING
        # What is asked for a hit too is watched on a miss alone: it takes longer than all the rest of a hit.
        watched = functools.partial(watching, request, keyed) if is_watched else nullcontext
        try:
            if self.condition_func is not None:
                with watched():
                    if not self.condition_func(request, *args, **kwargs):
                        return None
            if keying.scope is not None:
                with watched():
                    whose = keying.scope_of(request)
            elif is_watched and keying.asks_settings:
                with watching_names(rest.plain(request), keyed):
                    whose = keying.scope_of(request)
            else:
                whose = keying.scope_of(request)
            if whose is None or self._is_left_out(request, whose):
                return None
            said: tuple[Any, ...] = ()
            if keying.key_func is not None:
                with watched():
                    said = (keying.key_func(request, *args, **kwargs),)
            parts = keying.parts_of(request, whose, name, arguments, said)
            key = key_of(parts, headers, tuple([looked_up(request, header) for header in headers]))
        except MissingScopeError as error:
            which = " and ".join(f"OXICACHE[{name.upper()!r}]" for name in error.missing)
            remedy = f"let {which} say it" + ("" if self.is_of_site else ", or per_tenant=False leave it out")
            self._refused(view, f"nobody knows its {' and '.join(error.missing)}: {remedy}")
            return None
        except Exception as error:  # noqa: BLE001 -- the project's own functions: the view must not fail for them
            self._refused(view, f"its key could not be made: {error!r}")
            return None
        return Ask(request, arguments, view, shelf, whose, headers, parts, key, keyed, further)

    def _again(self, missed: Ask) -> Ask | None:
        if is_watched_elsewhere(rest.plain(missed.request)):
            return None
        return self._ask(missed.request, missed.view.name, missed.arguments, missed.further, is_watched=True)

    @property
    def _is_plain(self) -> bool:
        """Whether no function of the project is asked before a load."""
        return self.condition_func is None and self.keying.is_plain

    def _wants(self, ask: Ask, wish: Wish) -> bool:
        """Add what only a load needs; False where this request's response is not cached."""
        ask.tags = ()
        tags = self.tags if ask.further is None or ask.further.tags is None else ask.further.tags
        if tags != ():
            args, kwargs = ask.arguments
            try:
                ask.tags = checked_tags(tags(ask.request, *args, **kwargs)) if callable(tags) else tuple(tags)
            except Exception as error:  # noqa: BLE001 -- as above
                self._refused(ask.view, f"its tags could not be made: {error!r}")
                return False
        try:
            held = ask.shelf.held(ask.key)
        except Exception as error:  # noqa: BLE001 -- as above: the KEY_FUNCTION of the cache
            self._refused(ask.view, f"its key could not be made: {error!r}")
            return False
        ask.wanted = Wanted(ask.key, held, is_reload=wish is Wish.RELOAD)
        return True

    def _may_block(self, request: HttpRequest, name: str) -> bool:
        """Whether a key may take a session, a user, or a function of the project: a task asks these in a thread."""
        if not self._is_plain or callable(self.tags):
            return True
        if (
            (view := self._views.get(name)) is not None
            and view.headers
            and is_waiting(rest.plain(request), view.headers)
        ):
            return True
        is_shared = self.keying.per_user is False and self.cache_anonymous
        return not (is_shared or scope.is_anonymous(request) or scope.is_resolved(request))

    def _is_left_out(self, request: HttpRequest, whose: scope.Scope) -> bool:
        if not self.cache_users and whose.user is not None:
            return True
        return not self.cache_anonymous and self.keying.is_anybodys(request)

    # ------------------------------------------------------------ the view

    def _load(self, ask: Ask, call: Callable[[], Any]) -> Loaded:
        ask.has_begun = True
        if is_watched_elsewhere(rest.plain(ask.request)):
            return Loaded(ask.wanted, call())
        record, data = Record(), None
        with watching(ask.request, record), nesting.gathering() as inner:
            stamps = self._stamps(ask)  # which may ask the view for its rows, and it remembers whose they are
            response = call()
            if rest.is_data(ask.request, response):
                from oxicache.django.responses import rest_data

                data, problem = rest_data.data_of(ask.request, response)
            else:
                problem = rendering.problem(response)
                if problem is None:
                    response = rendering.rendered(response)
        return self._judged(ask, response, record, stamps, problem, inner, data)

    async def _aload(self, ask: Ask, call: Callable[[], Awaitable[Any]]) -> Loaded:
        ask.has_begun = True
        if is_watched_elsewhere(rest.plain(ask.request)):
            return Loaded(ask.wanted, await call())
        record, stamps = Record(), self._stamps(ask)
        with watching(ask.request, record), nesting.gathering() as inner:
            response = await call()
            problem = rendering.problem(response)
            if problem is None and rendering.is_unrendered(response):
                response = await sync_to_async(rendering.rendered)(response)
        return self._judged(ask, response, record, stamps, problem, inner)

    def _stamps(self, ask: Ask) -> Stamps | None:
        words = [] if self.words is None else self.words()
        if ask.further is not None and ask.further.words is not None:
            words = list(dict.fromkeys([*words, *ask.further.words()]))
        if len(words) > MAX_WORDS:
            ask.problem = f"it depends on {len(words)} version words, and {MAX_WORDS} is the limit"
            return None
        ask.words = words
        return host.capture(words) if words else None

    def _passes(self, ask: Ask) -> bool:
        """Whether this request does not wait for others, nor they for it: nothing was kept a moment ago."""
        return self._passing.peek(ask.wanted.key, False) and ask.shelf.stale(ask.wanted) is MISSING

    def _judged(  # noqa: PLR0917 -- all that a load has found out
        self,
        ask: Ask,
        response: Any,
        record: Record,
        stamps: Stamps | None,
        problem: str | None,
        inner: Gathered,
        data: Data | None = None,
    ) -> Loaded:
        """Decide what is kept of a response. What keeps one from being cached is logged where somebody can mend it."""
        loaded = Loaded(ask.wanted, response)
        problem = problem or ask.problem or rendering.no_response(response)
        if problem is None and inner.needs:
            problem, stamps = self._depends(ask, loaded, inner, stamps)
        if problem is not None:
            self._refused(ask.view, problem)
        elif response.status_code >= SERVER_ERRORS and ask.shelf.stale(ask.wanted) is not MISSING:
            raise ServerError(response)
        elif (why := policy.refusal(response, self.statuses, self.max_bytes, rest.size_of(data))) is not None:
            logger.debug("A response of %s is not cached: %s.", ask.view.name, why)
        elif (
            not self._leaks(ask, record, policy.vary_names(response))
            and not inner.is_spoilt
            and transactions.allows_storing_anywhere(stamps)
            and self._is_success(ask.view, response)
        ):
            headers = self._headers(ask, response, record)
            if headers is not None:
                ttl = policy.lifetime(response, self.ttl() if callable(self.ttl) else self.ttl)
                ttl = inner.limited(ttl)
                vary_on_seen(
                    response, record.headers, has_cookies=record.has_cookies, is_local=record.has_attributes
                )
                if data is None:
                    stored.with_etag(response)
                loaded.stored = stored.freeze(response, ask.shelf.now(), ttl, data)
                loaded.ttl, loaded.stamps = ttl, stamps
                response[self.header] = "MISS"
                if headers != ask.headers:
                    # Two threads may lose one another's names: the next load finds them again.
                    ask.view.headers = tuple(sorted({*ask.view.headers, *headers}))
                    loaded.key = key_of(
                        ask.parts, headers, tuple([record.looked_up(ask.request, one) for one in headers])
                    )
        if loaded.stored is None:
            self._passing.set(ask.wanted.key, True)
        return loaded

    def _depends(
        self, ask: Ask, loaded: Loaded, inner: Gathered, stamps: Stamps | None
    ) -> tuple[str | None, Stamps | None]:
        """Have the response depend on what fragments in it do. Return why it cannot, and the versions of all."""
        if not ask.shelf.has_tags:
            return (
                f"a fragment in it has tags or depends on models, and CACHES[{self.alias!r}] has no tags",
                None,
            )
        fitted = (inner.needs | Needs(ask.tags, ask.words, ask.shelf.locations)).fitted()
        tags, names = fitted or ((), frozenset())
        if fitted is None or len({*tags, *ask.tags}) + len(names) > nesting.ROOM:
            return f"it and the fragments in it depend on more than {nesting.ROOM} version words", None
        loaded.tags = tuple(set(tags) - set(ask.tags))
        found = inner.captured(names, () if stamps is None else (stamps,))
        if found is None:
            inner.spoil()  # outdated already: for who asked alone
        return None, found

    def _is_success(self, view: View, response: Any) -> bool:
        if self.success_func is None:
            return True
        try:
            return bool(self.success_func(response))
        except Exception as error:  # noqa: BLE001 -- the project's own function: the view must not fail for it
            self._refused(view, f"success_func failed: {error!r}")
            return False

    def _leaks(self, ask: Ask, record: Record, varies: Iterable[str]) -> bool:
        if self.is_of_site and record.is_taken:
            return True
        if self.keying.per_user is False and "cookie" in varies:
            record.note("COOKIES")  # it says itself that it depends on who asks
        found = findings.leaks(ask.request, ask.scope, self.keying, ask.keyed, record, self.vary_on)
        for root in found:
            findings.report(ask.view.name, root, ask.view.said, is_mistake=not self.is_of_site)
        return bool(found)

    def _headers(self, ask: Ask, response: Any, record: Record) -> tuple[str, ...] | None:
        """Return the headers that this view has looked at or named so far; None where they are too many."""
        # A user's own entries need no cookie in their key, and a shared view that reads one is a leak.
        named = {meta_name(name) for name in policy.vary_names(response)} - {"HTTP_COOKIE"}
        others = {ATTRIBUTE + name for name in record.read_attributes().keys() - ask.keyed.attributes.keys()}
        headers = {*ask.headers, *record.headers, *others, *(named - {"HTTP_AUTHORIZATION"})}
        if len(headers) > MAX_HEADERS:
            self._refused(ask.view, f"it looks at more than {MAX_HEADERS} headers")
            return None
        return tuple(sorted(headers))

    # ------------------------------------------------------------ after it

    def _of(self, ask: Ask, loaded: Any) -> Any:
        """Return the response that a load gave to this request; MISSING where it is to look again."""
        if not isinstance(loaded, Loaded):  # somebody has stored it meanwhile, or it is stale
            return self._answer(ask, loaded)
        if loaded.asked is ask.wanted:
            return self._own(ask, loaded)
        value = stored.thaw(loaded.stored)
        is_outdated = loaded.stamps is not None and not loaded.stamps.is_current()
        if value is None or is_outdated or loaded.key != ask.wanted.key:
            return MISSING  # it was for who asked alone, or of another key
        return self._answer(ask, value)

    def _own(self, ask: Ask, loaded: Loaded) -> Any:
        if loaded.stored is None:
            return loaded.response
        if rendering.is_unrendered(loaded.response):
            from oxicache.django.responses import rest_data

            return rest_data.finish(ask.request, loaded.response, self.header)
        return stored.conditional(ask.request, loaded.response)

    def _token(self, ask: Ask) -> int | None:
        store = ask.shelf.loader.cache
        return attempt(store, store._token, None, ask.wanted)

    def _pass(self, ask: Ask, loaded: Loaded, token: int | None) -> Any:
        """Return what was loaded beside others. If it may be kept after all, requests wait for one another again."""
        if loaded.stored is None:
            return loaded.response
        self._passing.delete(ask.wanted.key)
        store = ask.shelf.loader.cache
        if token is not None:
            attempt(store, store._fill, False, ask.wanted, loaded, token, tags=ask.tags)
        return self._own(ask, loaded)

    def _answer(self, ask: Ask, found: Stored) -> Any:
        """Return what is held as a response to this request; MISSING where the view itself has to answer it."""
        if ask.further is not None and ask.further.permit is not None:
            ask.further.permit()
        now = ask.shelf.now()
        status = "HIT" if found.is_fresh(now) else stored.STALE
        if type(found.body) is tuple:
            from oxicache.django.responses import rest_data

            response = rest_data.answer(found, ask.request, now, status, self.header)
        else:
            response = stored.answer(found, ask.request, now, status, self.header)
        _note_session(ask.request, response)
        return response

    def _refused(self, view: View, reason: str) -> None:
        kind = reason.partition("(")[0]  # an error may say something else of each request
        if kind not in view.said and len(view.said) < PASS_MAX_KEYS:
            view.said.add(kind)
            logger.warning("A response of %s is not cached: %s.", view.name, reason)


def _note_session(request: HttpRequest, response: Any) -> None:
    """Have the middleware of sessions say `Vary: Cookie` also where another view shows what was held."""
    session = vars(request).get("session")
    if (
        session is not None
        and not session.accessed
        and "Cookie" in response.get("Vary", "")
        and scope.is_anonymous(request)  # anybody else's key has looked at it
    ):
        session.accessed = True


async def _afound(ask: Ask) -> Stored | None:
    return await ask.shelf.afind(ask.key) if ask.shelf.is_far else ask.shelf.find(ask.key)


def _own_error(ask: Ask, error: Exception) -> Any:
    """Return what the view answered in place of failing, MISSING where this request is to look again; else raise."""
    if isinstance(error, ServerError):
        return error.response if ask.has_begun else MISSING
    if _is_own(ask, error):
        raise error
    return MISSING


def _is_own(ask: Ask, error: Exception) -> bool:
    """Whether an error is for this request: raised by its own view, or one that says that a source is out of reach."""
    # A view that asks for itself is told so by the loader, before it begins.
    return (
        ask.has_begun or isinstance(error, RecursionError) or is_graced(error, ask.shelf.loader.grace_errors)
    )
