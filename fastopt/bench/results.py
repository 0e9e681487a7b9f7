"""What a benchmark has found, and what follows from it."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from fastopt.bench.measure import Spread
from fastopt.bench.rows import Row
from fastopt.bench.workloads import Workload


@dataclass(frozen=True)
class Result:
    """One row on one workload with one number of threads."""

    row: Row
    workload: Workload
    threads: int
    seconds: Mapping[str, Spread]
    """Seconds per step of ``fastopt`` and of every other contender."""
    ratios: Mapping[str, Spread]
    """How many times as long as fastopt every other contender takes, from times of one round."""
    over_plain: Spread | None = None
    """How many times as long as the plain step fastopt takes, where it takes that step too."""

    @property
    def ns_per_param(self) -> dict[str, Spread]:
        """Nanoseconds per parameter of every contender."""
        return {
            name: spread.scaled(1e9 / self.workload.elements)
            for name, spread in self.seconds.items()
        }

    @property
    def gigabytes_per_second(self) -> float:
        """The memory traffic that cannot be avoided, over the time of fastopt."""
        traffic = self.row.bytes_per_param * self.workload.elements
        return traffic / self.seconds["fastopt"].median / 1e9
