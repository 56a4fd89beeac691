"""Asks the running site for its cached parts, counts their queries, and edits a row that all of them show.

Over HTTP, of both workers, as responses.py does; how many queries a part took is what `X-Queries` says. What the pages
are: site/parts.
"""

import os
from collections.abc import Iterator

from .connections import connected, open_form
from .console import Console
from .deletions import Check
from .edits import EDITED, FORM
from .responses import Browser, Reply, both
from .server import ServerError

PARTS = ("/parts/form/", "/parts/fragment/", "/parts/queryset/")
SMALLEST = 500_000  # people: some thousand cities of the whole data


def check_parts(port: int, console: Console, *, is_shared: bool) -> list[Check]:
    """Check each part. What one worker does to the other only where they share words."""
    nobody = Browser(port)
    # For cities of a size that nobody has asked for: no part is held.
    addresses = {path: f"{path}?least={SMALLEST + int.from_bytes(os.urandom(2))}" for path in PARTS}
    found = [*(_held(nobody, path, address) for path, address in addresses.items())]
    if is_shared:
        found += _edited(port, nobody, addresses)
    else:
        console.say("What an edit does to the other worker is not checked: they share no memory here.")
    return found


def _is_held(reply: Reply) -> bool:
    return reply.queries == 0


def _by_worker(replies: list[Reply]) -> list[list[Reply]]:
    found: dict[int, list[Reply]] = {}
    for reply in replies:
        found.setdefault(reply.worker, []).append(reply)
    return list(found.values())


def _held(nobody: Browser, path: str, address: str) -> Check:
    """Each worker asks the database once, and shows the same from then on."""
    told = _by_worker(both(nobody.of_both(address), _is_held))
    good = all(
        first.queries > 0 and all(_is_held(one) and _part(one) == _part(first) for one in later)
        for first, *later in told
    )
    said = _counts([first.queries for first, *_ in told])
    return Check(f"{path}: {said} at the first request of each worker, none at the second", good)


def _edited(port: int, nobody: Browser, addresses: dict[str, str]) -> Iterator[Check]:
    """All is held by both workers; one saves a country; both show it at once, and hold it again."""
    form = open_form(port, FORM, EDITED)
    before = int(form.values[EDITED])
    try:
        for number, (path, address) in enumerate(addresses.items(), 1):
            both(nobody.of_both(address), _is_held)
            with connected(port, 1) as (connection,):
                saver = form.send(connection, **{EDITED: str(before + number)})
            told = _by_worker(both(nobody.of_both(address), _is_held))
            shown = f"{before + number:,}"
            good = all(
                first.queries > 0
                and shown in first.body
                and all(_is_held(one) and shown in one.body for one in later)
                for first, *later in told
            )
            said = _counts([first.queries for first, *_ in told])
            yield Check(
                f"{path}: after worker {saver} saved a row each worker shows it at its next request, with {said}, "
                "and then with none",
                good,
            )
    finally:
        with connected(port, 1) as (connection,):
            form.send(connection, **{EDITED: str(before)})


def _part(reply: Reply) -> str:
    """Return the cached part of a page: what else is on it tells the worker, and its token."""
    _, begin, rest = reply.body.partition('<div id="part">')
    part, end, _ = rest.partition("</div><!-- part -->")
    if not begin or not end:
        raise ServerError("a page of a cached part has no part")
    return part


def _counts(queries: list[int]) -> str:
    least, most = min(queries), max(queries)
    said = str(least) if least == most else f"{least} or {most}"
    return f"{said} quer{'y' if most == 1 else 'ies'}"
