"""Dynamic loss scaling, for gradients that low precision would lose."""

from __future__ import annotations

from functools import partial
from math import inf
from typing import Any

from fastopt import _core
from fastopt.arguments import Fits, Kind, Remembered, argument, as_number, declared, take_all
from fastopt.result import StepResult

SMALLEST = 2.0**-1000
"""A scale whose reciprocal is finite."""

SMALLEST_USUAL, LARGEST_USUAL = 2.0**-126, 2.0**126
"""Between these float32 holds scale and reciprocal in full precision."""


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


def _take_limit(owner: str, name: str, given: Any) -> int | None:
    return None if given is None else _take_int(1, owner, name, given)


def _kind(words: str, rule: str, fits: Fits) -> Kind:
    return Kind(f"float, {words}", partial(_take_float, fits, rule))


SCALE = _kind("> 0", "{} must be finite and >= 2**-1000", lambda x: SMALLEST <= x < inf)
GROWTH = _kind("> 1", "{} must be finite and > 1", lambda x: 1 < x < inf)
BACKOFF = _kind("in (0, 1)", "0 < {} < 1 must hold", lambda x: 0 < x < 1)
MIN_SCALE = _kind(
    "> 0", "2**-1000 <= {} <= 2**126 must hold", lambda x: SMALLEST <= x <= LARGEST_USUAL
)
INTERVAL, COUNT = (Kind(f"int, >= {n}", partial(_take_int, n)) for n in (1, 0))
MAX_SKIPS = Kind("int, >= 1, or None", _take_limit)


@declared(frozen=False)
class LossScaler(Remembered):
    """A factor for the loss that keeps small gradients from vanishing in half precision.

    The loss is multiplied by ``scale`` before it is differentiated, and the step divides the
    gradients by it again. Where a gradient overflowed, the step is skipped and the scale becomes
    smaller; after `interval` steps without that it becomes larger::

        skipped:                       scale = max(scale * backoff, min_scale)
        `interval` steps in a row not: scale = scale * growth

    Notes
    -----
    The rule of ``torch.amp.GradScaler``, which has no least scale and goes on skipping for ever.
    DeepSpeed's has 1 as its ``min_scale`` and raises there. A scale grows to 2**126 at most: up to
    there float32 holds its reciprocal in full precision.

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
    min_scale: float = argument(
        MIN_SCALE,
        "The least scale. The default is the least whose reciprocal float32 can hold.",
        default=SMALLEST_USUAL,
    )
    max_skips: int | None = argument(
        MAX_SKIPS,
        "So many steps in a row may be skipped. At one more, `update` raises: an overflow that a "
        "smaller scale cures is cured long before. With None there is no limit.",
        default=100,
    )
    skips: int = argument(COUNT, "How many steps in a row have been skipped.", default=0)

    def __post_init__(self) -> None:
        take_all(self)
        if self.scale < self.min_scale:
            raise ValueError(
                f"LossScaler: scale must not be below min_scale={self.min_scale:g}, it is "
                f"{self.scale:g}"
            )

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Take over what :meth:`state_dict` returned, settings too; all of it or nothing.

        A state of version 0.1.0, which had no least scale and no limit, leaves these as they are.
        """
        if isinstance(state, dict) and "skips" not in state:
            least = min(self.min_scale, state.get("scale", self.min_scale))
            later = {"min_scale": least, "max_skips": self.max_skips, "skips": 0}
            state = {**later, **state}
        Remembered.load_state_dict(self, state)  # slots make another class of this one

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
        FloatingPointError
            If more than `max_skips` steps in a row were skipped. The scaler stays as it is.
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
            if self.max_skips is not None and self.skips >= self.max_skips:
                raise FloatingPointError(
                    f"LossScaler.update: {self.skips + 1} steps in a row were skipped, the latest "
                    f"because {result.nonfinite} was not finite at scale={self.scale:g}: not the "
                    "scale is the cause; look for the infinity or NaN in data, loss and parameters"
                )
            self.scale = max(self.scale * self.backoff, self.min_scale)
            self.good_steps, self.skips = 0, self.skips + 1
            return
        self.good_steps, self.skips = self.good_steps + 1, 0
        if self.good_steps >= self.interval:
            self.scale = max(self.scale, min(self.scale * self.growth, LARGEST_USUAL))
            self.good_steps = 0
