"""What a peer gives to the benchmark once it has started."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from fastopt.bench.measure import Contender

Array = npt.NDArray[np.float32]


@dataclass(frozen=True)
class Opponent:
    """A step to time, and the arrays it comes to: parameters, or what dropout returns."""

    contender: Contender
    arrays: Callable[[], list[Any]]
