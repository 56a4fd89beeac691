"""The version words of this process: opened at their first use, private while tests run.

What a word is, and how it is shared, is native (`_native.versions_share`). Where the words of a Django project lie is
said by oxicache.django.host; without it every process has words of its own.
"""

import os
import threading
from collections.abc import Callable, Iterable
from typing import Final

from oxicache import _native
from oxicache._native import Stamps

__all__ = ["MAX_WORDS", "VersionWords", "version_words"]

MAX_WORDS: Final = 32  # the native half captures no more for one value


class VersionWords:
    """Who opens the words, and whether they are open."""

    def __init__(self) -> None:
        self._open: Callable[[], Callable[[], object]] | None = None
        self._is_open = True  # nobody shares them: there is nothing to wait for
        self._private: str | None = None
        self._lock = threading.RLock()  # who opens reads settings, and may import what uses the words

    def opened_by(self, open_: Callable[[], Callable[[], object]]) -> None:
        """Have `open_` called at the next use. What it returns is called after that, with no lock held: it may log."""
        self._open = open_
        self.reopen()

    def capture(self, names: Iterable[str]) -> Stamps:
        """The words of `names` as they are now. To be called before that is read which they stand for."""
        if not self._is_open:
            self._open_once()
        return _native.capture(names)

    def bump(self, names: Iterable[str]) -> int:
        """Invalidate all that was captured under one of `names`; return how many words these were."""
        if not self._is_open:
            self._open_once()
        return _native.bump(names)

    def open(self) -> None:
        """Open them now, if that is still to be done."""
        if not self._is_open:
            self._open_once()

    def reopen(self) -> None:
        """Open them again at their next use: what said where they lie has changed."""
        with self._lock:
            self._is_open = self._open is None or self._private is not None

    def keep_private(self, reason: str) -> None:
        """Share nothing with other processes until `release`: tests must not reach a site that runs on this host."""
        with self._lock:
            if self._private is None:
                self._private = reason
                self._is_open = True
                _native.versions_keep_private(reason=reason)

    def release(self) -> None:
        """Undo `keep_private`."""
        with self._lock:
            self._private = None
        self.reopen()

    @property
    def is_private(self) -> bool:
        """Whether `keep_private` is in force."""
        return self._private is not None

    def _open_once(self) -> None:
        after: Callable[[], object] | None = None
        with self._lock:  # a bump that went to private words meanwhile would be seen by nobody
            if not self._is_open and self._open is not None:
                after = self._open()
                self._is_open = True
        if after is not None:
            after()

    def _forget_lock(self) -> None:
        self._lock = threading.RLock()  # another thread may have held it when this process was forked


version_words = VersionWords()
if hasattr(os, "register_at_fork"):  # not on Windows
    os.register_at_fork(after_in_child=version_words._forget_lock)
