"""Mistakes that somebody might make in caching responses, by name: test_responses_machine.py must find each.

Each takes pytest's `monkeypatch` and replaces a part of oxicache for one test.
"""

from collections.abc import Callable
from dataclasses import replace
from typing import Any, Final

import pytest
from django.http import HttpRequest, HttpResponseNotModified, QueryDict

from oxicache import keys
from oxicache.django.responses import findings, judging, keying, policy, serving
from oxicache.django.responses.policy import Wish
from oxicache.django.responses.records import Record
from oxicache.django.responses.serving import ResponseCache
from oxicache.django.responses.shelves import Loaded, Wanted
from oxicache.django.responses.stored import Stored, thaw
from oxicache.django.scope import Scope

__all__ = ["MISTAKES"]

Patch = pytest.MonkeyPatch


def _wrapped(patch: Patch, owner: Any, name: str, wrap: Callable[..., Any]) -> None:
    """Put `wrap(before, ...)` in the place of a function."""
    before = getattr(owner, name)
    patch.setattr(owner, name, lambda *args, **kwargs: wrap(before, *args, **kwargs))


# ---------------------------------------------------------------- what is in the key


def users_share(patch: Patch) -> None:
    _wrapped(patch, Scope, "prefix", lambda before, self: before(replace(self, user=None)))


def tenants_share(patch: Patch) -> None:
    _wrapped(patch, Scope, "prefix", lambda before, self: before(replace(self, tenant=None)))


def languages_share(patch: Patch) -> None:
    patch.setattr(keying, "places", lambda: ())


def hosts_share(patch: Patch) -> None:
    patch.setattr(HttpRequest, "_get_raw_host", lambda _: "")


def guests_are_anonymous(patch: Patch) -> None:
    _wrapped(patch, keying.Keying, "kind_of", lambda before, *args: before(*args) and keying.ANONYMOUS)


def last_values_only(patch: Patch) -> None:
    def spelt(before: Any, params: Any) -> Any:
        return before(params.dict() if isinstance(params, QueryDict) else params)

    _wrapped(patch, keys, "spell_params", spelt)


def headers_are_not_learned(patch: Patch) -> None:
    patch.setattr(ResponseCache, "_headers", lambda _, ask, *__: ask.headers)


def key_functions_are_not_asked_for_a_key(patch: Patch) -> None:
    def said(before: Any, *args: Any) -> Any:
        parts = before(*args)
        return (*parts[:-1], ())

    _wrapped(patch, keying.Keying, "parts_of", said)


# ---------------------------------------------------------------- the guard


def _unguarded(*roots: str) -> Callable[[Patch], None]:
    def mistake(patch: Patch) -> None:
        def found(before: Any, *args: Any) -> Any:
            return [one for one in before(*args) if one not in roots]

        _wrapped(patch, findings, "leaks", found)

    return mistake


def attributes_are_not_learned(patch: Patch) -> None:
    patch.setattr(Record, "read_attributes", lambda _: {})


# ---------------------------------------------------------------- what may be stored


def _kept(excuse: str) -> Callable[[Patch], None]:
    def mistake(patch: Patch) -> None:
        def refusal(before: Any, response: Any, *args: Any) -> Any:
            reason = before(response, *args)
            if reason is None or excuse not in reason:
                return reason
            for cookie in response.cookies.values():
                response["Set-Cookie"] = cookie.OutputString()
            response.cookies.clear()
            return None

        _wrapped(patch, policy, "refusal", refusal)

    return mistake


def head_fills_get(patch: Patch) -> None:
    def serve(before: Any, self: Any, request: Any, call: Any, *args: Any) -> Any:
        if request.method != "HEAD":
            return before(self, request, call, *args)

        def without_body() -> Any:
            response = call()
            response.content = b""
            return response

        request.method = "GET"
        return before(self, request, without_body, *args)

    _wrapped(patch, ResponseCache, "serve", serve)


def post_is_cached(patch: Patch) -> None:
    def wish_of(before: Any, request: Any, **known: Any) -> Any:
        method, length = request.method, request.META.pop("CONTENT_LENGTH", None)
        request.method = "GET"
        try:
            return before(request, **known)
        finally:
            request.method, request.META["CONTENT_LENGTH"] = method, length

    _wrapped(patch, policy, "wish_of", wish_of)


