"""Whom data belongs to: tenant, client, unit, user, language. A scope's prefix begins every key of its data.

Who says so are the settings TENANT, CLIENT, UNIT, USER and LANGUAGE, callables of the request or of nothing. What is
wanted and not known is never somebody else's: it is UNKNOWN, and such a scope has no prefix. How the rest of a key is
spelt: oxicache/keys.py.
"""

import functools
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from contextvars import ContextVar
from dataclasses import dataclass
from types import MappingProxyType
from typing import Any, Final, TypeAlias
from uuid import UUID

from asgiref.sync import sync_to_async
from django.conf import settings
from django.contrib.sessions.backends.base import SessionBase
from django.http import HttpRequest
from django.utils import translation
from django.utils.functional import LazyObject, empty

from oxicache import keys
from oxicache.django import conf
from oxicache.errors import MissingScopeError
from oxicache.options import KEY_MAX_CHARS

__all__ = [
    "ANONYMOUS",
    "SESSION",
    "UNKNOWN",
    "Scope",
    "ascope_of",
    "current_scope",
    "is_anonymous",
    "is_resolved",
    "request_scope",
    "scope_of",
    "session_client",
    "session_places",
    "session_tenant",
    "session_unit",
    "use_scope",
]

Resolver: TypeAlias = Callable[..., Any]  # of the request, or of nothing


class Mark:
    """What stands for a part whose value is none: no id is spelt like it."""

    __slots__ = ("name",)

    def __init__(self, name: str) -> None:
        self.name = name

    def __repr__(self) -> str:
        return self.name.upper()


UNKNOWN: Final = Mark("unknown")  # wanted, and nobody could say
ANONYMOUS: Final = Mark("anonymous")  # a visitor who is not logged in, as a user of his own
STANDS_FOR: Final = "_oxicache_stands_for"  # where a lazy object that stands in for a user has that one
UNTRANSLATED: Final = Mark("untranslated")  # translations are switched off

# In this order. Source: document 004, "Standard Patterns"; the language, which it does not have, comes last.
LABELS: Final[Mapping[str, str]] = MappingProxyType(
    {"tenant": "tenant", "client": "client", "unit": "bu", "user": "user", "language": "lang"}
)


class _Prefixed:
    __slots__ = ("_prefix",)
    _prefix: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Scope(_Prefixed):
    """Whose data it is. None: not told apart by this; UNKNOWN: to be told apart, and not known. 0 is an id like any.

    A part is a str, an int or a UUID, or an object with a `pk`, whose pk it becomes; 1 and "1" are one id.
    """

    tenant: Any = None
    client: Any = None
    unit: Any = None
    user: Any = None
    language: Any = None

    def __post_init__(self) -> None:
        """Refuse what is no id."""
        for name in LABELS:
            if (value := getattr(self, name)) is not None:
                object.__setattr__(self, name, _id(name, value))

    @property
    def missing(self) -> tuple[str, ...]:
        """The names of the parts that are UNKNOWN. Where there are any, nothing can be kept."""
        return tuple(name for name in LABELS if getattr(self, name) is UNKNOWN)

    def prefix(self) -> str:
        """Return `tenant:1:client:2:bu:3`, of what it has; empty where it has nothing.

        MissingScopeError names what is missing.
        """
        try:
            return self._prefix
        except AttributeError:
            pass  # asked for the first time
        if self.missing:
            raise MissingScopeError(self.missing)
        found = ":".join(
            f"{label}:{_spelt(value)}"
            for name, label in LABELS.items()
            if (value := getattr(self, name)) is not None
        )
        object.__setattr__(self, "_prefix", found)
        return found

    def key(self, *parts: Any, params: keys.Params | None = None, limit: int = KEY_MAX_CHARS) -> str:
        """Return the key of these parts and params within this scope: `keys.make_key`."""
        return keys.make_key(*parts, params=params, prefix=self.prefix(), limit=limit)

    def patterns(self, pattern: str) -> tuple[str, ...]:
        """Return the globs of what a `--pattern` means within this scope: `keys.normal_pattern`."""
        return keys.normal_pattern(pattern, self.prefix())


