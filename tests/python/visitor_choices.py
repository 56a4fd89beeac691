"""What chance chooses from in test_responses_machine.py: pages, how they are cached, visitors, requests."""

import itertools
from typing import Any, Final

import visited_site as site
from hypothesis import strategies as st
from visited_site import Page
from visitors import STAFF

__all__ = [
    "HEADERS",
    "LANGUAGES",
    "NAMES",
    "PLAIN",
    "QUERIES",
    "VALUES",
    "WISHES",
    "often",
    "pages",
    "visitors",
]

NAMES: Final = ["ann", "bob", STAFF]
VALUES: Final = ["", "1", "2"]  # of a header or a cookie; none, or one of two
LANGUAGES: Final = ["", "de", "en"]
QUERIES: Final = ["", "a=1&a=2", "a=2&a=1", "a=2", "a=2&b=1", "b=1&a=2", "a=", "missing=1", "draft=1"]
WISHES: Final = ["no-cache", "no-store", "max-age=0"]
_numbers: Final = itertools.count()


def often(usual: Any, *others: Any) -> Any:
    """Mostly the first: of what keeps a page from being cached each has to be rare."""
    return st.sampled_from([*[usual] * (6 * len(others)), *others])


HEADERS: Final[dict[str, list[str]]] = {
    "X-Unit": VALUES,
    "X-Region": VALUES,
    "X-Plan": VALUES,
    "X-Tenant": ["1", "2", ""],
    "Accept": ["", "text/html", "application/json"],
    "Accept-Language": LANGUAGES,
}
PLAIN: Final = {"kind": "anonymous", "name": "ann", "cart": "", "theme": "", "host": "a.example"} | {
    name: values[0] for name, values in HEADERS.items()
}
visitors = st.fixed_dictionaries(
    {
        "kind": st.sampled_from(["anonymous", "guest", "user", "user", "token", "remote"]),
        "name": st.sampled_from(NAMES),
        "cart": st.sampled_from(VALUES),
        "theme": often("", "1", "2"),
        "host": often("a.example", "b.example"),
        **{name: often(*values) for name, values in HEADERS.items()},
    }
)

# How a page may be other than plain, and its caching other than by default. Few at a time: most keep it from the cache.
TURNS: Final[list[tuple[str, Any]]] = [
    *[("deed", deed) for deed in site.DEEDS],
    *[("form", form) for form in site.FORMS],
    *[("kind", kind) for kind in ("template", "template", "lazy")],
    *[("status", status) for status in (302, 404, 503)],
    *[("raises", how) for how in ("missing", "denied", "denied")],
    *[("is_api", True)] * 2,
]
OPTIONS: Final[list[tuple[str, Any]]] = [
    *[("timeout", 60), ("timeout", None), ("vary_on", ("X-Unit",)), ("vary_on", ("Cookie",))],
    *[("statuses", (200, 302, 404)), ("cache_anonymous", False), ("alias", "tiny"), ("alias", "local")],
    *[("grace", 600), ("grace", 600), ("per_tenant", False)],
    *[("tags", ("facts",)), ("invalidate_on", ("auth.Group",))] * 2,
    *[(name, ...) for name in (*site.FUNCTIONS, "scope", "scope")],
]
INNER: Final = ["user", "cart", "theme", "unit", "params"]  # what an inner view looks at


@st.composite
def options(draw: Any) -> dict[str, Any]:
    found = dict(draw(st.lists(st.sampled_from(OPTIONS), max_size=3)))
    if found.get("alias") == "local":
        found = {name: value for name, value in found.items() if name not in {"tags", "invalidate_on"}}
    return {**found, "per_user": draw(st.sampled_from([None, None, True, False, False]))}


@st.composite
def pages(draw: Any, *, is_async: bool = False, is_bare: bool = False) -> Page:
    given = {} if is_bare else draw(options())
    looks = draw(st.sets(st.sampled_from(sorted(site.LOOKS)), min_size=1, max_size=3))
    if "scope" in given:
        looks.discard("credentials")  # of one user: with a token, and with a session
    if given.get("per_tenant") is False:
        looks.discard("tenant")  # nothing of the request tells
    turns = dict(draw(st.lists(st.sampled_from(TURNS), max_size=2)))
    if is_bare:
        turns |= {"form": "bare", "is_api": False}
    if turns.get("is_api"):
        given.pop("statuses", None)  # it has a switch instead
    inner = None
    if not is_bare and draw(often(False, True)):
        seen = draw(st.sets(st.sampled_from(INNER), min_size=1, max_size=3))
        inner = Page(name="inner", looks=frozenset(seen), options=draw(options()), is_async=is_async)
    return Page(
        name=f"page-{next(_numbers)}",
        looks=frozenset(looks),
        inner=inner,
        options=given,
        is_async=is_async,
        **turns,
    )
