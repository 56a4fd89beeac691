"""What oxicache logged of responses in this worker: shown on the page instead of the terminal."""

import logging
from collections import defaultdict, deque
from collections.abc import Iterator

__all__ = ["Kept", "notes_on"]

_notes: defaultdict[str, deque[str]] = defaultdict(
    lambda: deque(maxlen=20)
)  # by logger: some say much, some once


class Kept(logging.Handler):
    """Keeps what it is told. The settings name it for loggers of oxicache."""

    def emit(self, record: logging.LogRecord) -> None:
        """Keep the message."""
        _notes[record.name].append(record.getMessage())


def notes_on(view: str) -> Iterator[str]:
    """Yield the last note of each logger that names a view."""
    for said in list(_notes.values()):
        found = [note for note in said if view in note]
        if found:
            yield found[-1]
