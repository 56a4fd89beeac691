"""Every interleaving of readers that fill and writers, as DESIGN's fill and write tokens have it: a model, no cache.

One key, one version word, a database that holds a number. Each step here is one atomic operation of the real thing: a
capture, a query, an addition to the word, a store into the worker's own memory. `explore` visits every state that any
order of steps can reach.
"""

from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Literal, NamedTuple

__all__ = ["Actor", "Found", "Rules", "deleter", "explore", "reader", "setter"]


@dataclass(frozen=True)
class Rules:
    """What is done when. The defaults are the design; each other value is a mistake that a test shows to be one."""

    fill_adds: bool = False
    captured: Literal["at the miss", "after the load", "at the store"] = "at the miss"
    write_keeps: Literal["what it added plus one", "what it added to", "the word as read again"] = (
        "what it added plus one"
    )
    store_first: bool = False  # a write stores, and adds to the word afterwards
    tokens_may_die: bool = False  # at any moment, as they do after 10 s: what would be a fill is then a write


class Value(NamedTuple):
    version: int  # the number in the database that it was computed from
    word: int  # the word at the moment it was read or written there: what is told to nobody


class Actor(NamedTuple):
    """One thread of one worker, and where it is in what it does."""

    worker: int
    kind: Literal["reader", "setter", "deleter"]
    turns: int
    at: str
    token: int | None = None
    stamp: int = 0
    value: Value = Value(0, 0)
    loads: int = 0


class State(NamedTuple):
    actors: tuple[Actor, ...]
    entries: tuple[tuple[Value, int] | None, ...]  # by worker: the value, and the word it is stamped with
    word: int = 0
    database: int = 0
    invalidated: int = 0  # the highest version whose writer has added to the word
    last_writer: int | None = (
        None  # the worker that added to the word last and keeps a value; None after a delete
    )


@dataclass
class Found:
    """What happened in at least one interleaving."""

    states: int = 0
    hits: int = 0
    loads: int = 0  # the most that one reader did
    wrong: set[str] = field(default_factory=set)


def reader(worker: int, gets: int = 2) -> Actor:
    """So many times: get, and on a miss load from the database and set."""
    return Actor(worker, "reader", gets, "get")


def setter(worker: int, writes: int = 1) -> Actor:
    """So many times: change the database, then set the new value, with no miss before."""
    return Actor(worker, "setter", writes, "change")


def deleter(worker: int, writes: int = 1) -> Actor:
    """So many times: change the database, then delete the key."""
    return Actor(worker, "deleter", writes, "change")


def explore(*actors: Actor, rules: Rules = Rules(), filled: bool = False) -> Found:
    """Visit every state that the actors can reach. `filled`: each worker begins with a live value."""
    workers = 1 + max(actor.worker for actor in actors)
    entry = (Value(0, 0), 0) if filled else None
    found = Found()
    seen = {State(actors, (entry,) * workers)}
    waiting = list(seen)
    while waiting:
        state = waiting.pop()
        found.states += 1
        if all(actor.turns == 0 for actor in state.actors):
            _judge_end(state, found)
        for index, actor in enumerate(state.actors):
            if actor.turns == 0:
                continue
            for following in _step(state, index, actor, rules, found):
                if following not in seen:
                    seen.add(following)
                    waiting.append(following)
    return found


def _step(state: State, index: int, actor: Actor, rules: Rules, found: Found) -> Iterator[State]:
    """Yield what the next step of one actor makes of the state: more than one where chance has a part."""
    if rules.tokens_may_die and actor.token is not None:
        yield _with(state, index, actor._replace(token=None))
    yield _STEPS[actor.at](state, index, actor, rules, found)


def _with(state: State, index: int, actor: Actor, **changes: object) -> State:
    actors = (*state.actors[:index], actor, *state.actors[index + 1 :])
    return state._replace(actors=actors, **changes)  # type: ignore[arg-type]


def _over(actor: Actor) -> Actor:
    at = "get" if actor.kind == "reader" else "change"
    return Actor(actor.worker, actor.kind, actor.turns - 1, at, loads=actor.loads)


