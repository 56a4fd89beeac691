"""The short way of what saves ask for: it reaches and notes what the long one does, and leaves to it what fails."""

from collections.abc import Iterator
from typing import Any

import pytest
from django.core.cache import caches
from django.test import override_settings

from oxicache import cache_manager, cached_function
from oxicache.django import plain, reaching
from oxicache.django.backends import NativeCache
from oxicache.invalidation import Effect, Names
from oxicache.store import failure_counts, forget_failures
from oxicache.tags import forget_parents, tag_parent
from oxicache.trail import Told, trail

NATIVE = "oxicache.django.backends.NativeCache"


class OwnCache(NativeCache):
    """A subclass, which may do anything."""


CACHES = {
    "default": {"BACKEND": NATIVE, "LOCATION": "plain"},
    "prefixed": {"BACKEND": NATIVE, "LOCATION": "plain", "KEY_PREFIX": "p"},
    "apart": {"BACKEND": NATIVE, "LOCATION": "plain-apart", "OPTIONS": {"COHERENCE": "process"}},
    "own": {"BACKEND": f"{__name__}.OwnCache", "LOCATION": "plain-own"},
    "local": {"BACKEND": "django.core.cache.backends.locmem.LocMemCache", "LOCATION": "plain"},
}
KEYS = ("user:1", "user:2", "other")
EFFECTS = {
    "tags": Effect(tags=frozenset({"tag:user:1", "tag:nothing"})),
    "tree": Effect(tags=frozenset({"tree"})),
    "keys": Effect(keys=frozenset({"user:1", "nothing"})),
    "globs": Effect(globs=frozenset({"user:*", "othe?"})),
    "all": Effect(tags=frozenset({"tag:other"}), keys=frozenset({"user:1"}), globs=frozenset({"*:2"})),
    "aliases": Effect(
        tags=frozenset({"tag:user:1"}), keys=frozenset({"other"}), aliases=("prefixed", "local")
    ),
    "also": Effect(also=frozenset({Names(regexes=("user:[2-9]",))})),
    "every tag": Effect(every_tag=True),
    "every key": Effect(every_key=True),
    "no glob": Effect(globs=frozenset({"user:*", "x" * 10_001}), aliases=("local",)),
    "no tag": Effect(tags=frozenset({"tag:user:1", ""})),
    "no alias": Effect(keys=frozenset({"other"}), aliases=("nowhere", "default")),
}


@pytest.fixture(autouse=True)
def _caches() -> Iterator[None]:
    forget_failures()
    undo = tag_parent("tag:user:2", "tree")
    with override_settings(CACHES=CACHES):
        yield
    undo()
    forget_parents()
    forget_failures()


@pytest.fixture
def named() -> Iterator[Any]:
    """A cache of the manager."""
    yield cache_manager.get_cache("plain.named", max_size=100)
    cache_manager.remove("plain.named")


def save(effect: Effect) -> None:
    """Carry it out as a save does, which has made a note."""
    note = trail.note("save", Told(effect.names, len(effect)))
    assert note is not None
    plain.carry_out(effect, [note])


def left(named: Any) -> dict[str, list[str]]:
    """Which of the keys each cache still has."""
    found = {alias: [key for key in KEYS if caches[alias].get(key)] for alias in CACHES}
    return {**found, "named": [key for key in KEYS if key in named]}


def fill(named: Any) -> None:
    """Store the same in each cache, with a tag where it has tags."""
    for alias in CACHES:
        for key in KEYS:
            tags = {} if alias == "local" else {"tags": [f"tag:{key}"]}
            caches[alias].set(key, 1, **tags)
    for key in KEYS:
        named.set(key, 1, tags=[f"tag:{key}"])


@pytest.mark.parametrize("effect", EFFECTS.values(), ids=EFFECTS.keys())
def test_it_reaches_what_the_long_way_does(named: Any, effect: Effect) -> None:
    """The same entries go by either way, and the same words are in the trail."""
    outcomes = []
    for is_short in (False, True):
        fill(named)
        trail.clear()
        if is_short:
            save(effect)
        else:
            reaching.carry_out(effect, note=trail.note("save", Told(effect.names, len(effect))))
        (event,) = trail.events()
        outcomes.append((left(named), set(event["names"])))
    assert outcomes[0] == outcomes[1]


def test_it_is_short(named: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    """What saves ask for takes the short way."""
    monkeypatch.setattr(reaching, "carry_out", None)
    fill(named)
    with override_settings(CACHES={"default": CACHES["default"]}):
        for name in ("tags", "tree", "keys", "globs", "all"):
            save(EFFECTS[name])
        assert caches["default"].get("user:1") is None


def test_a_tag_reaches_decorated_callables() -> None:
    """What they hold under it is computed anew, where no alias is a NativeCache too."""
    calls: list[int] = []

    @cached_function(tags=["plain.leaf"])
    def one() -> int:
        calls.append(1)
        return len(calls)

    for number, settings in enumerate((CACHES, {"default": CACHES["local"]}), start=1):
        with override_settings(CACHES=settings):
            assert [one(), one()] == [number, number]
            save(Effect(tags=frozenset({"plain.leaf"})))
    assert one() == 3


def test_what_a_user_stored_beside_a_callables_values() -> None:
    """A cache that was made for a callable, and where somebody stores too, is looked through as others are."""

    @cached_function(name="plain.shared")
    def one() -> int:
        return 1

    one()
    for effect in (
        Effect(tags=frozenset({"t"})),
        Effect(keys=frozenset({"k"})),
        Effect(globs=frozenset({"k*"})),
    ):
        one.cache.set("k", 1, tags=["t"])
        save(effect)
        assert "k" not in one.cache
        assert len(one.cache) == 1


def test_a_cache_that_fails(named: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    """The others are reached, and it is counted once."""
    fill(named)

    def fail(*_: Any) -> None:
        raise ConnectionError("no server")

    monkeypatch.setattr(caches["local"], "delete_many", fail)
    save(EFFECTS["keys"])
    monkeypatch.undo()
    kept = left(named)
    assert kept.pop("local") == list(KEYS)
    assert set(map(tuple, kept.values())) == {KEYS[1:]}
    assert failure_counts() == {"local": 1}
