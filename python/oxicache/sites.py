"""Which processes an operation acts on: a Site says where they are found, whom to leave out, and what they share.

The framework-free half: oxicache.django.site makes one of a project's settings. How a worker is asked: workers.py.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final, Literal, Protocol, TypeAlias

from oxicache import _native, live, workers
from oxicache.errors import UnknownProcessError
from oxicache.reports import Missing, Reach
from oxicache.selection import EVERYTHING, Selection
from oxicache.workers import Answers, Worker

__all__ = ["AliasOutcome", "Dependents", "PatternKind", "Shared", "Site", "reach_of"]

PatternKind: TypeAlias = Literal["glob", "regex"]

_NO_MODEL: Final = "{!r} is no model: models are Django's, and this process has not loaded it"


@dataclass(frozen=True, slots=True)
class AliasOutcome:
    """What became of the entries of one alias that is no NativeCache."""

    count: int | None = 0  # None where its backend does not tell
    failure: str | None = None  # why not all of it was done


@dataclass(frozen=True, slots=True)
class Dependents:
    """What rules and dependencies name of models and rows."""

    selection: Selection = EVERYTHING  # tags, keys and globs alone; none of these is nothing
    is_wider: bool = False  # rules name tags of single rows, and these were not named


class Shared(Protocol):
    """What can be done without asking workers: what all processes of the host see at their next read, and servers."""

    def clear(self, cache: str | None) -> Sequence[str]:
        """Outdate all entries of one cache, or of every one; the names of those that are shared in this way."""
        ...

    def invalidate_keys(self, keys: Sequence[str], caches: Sequence[str]) -> Sequence[str]:
        """Outdate the entries of these keys, in these caches or in all; the names of those that are shared."""
        ...

    def invalidate_tags(self, tags: Sequence[str], caches: Sequence[str]) -> Sequence[str]:
        """Outdate the entries with one of the tags, in these caches or in all; the names of those that are shared."""
        ...

    def invalidate_patterns(
        self, patterns: Sequence[str], kind: PatternKind, caches: Sequence[str]
    ) -> Sequence[str]:
        """Outdate the entries whose key matches, in these caches or in all; the names of those that are shared."""
        ...

    def invalidate_model(self, model: str, *, cascade: bool, dry_run: bool = False) -> Sequence[str]:
        """Outdate what was computed from a model's rows, or with `dry_run` do not; the models that `cascade` added.

        ValueError where there is no such model.
        """
        ...

    def invalidate_row(self, model: str, pk: Any) -> None:
        """Outdate what was computed from one row. ValueError where there is no such model, or no such key."""
        ...

    def dependents(self, selection: Selection, *, cascade: bool) -> Dependents:
        """Return what goes with the models and rows of a selection, within its tenant. ValueError as above."""
        ...

    def made_keys(self, keys: Sequence[str], caches: Sequence[str]) -> Sequence[str]:
        """Return these keys, and what the caches make of them before they store."""
        ...

    def tenant_prefix(self, tenant: Any) -> str:
        """Return how the keys of a tenant begin."""
        ...

    def parted(self, aliases: Sequence[str]) -> tuple[Sequence[str], Sequence[str]]:
        """Return the aliases that workers hold, as the names of their caches, and those of other backends.

        None given stands for all of them. ValueError where there is no such alias.
        """
        ...

    def is_private(self, alias: str) -> bool:
        """Whether each process has entries of its own under an alias of another backend."""
        ...

    def require(self, alias: str, selection: Selection) -> None:
        """CannotEnumerateError where the backend of an alias cannot tell which entries are selected."""
        ...

    def invalidate_alias(self, alias: str, selection: Selection, *, dry_run: bool) -> AliasOutcome:
        """Delete, or count, the entries of another backend that have one of the keys, or of the tags, or that match.

        `selection` is of one kind.
        """
        ...

    def clear_alias(self, alias: str, *, dry_run: bool) -> AliasOutcome:
        """Delete, or count, all entries of another backend."""
        ...


class NothingShared:
    """What a process shares that knows no framework: nothing."""

    def clear(self, cache: str | None) -> Sequence[str]:  # noqa: ARG002 -- as Shared has it
        """There is nothing that this reaches."""
        return ()

    def invalidate_keys(self, keys: Sequence[str], caches: Sequence[str]) -> Sequence[str]:  # noqa: ARG002 -- as above
        """There is nothing that this reaches."""
        return ()

    def invalidate_tags(self, tags: Sequence[str], caches: Sequence[str]) -> Sequence[str]:  # noqa: ARG002 -- as above
        """There is nothing that this reaches."""
        return ()

    def invalidate_patterns(
        self,
        patterns: Sequence[str],  # noqa: ARG002 -- as above
        kind: PatternKind,  # noqa: ARG002 -- as above
        caches: Sequence[str],  # noqa: ARG002 -- as above
    ) -> Sequence[str]:
        """There is nothing that this reaches."""
        return ()

    def invalidate_model(
        self,
        model: str,
        *,
        cascade: bool,  # noqa: ARG002 -- as above
        dry_run: bool = False,  # noqa: ARG002 -- as above
    ) -> Sequence[str]:
        """There are no models."""
        raise ValueError(_NO_MODEL.format(model))

    def invalidate_row(self, model: str, pk: Any) -> None:  # noqa: ARG002 -- as above
        """There are no models."""
        raise ValueError(_NO_MODEL.format(model))

    def dependents(self, selection: Selection, *, cascade: bool) -> Dependents:  # noqa: ARG002 -- as above
        """There are no models."""
        for model in (*selection.models, *(model for model, _ in selection.rows)):
            raise ValueError(_NO_MODEL.format(model))
        return Dependents()

    def made_keys(self, keys: Sequence[str], caches: Sequence[str]) -> Sequence[str]:  # noqa: ARG002 -- as above
        """Keys are stored as they are."""
        return keys

    def tenant_prefix(self, tenant: Any) -> str:
        """Nothing says how keys of tenants begin."""
        raise ValueError(f"tenant {tenant!r} means nothing here: keys of tenants are Django's")

    def parted(self, aliases: Sequence[str]) -> tuple[Sequence[str], Sequence[str]]:
        """There are no aliases."""
        if aliases:
            raise ValueError(
                f"{aliases[0]!r} is no alias: CACHES is Django's, and this process has not loaded it"
            )
        return (), ()

    def is_private(self, alias: str) -> bool:  # noqa: ARG002 -- as above
        """There are no aliases."""
        return False

    def require(self, alias: str, selection: Selection) -> None:
        """There are no aliases."""

    def invalidate_alias(
        self,
        alias: str,  # noqa: ARG002 -- as above
        selection: Selection,  # noqa: ARG002 -- as above
        *,
        dry_run: bool,  # noqa: ARG002 -- as above
    ) -> AliasOutcome:
        """There are no aliases."""
        return AliasOutcome()

    def clear_alias(self, alias: str, *, dry_run: bool) -> AliasOutcome:  # noqa: ARG002 -- as above
        """There are no aliases."""
        return AliasOutcome()


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
        if self.is_local or self.includes_self:
            _native.control_answer(live.answer)  # a process that serves has done so already
        if self.is_local:
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
