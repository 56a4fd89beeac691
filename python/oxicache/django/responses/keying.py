"""The key of a response: whose it is, the view, the address, and the headers that the view looks at.

What a view looked at beyond its key: guard.py. How parts are spelt: oxicache/keys.py.
"""

import functools
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any, Final, TypeAlias
from uuid import UUID

from django.http import HttpRequest, QueryDict

from oxicache import keys
from oxicache.django import conf
from oxicache.django.responses import rest
from oxicache.django.responses.places import places
from oxicache.django.scope import Mark, Scope, is_anonymous, request_scope, scope_of

__all__ = ["ANONYMOUS", "GUEST", "Keying", "Parts", "key_of"]

KIND: Final = "response"  # what follows the scope in every key
ABSENT: Final = f"{keys.MARK}absent"  # in place of the value of a header; no value is spelt so
# Visitors who are no users are of two kinds: a session may hold something of one, and holds nothing of the other.
ANONYMOUS: Final = "anonymous"
GUEST: Final = "guest"
REMEMBERED_MAX_CHARS: Final = (
    1024  # of one address and its headers: who sends long ones fills no memory with them
)

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
    def asks_settings(self) -> bool:
        """Whether a function, of the settings or of a dialect, is to say whose a response is."""
        if self.per_tenant and (
            self.otherwise or conf.resolver("tenant") or conf.resolver("client") or conf.resolver("unit")
        ):
            return True
        return conf.resolver("user") is not None

    @property
    def is_plain(self) -> bool:
        """Whether no function of the project is asked for a key, neither of this decorator nor of the settings."""
        return self.scope is None and self.key_func is None and not self.asks_settings

    def scope_of(self, request: HttpRequest) -> Scope | None:
        """Return whose the response is; None where `scope=` says nobody, and then nothing is cached.

        Neither is it where the scope misses a part. May load a session and a user: a task asks in a thread.
        """
        if self.scope is None:
            if not self.asks_settings:
                return request_scope(request, per_user=self.per_user)
            return self._scope_of(request, per_user=self.per_user)
        said = self.scope(request)
        if said is None or isinstance(said, Scope):
            return said
        return self._scope_of(request, per_user=False, user=keys.spell(said, "what scope= returned"))

    def _scope_of(self, request: HttpRequest, **given: Any) -> Scope:
        return scope_of(request, per_tenant=self.per_tenant, otherwise=self.otherwise, **given)

    def is_anybodys(self, request: HttpRequest) -> bool:
        """Whether the request is of no user, told apart in the key or not. May load one, as `scope_of`."""
        if self.scope is not None:
            return False  # of whom it says it is
        user = scope_of(request, per_tenant=False).user
        return user is None or isinstance(user, Mark)

    def kind_of(self, request: HttpRequest, scope: Scope) -> str | None:
        """Return which kind of visitor without a user it is; None where nobody is told apart.

        Of a user it is None too, but for one that is of no model of the project's users.
        """
        is_user = scope.user is not None and not isinstance(scope.user, Mark)
        if self.scope is not None or self.per_user is False:
            return None
        if is_user:
            # Whom the setting USER names is whom it names: his model is its own affair.
            is_named = rest.is_plain(request) and conf.resolver("user") is not None
            return None if is_named else rest.user_kind(request.user)
        return ANONYMOUS if is_anonymous(request) and not _has_begun_session(rest.plain(request)) else GUEST

    def parts_of(
        self,
        request: HttpRequest,
        scope: Scope,
        view: str,
        arguments: tuple[tuple[Any, ...], dict[str, Any]],
        said: tuple[Any, ...],
    ) -> "Parts":
        """Return what is in the key of what `view` answers to this request, except for headers and their like.

        `said`: what key_func returned, if there is one.
        """
        args, kwargs = arguments
        is_plain = rest.is_plain(request)
        plain = request if is_plain else rest.plain(request)
        return (
            scope.prefix(),
            self.key_prefix,
            view,
            self.kind_of(request, scope),
            places() + _routed(plain) + (() if is_plain else rest.segments(request)),
            _asked(plain, self.ignored_params),
            args,
            _counting(plain, kwargs) if kwargs else (),
            said,
        )


# Of what is asked for: scheme, host, path, the query or the parameters taken from it, the encoding of these, and the
# names of those that count for nothing.
Asked: TypeAlias = tuple[str, str, str, str | tuple[str, ...], str | None, frozenset[str] | None]
Arguments: TypeAlias = tuple[Any, ...]
Named: TypeAlias = tuple[tuple[str, Any], ...]
Parts: TypeAlias = tuple[
    str, str | None, str, str | None, tuple[str, ...], Asked, Arguments, Named, tuple[Any, ...]
]

_PLAIN: Final = frozenset({bool, int, str, type(None), UUID})


def _counting(request: HttpRequest, kwargs: dict[str, Any]) -> Named:
    """Return the arguments that count: not the objects that the URLconf itself gives, as `{"sitemaps": {...}}`.

    These are the same for one address in one URLconf.
    """
    match = vars(request).get("resolver_match")
    given = getattr(match, "extra_kwargs", None)
    if not given:
        return tuple(kwargs.items())
    return tuple(
        (name, value)
        for name, value in kwargs.items()
        if type(value) in _PLAIN or name not in given or given[name] is not value
    )


