"""What the core counts."""

from __future__ import annotations

from typing import Any

import numpy as np


class Counted:
    """Something with steps, which the core counts in an array of one number."""

    def __init__(self) -> None:
        self._count = np.zeros((), np.int64)

    @property
    def count_array(self) -> Any:
        """The array in which the core counts."""
        return self._count

    def __setstate__(self, state: dict[str, Any]) -> None:
        vars(self).update(state)
        self._count = np.array(self._count)  # what unpickling made may be a view of anything

    @property
    def step_count(self) -> int:
        return int(self._count)

    @step_count.setter
    def step_count(self, value: int) -> None:
        self._count[()] = checked_count(type(self).__name__, "step_count", value)


def checked_count(where: str, name: str, value: Any) -> int:
    """Return a count of steps; raise if it is none."""
    if isinstance(value, bool) or not isinstance(value, (int, np.integer)):
        raise TypeError(f"{where}: {name} must be an int, not {value!r}")
    if not 0 <= value < 2**53:
        raise ValueError(f"{where}: 0 <= {name} < 2**53 must hold, it is {value}")
    return int(value)
