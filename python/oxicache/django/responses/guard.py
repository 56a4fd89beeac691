"""The leak guard: what a view looks at while it makes a response, by root attribute of the request.

A view that looks at what its key does not hold makes one visitor's response another's. While it runs, `request.user`,
`session`, `COOKIES`, `META` and `headers` are stand-ins that note that they were asked; what was set on them stays set.
What has no stand-in is compared before and after: the language, the messages, the CSRF cookie, the nonce of a content
security policy. What follows from the notes: serving.py.
"""

from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from typing import Any, Final

from django.conf import settings
from django.http import HttpRequest
from django.http.request import HttpHeaders
from django.utils import translation
from django.utils.functional import LazyObject, SimpleLazyObject, empty

from oxicache.django.responses import rest

__all__ = ["COOKIE", "CSRF_NOTE", "Record", "looked_up", "meta_name", "take", "watch_cookies", "watching"]

# In every key, or the same for all who can share one: no news.
_KEYED_META: Final = frozenset(
    {
        "CONTENT_LENGTH",
        "CONTENT_TYPE",
        "HTTP_AUTHORIZATION",  # a request that has it is cached only where a resolver has told whose it is
        "HTTP_CACHE_CONTROL",
        "HTTP_HOST",
        "HTTP_IF_MATCH",  # what answers a condition is no 200, and a 200 is whole
        "HTTP_IF_MODIFIED_SINCE",
        "HTTP_IF_NONE_MATCH",
        "HTTP_IF_UNMODIFIED_SINCE",
        "PATH_INFO",
        "QUERY_STRING",
        "REQUEST_METHOD",
        "SCRIPT_NAME",
        "SERVER_NAME",
        "SERVER_PORT",
        "SERVER_PROTOCOL",
    }
)
_COOKIES: Final = frozenset({"HTTP_COOKIE", "CSRF_COOKIE"})
_BY_COOKIE: Final = frozenset({"COOKIES", "session", "user"})
COOKIE: Final = "cookie:"  # begins, among the names of headers, that of a single cookie
CSRF_NOTE: Final = "CSRF_COOKIE_NEEDS_UPDATE"
# What Django remembers of headers that it has read.
_REMEMBERED: Final = ("headers", "accepted_types", "accepted_types_by_precedence")


class Record:
    """What was looked at: roots (`user`, `session`, `COOKIES`, ...), and headers by their name in META."""

    __slots__ = ("headers", "is_taken", "outer", "roots", "sees_authorization", "set_user", "user")

    def __init__(self, outer: "Record | None" = None) -> None:
        """Begin with nothing. What this one notes an outer one notes too: a cached view may call another."""
        self.headers: set[str] = set()
        self.roots: set[str] = set()
        self.user: Any = None  # as the view got it
        self.set_user: Any = (
            None  # by the view itself: Django REST framework has an authentication of its own
        )
        self.sees_authorization = False  # a request with `Authorization` came this far without a resolver
        self.outer = outer
        self.is_taken = False  # by a view inside that answers for itself

    @property
    def has_cookies(self) -> bool:
        """Whether what was looked at may have told visitors apart by a cookie: one that is not there does so too."""
        is_read = not self.roots.isdisjoint(_BY_COOKIE)
        return is_read or any(name.startswith(COOKIE) for name in self.headers)

    def note(self, root: str) -> None:
        """Note a root."""
        self.roots.add(root)
        if self.outer is not None:
            self.outer.note(root)

    def note_name(self, name: str) -> None:
        """Note what `looked_up` finds the value of."""
        self.headers.add(name)
        if self.outer is not None:
            self.outer.note_name(name)

    def take(self) -> None:
        """Note that a view inside says itself what may be cached of it."""
        self.is_taken = True
        if self.outer is not None:
            self.outer.take()

    def note_cookie(self, name: str) -> None:  # noqa: ARG002 -- for a record to which some say nothing
        """Note that a cookie was read that is there."""
        self.note("COOKIES")

    def note_meta(self, name: Any) -> None:
        """Note what was read of META."""
        if name in _COOKIES:
            self.note("COOKIES")
        elif name == CSRF_NOTE:
            self.note("csrf")
        elif name == "HTTP_AUTHORIZATION":
            if self.sees_authorization:
                self.headers.add(name)
            if self.outer is not None:
                self.outer.note_meta(name)
        elif isinstance(name, str) and not _is_keyed(name):
            self.headers.add(name)
            if self.outer is not None:
                self.outer.note_meta(name)


