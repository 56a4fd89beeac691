"""What this process answers an operator when only Python can: keys, top, explain, tracker, trail and schedule.

`answer` is what the control socket's clerk calls (`_native.control_answer`), with the GIL held: LookupError is for a
cache that there is not, ValueError for an argument that means nothing, NotImplementedError for what is not set up.
How caches are looked through without holding up their users: walks.py. What the answers of several workers mean
together: operations.py, with `attributed` from here.
"""

import json
import math
import os
import time
from collections.abc import Callable, Collection, Iterable, Iterator, Mapping, Sequence
from heapq import nlargest
from itertools import chain
from typing import Any, Final

from oxicache import _native, jobs
from oxicache._native import BackendKey, KeyPattern, MemoKey, TTLCache
from oxicache.registry import DELETION_SET
from oxicache.trail import trail, word_numbers
from oxicache.walks import (
    Entry,
    Pace,
    cache_of,
    caches,
    has_sensitive,
    is_plain,
    is_sensitive,
    lenses,
    shown_key,
    walk,
)

__all__ = ["answer", "attributed", "moved_words"]

MOST_FOUND: Final = 100  # entries that one `explain` describes: a row may have many, by arguments
MOST_EVENTS: Final = 20  # of the trail that one `explain` tells
EVENTS_LIMIT: Final = 100
KEYS_LIMIT: Final = 100
TOP_LIMIT: Final = 10
# What a key pattern is ranked by. An entry's own hits are not counted: that would cost each read a write.
RANKS: Final = {"hits": "hits", "misses": "misses", "bytes": "bytes", "loads": "load_seconds", "age": None}


def answer(verb: str, request: str) -> str:
    """Answer one request, a JSON object of arguments that the native half has checked."""
    return json.dumps(_VERBS[verb](json.loads(request)), ensure_ascii=False, allow_nan=False)


# ---------------------------------------------------------------- keys and top


def _keys(given: Mapping[str, Any]) -> dict[str, Any]:
    name = given["cache"]
    cache = cache_of(name)
    if is_sensitive(name):
        return {"keys": [], "total": len(cache), "sensitive": True}
    pattern = KeyPattern(given.get("pattern") or "*")
    limit = given.get("limit", KEYS_LIMIT)
    found: list[str] = []
    total = 0
    plain, hides = is_plain(name), has_sensitive()
    for key, _, _, _, is_outdated in walk(cache, Pace()):
        text = key if plain and type(key) is str and key.isascii() else shown_key(name, key)
        if is_outdated or not pattern.matches(text):
            continue
        if hides and is_sensitive(text, _pattern(name, key)):
            continue
        total += 1
        if len(found) < limit:
            found.append(text)
    return {"keys": found, "total": total}


def _top(given: Mapping[str, Any]) -> dict[str, Any]:
    by, limit = given["by"], given.get("limit", TOP_LIMIT)
    chosen = caches(given.get("caches"))
    rank = RANKS[by]
    patterns = [] if rank is None else _patterns(chosen, rank, limit)
    entries = _top_entries(chosen, by, limit) if by in {"bytes", "age"} else []
    return {"patterns": patterns, "entries": entries}


def _patterns(chosen: Collection[str], rank: str, limit: int) -> list[dict[str, Any]]:
    pace = Pace()
    best: list[dict[str, Any]] = []
    for name in chosen:
        here = [
            {**one, "cache": name}
            for one in _native.pattern_stats(name)
            if one[rank] > 0 and not is_sensitive(name, one["pattern"])
        ]
        best = nlargest(limit, [*best, *here], key=lambda one: one[rank])
        pace.step()
    return best


def _top_entries(chosen: Mapping[str, TTLCache[Any, Any]], by: str, limit: int) -> list[dict[str, Any]]:
    pace = Pace()
    best: list[tuple[float, int, str, Entry]] = []
    for name, cache in chosen.items():
        if not is_sensitive(name):
            measured = _measured(name, cache, by, pace)
            best = nlargest(limit, [*best, *nlargest(limit, measured)])
    return [
        described for measure, _, name, entry in best if (described := _described(name, entry, by, measure))
    ]


def _measured(
    name: str, cache: TTLCache[Any, Any], by: str, pace: Pace
) -> Iterator[tuple[float, int, str, Entry]]:
    hides = has_sensitive()
    for number, entry in enumerate(walk(cache, pace)):
        measure = entry.weight if by == "bytes" else _looked_at(cache, entry.key).get("age_seconds")
        if measure is None or (hides and is_sensitive(shown_key(name, entry.key), _pattern(name, entry.key))):
            continue
        yield measure, -number, name, entry  # no two have one number, so that entries are never compared


def _described(name: str, entry: Entry, by: str, measure: float) -> dict[str, Any] | None:
    looked_at = _looked_at(cache_of(name), entry.key)
    if not looked_at:
        return None  # gone meanwhile
    return {
        "cache": name,
        "key": shown_key(name, entry.key),
        "weight": entry.weight,
        "type": looked_at.get("type"),
        "seconds_left": _finite(entry.seconds_left),
        "age_seconds": measure if by == "age" else looked_at.get("age_seconds"),
    }


