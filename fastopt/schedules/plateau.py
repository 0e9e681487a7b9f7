"""The schedule that goes by a metric instead of the step."""

from __future__ import annotations

from dataclasses import KW_ONLY
from math import isfinite
from typing import Any

from fastopt.arguments import Kind, Remembered, argument, as_finite, as_number, declared, take_all
from fastopt.schedules.combine import Schedule


def _take_best(owner: str, name: str, given: Any) -> float | None:
    return None if given is None else as_finite(owner, name, given)


BEST = Kind("float or None", _take_best)


@declared(frozen=False)
class ReduceOnPlateau(Remembered, Schedule):
    """Reduce a value whenever a metric has stopped getting better.

    Give :meth:`update` the metric once per epoch, or as often as you measure it. A metric is better
    than the best one so far if it is below the bound in the table (with ``mode="max"``, above it).
    After more than `patience` metrics in a row that are not better::

        value = max(value * factor, min_value)      unless that takes away no more than eps

    ========  =======================  =======================
    mode      threshold_mode="rel"     threshold_mode="abs"
    ========  =======================  =======================
    "min"     best * (1 - threshold)   best - threshold
    "max"     best * (1 + threshold)   best + threshold
    ========  =======================  =======================

    Notes
    -----
    The same numbers as torch's ``ReduceLROnPlateau``, whose `min_lr`, `num_bad_epochs` and
    `cooldown_counter` these are. As there, "rel" is meant for metrics above 0: a bound relative
    to a negative best is on its wrong side. As there, a metric that is NaN is no better; here an
    infinite one is neither, while torch takes -inf as the best of all minima. Keras'
    ``ReduceLROnPlateau`` reduces after `patience` bad metrics instead of one more, and its
    `min_delta` is an amount.

    The state is that of :meth:`state_dict`; save it next to that of the optimizer.

    Examples
    --------
    >>> from fastopt import schedules
    >>> plateau = schedules.ReduceOnPlateau(0.1, factor=0.5, patience=1)
    >>> [plateau.update(loss) for loss in (2.0, 1.0, 1.1, 1.2)]    # reduced?
    [False, False, False, True]
    >>> plateau(step=4)
    0.05
    >>> again = schedules.ReduceOnPlateau(0.1)
    >>> again.load_state_dict(plateau.state_dict())
    >>> again == plateau
    True
    """

    value: float = argument(
        "float, finite",
        "The value to start with, at least `min_value`. It holds the current one later.",
    )
    _: KW_ONLY
    factor: float = argument(
        "float, in [0, 1)", "What a reduction multiplies the value by.", default=0.1
    )
    patience: int = argument(
        "int, >= 0", "The number of metrics in a row that may be no better.", default=10
    )
    threshold: float = argument(
        "float, >= 0", 'How much better is better; below 1 with "rel" and "min".', default=1e-4
    )
    threshold_mode: str = argument(
        '"rel" or "abs"',
        "Whether `threshold` is a share of the best metric, or an amount.",
        default="rel",
    )
    mode: str = argument(
        '"min" or "max"', "Whether a smaller or a larger metric is better.", default="min"
    )
    cooldown: int = argument(
        "int, >= 0",
        "The number of metrics after a reduction that are not counted against it.",
        default=0,
    )
    min_value: float = argument("float, >= 0", "The value is never reduced below it.", default=0.0)
    eps: float = argument(
        "float, >= 0",
        "A reduction by no more than this is left out. Set it to 0 where the value itself is "
        "small.",
        default=1e-8,
    )
    best: float | None = argument(
        BEST, "State: the best metric so far, None before the first.", default=None
    )
    num_bad: int = argument(
        "int, >= 0", "State: how many metrics in a row were no better.", default=0
    )
    cooldown_left: int = argument(
        "int, >= 0", "State: how many metrics of the cooldown are left.", default=0
    )

    def __post_init__(self) -> None:
        take_all(self)
        name = type(self).__name__
        if (self.threshold_mode, self.mode) == ("rel", "min") and self.threshold >= 1:
            raise ValueError(
                f"{name}: threshold < 1 must hold with 'rel' and 'min', it is {self.threshold:g}"
            )
        if self.value < self.min_value:
            raise ValueError(
                f"{name}: value >= min_value must hold, they are {self.value:g} and "
                f"{self.min_value:g}"
            )

    def _value_at(self, step: int) -> float:
        self.__post_init__()  # attributes may have been set since
        return self.value

    def update(self, metric: float) -> bool:
        """Take in the next metric; return whether the value has been reduced.

        A metric that is not finite counts as no better. Raises TypeError if it is no number;
        nothing has been changed then.
        """
        self.__post_init__()  # attributes may have been set since
        metric = as_number(f"{type(self).__name__}.update", "metric", metric)
        if self._is_better(metric):
            self.best = metric
            self.num_bad = 0
        else:
            self.num_bad += 1
        if self.cooldown_left > 0:
            self.cooldown_left -= 1
            self.num_bad = 0
        if self.num_bad <= self.patience:
            return False
        self.cooldown_left = self.cooldown
        self.num_bad = 0
        reduced = max(self.value * self.factor, self.min_value)
        if not self.value - reduced > self.eps:
            return False
        self.value = reduced
        return True

    def _is_better(self, metric: float) -> bool:
        if not isfinite(metric):
            return False
        if self.best is None:
            return True
        change = -self.threshold if self.mode == "min" else self.threshold
        # torch's own order of operations: 1.0 +- threshold first
        relative = self.threshold_mode == "rel"
        bound = self.best * (1.0 + change) if relative else self.best + change
        return metric < bound if self.mode == "min" else metric > bound