def _get(state: State, index: int, actor: Actor, rules: Rules, found: Found) -> State:
    entry = state.entries[actor.worker]
    if entry is not None and entry[1] == state.word:
        found.hits += 1
        value = entry[0]
        if value.word != state.word:
            found.wrong.add("a hit is older than a write or delete")
        if value.version < state.invalidated:
            found.wrong.add("a hit is older than what was invalidated")
        return _with(state, index, _over(actor))
    token = state.word if rules.captured == "at the miss" else None
    return _with(state, index, actor._replace(at="load", token=token))


def _load(state: State, index: int, actor: Actor, rules: Rules, found: Found) -> State:
    loads = actor.loads + 1
    found.loads = max(found.loads, loads)
    value = Value(state.database, state.word)
    at = "capture" if rules.captured == "after the load" else "fill"
    return _with(state, index, actor._replace(at=at, value=value, loads=loads))


def _capture(state: State, index: int, actor: Actor, rules: Rules, found: Found) -> State:
    return _with(state, index, actor._replace(at="fill", token=state.word))


def _fill(state: State, index: int, actor: Actor, rules: Rules, found: Found) -> State:
    token = state.word if rules.captured == "at the store" else actor.token
    if token is None:
        return _add(state, index, actor, rules, found)
    if token != state.word:
        return _with(state, index, _over(actor))
    if rules.fill_adds:
        return _add(state, index, actor, rules, found)
    return _with(state, index, actor._replace(at="store", stamp=token))


def _change(state: State, index: int, actor: Actor, rules: Rules, found: Found) -> State:
    version = state.database + 1
    at = "store first" if rules.store_first and actor.kind == "setter" else "add"
    after = actor._replace(at=at, value=Value(version, 0), stamp=state.word)
    return _with(state, index, after, database=version)


def _store_first(state: State, index: int, actor: Actor, rules: Rules, found: Found) -> State:
    entry = (actor.value._replace(word=state.word + 1), state.word + 1)
    return _with(state, index, actor._replace(at="add"), entries=_entries(state, actor, entry))


def _add(state: State, index: int, actor: Actor, rules: Rules, found: Found) -> State:
    word = state.word + 1
    invalidated = state.invalidated
    if actor.kind != "reader":
        invalidated = max(invalidated, actor.value.version)
    elif not rules.fill_adds:  # a set like any other: it is what all are to see from here on
        invalidated = actor.value.version
    value = actor.value._replace(word=word)
    stamps = {
        "what it added plus one": word,
        "what it added to": word - 1,
        "the word as read again": -1,  # at the store
    }
    after = actor._replace(at="store", value=value, stamp=stamps[rules.write_keeps])
    last_writer: int | None = actor.worker
    if actor.kind == "deleter":
        after, last_writer = after._replace(at="drop"), None
    elif rules.store_first and actor.kind == "setter":
        after = _over(actor)
    return _with(state, index, after, word=word, invalidated=invalidated, last_writer=last_writer)


def _store(state: State, index: int, actor: Actor, rules: Rules, found: Found) -> State:
    stamp = state.word if actor.stamp == -1 else actor.stamp
    return _with(state, index, _over(actor), entries=_entries(state, actor, (actor.value, stamp)))


def _drop(state: State, index: int, actor: Actor, rules: Rules, found: Found) -> State:
    return _with(state, index, _over(actor), entries=_entries(state, actor, None))


def _entries(
    state: State, actor: Actor, entry: tuple[Value, int] | None
) -> tuple[tuple[Value, int] | None, ...]:
    return (*state.entries[: actor.worker], entry, *state.entries[actor.worker + 1 :])


def _judge_end(state: State, found: Found) -> None:
    """When all is over, whatever is alive anywhere is one and the same value, and no older than the last write."""
    live = {entry[0] for entry in state.entries if entry is not None and entry[1] == state.word}
    if state.last_writer is not None:
        kept = state.entries[state.last_writer]
        if kept is None or kept[1] != state.word:
            found.wrong.add("the last write is lost")
    if len({value.version for value in live}) > 1:
        found.wrong.add("two workers keep different values")
    if any(value.word != state.word for value in live):
        found.wrong.add("a worker keeps a value older than the last write")


_STEPS = {
    "get": _get,
    "load": _load,
    "capture": _capture,
    "fill": _fill,
    "change": _change,
    "store first": _store_first,
    "add": _add,
    "store": _store,
    "drop": _drop,
}
