"""What processes that share a NativeCache must answer, in plain Python: one operation at a time, nothing evicted."""

import fnmatch
import random
from collections import defaultdict
from dataclasses import dataclass, replace
from typing import Any
from unittest import mock

__all__ = ["Host"]

KEYS = ("a", "b", "c")
TAGS = ("t", "u")
OPERATIONS = {  # how often each is drawn
    "get": 30,
    "get_many": 6,
    "has_key": 4,
    "set": 30,
    "set_many": 4,
    "add": 6,
    "incr": 6,
    "touch": 6,
    "delete": 6,
    "delete_many": 3,
    "delete_by_tag": 4,
    "clear": 1,
    "invalidate_patterns": 4,
    "delete_pattern": 3,
}
PATTERNS = ("a", "[ab]", "c*", "?", "nothing:*")


@dataclass(frozen=True)
class Seen:
    """What the words were: of a key, of the store, of all tags; and how often clears and patterns moved the store's."""

    key: int
    store: int
    tags: int
    steps: int


DEAD = Seen(-1, -1, -1, -1)


@dataclass
class Entry:
    value: Any
    key: int
    store: int
    tags: dict[str, int]


def _matches(pattern: str, key: str) -> bool:
    return fnmatch.fnmatchcase(key, pattern)


class Host:
    """The words of a host, and what each of its processes holds and remembers to have missed."""

    def __init__(self, count: int) -> None:
        self.keys: defaultdict[str, int] = defaultdict(int)
        self.tags: defaultdict[str, int] = defaultdict(int)
        self.store = self.all_tags = self.steps = self.serial = 0
        self.entries: list[dict[str, Entry]] = [{} for _ in range(count)]
        self.tokens: list[dict[str, Seen]] = [{} for _ in range(count)]

    def draw(self, rng: random.Random) -> tuple[str, list[Any], dict[str, Any]]:
        """Give a method of a cache and what it is called with."""
        self.serial += 1
        key, some = rng.choice(KEYS), rng.sample(KEYS, 2)
        name = rng.choices(list(OPERATIONS), list(OPERATIONS.values()))[0]
        given: dict[str, list[Any]] = {
            "get_many": [some],
            "set": [key, self.serial * 100],
            "set_many": [dict.fromkeys(some, self.serial * 100)],
            "add": [key, self.serial * 100],
            "delete_many": [some],
            "delete_by_tag": [rng.choice(TAGS)],
            "clear": [],
            "invalidate_patterns": [rng.sample(PATTERNS, 2)],
            "delete_pattern": [rng.choice(PATTERNS)],
        }
        keywords: dict[str, Any] = {}
        if name == "set":
            keywords["tags"] = rng.choice([[], [], ["t"], ["t", "u"]])
            keywords["write"] = rng.random() < 0.1
        return name, given.get(name, [key]), keywords

    def do(self, worker: int, name: str, *arguments: Any, **keywords: Any) -> Any:
        """Do it in one process, and return what that process must answer."""
        return getattr(self, f"_{name}")(worker, *arguments, **keywords)

    def _live(self, worker: int, key: str) -> Entry | None:
        entry = self.entries[worker].get(key)
        if entry is None or (entry.key, entry.store) != (self.keys[key], self.store):
            return None
        return entry if all(self.tags[tag] == seen for tag, seen in entry.tags.items()) else None

    def _seen(self, key: str) -> Seen:
        return Seen(self.keys[key], self.store, self.all_tags, self.steps)

    def _get(self, worker: int, key: str) -> Any:
        entry = self._live(worker, key)
        if entry is None:
            self.tokens[worker][key] = self._seen(key)
            return None
        return entry.value

    def _get_many(self, worker: int, keys: list[str]) -> dict[str, Any]:
        found = {key: self._get(worker, key) for key in keys}
        return {key: value for key, value in found.items() if value is not None}

    def _has_key(self, worker: int, key: str) -> bool:
        return self._get(worker, key) is not None

    def _set(
        self, worker: int, key: str, value: Any, *, tags: tuple[str, ...] = (), write: bool = False
    ) -> None:
        token = self.tokens[worker].pop(key, None)
        if token is not None and not write:
            now = self._seen(key)
            if (token.key, token.store) != (now.key, now.store) or (tags and token.tags != now.tags):
                return
        else:
            self.keys[key] += 1
        self._store(worker, key, value, tags)

    def _store(self, worker: int, key: str, value: Any, tags: tuple[str, ...] = ()) -> None:
        words = {tag: self.tags[tag] for tag in tags}
        self.entries[worker][key] = Entry(value, self.keys[key], self.store, words)

    def _set_many(self, worker: int, data: dict[str, Any]) -> list[str]:
        for key, value in data.items():
            self._set(worker, key, value)
        return []

    def _add(self, worker: int, key: str, value: Any) -> bool:
        self.tokens[worker].pop(key, None)
        if self._live(worker, key):
            return False
        self._store(worker, key, value)
        return True

    def _incr(self, worker: int, key: str) -> Any:
        self.tokens[worker].pop(key, None)
        entry = self._live(worker, key)
        if entry is None:
            return f"Key ':1:{key}' not found"
        entry.value += 1
        return entry.value

    def _touch(self, worker: int, key: str) -> bool:
        self.tokens[worker].pop(key, None)
        return self._live(worker, key) is not None

    def _delete(self, worker: int, key: str) -> bool:
        self.tokens[worker].pop(key, None)
        was_live = self._live(worker, key) is not None
        self.keys[key] += 1
        self.entries[worker].pop(key, None)
        return was_live

    def _delete_many(self, worker: int, keys: list[str]) -> None:
        for key in keys:
            self._delete(worker, key)

    def _delete_by_tag(self, worker: int, tag: str) -> Any:
        self._moved(worker, tags=self.all_tags)
        self.all_tags += 1
        self.tags[tag] += 1
        return mock.ANY  # what is outdated already may have been removed, or not yet

    def _invalidate_patterns(self, worker: int, patterns: list[str]) -> None:
        """Remove what matches everywhere; a fill of it that others missed before is dropped."""
        taken = {key for key in KEYS if any(_matches(pattern, key) for pattern in patterns)}
        for one, (entries, tokens) in enumerate(zip(self.entries, self.tokens, strict=True)):
            for key in taken:
                entries.pop(key, None)
                if key in tokens and (one != worker or tokens[key].steps != self.steps):
                    tokens[key] = DEAD
        self._moved(worker, steps=self.steps)
        self.steps += 1

    def _moved(self, worker: int, **words: int) -> None:
        """A worker moves words itself: what it stores next comes after that, unless others moved them meanwhile."""
        for key, token in self.tokens[worker].items():
            mine = {name: value + 1 for name, value in words.items() if getattr(token, name) == value}
            if len(mine) == len(words):
                self.tokens[worker][key] = replace(token, **mine)

    def _delete_pattern(self, worker: int, pattern: str) -> int:
        count = sum(bool(_matches(pattern, key) and self._live(worker, key)) for key in KEYS)
        self._invalidate_patterns(worker, [pattern])
        return count

    def _clear(self, worker: int) -> None:
        self._moved(worker, store=self.store, steps=self.steps)
        self.store += 1
        self.steps += 1