def _id(name: str, value: Any) -> Any:
    if value is None or isinstance(value, Mark):
        return value
    found = value.pk if hasattr(value, "pk") else value
    if isinstance(found, bool) or not isinstance(found, str | int | UUID):
        raise TypeError(
            f"{name} must be a str, an int, a UUID, or an object that has such a pk, not {value!r}"
        )
    if found == "":
        raise ValueError(f"{name} must not be empty: an id of nobody would be shared by all who have none")
    return found


def _spelt(value: Any) -> str:
    if isinstance(value, Mark):
        return keys.MARK + value.name
    text = str(value)  # of a number too: sessions and command lines know ids as text
    return keys.MARK + keys.escape(text) if text.startswith(keys.MARK) else keys.escape(text)


# ---------------------------------------------------------------- who is asked


# Of document 004.
_NAMES: Final = {"tenant": "tenant_id", "client": "client_id", "unit": "bu_id"}


def session_tenant(request: HttpRequest) -> Any:
    """The session's `tenant_id`, as document 004 has it, for the setting TENANT."""
    return _from_session(request, _NAMES["tenant"])


def session_client(request: HttpRequest) -> Any:
    """The session's `client_id`, for the setting CLIENT."""
    return _from_session(request, _NAMES["client"])


def session_unit(request: HttpRequest) -> Any:
    """The session's `bu_id`, for the setting UNIT."""
    return _from_session(request, _NAMES["unit"])


# What is asked where the settings name nobody, in a project as document 004 describes it.
SESSION: Final[Mapping[str, Resolver]] = MappingProxyType(
    {"tenant": session_tenant, "client": session_client, "unit": session_unit}
)


def session_places(request: HttpRequest) -> dict[str, Any]:
    """Return what a session names of the tenant, the client and the unit, in one look."""
    session = _session(request)
    if session is None:
        return {}
    found = {part: session.get(name) for part, name in _NAMES.items()}
    return {part: value for part, value in found.items() if value is not None and value != ""}


def _from_session(request: HttpRequest, name: str) -> Any:
    session = _session(request)
    return None if session is None else session.get(name)


def _session(request: HttpRequest) -> Any:
    """Return the session that there is. One that nobody has is not begun, and asked for no row."""
    session = getattr(request, "session", None)
    if session is None:
        return None
    is_loaded = not isinstance(session, SessionBase) or hasattr(session, "_session_cache")
    return session if is_loaded or _has_session_cookie(request) else None


def _has_session_cookie(request: HttpRequest) -> bool:
    return settings.SESSION_COOKIE_NAME in request.COOKIES


def is_anonymous(request: HttpRequest) -> bool:
    """Whether nothing that came with the request says who it is: no session cookie and no `Authorization`.

    Looks at headers alone. A site that knows its users by something else names it in the setting USER.
    """
    return not _has_session_cookie(request) and not request.META.get("HTTP_AUTHORIZATION")


def _request_user(request: HttpRequest) -> Any:
    """The pk of the user who is logged in, else None. Nobody is loaded for a request that says nothing of a user."""
    # A request of Django REST framework is no HttpRequest, keeps its user elsewhere, and may know him by other headers.
    if issubclass(type(request), HttpRequest) and not is_resolved(request) and is_anonymous(request):
        return None
    user = getattr(request, "user", None)
    if user is None or not user.is_authenticated:
        return None
    return UNKNOWN if user.pk is None else user.pk


def is_resolved(request: HttpRequest) -> bool:
    """Whether somebody has set or loaded the user already."""
    user = vars(request).get("user")
    while isinstance(user, LazyObject):
        held = object.__getattribute__(
            user, "__dict__"
        )  # vars() asks the lazy object, which takes far longer
        if STANDS_FOR not in held:
            return held.get("_wrapped", empty) is not empty
        user = held[STANDS_FOR]
    return user is not None


# ---------------------------------------------------------------- the scope of a request