def looked_up(request: HttpRequest, name: str) -> str | None:
    """Return the value of what a record names: of a header, or of a cookie."""
    if name.startswith(COOKIE):
        return request.COOKIES.get(name.removeprefix(COOKIE))
    if name.startswith(rest.ATTRIBUTE):
        return rest.looked_up(request, name)
    value = request.META.get(name)
    if name == "HTTP_AUTHORIZATION":
        return rest.GIVEN if value else None
    return None if value is None else str(value)


def meta_name(header: str) -> str:
    """Return the name in META of a header."""
    return HttpHeaders.to_wsgi_name(header)


def take(request: Any) -> None:
    """Tell who watches this request that a view says itself what may be cached of it."""
    record = getattr(request.META, "record", None)
    if record is not None:
        record.take()


def _is_keyed(name: str) -> bool:
    if name in _KEYED_META or name.startswith(("wsgi.", "asgi.")):
        return True
    if name in {"HTTP_X_FORWARDED_HOST", "HTTP_X_FORWARDED_PORT"}:
        return bool(settings.USE_X_FORWARDED_HOST or settings.USE_X_FORWARDED_PORT)
    secure = settings.SECURE_PROXY_SSL_HEADER
    return bool(secure) and name == secure[0]


# ---------------------------------------------------------------- stand-ins


class _Meta(dict[str, Any]):
    """META, and on WSGI the environ, for as long as a view runs."""

    __slots__ = ("record",)
    record: Record

    def __getitem__(self, name: str) -> Any:
        self.record.note_meta(name)
        return super().__getitem__(name)

    def get(self, name: str, default: Any = None) -> Any:
        self.record.note_meta(name)
        return super().get(name, default)

    def __contains__(self, name: object) -> bool:
        self.record.note_meta(name)
        return super().__contains__(name)

    def __setitem__(self, name: str, value: Any) -> None:
        if name == CSRF_NOTE:
            self.record.note("csrf")
        super().__setitem__(name, value)

    def update(self, *args: Any, **given: Any) -> None:
        for name, value in dict(*args, **given).items():
            self[name] = value

    def __iter__(self) -> Iterator[str]:
        self.record.note("META")
        return super().__iter__()

    def keys(self) -> Any:
        self.record.note("META")
        return super().keys()

    def values(self) -> Any:
        self.record.note("META")
        return super().values()

    def items(self) -> Any:
        self.record.note("META")
        return super().items()

    def copy(self) -> dict[str, Any]:
        self.record.note("META")
        return super().copy()

    def pop(self, name: str, *default: Any) -> Any:
        self.record.note_meta(name)
        return super().pop(name, *default)

    def setdefault(self, name: str, default: Any = None) -> Any:
        self.record.note_meta(name)
        return super().setdefault(name, default)


class _Headers(HttpHeaders):
    """`request.headers`."""

    def __init__(self, meta: Mapping[str, Any], record: Record) -> None:
        super().__init__(_copied(meta))
        self._record = record

    def __getitem__(self, name: str) -> Any:
        self._record.note_meta(meta_name(name))
        return super().__getitem__(name)

    def __iter__(self) -> Iterator[str]:
        self._record.note("META")
        return super().__iter__()

    def __contains__(self, name: object) -> bool:
        self._record.note_meta(meta_name(str(name)))
        return super().__contains__(name)


class _Cookies(dict[str, Any]):
    """`request.COOKIES`. A cookie that is not there says the same of all who lack it: its name goes into the key."""

    __slots__ = ("record",)
    record: Record

    def _whole(method: str) -> Callable[..., Any]:  # type: ignore[misc]  # noqa: N805 -- run in the class's body
        plain = getattr(dict, method)

        def noted(self: "_Cookies", *args: Any) -> Any:
            self.record.note("COOKIES")
            return plain(self, *args)

        return noted

    def _one(method: str) -> Callable[..., Any]:  # type: ignore[misc]  # noqa: N805 -- as above
        plain = getattr(dict, method)

        def noted(self: "_Cookies", name: str, *args: Any) -> Any:
            if dict.__contains__(self, name):
                self.record.note_cookie(name)
            else:
                self.record.note_meta(f"{COOKIE}{name}")
            return plain(self, name, *args)

        return noted

    __iter__ = _whole("__iter__")
    __len__ = _whole("__len__")
    keys = _whole("keys")
    values = _whole("values")
    items = _whole("items")
    copy = _whole("copy")
    __getitem__ = _one("__getitem__")
    __contains__ = _one("__contains__")
    get = _one("get")
    pop = _one("pop")


# ---------------------------------------------------------------- while a view runs


