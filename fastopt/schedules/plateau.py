"""The schedule that goes by a metric instead of the step."""

from __future__ import annotations

from dataclasses import KW_ONLY, dataclass, fields
from math import isfinite
from typing import Any

from fastopt.fields import load_fields
from fastopt.schedules._checks import as_number, check_choice, check_counts, check_numbers
from fastopt.schedules.combine import Schedule


@dataclass(slots=True)
class ReduceOnPlateau(Schedule):
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

    Parameters
    ----------
    value : float, finite, >= `min_value`
        The value to start with. It holds the current one later.
    factor : float, default 0.1, in [0, 1)
        What a reduction multiplies the value by.
    patience : int, default 10, >= 0
        The number of metrics in a row that may be no better.
    threshold : float, default 1e-4, >= 0
        How much better is better; below 1 with "rel" and "min".
    threshold_mode : "rel" or "abs", default "rel"
        Whether `threshold` is a share of the best metric, or an amount.
    mode : "min" or "max", default "min"
        Whether a smaller or a larger metric is better.
    cooldown : int, default 0, >= 0
        The number of metrics after a reduction that are not counted against it.
    min_value : float, default 0.0, >= 0
        The value is never reduced below it.
    eps : float, default 1e-8, >= 0
        A reduction by no more than this is left out. Set it to 0 where the value itself is small.
    best : float or None
        State: the best metric so far, None before the first.
    num_bad : int
        State: how many metrics in a row were no better.
    cooldown_left : int
        State: how many metrics of the cooldown are left.

    Raises
    ------
    TypeError, ValueError
        If an argument is of another kind or out of range.

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

    value: float
    _: KW_ONLY
    factor: float = 0.1
    patience: int = 10
    threshold: float = 1e-4
    threshold_mode: str = "rel"
    mode: str = "min"
    cooldown: int = 0
    min_value: float = 0.0
    eps: float = 1e-8
    best: float | None = None
    num_bad: int = 0
    cooldown_left: int = 0

    def __post_init__(self) -> None:
        name = type(self).__name__
        check_numbers(self, "value", "factor")
        check_numbers(self, "threshold", "min_value", "eps", least=0)
        check_counts(self, "patience", "cooldown", "num_bad", "cooldown_left", least=0)
        check_choice(self, "threshold_mode", "rel", "abs")
        check_choice(self, "mode", "min", "max")
        if self.best is not None:
            check_numbers(self, "best")
        if not 0 <= self.factor < 1:
            raise ValueError(f"{name}: 0 <= factor < 1 must hold, it is {self.factor:g}")
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

    def state_dict(self) -> dict[str, Any]:
        """Return settings and state as plain numbers and strings, all that is needed to go on.

        ``ReduceOnPlateau(**state_dict)`` makes an equal object.
        """
        self.__post_init__()  # attributes may have been set since, to NumPy's numbers too
        return {field.name: getattr(self, field.name) for field in fields(self)}

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Take over what :meth:`state_dict` returned, settings too; all of it or nothing."""
        load_fields(self, state)

    def _is_better(self, metric: float) -> bool:
        if not isfinite(metric):
            return False
        if self.best is None:
            return True
        if self.threshold_mode == "rel":
            # torch's own order of operations: 1.0 +- threshold first
            share = 1.0 - self.threshold if self.mode == "min" else 1.0 + self.threshold
            bound = self.best * share
        else:
            change = -self.threshold if self.mode == "min" else self.threshold
            bound = self.best + change
        return metric < bound if self.mode == "min" else metric > bound