def _pattern(name: str, key: Any) -> str:
    """Return the key pattern that a key is counted under."""
    if isinstance(key, MemoKey):
        return name
    text = key.key if isinstance(key, BackendKey) else key
    return _native.key_pattern(text) if isinstance(text, str) else f"<{type(key).__name__}>"


def _finite(seconds: float | None) -> float | None:
    return None if seconds is None or math.isinf(seconds) else seconds  # JSON has no infinity


def _looked_at(cache: TTLCache[Any, Any], key: Any) -> dict[str, Any]:
    return _native.inspect(cache, key) or {}


# ---------------------------------------------------------------- explain


def _explain(given: Mapping[str, Any]) -> dict[str, Any]:
    """Look for a key everywhere. Of a row it is `app.Model:pk`, and then all that is held for the row is found."""
    text = given["key"]
    named = given.get("cache")
    chosen = caches(None if named is None else [named])
    pace = Pace()
    found: list[dict[str, Any]] = []
    missing: list[str] = []
    words: set[int] = set()
    for name, cache in chosen.items():
        here = _found(name, cache, given, pace)
        if not here:
            missing.append(name)
            words.update(word_numbers(_words_of(name, text)).values())
        found += here[: MOST_FOUND - len(found)]
        pace.step()
    words.update(word["word"] for one in found for word in one["words"])
    events = _events(words, MOST_EVENTS, lambda order: _is_about(order, text, missing))
    return {"found": attributed(found, events), "missing": missing, "trail": events}


def _found(
    name: str, cache: TTLCache[Any, Any], given: Mapping[str, Any], pace: Pace
) -> list[dict[str, Any]]:
    keys = _candidates(name, cache, given, pace)
    described = ((key, _looked_at(cache, key)) for key in keys)
    return [_explained(name, key, looked_at) for key, looked_at in described if looked_at]


def _candidates(name: str, cache: TTLCache[Any, Any], given: Mapping[str, Any], pace: Pace) -> Iterable[Any]:
    text, version, prefix = given["key"], given.get("version"), given.get("prefix")
    for lens in lenses:
        if (keys := lens.keys(name, text, version, prefix)) is not None:
            return keys
    held = (entry.key for entry in walk(cache, pace, is_whole=True))
    first = next(held, None)
    if isinstance(first, MemoKey):  # then all are
        return [key for key in chain([first], held) if _is_called(name, key, text)]
    return [text, *([int(text)] if text.isascii() and text.isdigit() else [])]


def _is_called(name: str, key: Any, text: str) -> bool:
    shown = shown_key(name, key)
    return shown == text or shown.partition("(")[0].casefold() == text.casefold()


def _explained(name: str, key: Any, looked_at: Mapping[str, Any]) -> dict[str, Any]:
    text = shown_key(name, key)
    pattern = _pattern(name, key)
    hidden = is_sensitive(name, text, pattern)
    names = {number: word for word, number in word_numbers(_words(name, key, looked_at["tags"])).items()}
    words: list[dict[str, Any]] = [
        {"word": number, "held": held, "now": now}
        | ({"name": names[number]} if number in names and not hidden else {})
        for number, held, now in looked_at["words"]
    ]
    return {
        "cache": name,
        "alias": next((alias for lens in lenses if (alias := lens.alias(name))), None),
        "key": None if hidden else text,
        "state": looked_at["state"],
        "at": time.time(),  # when it was looked at: who asks for the reason may do so much later
        "age_seconds": looked_at.get("age_seconds"),
        "seconds_left": _finite(looked_at["seconds_left"]),
        "size_bytes": looked_at.get("size_bytes"),
        "weight": looked_at.get("weight"),
        "tags": [] if hidden else list(looked_at["tags"]),
        "frequency": looked_at.get("frequency"),
        "pattern": None if hidden else pattern,
        "pattern_hits": None if hidden else _pattern_hits(name, pattern),
        "type": None if hidden else looked_at.get("type"),
        "sensitive": hidden,
        "why": None,
        "words": words,
    }


def _pattern_hits(name: str, pattern: str) -> int | None:
    counted = _native.pattern_stats(name)
    return next((one["hits"] for one in counted if one["pattern"] == pattern), None)


def _words(name: str, key: Any, tags: Collection[str]) -> list[str]:
    return [word for lens in lenses for word in lens.words(name, key, tags)]


def _words_of(name: str, text: str) -> list[str]:
    return [word for lens in lenses for word in lens.words_of(name, text)]


def moved_words(found: Iterable[Mapping[str, Any]]) -> list[int]:
    """Return the numbers of the version words for which entries, as `explain` describes them, are stale.

    Who moved them may be another worker: its `trail` is asked for these.
    """
    moved = (word["word"] for one in found for word in one["words"] if word["held"] != word["now"])
    return list(dict.fromkeys(moved))


def attributed(
    found: Sequence[Mapping[str, Any]], events: Sequence[Mapping[str, Any]]
) -> list[dict[str, Any]]:
    """Return the entries with `why` each is not fresh, as far as these events tell; they come newest first."""
    return [{**one, "why": _why(one, events)} for one in found]


