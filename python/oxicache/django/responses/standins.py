"""Stand-ins of what a request says of who asks: they note in a record what they are asked for. Set by guard.py."""

from collections.abc import Callable, Iterator, Mapping
from typing import Any, Final

from django.http.request import HttpHeaders

from oxicache.django.responses.records import COOKIE, CSRF_NOTE, Record, meta_name

__all__ = ["AsgiScope", "Cookies", "Headers", "Meta", "carry_over", "copied", "stand_in"]

# Of the scope of an ASGI request: what is in the key. The rest is headers, the client, and what servers put there.
_KEYED_SCOPE: Final = frozenset(
    {
        "asgi",
        "http_version",
        "method",
        "path",
        "raw_path",
        "root_path",
        "scheme",
        "server",
        "type",
    }
)


def _whole(method: str) -> Callable[..., Any]:
    """Note that somebody looks at all that there is."""
    plain = getattr(dict, method)

    def noted(self: Any, *args: Any) -> Any:
        self.record.note(self.root)
        return plain(self, *args)

    return noted


def _one(method: str) -> Callable[..., Any]:
    """Note the name that somebody asks for."""
    plain = getattr(dict, method)

    def noted(self: Any, name: Any, *args: Any) -> Any:
        self.note(name)
        return plain(self, name, *args)

    return noted


class _StandIn(dict[str, Any]):
    __slots__ = ("record",)
    record: Record
    root: str

    __iter__ = _whole("__iter__")
    __reversed__ = _whole("__reversed__")
    __repr__ = _whole("__repr__")
    __eq__ = _whole("__eq__")
    __ne__ = _whole("__ne__")
    __or__ = _whole("__or__")
    __ror__ = _whole("__ror__")
    popitem = _whole("popitem")
    keys = _whole("keys")
    values = _whole("values")
    items = _whole("items")
    copy = _whole("copy")
    __getitem__ = _one("__getitem__")
    __contains__ = _one("__contains__")
    get = _one("get")
    pop = _one("pop")
    setdefault = _one("setdefault")
    __hash__ = None  # as of every dict

    def __reduce_ex__(self, protocol: Any) -> Any:
        """Be copied and pickled as a plain dict."""
        self.record.note(self.root)
        return dict, (copied(self),)


class Meta(_StandIn):
    """META, and on WSGI the environ, for as long as a view runs."""

    __slots__ = ()
    root = "META"

    def note(self, name: Any) -> None:
        """Note a header."""
        self.record.note_meta(name)

    def __setitem__(self, name: str, value: Any) -> None:
        """Note that a CSRF cookie is to be sent: its middleware learns of that in this way."""
        if name == CSRF_NOTE:
            self.record.note("csrf")
        super().__setitem__(name, value)

    def update(self, *args: Any, **given: Any) -> None:
        """Set one after another."""
        for name, value in dict(*args, **given).items():
            self[name] = value


class Headers(HttpHeaders):
    """`request.headers`."""

    def __init__(self, meta: Mapping[str, Any], record: Record) -> None:
        super().__init__(copied(meta))
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

    def __repr__(self) -> str:
        self._record.note("META")
        return super().__repr__()


class Cookies(_StandIn):
    """`request.COOKIES`. A cookie that is not there, or empty, says the same of all who lack it: it goes into the key.

    Django's test client goes on to send, without a value, what has been deleted.
    """

    __slots__ = ()
    root = "COOKIES"

    __len__ = _whole("__len__")

    def note(self, name: Any) -> None:
        """Note a cookie."""
        if dict.get(self, name):
            self.record.note_cookie(name)
        else:
            self.record.note_meta(f"{COOKIE}{name}")


class AsgiScope(_StandIn):
    """`request.scope`, which ASGI requests have."""

    __slots__ = ()
    root = "META"

    def note(self, name: Any) -> None:
        """Note what is in no key."""
        if name == "query_string":
            self.record.note("GET")
        elif name not in _KEYED_SCOPE:
            self.record.note("META")


# ---------------------------------------------------------------- made and taken away


def stand_in(kind: type[Any], of: Mapping[str, Any], record: Record) -> Any:
    """Return a stand-in of one of these kinds."""
    made = kind(copied(of))
    made.record = record
    return made


def copied(of: Mapping[str, Any]) -> dict[str, Any]:
    """Return what is in a mapping, or in the stand-in of an outer view, which does not note it."""
    return dict(dict.items(of)) if isinstance(of, _StandIn) else dict(of)


def carry_over(changed: dict[str, Any], kept: Any) -> None:
    """Have the original as its stand-in was changed."""
    if kept is changed:
        return
    for name in [name for name in dict.keys(kept) if not dict.__contains__(changed, name)]:
        dict.__delitem__(kept, name)
    dict.update(kept, dict.items(changed))