def key_of(parts: Parts, names: tuple[str, ...], values: tuple[str | None, ...]) -> str:
    """Return a key. `names`: of the headers, cookies and attributes that count, with their values in the same order.

    TypeError names an argument of the view that has no spelling.
    """
    *_, asked, args, kwargs, said = parts
    if _size(asked, values) > REMEMBERED_MAX_CHARS:
        return _text(parts, names, values)
    if not (args or kwargs or said):
        return _remembered(parts, names, values, ())
    given = (*args, *[value for _, value in kwargs], *said)
    types = tuple(map(type, given))
    if _PLAIN.issuperset(types):
        return _remembered(parts, names, values, types)
    return _text(parts, names, values)


def _size(asked: Asked, values: tuple[str | None, ...]) -> int:
    """Return the characters of what somebody has sent for a key, roughly."""
    _, host, path, query, *_ = asked
    size = len(host) + len(path) + (len(query) if type(query) is str else sum(map(len, query)))
    return size + sum(map(len, filter(None, values))) if values else size


@functools.lru_cache(maxsize=4096)
def _remembered(
    parts: Parts,
    names: tuple[str, ...],
    values: tuple[str | None, ...],
    types: tuple[type[Any], ...],  # noqa: ARG001 -- equal values of two types are two keys
) -> str:
    return _text(parts, names, values)


def _text(parts: Parts, names: tuple[str, ...], values: tuple[str | None, ...]) -> str:
    prefix, key_prefix, view, kind, places, asked, args, kwargs, said = parts
    segments = [prefix] if prefix else []
    segments.append(KIND)
    segments += map(keys.escape, key_prefix.split(":")) if key_prefix else []
    segments.append(keys.escape(view))
    segments += [keys.MARK + keys.escape(kind)] if kind else []
    segments += places
    address, *params = _address(*asked)
    segments.append(address)
    # Before the parameters, which may be named alike: what ends them here is no pair.
    for name, value in zip(names, values, strict=True):
        spelt = ABSENT if value is None else keys.spell(value, name)
        segments.append(f"{keys.MARK}{keys.escape(name)}={spelt}")
    segments += params
    if args or kwargs:
        segments += [f"{keys.MARK}args", *(keys.spell(value, "an argument") for value in args)]
        segments += keys.spell_params(kwargs)
    if said:
        segments += [f"{keys.MARK}key", keys.spell(said[0], "what key_func returned")]
    return keys.bounded(":".join(segments))


def _routed(request: HttpRequest) -> tuple[str, ...]:
    """Return what a middleware has changed of the way from the address to the view, as segments.

    `reverse()` goes by `urlconf`, and of that nothing can be noted. TypeError where it has no name.
    """
    path, urlconf = request.path_info, vars(request).get("urlconf")
    if path == request.path and urlconf is None:
        return ()
    name = keys.spell(getattr(urlconf, "__name__", urlconf), "request.urlconf")
    return f"{keys.MARK}path={keys.escape(path)}", f"{keys.MARK}urlconf={name}"


def _has_begun_session(request: HttpRequest) -> bool:
    """Whether something has been put into the session of a visitor who came without one."""
    return bool(getattr(vars(request).get("session"), "_session_cache", None))


def _asked(request: HttpRequest, ignored: frozenset[str] | None) -> Asked:
    """Return what was asked for.

    The host is as it was sent: it need not be valid, and a view that minds has raised.
    """
    scheme, host, path = request.scheme or "", request._get_raw_host(), request.path  # type: ignore[attr-defined]
    if ignored is None:
        return scheme, host, path, "", None, None
    query = request.META.get("QUERY_STRING") or ""
    # A middleware that has looked at GET may have changed it; and WSGI and ASGI decode in ways of their own.
    if "GET" in vars(request) or not query.isascii():
        return scheme, host, path, tuple(_params(request.GET, ignored)), None, ignored
    return scheme, host, path, query, request._encoding, ignored  # type: ignore[attr-defined]


def _address(  # noqa: PLR0917 -- what an address is made of
    scheme: str,
    host: str,
    path: str,
    query: str | tuple[str, ...],
    encoding: str | None,
    ignored: frozenset[str] | None,
) -> list[str]:
    """Spell what was asked for: scheme, host, path, and the parameters in the order of their names.

    Those of one name stay in their own order: most views take the last.
    """
    # A path begins with a slash, and a host is as somebody has sent it.
    place = f"{keys.escape(scheme)}%3A//{keys.escape(host).replace('/', '%2F')}{keys.escape(path)}"
    if ignored is None:
        return [place, f"{keys.MARK}get-"]
    params = _params(QueryDict(query, encoding=encoding), ignored) if isinstance(query, str) else query
    if ignored:  # another decorator of the same view may count them
        return [place, f"{keys.MARK}get-{'+'.join(map(keys.escape, sorted(ignored)))}", *params]
    return [place, f"{keys.MARK}get", *params] if params else [place]


def _params(given: QueryDict, ignored: frozenset[str]) -> list[str]:
    if ignored.isdisjoint(given):
        return keys.spell_params(given)
    return keys.spell_params(
        [(name, value) for name, values in given.lists() if name not in ignored for value in values]
    )
