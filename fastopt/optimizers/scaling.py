"""Dynamic loss scaling, for gradients that low precision would lose."""

from __future__ import annotations

from dataclasses import dataclass, fields
from math import inf, isfinite
from numbers import Integral, Real
from typing import Any

from fastopt.fields import load_fields
from fastopt.result import StepResult

SMALLEST = 2.0**-1000
"""A scale whose reciprocal is finite."""


@dataclass(slots=True)
class LossScaler:
    """A factor for the loss that keeps small gradients from vanishing in half precision.

    The loss is multiplied by ``scale`` before it is differentiated, and the step divides the
    gradients by it again. Where a gradient overflowed, the step is skipped and the scale becomes
    smaller; after `interval` steps without that it becomes larger::

        skipped:                       scale = scale * backoff
        `interval` steps in a row not: scale = scale * growth

    Parameters
    ----------
    scale : float, default 65536.0, > 0
        The factor to begin with.
    growth : float, default 2.0, > 1
        What a larger scale is larger by.
    backoff : float, default 0.5, in (0, 1)
        What a smaller scale is smaller by.
    interval : int, default 2000, >= 1
        The number of steps without overflow after which the scale grows.
    good_steps : int, default 0
        How many of them there have been since the scale last changed.

    Raises
    ------
    TypeError, ValueError
        If a number is out of range.

    Notes
    -----
    The rule of ``torch.amp.GradScaler``. A scale stays between 2**-1000 and the
    largest float.

    Examples
    --------
    >>> import numpy as np, fastopt
    >>> w = np.ones(2)
    >>> opt = fastopt.SGD(w, lr=0.1, skip_nonfinite=True)
    >>> scaler = fastopt.LossScaler(scale=8.0)
    >>> grads = np.ones(2) * scaler.scale            # of the loss times scaler.scale
    >>> result = opt.step(grads, grad_scale=scaler.grad_scale)
    >>> scaler.update(result)
    >>> w
    array([0.9, 0.9])
    >>> scaler.update(opt.step(np.array([np.inf, 1.0]), grad_scale=scaler.grad_scale))
    >>> scaler.scale, opt.step_count
    (4.0, 1)
    """

    scale: float = 65536.0
    growth: float = 2.0
    backoff: float = 0.5
    interval: int = 2000
    good_steps: int = 0

    def __post_init__(self) -> None:
        for name in ("scale", "growth", "backoff"):
            value = getattr(self, name)
            if isinstance(value, bool) or not isinstance(value, Real):
                raise TypeError(f"LossScaler: {name} must be a number, not {value!r}")
            setattr(self, name, _to_float(value))
        for name, least in (("interval", 1), ("good_steps", 0)):
            value = getattr(self, name)
            if isinstance(value, bool) or not isinstance(value, Integral):
                raise TypeError(f"LossScaler: {name} must be an int, not {value!r}")
            setattr(self, name, int(value))
            if value < least:
                raise ValueError(f"LossScaler: {name} >= {least} must hold, it is {value}")
        if not (isfinite(self.scale) and self.scale >= SMALLEST):
            raise ValueError(
                f"LossScaler: scale must be finite and >= 2**-1000, it is {self.scale}"
            )
        if not (isfinite(self.growth) and self.growth > 1):
            raise ValueError(f"LossScaler: growth must be finite and > 1, it is {self.growth}")
        if not 0 < self.backoff < 1:
            raise ValueError(f"LossScaler: 0 < backoff < 1 must hold, it is {self.backoff}")

    @property
    def grad_scale(self) -> float:
        """What gradients of the scaled loss are to be multiplied by: ``1/scale``."""
        return 1.0 / self.scale

    def update(self, result: StepResult | None) -> None:
        """Learn from what a step returned.

        Raises
        ------
        TypeError
            If `result` is None: the step has not looked for overflow. ``skip_nonfinite=True`` makes
            it do so.
        ValueError
            If a step went on with a gradient that is not finite.
        """
        if not isinstance(result, StepResult):
            raise TypeError(
                "LossScaler.update: result must be a StepResult, which steps return with "
                f"skip_nonfinite=True, not {type(result).__name__}"
            )
        if result.nonfinite is not None and not result.skipped:
            raise ValueError(
                f"LossScaler.update: {result.nonfinite} was not finite and the step not skipped; "
                "it needs skip_nonfinite=True"
            )
        if result.skipped:
            smaller = self.scale * self.backoff
            self.scale, self.good_steps = max(smaller, SMALLEST), 0
            return
        self.good_steps += 1
        if self.good_steps >= self.interval:
            larger = self.scale * self.growth
            self.scale, self.good_steps = (larger if isfinite(larger) else self.scale), 0

    def state_dict(self) -> dict[str, Any]:
        """Return all that is needed to go on, as plain numbers."""
        return {field.name: getattr(self, field.name) for field in fields(self)}

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Take over what :meth:`state_dict` returned; all of it or nothing."""
        load_fields(self, state)


def _to_float(value: Real) -> float:
    try:
        return float(value)
    except OverflowError:
        return inf