def authorization_is_nothing(patch: Patch) -> None:
    _wrapped(patch, policy, "wish_of", lambda before, request, **_: before(request, has_scope=True))


# ---------------------------------------------------------------- when it may be served


def reloads_are_not_heard(patch: Patch) -> None:
    def wish_of(before: Any, *args: Any, **known: Any) -> Any:
        found = before(*args, **known)
        return Wish.CACHED if found is Wish.RELOAD else found

    _wrapped(patch, policy, "wish_of", wish_of)


def models_do_not_invalidate(patch: Patch) -> None:
    patch.setattr(ResponseCache, "_stamps", lambda *_: None)


def tags_do_not_invalidate(patch: Patch) -> None:
    def wants(before: Any, self: Any, ask: Any, *args: Any) -> Any:
        found = before(self, ask, *args)
        ask.tags = ()
        return found

    _wrapped(patch, ResponseCache, "_wants", wants)


def grace_is_freshness(patch: Patch) -> None:
    patch.setattr(Stored, "is_fresh", lambda *_: True)


def conditions_ask_for_the_address_alone(patch: Patch) -> None:
    known: set[tuple[str, str]] = set()

    def serve(before: Any, self: Any, request: Any, *args: Any) -> Any:
        asked = request.META.get("HTTP_IF_NONE_MATCH", "")
        if (request.path, asked) in known:
            return HttpResponseNotModified(headers={"ETag": asked})
        response = before(self, request, *args)
        known.add((request.path, response.get("ETag", "")))
        return response

    _wrapped(patch, ResponseCache, "serve", serve)


def hits_do_not_vary(patch: Patch) -> None:
    patch.setattr(judging, "vary_on_seen", lambda *_: None)


# ---------------------------------------------------------------- who waits for whom


def flights_are_shared(patch: Patch) -> None:
    def address(wanted: Any) -> str:
        return str(wanted.key.partition(keying.KIND)[2])

    def landed(before: Any, self: Any, ask: Any, loaded: Any) -> Any:
        if isinstance(loaded, Loaded) and loaded.asked is not ask.wanted and loaded.stored is not None:
            return self._answer(ask, thaw(loaded.stored))
        return before(self, ask, loaded)

    patch.setattr(Wanted, "__hash__", lambda self: hash(address(self)))
    patch.setattr(Wanted, "__eq__", lambda self, other: address(self) == address(other))
    _wrapped(patch, ResponseCache, "_of", landed)


def flights_land_unread(patch: Patch) -> None:
    """Who waited takes what was loaded, though its key has become another since."""

    def landed(before: Any, self: Any, ask: Any, loaded: Any) -> Any:
        if isinstance(loaded, Loaded) and loaded.stored is not None:
            loaded.key = ask.wanted.key
        return before(self, ask, loaded)

    _wrapped(patch, ResponseCache, "_of", landed)


def errors_are_shared(patch: Patch) -> None:
    patch.setattr(serving, "_is_own", lambda *_: True)


MISTAKES: Final[dict[str, Callable[[Patch], None]]] = {
    mistake.__name__: mistake
    for mistake in (
        users_share,
        tenants_share,
        languages_share,
        hosts_share,
        guests_are_anonymous,
        last_values_only,
        headers_are_not_learned,
        key_functions_are_not_asked_for_a_key,
        attributes_are_not_learned,
        head_fills_get,
        post_is_cached,
        authorization_is_nothing,
        reloads_are_not_heard,
        models_do_not_invalidate,
        tags_do_not_invalidate,
        grace_is_freshness,
        conditions_ask_for_the_address_alone,
        hits_do_not_vary,
        flights_are_shared,
        flights_land_unread,
        errors_are_shared,
    )
} | {
    "users_are_not_guarded": _unguarded("user"),
    "sessions_are_not_guarded": _unguarded("session"),
    "written_sessions_are_not_guarded": _unguarded("session written", "session"),  # which has begun
    "cookies_are_not_guarded": _unguarded("COOKIES"),
    "tokens_are_not_guarded": _unguarded("csrf", "COOKIES"),
    "messages_are_not_guarded": _unguarded("messages", "COOKIES", "session"),  # which may hold them
    "languages_are_not_guarded": _unguarded("language"),
    "cookies_are_kept": _kept("sets a cookie"),
    "no_store_is_not_heard": _kept("Cache-Control"),
    "errors_are_kept": _kept("its status is"),
}  # fmt: skip
