"""What a row of the table is: what is compared, what it should reach, what came out."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Literal

from timing import Contender, measure


@dataclass(frozen=True)
class Target:
    """A limit from the project's target table; `unit` is "x" for a ratio and "B" for bytes."""

    relation: Literal["<=", "<", ">="]
    limit: float
    unit: Literal["x", "B"] = "x"

    def met_by(self, value: float) -> bool:
        """Whether `value`, unrounded, is within the limit."""
        if self.relation == ">=":
            return value >= self.limit
        return value < self.limit if self.relation == "<" else value <= self.limit

    def __str__(self) -> str:
        if self.unit == "B":
            return f"{self.relation} {self.limit:g} B"
        return f"{self.relation} {self.limit:g}x"


@dataclass(frozen=True)
class Result:
    """One line of the table: oxicache against one other thing.

    `judged` is the figure the target speaks of, in the target's unit; `net` and `gross` are the ratio with and
    without the empty loop taken off, where there is a loop; `spread` is the quartiles of the judged ratio.
    """

    row: str
    against: str
    judged: float
    ours: float
    theirs: float | None
    per: str
    target: Target | None = None
    net: float | None = None
    gross: float | None = None
    spread: tuple[float, float] | None = None
    note: str = ""

    @property
    def verdict(self) -> str:
        """`pass`, `MISS`, or nothing where there is no target."""
        if self.target is None:
            return ""
        return "pass" if self.target.met_by(self.judged) else "MISS"


@dataclass(frozen=True)
class TimedRow:
    """A row whose contenders run in one process; the first that `build` returns is oxicache's.

    `slow` rows are left out of quick runs and of instruction counts.
    """

    name: str
    build: Callable[[], Sequence[Contender]]
    targets: Mapping[str, Target] = field(default_factory=dict)
    slow: bool = False

    def results(self, rounds: int, sample_ns: int) -> list[Result]:
        """Measure the row: one result for each contender that is not oxicache's.

        The less favourable of the net and the gross ratio is the judged one, so that neither way of treating
        the loop can make a row pass.
        """
        ours, *others = self.build()
        samples = measure([ours, *others], rounds, sample_ns)
        results = []
        for other in others:
            net, net_low, net_high = samples.ratio(ours.name, other.name, net=True)
            gross, gross_low, gross_high = samples.ratio(ours.name, other.name, net=False)
            results.append(
                Result(
                    row=self.name,
                    against=other.name,
                    judged=max(net, gross),
                    ours=samples.median(ours.name),
                    theirs=samples.median(other.name),
                    per="ns",
                    target=self.targets.get(other.name),
                    net=net,
                    gross=gross,
                    spread=(net_low, net_high) if net >= gross else (gross_low, gross_high),
                )
            )
        return results
