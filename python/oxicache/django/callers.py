"""Who calls, as the trail of invalidations has it: which files are Django's, and whose request it is.

What a trail is: oxicache/trail.py. Nothing here asks anything that costs a query: a user counts once somebody else has
loaded it.
"""

import os
from pathlib import Path
from types import FrameType

import asgiref
import django
from django.utils.functional import LazyObject, empty

from oxicache.trail import Place, trail

__all__ = ["configure"]


def configure(size: int) -> None:
    """Tell the trail what Django's files are and who the user is, and how many invalidations to keep."""
    trail.configure(size=size, places=_places(), actor=_actor)


def _places() -> dict[str, Place]:
    root = Path(django.__file__).parent
    places = {f"{root}{os.sep}": Place.INSIDE, f"{Path(asgiref.__file__).parent}{os.sep}": Place.INSIDE}
    # Where no line of the project's own is involved, these say more than the server that called them.
    for name in ("contrib", "views", os.path.join("core", "management", "commands")):  # noqa: PTH118 -- a part of one
        places[f"{root / name}{os.sep}"] = Place.FALLBACK
    for name in ("base.py", "exception.py"):
        places[str(root / "core" / "handlers" / name)] = Place.BOUNDARY
    places[str(root / "core" / "management" / "base.py")] = Place.BOUNDARY
    return places


def _actor(frame: FrameType) -> str | None:
    """Return whom a request handler's frame serves; "command" for a management command's."""
    if "management" in frame.f_code.co_filename:
        return "command"
    request = frame.f_locals.get("request")
    if request is None:
        return None
    user = vars(request).get("user")
    if isinstance(user, LazyObject):
        user = vars(user).get("_wrapped", empty)
    options = getattr(
        type(user), "_meta", None
    )  # none of an anonymous user, nor of one that nobody has asked for
    pk = None if options is None else vars(user).get(options.pk.attname)
    return None if pk is None else f"user {pk}"
