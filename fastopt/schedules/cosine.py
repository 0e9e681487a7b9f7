"""Schedules along a cosine: one half of its period, many of them, or one cycle up and down."""

from __future__ import annotations

from dataclasses import KW_ONLY
from math import cos, pi

from fastopt.arguments import argument, as_finite, declared, take_all
from fastopt.schedules.combine import Schedule, blend


@declared(frozen=True)
class Cosine(Schedule):
    """Half of a period of the cosine, from `start` to `end`.

    ::

        end + (start - end) * (1 + cos(pi * step/steps)) / 2        step < steps
        end                                                         from there on

    Notes
    -----
    torch's ``CosineAnnealingLR(T_max=n, eta_min=e)`` is ``Cosine(lr, e, steps=n)`` up to step n;
    after it torch's rises again. optax's ``cosine_decay_schedule`` and Keras' ``CosineDecay``
    stay at the end too, and have ``alpha = end/start``.

    Source: Loshchilov & Hutter 2017, "SGDR: Stochastic gradient descent with warm restarts",
    equation 5.

    Examples
    --------
    >>> from fastopt import schedules
    >>> lr = schedules.Cosine(0.1, steps=1000)
    >>> [lr(step) for step in (0, 500, 1000, 1001)]
    [0.1, 0.05, 0.0, 0.0]
    """

    start: float = argument("float, finite", "The value at step 0.")
    end: float = argument("float, finite", "The value at step `steps` and after it.", default=0.0)
    _: KW_ONLY
    steps: int = argument("int, >= 1", "The number of steps from one to the other.")

    def _value_at(self, step: int) -> float:
        return _along_cosine(self.start, self.end, min(step, self.steps) / self.steps)


@declared(frozen=True)
class CosineRestarts(Schedule):
    """Cosine after cosine: at the end of each cycle the value jumps back to `start`.

    ::

        end + (start - end) * (1 + cos(pi * (step - begin)/length)) / 2

    where the cycle of this step has begun at ``begin`` and takes ``length`` steps.

    Notes
    -----
    It has no end: join it with another, best where a cycle is over. torch's
    ``CosineAnnealingWarmRestarts(T_0, T_mult, eta_min)`` is the same with `steps`, `t_mult` and
    `end`. Keras' ``CosineDecayRestarts`` has ``t_mul=2.0`` by default.

    Source: Loshchilov & Hutter 2017, "SGDR: Stochastic gradient descent with warm restarts",
    equation 5.

    Examples
    --------
    >>> from fastopt import schedules
    >>> lr = schedules.CosineRestarts(0.1, steps=100, t_mult=2)
    >>> [lr(step) for step in (0, 50, 100, 200, 300)]
    [0.1, 0.05, 0.1, 0.05, 0.1]
    """

    start: float = argument("float, finite", "The value at the first step of each cycle.")
    end: float = argument(
        "float, finite",
        "What each cycle comes close to. It restarts where it would have reached it.",
        default=0.0,
    )
    _: KW_ONLY
    steps: int = argument("int, >= 1", "The length of the first cycle.")
    t_mult: int = argument(
        "int, >= 1", "Every cycle is so many times as long as the one before.", default=1
    )

    def _value_at(self, step: int) -> float:
        # In whole numbers: a logarithm would miss a restart now and then.
        length = self.steps
        if self.t_mult == 1:
            step %= length
        while step >= length:
            step -= length
            length *= self.t_mult
        return _along_cosine(self.start, self.end, step / length)


@declared(frozen=True)
class OneCycle(Schedule):
    """One cycle: up to a large value, and down to one far below the start.

    ::

        peak/div_factor  ->  peak  ->  peak/div_factor/final_div_factor

    with `three_phase` by way of ``peak/div_factor`` again.

    Notes
    -----
    The same as torch's ``OneCycleLR(max_lr, total_steps=steps, ...)`` for the learning rate, where
    torch raises at more than `total_steps`. Momentum, which torch moves the other way, is a
    schedule of its own here: ``OneCycle(0.85, steps=n, div_factor=0.85/0.95,
    final_div_factor=1)`` is torch's, with 0.95 at the start. optax's ``cosine_onecycle_schedule``
    has the peak and the end one step later.

    Source: Smith & Topin 2018, "Super-convergence: very fast training of neural networks using
    large learning rates".

    Examples
    --------
    >>> from fastopt import schedules
    >>> lr = schedules.OneCycle(0.5, steps=101, pct_start=51 / 101, final_div_factor=20)
    >>> [round(lr(step), 12) for step in (0, 25, 50, 75, 100, 101)]
    [0.02, 0.26, 0.5, 0.2505, 0.001, 0.001]
    """

    peak: float = argument("float, finite", "The largest value.")
    _: KW_ONLY
    steps: int = argument(
        "int, >= 1", "The number of values of the cycle: step ``steps - 1`` has the last."
    )
    pct_start: float = argument(
        "float, in [0, 1)",
        "The share of the cycle that rises: the peak is at step ``pct_start*steps - 1``. With "
        "`three_phase` at most 0.5, since the way back takes as long.",
        default=0.3,
    )
    anneal_strategy: str = argument(
        '"cos" or "linear"',
        "The shape of each phase: half of a period of the cosine, or a line.",
        default="cos",
    )
    div_factor: float = argument(
        "float, > 0", "The first value is ``peak/div_factor``.", default=25.0
    )
    final_div_factor: float = argument(
        "float, > 0", "The last value is ``peak/div_factor/final_div_factor``.", default=1e4
    )
    three_phase: bool = argument(
        "bool", "Fall back to the first value first, and from there to the last one.", default=False
    )

    def __post_init__(self) -> None:
        take_all(self)
        name = type(self).__name__
        if self.three_phase and self.pct_start > 0.5:
            raise ValueError(
                f"{name}: pct_start <= 0.5 must hold with three_phase, it is {self.pct_start:g}"
            )
        end = self.peak
        for factor in ("div_factor", "final_div_factor"):
            end /= getattr(self, factor)
            as_finite(name, f"peak divided by {factor}", end)

    def _value_at(self, step: int) -> float:
        step = min(step, self.steps - 1)
        first = self.peak / self.div_factor
        last = first / self.final_div_factor
        up = self.pct_start * self.steps - 1  # torch's -1: phases end at steps, counted from 0
        if step <= up:
            return self._phase(first, self.peak, step, 0.0, up)
        if not self.three_phase:
            return self._phase(self.peak, last, step, up, self.steps - 1)
        down = 2 * self.pct_start * self.steps - 2
        if step <= down:
            return self._phase(self.peak, first, step, up, down)
        return self._phase(first, last, step, down, self.steps - 1)

    def _phase(self, start: float, end: float, step: int, begin: float, until: float) -> float:
        """Return where the way from start to end is at `step`."""
        # A phase of no length is over at once; torch divides by zero there.
        share = (step - begin) / (until - begin) if until > begin else 1.0
        if self.anneal_strategy == "cos":
            return _along_cosine(start, end, share)
        return blend(start, 1 - share, end, share)


def _along_cosine(start: float, end: float, share: float) -> float:
    """Return the value after this share of the way along half of a period."""
    weight = (1 + cos(pi * share)) / 2
    return blend(start, weight, end, 1 - weight)
