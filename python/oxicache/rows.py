"""Rows: what a decorated callable is to a model class, and one load of its value for one row.

A value with row identity belongs to a row of a database, not to the instance that asked for it. What a row's versions
are and how a fresh copy of it is loaded is the framework's to say: a `RowSource`, which oxicache.django.rows installs.
Who leads a load and who waits: loader.py. How a decorated callable is made: memos.py.
"""

from collections.abc import Callable, Hashable, Iterable
from dataclasses import dataclass
from typing import Any, Final, Protocol, TypeAlias

from oxicache._native import Stamps
from oxicache.results import checked
from oxicache.store import Store, attempt

__all__ = [
    "MEMBER_ATTRIBUTE",
    "VARY_NAMES",
    "Member",
    "Row",
    "RowCall",
    "RowSource",
    "checked_dependencies",
    "forgotten",
    "install",
    "members_of",
    "source",
    "vary_reader",
]

Row: TypeAlias = tuple[type[Any], str, Any]  # the instance's own class, database alias, primary key

MEMBER_ATTRIBUTE: Final = "oxicache_member"  # where a decorated object carries its Member
VARY_NAMES: Final = ("language", "timezone", "scope")
ROW_IDENTITIES: Final = ("auto", "row")


@dataclass(frozen=True, slots=True, eq=False, weakref_slot=True)
class Member:
    """One decorated callable, as a framework sees it that finds it on a model class."""

    name: str  # module and qualified name of the function, the same in every worker
    decorator: str  # as its user wrote it, for messages
    identity: Any
    fresh: bool  # whether a miss computes on a fresh copy of the row
    depends_on: tuple[Any, ...]  # as given: model classes, "app.Model", "self", names of relations
    has_tags: bool = False  # whether its values can be invalidated by tag

    @property
    def is_of_rows(self) -> bool:
        """Whether its values may belong to rows."""
        return isinstance(self.identity, str) and self.identity in ROW_IDENTITIES


def members_of(cls: type) -> list[Member]:
    """Return the members that `cls` has, own and inherited, each once.

    An overridden member counts, because `super()` reaches it.
    """
    found: dict[Member, None] = {}
    for owner in cls.__mro__:
        for value in vars(owner).values():
            if not type(value).__dictoffset__:
                continue  # most attributes of a class can carry nothing
            try:
                # Asked of `object`, because lazy objects and mocks answer for any attribute, and do work for it.
                member = object.__getattribute__(value, "__dict__").get(MEMBER_ATTRIBUTE)
            except AttributeError:
                continue
            if isinstance(member, Member):
                found[member] = None
    return list(found)


# ---------------------------------------------------------------- what the framework knows


class RowSource(Protocol):
    """What a framework knows of its rows. Called by many threads."""

    def stamps(self, row: Row, member: Member, tags: Iterable[str] = ()) -> Stamps:
        """Capture the versions of everything that this member's value for this row depends on, and of its tags."""
        ...

    def is_committed(self, row: Row, stamps: Stamps) -> bool:
        """Whether what the caller reads now is what anybody else would read, and as new as `stamps`."""
        ...

    def allows_storing(self, row: Row, instance: Any, stamps: Stamps) -> bool:
        """Whether what is read from now on may be kept. Asked before it is read."""
        ...

    def is_writing(self) -> bool:
        """Whether what the caller reads, on whichever database, may be its own uncommitted work."""
        ...

    def fresh(self, row: Row) -> Any:
        """Load the row; None when there is no such row."""
        ...

    async def afresh(self, row: Row) -> Any:
        """As `fresh`, for a task."""
        ...

    def forgotten(self, member: Member, row: Row | None) -> None:
        """Tell other workers that a value of this member, or all of them, was forgotten here."""
        ...

    def vary(self, name: str) -> Hashable:
        """Return what this call's value varies on: `name` is one of VARY_NAMES."""
        ...


_sources: list[RowSource] = []  # at most one


def install(source: RowSource | None) -> None:
    """Let `source` speak for all rows of this process; None for nobody."""
    _sources[:] = [] if source is None else [source]


def source() -> RowSource | None:
    """Return who speaks for the rows, or None where there are none."""
    return _sources[-1] if _sources else None


def forgotten(cache: Store, member: Member, row: Row | None) -> None:
    """Pass on that one row's values of a member were forgotten, or all of them."""
    if (known := source()) is not None:
        attempt(cache, known.forgotten, None, member, row)


# ---------------------------------------------------------------- what a member was asked for


def checked_dependencies(member: str, decorator: str, given: Any, identity: Any) -> tuple[Any, ...]:
    """Return `depends_on` as a tuple of classes and names. TypeError and ValueError name decorator, member, value."""
    values = (given,) if isinstance(given, str | type) else given
    wanted = 'model classes, "app.Model", "self" or names of relations'
    if not isinstance(values, Iterable):
        raise TypeError(f"@{decorator} of {member}: depends_on must be {wanted}, not {given!r}")
    found = tuple(values)
    for value in found:
        if not isinstance(value, str | type):
            raise TypeError(f"@{decorator} of {member}: depends_on must be {wanted}, not {value!r}")
        if value == "":
            raise ValueError(f"@{decorator} of {member}: depends_on must be {wanted}, not ''")
    if found and identity not in ROW_IDENTITIES:
        raise ValueError(
            f"@{decorator} of {member}: depends_on={given!r} has no effect with identity={identity!r}; "
            'only values of rows are invalidated by models, so leave identity out or make it "row"'
        )
    return found


