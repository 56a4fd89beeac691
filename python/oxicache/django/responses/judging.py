"""What is kept of a response that a view has returned, for how long, and under which key."""

import logging
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field
from typing import Any, Final

from oxicache._native import MISSING, Stamps, TTLCache
from oxicache.django import nesting, transactions
from oxicache.django.nesting import Gathered, Needs
from oxicache.django.responses import findings, policy, rendering, rest, stored
from oxicache.django.responses.asking import Ask, View
from oxicache.django.responses.headers import vary_on_seen
from oxicache.django.responses.keying import Keying, key_of
from oxicache.django.responses.records import ATTRIBUTE, Record, meta_name
from oxicache.django.responses.shelves import Loaded, ServerError
from oxicache.django.responses.stored import Data

__all__ = ["Judging"]

logger = logging.getLogger("oxicache.responses")

PASS_SECONDS: Final = 10.0  # for so long requests whose response was not kept do not wait for one another
PASS_MAX_KEYS: Final = 1024
SERVER_ERRORS: Final = 500  # and above
MAX_HEADERS: Final = 16  # of one view; past that its responses are nearly each their own


@dataclass(frozen=True, slots=True, kw_only=True)
class Judging:
    """What a decorator wants kept of responses. See `cached_view` for what each parameter means."""

    ttl: float | Callable[[], float | None] | None  # a callable is asked for each response
    keying: Keying
    vary_on: frozenset[str] = frozenset()  # by their names in META
    success_func: Callable[[Any], Any] | None = None
    statuses: frozenset[int] = frozenset({200})
    max_bytes: int | None = None
    header: str = stored.CACHE_STATUS  # which says HIT, MISS or STALE
    # Of views that nobody has decorated: what does not fit is not cached, and no mistake.
    is_of_site: bool = False
    _passing: TTLCache[str, bool] = field(default_factory=lambda: TTLCache(PASS_MAX_KEYS, PASS_SECONDS))

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
            problem, stamps = _depends(ask, loaded, inner, stamps)
        if problem is not None:
            ask.view.refuse(problem)
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

    def _is_success(self, view: View, response: Any) -> bool:
        if self.success_func is None:
            return True
        try:
            return bool(self.success_func(response))
        except Exception as error:  # noqa: BLE001 -- the project's own function: the view must not fail for it
            view.refuse(f"success_func failed: {error!r}")
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
            ask.view.refuse(f"it looks at more than {MAX_HEADERS} headers")
            return None
        return tuple(sorted(headers))


def _depends(
    ask: Ask, loaded: Loaded, inner: Gathered, stamps: Stamps | None
) -> tuple[str | None, Stamps | None]:
    """Have a response depend on what the fragments in it do. Return why it cannot, and the versions of all."""
    if not ask.shelf.has_tags:
        return (
            f"a fragment in it has tags or depends on models, of which {ask.shelf.name} knows nothing",
            None,
        )
    tags, names = (inner.needs | Needs(ask.tags, ask.words, ask.shelf.locations)).fitted() or ((), None)
    if names is None or len({*tags, *ask.tags}) + len(names) > nesting.ROOM:
        return f"it and the fragments in it depend on more than {nesting.ROOM} version words", None
    loaded.tags = tuple(set(tags) - set(ask.tags))
    found = inner.captured(names, () if stamps is None else (stamps,))
    if found is None:
        inner.spoil()  # outdated already: for who asked alone
    return None, found
