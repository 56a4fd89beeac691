"""Short histories for test_responses_machine.py: each fails with the mistake that it is named after.

The mistakes are in visitor_mistakes.py. Chance finds some too: test_responses_machine.py says which.
"""

from collections.abc import Callable
from typing import Any, Final

from visited_site import Page

__all__ = ["HISTORIES"]

History = Callable[[Any], None]
Who = dict[str, str]

ANN, BOB = {"kind": "user", "name": "ann"}, {"kind": "user", "name": "bob"}
STAFF = {"kind": "user", "name": "cyd"}
ANONYMOUS, GUEST = {"kind": "anonymous"}, {"kind": "guest", "cart": "1"}


def _seen(look: str, *who: Who, query: str = "", **given: Any) -> History:
    """Each of the visitors asks, twice over."""

    def history(visits: Any) -> None:
        page = _page({look}, **given)
        visits.start([page], who)
        for visitor in visits.visitors * 2:
            visits.request(visitor, page, query=query)

    return history


def _page(looks: set[str], **given: Any) -> Page:
    own = {name: given.pop(name) for name in list(given) if name in Page.__dataclass_fields__}
    return Page(name="page", looks=frozenset(looks), options=given, **own)


def _asked(*queries: str, look: str = "params", **given: Any) -> History:
    """One visitor asks with one query after another."""

    def history(visits: Any) -> None:
        page = _page({look}, **given)
        visits.start([page], [ANONYMOUS])
        for query in queries:
            visits.request(visits.visitors[0], page, query=query)

    return history


def _in_ways(*ways: tuple[str, dict[str, str]], **given: Any) -> History:
    """One visitor asks, the source changes, and he asks in other ways."""

    def history(visits: Any) -> None:
        page = _page({"fact"}, **given)
        visits.start([page], [ANONYMOUS])
        for method, headers in ways:
            visits.request(visits.visitors[0], page, method, extra=headers)
            visits.new_fact()

    return history


def _changed(change: Callable[[Any], None], look: str, **given: Any) -> History:
    def history(visits: Any) -> None:
        page = _page({look}, **given)
        visits.start([page], [ANONYMOUS])
        visits.request(visits.visitors[0], page)
        change(visits)
        visits.request(visits.visitors[0], page)

    return history


def _together(look: str, *who: Who, **given: Any) -> History:
    """Two ask at once."""

    def history(visits: Any) -> None:
        page = _page({look}, **given)
        visits.start([page], who)
        visits.at_once(page, "", *visits.visitors)

    return history


def _told(visits: Any) -> None:
    page = _page({"user"}, kind="template")
    visits.start([page], [ANN, BOB])
    for visitor in visits.visitors:
        visits.tell(visitor, "1")
        visits.request(visitor, page)
        visits.request(visitor, page)


def _conditional(visits: Any) -> None:
    page = _page({"user"})
    visits.start([page], [ANN, BOB])
    one, other = visits.visitors
    etag = visits.request(one, page)["ETag"]
    visits.request(other, page, extra={"If-None-Match": etag})
    assert visits.request(one, page, extra={"If-None-Match": etag}).status_code == 304


def _late(visits: Any) -> None:
    page = _page({"fact"}, timeout=60, grace=600)
    visits.start([page], [ANONYMOUS])
    visits.request(visits.visitors[0], page)
    visits.new_fact()
    visits.clock.now += 61
    visits.request(visits.visitors[0], page)


def _recovered(visits: Any) -> None:
    page = _page({"fact"}, status=503)
    visits.start([page], [ANONYMOUS])
    visits.request(visits.visitors[0], page)
    visits.new_fact()
    visits.request(visits.visitors[0], page)


def _head_first(visits: Any) -> None:
    page = _page({"fact"})
    visits.start([page], [ANONYMOUS])
    for method in ("head", "get", "head", "get"):
        visits.request(visits.visitors[0], page, method)


def _with_token(visits: Any) -> None:
    page = _page({"credentials"}, per_user=False)
    visits.start([page], [{"kind": "token", "name": "ann"}, {"kind": "token", "name": "bob"}, ANONYMOUS])
    for visitor in visits.visitors * 2:
        visits.request(visitor, page)


DE, EN = {"Accept-Language": "de"}, {"Accept-Language": "en"}
ONE, TWO = {"X-Unit": "1"}, {"X-Unit": "2"}

HISTORIES: Final[dict[str, History]] = {
    "users_share": _seen("user", ANN, BOB),
    "tenants_share": _seen("tenant", {"X-Tenant": "1"}, {"X-Tenant": "2"}),
    "languages_share": _seen("language", DE, EN),
    "hosts_share": _seen("host", {"host": "a.example"}, {"host": "b.example"}),
    "guests_are_anonymous": _seen("cart", ANONYMOUS, GUEST),
    "last_values_only": _asked("a=1&a=2", "a=2", "a=2&a=1", "b=1&a=2", "a=2&b=1"),
    "headers_are_not_learned": _seen("unit", ONE, TWO),
    "key_functions_are_not_asked_for_a_key": _seen(
        "theme", {"theme": "1"}, {"theme": "2"}, per_user=False, key_func=...
    ),
    "attributes_are_not_learned": _seen("plan", {"X-Plan": "1"}, {"X-Plan": "2"}),
    "head_fills_get": _head_first,
    "post_is_cached": _in_ways(("post", {}), ("post", {}), ("get", {})),
    "authorization_is_nothing": _with_token,
    "reloads_are_not_heard": _in_ways(("get", {}), ("get", {"Cache-Control": "no-cache"})),
    "models_do_not_invalidate": _changed(
        lambda visits: visits.save_row(), "row", invalidate_on=["auth.Group"]
    ),
    "tags_do_not_invalidate": _changed(lambda visits: visits.new_fact(is_told=True), "fact", tags=["facts"]),
    "grace_is_freshness": _late,
    "conditions_ask_for_the_address_alone": _conditional,
    "hits_do_not_vary": _seen("user", ANONYMOUS),
    "flights_are_shared": _together("user", ANN, BOB),
    "flights_land_unread": _together("unit", ONE, TWO),
    "errors_are_shared": _together("unit", BOB, STAFF, raises="denied", per_user=False),
    "users_are_not_guarded": _seen("user", ANN, BOB, per_user=False),
    "sessions_are_not_guarded": _seen("cart", GUEST, {"kind": "guest", "cart": "2"}),
    "written_sessions_are_not_guarded": _seen("unit", ANONYMOUS, deed="session"),
    "cookies_are_not_guarded": _seen("theme", {"theme": "1"}, {"theme": "2"}),
    "tokens_are_not_guarded": _seen("token", ANONYMOUS, {"kind": "anonymous"}),
    "messages_are_not_guarded": _told,
    "languages_are_not_guarded": _seen("unit", DE, deed="activate"),
    "cookies_are_kept": _seen("unit", ANONYMOUS, deed="ticket"),
    "no_store_is_not_heard": _seen("unit", ANONYMOUS, deed="no-store"),
    "errors_are_kept": _recovered,
}