def vary_reader(member: str, decorator: str, given: Any) -> Callable[[Any], tuple[Any, ...]] | None:
    """Return how to read from an instance what `vary` names; None for nothing. TypeError and ValueError as above."""
    values = (given,) if isinstance(given, str) or callable(given) else given
    wanted = '"language", "timezone", "scope", a callable that gets the instance, or a tuple of those'
    if not isinstance(values, Iterable):
        raise TypeError(f"@{decorator} of {member}: vary must be {wanted}, not {given!r}")
    readers = []
    for value in values:
        if callable(value):
            readers.append(value)
        elif not isinstance(value, str):
            raise TypeError(f"@{decorator} of {member}: vary must be {wanted}, not {value!r}")
        elif value in VARY_NAMES:
            readers.append(_named_reader(member, value))
        else:
            raise ValueError(f"@{decorator} of {member}: vary must be {wanted}, not {value!r}")
    if not readers:
        return None
    return lambda instance: tuple([read(instance) for read in readers])


def _named_reader(member: str, name: str) -> Callable[[Any], Hashable]:
    def read(_instance: Any) -> Hashable:
        known = source()
        if known is None:
            raise RuntimeError(
                f'{member} varies on the {name}, which only "oxicache.django" in INSTALLED_APPS can tell'
            )
        return known.vary(name)

    return read


# ---------------------------------------------------------------- one load


class RowCall:
    """One call of a member on a row, from the capture of its versions to its result.

    The function gets a fresh copy of the row in place of the instance, whose unsaved edits, deferred fields and
    prefetched lists are its caller's own.
    """

    __slots__ = (
        "_args",
        "_function",
        "_is_private",
        "_kwargs",
        "_source",
        "instance",
        "keeps",
        "member",
        "row",
    )

    def __init__(  # noqa: PLR0917 - it is made in one place, from what stands there under these names
        self,
        source: RowSource,
        member: Member,
        function: Callable[..., Any],
        row: Row,
        args: tuple[Any, ...],
        kwargs: dict[str, Any],
    ) -> None:
        """Call `function`, `args[0]` of which is an instance of `row`."""
        self._source = source
        self._function = function
        self._args = args
        self._kwargs = kwargs
        self.member = member
        self.row = row
        self.instance = args[0]  # what the function is given
        self.keeps = True  # False: the result is for those who wait for it, and not for later callers
        self._is_private = False

    def capture(self, tags: Iterable[str] = ()) -> Stamps:
        """Capture the versions that the value depends on. To be done before anything is read for it."""
        if not tags:
            return self._source.stamps(self.row, self.member)
        return self._source.stamps(self.row, self.member, tags)

    def load_instance(self, cache: Store, stamps: Stamps | None) -> None:
        """Load the fresh copy, under `stamps`. A row that is gone leaves the given instance."""
        self._begin(cache, stamps)
        if self.member.fresh:
            self._take(self._source.fresh(self.row))

    async def aload_instance(self, cache: Store, stamps: Stamps | None) -> None:
        """As `load_instance`, for a task."""
        self._begin(cache, stamps)
        if self.member.fresh:
            self._take(await self._source.afresh(self.row))

    def is_private(self, cache: Store, stamps: Stamps | None) -> bool:
        """Whether the result is for its caller alone: of a row that is gone, or of a transaction's own work.

        To be asked when the result is there: the function itself may have written.
        """
        return self._is_private or not self._is_committed(cache, stamps)

    def apply(self, function: Callable[..., Any]) -> Any:
        """Call any function with what the member's own is given."""
        return function(self.instance, *self._args[1:], **self._kwargs)

    def compute(self) -> Any:
        """Call the function."""
        try:
            return checked(self._function, self.apply(self._function))
        except AttributeError as error:
            self._explain(error)
            raise

    async def acompute(self) -> Any:
        """Call the function, which is async."""
        try:
            return checked(self._function, await self.apply(self._function))
        except AttributeError as error:
            self._explain(error)
            raise

    def _begin(self, cache: Store, stamps: Stamps | None) -> None:
        self._is_private = not self._is_committed(cache, stamps)
        if stamps is not None:
            self.keeps = attempt(cache, self._source.allows_storing, False, self.row, self._args[0], stamps)

    def _is_committed(self, cache: Store, stamps: Stamps | None) -> bool:
        # Without stamps nothing is stored, and nobody waits.
        return stamps is None or attempt(cache, self._source.is_committed, False, self.row, stamps)

    def _take(self, copy: Any) -> None:
        if copy is None:
            self._is_private = True
        else:
            self.instance = copy

    def _explain(self, error: AttributeError) -> None:
        # Annotations and `Prefetch(to_attr=)` are attributes of the one instance that a queryset gave them to.
        given = self._args[0]
        if error.obj is self.instance is not given and error.name in getattr(given, "__dict__", ()):
            error.add_note(
                f"{self.member.name} was computed on a fresh copy of the row, which has no {error.name!r}; the "
                f"instance it was called on has: write @{self.member.decorator}(fresh=False) to compute on that one."
            )
