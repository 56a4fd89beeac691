"""A time to live from how often an entry is asked for: what is asked for often lives longer.

Asks are counted by key over a window that slides, so that two of them a moment apart are two in an hour and no storm;
of many keys, those asked for last are remembered. Source: document 003, "Adaptive Strategy", whose rates these are.
"""

import time
from dataclasses import dataclass, replace
from datetime import timedelta
from typing import Any, Final

from oxicache import _native, options
from oxicache._native import TTLCache

__all__ = ["AdaptiveTtl", "Asks", "Meter"]

HOUR: Final = 3600.0  # seconds
# Asks in an hour. Source: document 003, and the system it describes.
RARE: Final = 1.0
OFTEN: Final = 10.0


@dataclass(frozen=True, slots=True, init=False)
class AdaptiveTtl:
    """How long entries live: `base` seconds at first; up to `high` for more than 10 asks in an hour, else `low`.

    From 1 to 10 asks in an hour it goes from `base` to `high` in a straight line; below 1 it is `low`.
    """

    base: float
    low: float
    high: float
    window: float  # seconds over which asks are counted
    max_keys: int  # whose asks are remembered; an older one begins anew

    def __init__(
        self,
        base: float | timedelta = 300,
        low: float | timedelta = 60,
        high: float | timedelta = 3600,
        *,
        window: float | timedelta = HOUR,
        max_keys: int = options.ADAPTIVE_MAX_KEYS,
    ) -> None:
        """Check and keep. TypeError and ValueError name argument and value."""
        for name, given in (("base", base), ("low", low), ("high", high), ("window", window)):
            object.__setattr__(self, name, options.seconds(name, given))
        if not self.low <= self.base <= self.high:
            raise ValueError(f"low <= base <= high must hold, not {low!r} <= {base!r} <= {high!r}")
        if self.window == 0:
            raise ValueError("window must be more than 0 seconds")
        if isinstance(max_keys, bool) or not isinstance(max_keys, int):
            raise TypeError(f"max_keys must be a whole number, not {max_keys!r}")
        if max_keys < 1:
            raise ValueError(f"max_keys must be at least 1, not {max_keys}")
        object.__setattr__(self, "max_keys", max_keys)

    def of_rate(self, per_hour: float) -> float:
        """Return the seconds that an entry lives which is asked for so often."""
        if per_hour > OFTEN:
            return self.high
        if per_hour < RARE:
            return self.low
        return self.base + (self.high - self.base) * (per_hour - RARE) / (OFTEN - RARE)


@dataclass(frozen=True, slots=True)
class Asks:
    """What is remembered of one key."""

    count: int  # since it was first asked for, or since it was forgotten
    last: float  # time.time() of the last ask
    slot: int  # the window that the last ask was in
    current: int  # asks in that window
    previous: int  # asks in the one before

    def in_window(self, position: float) -> float:
        """Return the asks of the last window, at a position in windows; those of a window that is partly past count
        in part.
        """
        slot = int(position)
        if slot > self.slot + 1:
            return 0.0
        current, previous = (self.current, self.previous) if slot == self.slot else (0, self.current)
        return current + previous * (1.0 - (position - slot))


class Meter:
    """Who counts the asks of one decorated callable. Two asks at one instant, in two threads, may count as one."""

    def __init__(self, adaptive: AdaptiveTtl) -> None:
        """Count for this time to live."""
        self.adaptive = adaptive
        self._asks: TTLCache[Any, Asks] = TTLCache(adaptive.max_keys, None)

    def note(self, key: Any) -> None:
        """Count an ask. O(1)."""
        found = self._asks.get(key)
        slot = int(self._position())
        if found is None:
            asks = Asks(1, time.time(), slot, 1, 0)
        elif found.slot == slot:
            asks = replace(found, count=found.count + 1, last=time.time(), current=found.current + 1)
        else:
            previous = found.current if found.slot == slot - 1 else 0
            asks = Asks(found.count + 1, time.time(), slot, 1, previous)
        self._asks.set(key, asks)

    def ttl(self, key: Any) -> float:
        """Return how long the entry lives that is loaded for the ask just noted: by the asks before it."""
        found = self._asks.get(key)
        if found is None or found.count <= 1:
            return self.adaptive.base
        before = found.in_window(self._position()) - 1.0
        return self.adaptive.of_rate(max(before, 0.0) * HOUR / self.adaptive.window)

    def per_hour(self, key: Any) -> float:
        """Return how often a key was asked for in an hour, by the last window."""
        found = self._asks.get(key)
        return 0.0 if found is None else found.in_window(self._position()) * HOUR / self.adaptive.window

    def asks(self, key: Any) -> Asks | None:
        """Return what is remembered of a key."""
        return self._asks.get(key)

    def all(self) -> list[tuple[Any, Asks]]:
        """Return what is remembered of all keys. O(keys)."""
        return list(self._asks.items())

    def clear(self) -> None:
        """Forget all asks."""
        self._asks.clear()

    def _position(self) -> float:
        return _native.now() / self.adaptive.window
