"""What a run found: samples by row and server, targets, failures.

A row is one line of the table. Repetitions add samples to the same cell, and the cell's value is
their median: the machine is shared and noisy, and a median forgets one bad moment.
"""

import statistics
from dataclasses import dataclass, field


@dataclass(frozen=True)
class Row:
    part: str
    name: str
    unit: str
    digits: int = 0
    added: bool = False
    """Of all servers but "direct", the value is what they add to the direct one."""

    @property
    def key(self) -> str:
        return f"{self.part}: {self.name}"


@dataclass(frozen=True)
class Target:
    """A figure that was promised. A missed one is reported, never a failure."""

    name: str
    value: float | None
    """None where its part was not run."""
    limit: float
    unit: str
    at_most: bool = True

    @property
    def met(self) -> bool | None:
        if self.value is None:
            return None
        return self.value <= self.limit if self.at_most else self.value >= self.limit


@dataclass
class Results:
    samples: dict[Row, dict[str, list[float]]] = field(default_factory=dict)
    failures: list[str] = field(default_factory=list)
    notes: dict[str, str] = field(default_factory=dict)
    """What a part's rows mean, printed under its title."""

    def add(self, row: Row, server: str, value: float) -> None:
        self.samples.setdefault(row, {}).setdefault(server, []).append(value)

    def value(self, row: Row, server: str) -> float | None:
        samples = self.samples.get(row, {}).get(server)
        return statistics.median(samples) if samples else None

    def ratio(self, row: Row, server: str, other: str) -> float | None:
        """The median over the repetitions: two servers that took turns shared their moments."""
        cells = self.samples.get(row, {})
        pairs = zip(cells.get(server, ()), cells.get(other, ()), strict=False)
        ratios = [ours / theirs for ours, theirs in pairs if theirs]
        return statistics.median(ratios) if ratios else None

    def fail(self, what: str) -> None:
        self.failures.append(what)
