"""The key of a response: whose it is, the view, the address, and the headers that the view looks at.

What a view looked at beyond its key: guard.py. How parts are spelt: oxicache/keys.py.
"""

import functools
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field
from typing import Any, Final

from django.conf import settings
from django.http import HttpRequest, QueryDict
from django.utils import timezone, translation

from oxicache import keys
from oxicache.django import conf
from oxicache.django.responses.guard import looked_up
from oxicache.django.scope import Mark, Scope, is_anonymous, scope_of

__all__ = ["ANONYMOUS", "GUEST", "Keying"]

KIND: Final = "response"  # what follows the scope in every key
ABSENT: Final = f"{keys.MARK}absent"  # in place of the value of a header; no value is spelt so
# Visitors who are no users are of two kinds: a session may hold something of one, and holds nothing of the other.
ANONYMOUS: Final = "anonymous"
GUEST: Final = "guest"

Resolver = Callable[[HttpRequest], Any]


@dataclass(frozen=True, slots=True, kw_only=True)
class Keying:
    """What is in the keys of one decorator. `per_user` None: users apart, and one entry for all who are none."""

    key_prefix: str | None = None  # its colons part segments, so that a pattern finds each of them
    per_user: bool | None = None
    per_tenant: bool = True
    scope: Resolver | None = None
    key_func: Callable[..., Any] | None = None
    ignored_params: frozenset[str] | None = frozenset()  # names that are in no key; None: none of them is
    # Who knows a tenant where the settings name nobody.
    otherwise: Mapping[str, Resolver] = field(default_factory=dict)

    @property
    def is_plain(self) -> bool:
        """Whether no function of the project is asked for a key, neither of this decorator nor of the settings."""
        parts = ("tenant", "client", "unit") if self.per_tenant else ()
        asked = any(map(conf.resolver, (*parts, "user"))) or (self.per_tenant and self.otherwise)
        return self.scope is None and self.key_func is None and not asked

    def scope_of(self, request: HttpRequest) -> Scope | None:
        """Return whose the response is; None where `scope=` says nobody, and then nothing is cached.

        Neither is it where the scope misses a part. May load a session and a user: a task asks in a thread.
        """
        if self.scope is None:
            found = self._scope_of(request, per_user=self.per_user)
        else:
            said = self.scope(request)
            if said is None:
                return None
            if isinstance(said, Scope):
                found = said
            else:
                user = keys.spell(said, "what scope= returned")
                found = self._scope_of(request, per_user=False, user=user)
        return found

    def is_anybodys(self, request: HttpRequest) -> bool:
        """Whether the request is of no user, told apart in the key or not. May load one, as `scope_of`."""
        if self.scope is not None:
            return False  # of whom it says it is
        user = scope_of(request, per_tenant=False).user
        return user is None or isinstance(user, Mark)

    def _scope_of(self, request: HttpRequest, **given: Any) -> Scope:
        return scope_of(request, per_tenant=self.per_tenant, otherwise=self.otherwise, **given)

    def kind_of(self, request: HttpRequest, scope: Scope) -> str | None:
        """Return which kind of visitor without a user it is; None where there is one, or nobody is told apart."""
        is_user = scope.user is not None and not isinstance(scope.user, Mark)
        if self.scope is not None or self.per_user is False or is_user:
            return None
        return ANONYMOUS if is_anonymous(request) else GUEST

    def key_of(  # noqa: PLR0917 -- what a key is made of
        self,
        request: HttpRequest,
        scope: Scope,
        view: str,
        headers: Iterable[str],
        args: tuple[Any, ...],
        kwargs: dict[str, Any],
    ) -> str:
        """Return the key of what `view` answers to this request.

        `headers`: names in META whose values count. TypeError names an argument of the view that has no spelling.
        """
        prefixes = map(_escaped, self.key_prefix.split(":")) if self.key_prefix else ()
        segments = [KIND, *prefixes, _escaped(view)]
        kind = self.kind_of(request, scope)
        segments += [
            *([keys.MARK + kind] if kind else ()),
            *_places(),
            _address(request, self.ignored_params),
        ]
        if args or kwargs:
            segments += [f"{keys.MARK}args", *(keys.spell(value, "an argument") for value in args)]
            segments += keys.spell_params(kwargs)
        for name in sorted(headers):
            value = looked_up(request, name)
            segments.append(
                f"{keys.MARK}{_escaped(name)}={ABSENT if value is None else keys.spell(value, name)}"
            )
        if self.key_func is not None:
            said = self.key_func(request, *args, **kwargs)
            segments += [f"{keys.MARK}key", keys.spell(said, "what key_func returned")]
        prefix = scope.prefix()
        return keys.bounded(":".join([prefix, *segments] if prefix else segments))


def _address(request: HttpRequest, ignored: frozenset[str] | None) -> str:
    """Return what was asked for: scheme, host, path, and the parameters in the order of their names, some left out.

    Those of one name stay in their own order: most views take the last. The host is as it was sent: it need not be
    valid, and a view that minds has raised.
    """
    scheme, host, path = request.scheme or "", request._get_raw_host(), request.path  # type: ignore[attr-defined]
    if ignored is None:
        return _place(scheme, host, path)
    query = request.META.get("QUERY_STRING") or ""
    # A middleware that has looked at GET may have changed it; and WSGI and ASGI decode in ways of their own.
    if "GET" in vars(request) or not query.isascii():
        return ":".join([_place(scheme, host, path), *_params(request.GET, ignored)])
    return _asked(scheme, host, path, query, request.encoding, ignored)


@functools.lru_cache(maxsize=4096)
def _asked(  # noqa: PLR0917 -- what an address is made of
    scheme: str, host: str, path: str, query: str, encoding: str | None, ignored: frozenset[str]
) -> str:
    return ":".join([_place(scheme, host, path), *_params(QueryDict(query, encoding=encoding), ignored)])


def _place(scheme: str, host: str, path: str) -> str:
    return f"{_escaped(scheme)}%3A//{_escaped(host)}{_escaped(path)}"


def _params(given: QueryDict, ignored: frozenset[str]) -> list[str]:
    kept: Any = given
    if not ignored.isdisjoint(given):
        kept = [(name, value) for name, values in given.lists() if name not in ignored for value in values]
    return [f"{keys.MARK}get", *keys.spell_params(kept)] if kept else []


@functools.lru_cache(maxsize=64)
def _zone(zone: Any) -> str:
    with timezone.override(zone):
        return _escaped(timezone.get_current_timezone_name())


def _places() -> list[str]:
    """Return the language and the time zone that templates are rendered in, where the project has several."""
    found = []
    if settings.USE_I18N:
        found.append(f"{keys.MARK}lang={_escaped(translation.get_language() or 'none')}")
    if settings.USE_TZ:
        found.append(f"{keys.MARK}tz={_zone(timezone.get_current_timezone())}")
    return found


@functools.lru_cache(maxsize=4096)
def _escaped(text: str) -> str:
    return keys.escape(text)
