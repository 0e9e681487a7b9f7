"""Dropout as a row of the benchmark: forward, from one array into another."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import partial
from typing import Any

from fastopt import _core
from fastopt.bench.workloads import DROPPED, ITEMSIZE, MASK_SEED, PARAMS_SEED, Workload


@dataclass(frozen=True)
class DropoutRow:
    """Dropout of a share `p`."""

    p: float
    seed: int = MASK_SEED
    name: str = "dropout"
    baseline: str = "limit"
    """Whom it is measured against without peers."""
    reads: int = 1
    writes: int = 1

    @property
    def bytes_per_param(self) -> int:
        """The memory traffic for each element that cannot be avoided."""
        return ITEMSIZE * (self.reads + self.writes)

    @property
    def options(self) -> Mapping[str, float]:
        """The arguments that are numbers."""
        return {"p": self.p}


DROPOUT = DropoutRow(DROPPED)


class DropoutRun:
    """An array, one for the result, and dropout from one to the other, without arguments."""

    def __init__(self, library: Any, row: DropoutRow, workload: Workload) -> None:
        """Start with `library`, which is `fastopt` or its `reference`."""
        self.x, self.out = workload.normal(PARAMS_SEED), workload.zeros()
        self.step = partial(library.dropout, self.x, row.p, seed=row.seed, out=self.out)

    def probe(self, threads: int) -> Callable[[], None]:
        """Return what reads and writes the same memory and only adds."""
        return partial(_core.copy_probe, self.out, self.x, threads)

    def written(self) -> list[Any]:
        """Return all arrays that change."""
        return [self.out]