def _why(entry: Mapping[str, Any], events: Sequence[Mapping[str, Any]]) -> str | None:
    state = entry["state"]
    if state == "expired":
        return "its time to live is over"
    if state == "grace":
        return "its time to live is over; it is kept to be served while its source fails"
    if state != "outdated":
        return None
    moved = {word["word"]: word.get("name") for word in entry["words"] if word["held"] != word["now"]}
    for event in events:
        if (common := [word for word in event.get("words", ()) if word in moved]) and _is_since(event, entry):
            return f"{moved[common[0]] or f'word {common[0]}'} was moved by {_told(event)}"
    if not moved:
        return "it was invalidated"
    names = ", ".join(name or f"word {number}" for number, name in moved.items())
    return f"{names} moved since it was stored; who moved it is not remembered"


def _is_since(event: Mapping[str, Any], entry: Mapping[str, Any]) -> bool:
    age = entry["age_seconds"]
    # Both clocks are the host's, but an age counts from when the load began, or was rounded.
    return age is None or event["at"] >= entry["at"] - age - 1.0


def _told(event: Mapping[str, Any]) -> str:
    parts = [f"{event['kind']}"]
    parts += [f"at {event['where']}"] if event.get("where") else []
    parts += [f"by {event['actor']}"] if event.get("actor") else []
    return f"{' '.join(parts)} (process {event['pid']})"


# ---------------------------------------------------------------- trail and tracker


def _trail(given: Mapping[str, Any]) -> dict[str, Any]:
    words = given.get("words")
    limit = given.get("limit", EVENTS_LIMIT)
    return {"events": _events(None if words is None else set(words), limit, lambda _: words is None)}


def _events(
    words: Collection[int] | None, limit: int, is_wanted: Callable[[Mapping[str, Any]], bool]
) -> list[dict[str, Any]]:
    """Return what this process invalidated and what it was ordered to, newest first."""
    ordered = [
        event
        for order in _native.control_orders()
        if not set((event := _as_event(order))["words"]).isdisjoint(words or ()) or is_wanted(order)
    ]
    events = sorted([*trail.events(words, limit), *ordered], key=lambda event: -event["at"])
    return [_concealed(event) for event in events[:limit]]


def _as_event(order: Mapping[str, Any]) -> dict[str, Any]:
    numbers = word_numbers(order["names"])
    told = [f"{what} {', '.join(order[what])}" for what in ("keys", "tags", "patterns") if order[what]]
    told.append("all caches" if order["caches"] is None else ", ".join(order["caches"]))
    user = order["user"]
    return {
        "at": order["at"],
        "pid": os.getpid(),
        "kind": order["verb"],
        "names": list(numbers),
        "words": list(numbers.values()),
        "where": None,
        "actor": "order" if user is None else f"order by uid {user}",
        "detail": "; ".join(told),
    }


def _is_about(order: Mapping[str, Any], key: str, missing: Collection[str]) -> bool:
    """Whether an order may be why some caches have no entry of a key."""
    if order["caches"] is not None and not set(order["caches"]) & set(missing):
        return False
    return order["verb"] in {"clear", "disable"} or key in order["keys"]


def _concealed(event: Mapping[str, Any]) -> dict[str, Any]:
    """Return an event without names that tell keys and tags of sensitive caches; the words' numbers stay."""
    told = {name: cache for lens in lenses for name in event["names"] if (cache := lens.cache_of_word(name))}
    hidden = {name for name, cache in told.items() if is_sensitive(cache, name.rpartition(":")[2])}
    is_order = event["where"] is None and has_sensitive()  # its detail may name keys of any cache
    if not hidden and not is_order:
        return dict(event)
    return {**event, "names": [name for name in event["names"] if name not in hidden], "detail": None}


def _tracker(given: Mapping[str, Any]) -> dict[str, Any]:
    action = given["action"]
    stale = [_id(pk) for pk in DELETION_SET._stale_ids()]
    removed = DELETION_SET.force_cleanup() if action == "cleanup" else 0
    return {
        "active": len(DELETION_SET._deletion_set),
        "timestamps": len(DELETION_SET._timestamps),
        "threshold": DELETION_SET._cleanup_threshold,
        "last_cleanup": DELETION_SET._last_cleanup,
        "stale": stale,
        "removed": removed,
    }


def _id(pk: Any) -> str:
    return pk if type(pk) is str else shown_key("", pk)


def _not_configured(verb: str) -> Callable[[Mapping[str, Any]], dict[str, Any]]:
    def refuse(_: Mapping[str, Any]) -> dict[str, Any]:
        raise NotImplementedError(f"{verb}: not configured")

    return refuse


_VERBS: Final[dict[str, Callable[[Mapping[str, Any]], dict[str, Any]]]] = {
    "keys": _keys,
    "top": _top,
    "explain": _explain,
    "trail": _trail,
    "tracker": _tracker,
    "warm": _not_configured("warm"),
    "schedule": jobs.answer,
}