def scope_of(
    request: HttpRequest | None,
    *,
    per_tenant: bool = True,
    per_user: bool | None = None,
    per_language: bool = False,
    otherwise: Mapping[str, Resolver] = MappingProxyType({}),
    **given: Any,
) -> Scope:
    """Return whom the data of a request belongs to. Parts that are `given` are taken as they are.

    Tenant, client and unit are told apart where a setting, or `otherwise`, says who knows them. Users are told apart
    when they are logged in; with `per_user=True` so are visitors who are not, and with False nobody. What is not asked
    for is not looked at: neither the session nor `request.user`. Without a request it is `current_scope` that is asked.
    """
    unknown = sorted(given.keys() - LABELS.keys())
    if unknown:
        raise TypeError(f"a scope has no part {', '.join(unknown)}; its parts are {', '.join(LABELS)}")
    found: dict[str, Any] = {}
    if per_tenant:
        found |= _places(request, otherwise, given)
    if per_user is not False and "user" not in given:
        found["user"] = _user(request, is_wanted=bool(per_user))
    if per_language and "language" not in given:
        found["language"] = _language(request)
    return Scope(**found, **given)


def request_scope(request: HttpRequest, *, per_user: bool | None) -> Scope:
    """As `scope_of`, where the settings name nobody who knows a tenant, a client, a unit or a user."""
    if per_user is False:
        return _NOBODYS
    user = _request_user(request)
    if user is None:
        return _ANONYMOUS if per_user else _NOBODYS
    return _of_user(user) if type(user) in _PLAIN_IDS else Scope(user=user)


@functools.lru_cache(maxsize=4096, typed=True)
def _of_user(user: Any) -> Scope:
    return Scope(user=user)


_PLAIN_IDS: Final = frozenset({int, str, UUID})
_NOBODYS: Final = Scope()
_ANONYMOUS: Final = Scope(user=ANONYMOUS)


async def ascope_of(request: HttpRequest | None, **options: Any) -> Scope:
    """As `scope_of`, for a task: a session and a user may be rows of a database."""
    return await sync_to_async(scope_of)(request, **options)


def _places(
    request: HttpRequest | None, otherwise: Mapping[str, Resolver], given: Mapping[str, Any]
) -> dict[str, Any]:
    used = _current.get() if request is None else None
    found = {}
    for name in ("tenant", "client", "unit"):
        if name not in given:
            in_use = getattr(used, name, None)
            # A block that says nothing of the tenant does not make its data everybody's.
            found[name] = _answer(name, request, otherwise) if in_use is None else in_use
    return found


def _answer(part: str, request: Any, otherwise: Mapping[str, Resolver]) -> Any:
    """What a part's resolver says; None where nobody is asked, UNKNOWN where nobody can say."""
    asked = conf.resolver(part) or otherwise.get(part)
    if asked is None:
        return None
    found = _ask(asked, request)
    return UNKNOWN if found is None or found == "" else found


def _ask(asked: Resolver, request: Any) -> Any:
    if not conf.takes_request(asked):
        return asked()
    return None if request is None else asked(request)


def _user(request: HttpRequest | None, *, is_wanted: bool) -> Any:
    asked, used = conf.resolver("user"), _current.get()
    if request is None and used is not None:
        found, nobody = used.user, UNKNOWN
    elif asked is None:
        found, nobody = (None, UNKNOWN) if request is None else (_request_user(request), ANONYMOUS)
    else:
        found, nobody = _ask(asked, request), UNKNOWN if request is None else ANONYMOUS
    if found is None or found == "":
        return nobody if is_wanted else None
    return found


def _language(request: HttpRequest | None) -> Any:
    asked, used = conf.resolver("language"), _current.get()
    if request is None and used is not None and used.language is not None:
        return used.language
    return (None if asked is None else _ask(asked, request)) or translation.get_language() or UNTRANSLATED


# ---------------------------------------------------------------- the scope of what has no request

_current: ContextVar[Scope | None] = ContextVar("oxicache_scope", default=None)


def current_scope() -> Scope:
    """Return the scope in use here; of what it does not tell, what resolvers that need no request say.

    A tenant, a client or a unit whose resolver needs one is UNKNOWN.
    """
    used = _current.get()
    return scope_of(None, per_language=used is not None and used.language is not None)


@contextmanager
def use_scope(scope: Scope) -> Iterator[Scope]:
    """Have a block belong to a scope: of a task, a command. No other thread and no other task sees it."""
    if not isinstance(scope, Scope):
        raise TypeError(f"scope must be a Scope, not {scope!r}")
    token = _current.set(scope)
    try:
        yield scope
    finally:
        _current.reset(token)
