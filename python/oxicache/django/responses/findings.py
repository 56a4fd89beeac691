"""What the leak guard makes of its notes: what a view looked at that its key does not hold. Who notes: guard.py."""

import logging
import sys
from typing import Any, Final

from django.db.models import Model
from django.http import HttpRequest

from oxicache.django import conf
from oxicache.django.responses import rest
from oxicache.django.responses.keying import ANONYMOUS, Keying
from oxicache.django.responses.records import UNSPELT, Record, resolved
from oxicache.django.scope import Mark, Scope
from oxicache.errors import LeakError
from oxicache.testing import is_strict

__all__ = ["leaks", "report", "set_on"]

logger = logging.getLogger("oxicache.responses")

_REMEDIES: Final = {
    "authentication": "decorate what is called when it has authenticated, or let a scope= say whose it is",
    "auth": "let a scope= say whose it is, or key_func read what it takes from it",
    "attributes": "let key_func read what it takes from them",
    "user": "leave out per_user=False, or put what checks the user outside of the cached view",
    "session": "let a scope= say whose it is, or key_func read what it takes from the session",
    "GET": "leave out vary_on_params=False: with it no parameter is in the key",
    "session written": "a view that writes the session cannot be cached",
    "COOKIES": "let key_func read the cookie, or name Cookie in vary_on",
    "META": "read the headers that matter by their names",
    "csrf": "fetch the token by itself, or leave the form out of the cached view",
    "nonce": "a nonce is of one response: leave it out of the cached view",
    "body": "a view that reads the body of a GET cannot be cached",
    "messages": "show messages outside of the cached view",
    "language": "activate the language in a middleware, before the cached view",
}
OF_REQUEST: Final = "request."  # begins what somebody has set on it
OF_VIEW: Final = "view."
_UNSPELT_REMEDY: Final = (
    "let key_func= or scope= say what of it counts; a key holds text, numbers, saved rows"
)
_NOTHING_TO_MEND: Final = frozenset({"messages"})  # a page that shows some is not kept, and that is all
_DJANGOS_OF_USER: Final = frozenset({"backend"})  # as login() sets it
_NEVER_KEYED: Final = frozenset({"body", "csrf", "language", "messages", "nonce", "session written"})
_OF_COOKIES: Final = frozenset({"csrf", "messages"})  # Django reads them from a cookie


def leaks(  # noqa: PLR0917 -- what there is to compare
    request: HttpRequest,
    scope: Scope,
    keying: Keying,
    keyed: Record,
    record: Record,
    vary_on: frozenset[str],
) -> list[str]:
    """Return the roots that the view looked at and that its key does not hold."""
    held = set(keyed.roots) - _NEVER_KEYED
    if keying.ignored_params is not None:
        held.add("GET")
    if "HTTP_COOKIE" in vary_on or not _OF_COOKIES.isdisjoint(record.roots):
        held.add("COOKIES")  # a token, a message is said to be one, and no cookie
    if "user" in record.roots and _holds_user(scope, keying, record.user):
        held.add("user")
    if _is_somebody_else(scope, keying, record.set_user):
        record.note("authentication")
    if keying.kind_of(request, scope) == ANONYMOUS:
        held.add("session")  # there is none: of all who share this entry it says the same
    if record.session - keyed.session:
        record.note("session")
    unspelt = {
        name for name, text in record.read_attributes().items() if text == UNSPELT
    } - keyed.attributes.keys()
    if "user" in record.roots and keying.scope is None and "user" not in keyed.roots:
        unspelt |= {f"user.{name}" for name in set_on(record.user)}
    return [*sorted(record.roots - held), *(f"{OF_REQUEST}{name}" for name in sorted(unspelt))]


def _holds_user(scope: Scope, keying: Keying, user: Any) -> bool:
    if keying.per_user is False and keying.scope is None:
        return False
    if scope.user is not None and not isinstance(scope.user, Mark):
        return True
    # Nobody, says the key. Whoever is known by something else than a session may be somebody to the view.
    return keying.scope is None and not getattr(user, "is_authenticated", False)


def set_on(user: Any) -> set[str]:
    """Return what a middleware has set on a user, or on a visitor who is none: it may be of this session alone.

    As that he has shown a second factor, or that another has taken his place. What his class has is his own. Users
    who are neither rows of a database nor Django's AnonymousUser are left alone: they are made of such attributes.
    """
    user = resolved(user)
    nobody = getattr(sys.modules.get("django.contrib.auth.models"), "AnonymousUser", Model)
    if not isinstance(user, (Model, nobody)):
        return set()
    found = getattr(user, "__dict__", {}).items()
    foreign = {
        name for name, value in found if value and not callable(value) and not hasattr(type(user), name)
    }
    return {name for name in foreign - _DJANGOS_OF_USER if not name.startswith("_")}


def _is_somebody_else(scope: Scope, keying: Keying, user: Any) -> bool:
    """Whether the view has found out by itself who it is, and the key says another, or nobody."""
    if not getattr(user, "is_authenticated", False):
        return False
    if scope.user is None or isinstance(scope.user, Mark):
        return True
    if keying.scope is not None or conf.resolver("user") is not None:
        return False  # who names users says whose a request is, however it is known
    return rest.user_kind(user) is not None or str(scope.user) != str(user.pk)


def report(view: str, root: str, said: set[str], *, is_mistake: bool = True) -> None:
    """Say once that a view looks at what its key does not hold; LeakError inside `oxicache.testing.strict()`.

    That of a view which nobody has decorated is no mistake, and is said to who listens for it.
    """
    remedy = _UNSPELT_REMEDY if root.startswith((OF_REQUEST, OF_VIEW)) else _REMEDIES[root]
    text = f"{view} looks at {root}, which its key does not hold, so its response is not cached: {remedy}"
    if not is_mistake:
        if root not in said:
            said.add(root)
            logger.debug("%s.", text)
        return
    if is_strict() and root not in _NOTHING_TO_MEND:
        raise LeakError(view, root, remedy)
    if root not in said and root not in _NOTHING_TO_MEND:
        said.add(root)
        logger.warning("%s.", text)
