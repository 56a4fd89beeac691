"""What a row of the table is: what is compared, what it should reach, what came out."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Literal

from timing import Contender, measure

Unit = Literal["x", "x faster", "B", "MiB", "ns", "us", "queries"]  # x is a ratio, ours divided by theirs


@dataclass(frozen=True)
class Target:
    """A limit from the project's target table. "x faster" is a speed: theirs divided by ours."""

    relation: Literal["<=", "<", ">="]
    limit: float
    unit: Unit = "x"

    def met_by(self, value: float) -> bool:
        """Whether `value`, unrounded, is within the limit."""
        if self.relation == ">=":
            return value >= self.limit
        return value < self.limit if self.relation == "<" else value <= self.limit

    def __str__(self) -> str:
        return f"{self.relation} {self.limit:g}{'' if self.unit[0] == 'x' else ' '}{self.unit}"


@dataclass(frozen=True)
class Result:
    """One line of the table: oxicache against one other thing.

    `judged` is the figure the target speaks of, in `unit`; `net` and `gross` are the ratio with and
    without the empty loop taken off, where there is a loop; `spread` is the quartiles of the judged ratio.
    """

    row: str
    against: str
    judged: float
    ours: float
    theirs: float | None
    per: str
    target: Target | None = None
    unit: Unit = "x"
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

    `slow` rows are left out of quick runs and of instruction counts; of the latter also those that are not
    `countable`: to count them would be to count what prepares each pass.
    """

    name: str
    build: Callable[[], Sequence[Contender]]
    targets: Mapping[str, Target] = field(default_factory=dict)
    slow: bool = False
    countable: bool = True

    def results(self, rounds: int, sample_ns: int) -> list[Result]:
        """Measure the row: one result for each contender that is not oxicache's.

        The less favourable of the net and the gross ratio is the judged one, so that neither way of treating
        the loop can make a row pass. A target in nanoseconds judges the time itself, the loop included.
        """
        ours, *others = self.build()
        samples = measure([ours, *others], rounds, sample_ns)
        results = []
        for other in others:
            net, net_low, net_high = samples.ratio(ours.name, other.name, net=True)
            gross, gross_low, gross_high = samples.ratio(ours.name, other.name, net=False)
            target = self.targets.get(other.name)
            unit: Unit = "x" if target is None else target.unit
            judged, spread = (net, (net_low, net_high)) if net >= gross else (gross, (gross_low, gross_high))
            if unit == "ns":
                judged, spread = samples.median(ours.name), samples.quartiles(ours.name)
            elif unit == "x faster":
                judged, spread = 1 / judged, (1 / spread[1], 1 / spread[0])
            results.append(
                Result(
                    row=self.name,
                    against=other.name,
                    judged=judged,
                    ours=samples.median(ours.name),
                    theirs=samples.median(other.name),
                    per="ns",
                    target=target,
                    unit=unit,
                    net=net,
                    gross=gross,
                    spread=spread,
                )
            )
        return results
