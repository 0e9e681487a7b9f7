"""Dynamic loss scaling, for gradients that low precision would lose."""

from __future__ import annotations

from functools import partial
from math import inf, isfinite
from typing import Any

from fastopt import _core
from fastopt.arguments import Fits, Kind, Remembered, argument, as_number, declared
from fastopt.result import StepResult

SMALLEST = 2.0**-1000
"""A scale whose reciprocal is finite."""


def _take_int(least: int, owner: str, name: str, given: Any) -> int:
    count = _core.as_int(owner, name, given)
    if count < least:
        raise ValueError(f"{owner}: {name} >= {least} must hold, it is {count}")
    return count


def _take_float(fits: Fits, rule: str, owner: str, name: str, given: Any) -> float:
    number = as_number(owner, name, given)
    if not fits(number):
        raise ValueError(f"{owner}: {rule.format(name)}, it is {number}")
    return number


def _kind(words: str, rule: str, fits: Fits) -> Kind:
    return Kind(f"float, {words}", partial(_take_float, fits, rule))


SCALE = _kind("> 0", "{} must be finite and >= 2**-1000", lambda x: SMALLEST <= x < inf)
GROWTH = _kind("> 1", "{} must be finite and > 1", lambda x: 1 < x < inf)
BACKOFF = _kind("in (0, 1)", "0 < {} < 1 must hold", lambda x: 0 < x < 1)
INTERVAL, COUNT = (Kind(f"int, >= {n}", partial(_take_int, n)) for n in (1, 0))


@declared(frozen=False)
class LossScaler(Remembered):
    """A factor for the loss that keeps small gradients from vanishing in half precision.

    The loss is multiplied by ``scale`` before it is differentiated, and the step divides the
    gradients by it again. Where a gradient overflowed, the step is skipped and the scale becomes
    smaller; after `interval` steps without that it becomes larger::

        skipped:                       scale = scale * backoff
        `interval` steps in a row not: scale = scale * growth

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

    scale: float = argument(SCALE, "The factor to begin with.", default=65536.0)
    growth: float = argument(GROWTH, "What a larger scale is larger by.", default=2.0)
    backoff: float = argument(BACKOFF, "What a smaller scale is smaller by.", default=0.5)
    interval: int = argument(
        INTERVAL, "The number of steps without overflow after which the scale grows.", default=2000
    )
    good_steps: int = argument(
        COUNT, "How many of them there have been since the scale last changed.", default=0
    )

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