@contextmanager
def watching(request: HttpRequest, record: Record) -> Iterator[None]:
    """Note in `record` what the block looks at."""
    if not rest.is_plain(request):
        with watching(rest.plain(request), record), rest.watching(request, record):
            yield
        return
    before = _Before(request)
    attributes = vars(request)
    record.outer = getattr(request.COOKIES, "record", None) or getattr(before.meta, "record", None)
    meta = _stand_in(_Meta, before.meta, record)
    cookies = _stand_in(_Cookies, request.COOKIES, record)
    replaced = {"META": meta, "headers": _Headers(before.meta, record), "COOKIES": cookies}
    replaced |= {"environ": meta} if attributes.get("environ") is before.meta else {}
    replaced |= _people(request, record, before)
    kept = {name: attributes[name] for name in (*replaced, *_REMEMBERED) if name in attributes}
    for name in _REMEMBERED:
        attributes.pop(name, None)
    attributes.update(replaced)
    try:
        yield
    finally:
        for name, stand_in in replaced.items():
            if attributes.get(name) is stand_in:  # else the view has set another, which is to stay
                del attributes[name]
                attributes |= {name: kept[name]} if name in kept else {}
        for name in _REMEMBERED[1:]:
            attributes.pop(name, None)
        _carry_over(meta, before.meta)
        _carry_over(cookies, request.COOKIES)
        before.compare(record)


def watch_cookies(request: HttpRequest, record: Record) -> None:
    """Note in `record` which cookies are read, from now on. Nothing else is, and nothing is put back."""
    record.outer = getattr(request.COOKIES, "record", None)
    request.COOKIES = _stand_in(_Cookies, request.COOKIES, record)


def _stand_in(kind: type[Any], of: Mapping[str, Any], record: Record) -> Any:
    made = kind(_copied(of))
    made.record = record
    return made


def _copied(of: Mapping[str, Any]) -> dict[str, Any]:
    # By its items: a copy of an outer view's stand-in asks it for its keys, and that would be noted.
    return dict(dict.items(of)) if isinstance(of, (_Meta, _Cookies)) else dict(of)


def _carry_over(changed: dict[str, Any], kept: Any) -> None:
    if kept is changed:
        return
    for name in [name for name in dict.keys(kept) if not dict.__contains__(changed, name)]:
        dict.__delitem__(kept, name)
    dict.update(kept, dict.items(changed))


def _people(request: HttpRequest, record: Record, before: "_Before") -> dict[str, Any]:
    """Return stand-ins of who the visitor is, sync and async, as far as the request knows."""
    attributes = vars(request)
    found: dict[str, Any] = {}
    if (user := attributes.get("user")) is not None:

        def asked() -> Any:
            record.note("user")
            with before.session_apart():
                record.user = _resolved(user)
            return record.user

        found["user"] = SimpleLazyObject(asked)
    if (auser := attributes.get("auser")) is not None:

        async def aasked() -> Any:
            record.note("user")
            with before.session_apart():
                record.user = await auser()
            return record.user

        found["auser"] = aasked
    return found


def _resolved(user: Any) -> Any:
    if isinstance(user, LazyObject):
        if vars(user).get("_wrapped", empty) is empty:
            user._setup()
        return vars(user)["_wrapped"]
    return user


class _Before:
    """How a request was before its view ran, as far as nothing can stand in for it."""

    def __init__(self, request: HttpRequest) -> None:
        self.request = request
        self.meta: Any = request.META
        self.user = vars(request).get("user")
        self.language = translation.get_language()
        self.session = session = vars(request).get("session")
        self.was_accessed = bool(getattr(session, "accessed", False))
        self.was_modified = bool(getattr(session, "modified", False))
        if session is not None:
            session.accessed = False
        self.messages = self._messages()

    def _messages(self) -> tuple[bool, ...]:
        storage = vars(self.request).get("_messages")
        return tuple(bool(getattr(storage, name, False)) for name in ("used", "added_new"))

    @contextmanager
    def session_apart(self) -> Iterator[None]:
        """Who the user is stands in the session: to ask for him is not to read what else is there."""
        session = self.session
        if session is None:
            yield
            return
        before = session.accessed
        try:
            yield
        finally:
            self.was_accessed = self.was_accessed or session.accessed
            session.accessed = before

    def compare(self, record: Record) -> None:
        """Note what has changed, and leave the session's marks as its middleware wants them."""
        user = vars(self.request).get("user")
        if user is not self.user:
            record.set_user = user
        session = vars(self.request).get("session")
        if session is not self.session:
            record.note("session")
        elif session is not None:
            if session.accessed:
                record.note("session")
            if session.modified and not self.was_modified:
                record.note("session written")
            session.accessed = session.accessed or self.was_accessed
        if translation.get_language() != self.language:
            record.note("language")
        if self._messages() != self.messages:
            record.note("messages")
        if vars(self.request).get("_csp_nonce"):  # made, by Django's own middleware or django-csp
            record.note("nonce")
