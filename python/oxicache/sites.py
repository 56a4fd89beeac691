"""Which processes an operation acts on: a Site says where they are found, whom to leave out, and what they share.

The framework-free half: oxicache.django.site makes one of a project's settings. How a worker is asked: workers.py.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final, Protocol

from oxicache import _native, live, workers
from oxicache.errors import UnknownProcessError
from oxicache.reports import Missing, Reach
from oxicache.workers import Answers, Worker

__all__ = ["Shared", "Site", "reach_of"]


class Shared(Protocol):
    """What every process of the host sees at its next read, whether or not it serves a socket."""

    def clear(self, cache: str | None) -> Sequence[str]:
        """Outdate all entries of one cache, or of every one; the names of those that are shared in this way."""
        ...

    def invalidate_tags(self, tags: Sequence[str], caches: Sequence[str]) -> Sequence[str]:
        """Outdate the entries with one of the tags, in these caches or in all; the names of those that are shared."""
        ...

    def invalidate_model(self, model: str, *, cascade: bool) -> Sequence[str]:
        """Outdate what was computed from a model's rows; the models that `cascade` added.

        ValueError where there is no such model.
        """
        ...


class NothingShared:
    """What a process shares that knows no framework: nothing."""

    def clear(self, cache: str | None) -> Sequence[str]:  # noqa: ARG002 -- as Shared has it
        """There is nothing that this reaches."""
        return ()

    def invalidate_tags(self, tags: Sequence[str], caches: Sequence[str]) -> Sequence[str]:  # noqa: ARG002 -- as above
        """There is nothing that this reaches."""
        return ()

    def invalidate_model(self, model: str, *, cascade: bool) -> Sequence[str]:  # noqa: ARG002 -- as above
        """There are no models."""
        raise ValueError(f"{model!r} is no model: models are Django's, and this process has not loaded it")


NOTHING_SHARED: Final = NothingShared()


@dataclass(frozen=True, slots=True, kw_only=True)
class Site:
    """The live workers in some folders, or this process alone.

    `folders` has the own one first; root may look into those of other users besides.
    """

    folders: tuple[Path, ...] = ()
    is_local: bool = False  # ask this process, and nobody else
    includes_self: bool = False  # ask this process besides, whether it serves a socket or not
    process: int | None = None  # ask the worker with this pid, and no other
    siblings: tuple[str, ...] = ()  # who belongs to this site and meets elsewhere, a sentence each
    deadline: float = workers.DEADLINE  # seconds
    shared: Shared = NOTHING_SHARED

    @property
    def place(self) -> str:
        """Where its workers are looked for; empty for this process."""
        return "" if self.is_local else ", ".join(map(str, self.folders))

    def live(self) -> list[Worker]:
        """Find the workers to be asked. UnknownProcessError where the one that is wanted is not among them."""
        found = [worker for folder in self.folders for worker in workers.discover(folder)]
        if self.process is None:
            return found
        wanted = [worker for worker in found if worker.pid == self.process]
        if not wanted:
            raise UnknownProcessError(self.process, sorted(worker.pid for worker in found), self.place)
        return wanted

    def ask(self, verb: str, **arguments: Any) -> Answers:
        """Send one request to each of them at once; what is None is left out of it."""
        request = {"verb": verb, **{name: value for name, value in arguments.items() if value is not None}}
        if self.is_local:
            _native.control_answer(live.answer)  # a process that serves has done so already
            return workers.Local().ask(request)
        return workers.ask(self.live(), request, self.deadline, include_self=self.includes_self)

    @property
    def is_whole(self) -> bool:
        """Whether no worker is left out, so that what they share may be changed too."""
        return self.process is None

    @property
    def marked_folders(self) -> Sequence[Path]:
        """Where workers to come look for a mark: where others have met already, else in the own folder."""
        return [] if self.is_local else [one for one in self.folders if one.exists()] or self.folders[:1]


def reach_of(site: Site, *rounds: Answers) -> Reach:
    """Say who answered in all of the rounds; a worker that ended meanwhile does not count.

    A worker that has no cache of the name has answered: others may have it.
    """
    missing: dict[int, str] = {}
    answered: dict[int, None] = {}
    for answers in rounds:
        for worker in answers.silent:
            missing.setdefault(worker.pid, f"did not answer within {site.deadline:g} s")
        for failure in answers.failures:
            if failure.error == "unknown_cache":
                answered[failure.worker.pid] = None
            else:
                missing.setdefault(failure.worker.pid, failure.message or failure.error)
        answered |= dict.fromkeys(answer.worker.pid for answer in answers.answers)
    return Reach(
        answered=tuple(sorted(pid for pid in answered if pid not in missing)),
        missing=tuple(Missing(pid, why) for pid, why in sorted(missing.items())),
        place=site.place,
        siblings=site.siblings,
    )
