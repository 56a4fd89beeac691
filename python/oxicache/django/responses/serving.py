"""From a request to a response: what is held, or what the view returns, loaded once for all who wait.

What may be cached: policy.py. What is in the key: keying.py. What is kept: judging.py. What a view must not look at:
guard.py and findings.py.
Where it is held: shelves.py. By what views get here: decorating.py.
"""

import functools
from collections.abc import Awaitable, Callable
from contextlib import nullcontext
from dataclasses import dataclass, field
from typing import Any, Final

from asgiref.sync import sync_to_async
from django.http import HttpRequest

from oxicache._native import MISSING, Stamps
from oxicache.django import host, nesting, scope
from oxicache.django.responses import policy, rendering, rest, stored
from oxicache.django.responses.asking import Arguments, Ask, Further, Tags, View
from oxicache.django.responses.attributes import is_waiting, is_watched_elsewhere
from oxicache.django.responses.guard import watching, watching_names
from oxicache.django.responses.judging import Judging
from oxicache.django.responses.keying import key_of
from oxicache.django.responses.policy import Wish
from oxicache.django.responses.records import Record, looked_up, take
from oxicache.django.responses.shelves import Loaded, ServerError, Wanted, shelf_at
from oxicache.django.responses.stored import Stored
from oxicache.errors import MissingScopeError
from oxicache.grace import is_graced
from oxicache.store import attempt
from oxicache.tags import checked_tags
from oxicache.versions import MAX_WORDS

__all__ = ["ResponseCache"]

NOTHING: Final = Record()  # what was looked at for a key, where no function of the project is asked
MAX_TURNS: Final = 3  # keys that a request tries while others find out which headers its view looks at


@dataclass(frozen=True, slots=True, kw_only=True)
class ResponseCache(Judging):
    """Responses of views, as one decorator wants them cached. See `cached_view` for what each parameter means."""

    alias: str
    tags: Tags = ()
    words: Callable[[], list[str]] | None = None  # version words of the models that invalidate
    condition_func: Callable[..., Any] | None = None
    cache_anonymous: bool = True
    cache_users: bool = True
    grace: float = 0.0
    _views: dict[str, View] = field(default_factory=dict)

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
            view.refuse(f"CACHES[{self.alias!r}] has no tags, and tags= or invalidate_on= needs them")
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
            view.refuse(f"nobody knows its {' and '.join(error.missing)}: {remedy}")
            return None
        except Exception as error:  # noqa: BLE001 -- the project's own functions: the view must not fail for them
            view.refuse(f"its key could not be made: {error!r}")
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
                ask.view.refuse(f"its tags could not be made: {error!r}")
                return False
        try:
            held = ask.shelf.held(ask.key)
        except Exception as error:  # noqa: BLE001 -- as above: the KEY_FUNCTION of the cache
            ask.view.refuse(f"its key could not be made: {error!r}")
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
