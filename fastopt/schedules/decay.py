"""Schedules that fall or rise by a formula: lines, powers and steps."""

from __future__ import annotations

from bisect import bisect_right
from collections.abc import Sequence
from dataclasses import KW_ONLY
from itertools import pairwise
from math import sqrt
from typing import Any

from fastopt.arguments import Kind, argument, as_count, as_finite, declared
from fastopt.schedules.combine import Schedule, blend


@declared(frozen=True)
class Linear(Schedule):
    """A straight line from `start` to `end`.

    ::

        start + (end - start) * step/steps          step < steps
        end                                         from there on

    Notes
    -----
    torch's ``LinearLR(start_factor=a, end_factor=b, total_iters=n)`` is
    ``Linear(a*lr, b*lr, steps=n)``; optax's ``linear_schedule(start, end, steps)`` is the same.

    Examples
    --------
    >>> from fastopt import schedules
    >>> momentum = schedules.Linear(0.5, 0.9, steps=100)
    >>> [momentum(step) for step in (0, 50, 100, 101)]
    [0.5, 0.7, 0.9, 0.9]
    """

    start: float = argument("float, finite", "The value at step 0.")
    end: float = argument("float, finite", "The value at step `steps` and after it.", default=0.0)
    _: KW_ONLY
    steps: int = argument("int, >= 1", "The number of steps from one to the other.")

    def _value_at(self, step: int) -> float:
        step = min(step, self.steps)
        return blend(self.start, (self.steps - step) / self.steps, self.end, step / self.steps)


@declared(frozen=True)
class Polynomial(Schedule):
    """A power of the time that is left, from `start` to `end`.

    ::

        end + (start - end) * (1 - step/steps)**power       step < steps
        end                                                 from there on

    Notes
    -----
    torch's ``PolynomialLR(total_iters=n, power=k)`` is ``Polynomial(lr, steps=n, power=k)``.
    optax's ``polynomial_schedule`` and Keras' ``PolynomialDecay`` (with ``cycle=False``) are the
    same; Keras' `end_learning_rate` is 0.0001 by default.

    Examples
    --------
    >>> from fastopt import schedules
    >>> lr = schedules.Polynomial(0.4, steps=100, power=2)
    >>> [lr(step) for step in (0, 50, 100, 101)]
    [0.4, 0.1, 0.0, 0.0]
    """

    start: float = argument("float, finite", "The value at step 0.")
    end: float = argument("float, finite", "The value at step `steps` and after it.", default=0.0)
    _: KW_ONLY
    steps: int = argument("int, >= 1", "The number of steps from one to the other.")
    power: float = argument(
        "float, > 0",
        "With 1 it is :class:`Linear`; with more it falls fast first and slowly later.",
        default=1.0,
    )

    def _value_at(self, step: int) -> float:
        step = min(step, self.steps)
        weight = ((self.steps - step) / self.steps) ** self.power
        return blend(self.start, weight, self.end, 1 - weight)


@declared(frozen=True, when_called="the value has grown too large for a float")
class Exponential(Schedule):
    """Exponential decay, or growth.

    ::

        start * gamma**(step/steps)

    Notes
    -----
    It has no end: join it with another, ``Exponential(...).then(0.001, at=1000)``. torch's
    ``ExponentialLR(gamma)`` has ``steps=1``; optax's ``exponential_decay`` and Keras'
    ``ExponentialDecay`` call the numbers `decay_rate` and `transition_steps` or `decay_steps`.
    Their ``staircase=True`` is :class:`Step`.

    Examples
    --------
    >>> from fastopt import schedules
    >>> lr = schedules.Exponential(0.4, gamma=0.5, steps=100)
    >>> [lr(step) for step in (0, 100, 200)]
    [0.4, 0.2, 0.1]
    """

    start: float = argument("float, finite", "The value at step 0.")
    _: KW_ONLY
    gamma: float = argument(
        "float, >= 0",
        "What `steps` steps multiply the value by. More than 1 makes it grow, as in a search "
        "for the largest learning rate.",
    )
    steps: int = argument("int, >= 1", "The number of steps for one factor of `gamma`.", default=1)

    def _value_at(self, step: int) -> float:
        return _times_power(self, self.start, self.gamma, step / self.steps, step)


@declared(frozen=True, when_called="the value has grown too large for a float")
class Step(Schedule):
    """A factor at regular intervals.

    ::

        start * gamma**(step // step_size)

    Notes
    -----
    The same as torch's ``StepLR(step_size, gamma)``. optax and Keras have it as an exponential
    decay with ``staircase=True``.

    Examples
    --------
    >>> from fastopt import schedules
    >>> lr = schedules.Step(0.4, step_size=30, gamma=0.5)
    >>> [lr(step) for step in (0, 29, 30, 60)]
    [0.4, 0.4, 0.2, 0.1]
    """

    start: float = argument("float, finite", "The value before the first factor.")
    _: KW_ONLY
    step_size: int = argument("int, >= 1", "The number of steps from one factor to the next.")
    gamma: float = argument("float, >= 0", "The factor.", default=0.1)

    def _value_at(self, step: int) -> float:
        return _times_power(self, self.start, self.gamma, step // self.step_size, step)


def _take_milestones(owner: str, name: str, given: Any) -> tuple[int, ...]:
    if isinstance(given, (str, bytes)) or not hasattr(given, "__iter__"):
        kind = type(given).__name__
        raise TypeError(f"{owner}: {name} must be a sequence of ints, not {kind}")
    steps = [as_count(owner, f"{name}[{i}]", step, 1) for i, step in enumerate(given)]
    for before, step in pairwise(steps):
        if step <= before:
            raise ValueError(f"{owner}: {name} must increase, but {step} follows {before}")
    return tuple(steps)


MILESTONES = Kind("sequence of int, >= 1, increasing", _take_milestones)


@declared(frozen=True, when_called="the value has grown too large for a float")
class MultiStep(Schedule):
    """A factor at each of some steps.

    ::

        start * gamma**n        n: how many milestones are <= step

    Notes
    -----
    The same as torch's ``MultiStepLR(milestones, gamma)``, which also takes milestones in
    disorder. For values of your own (Keras' ``PiecewiseConstantDecay``, whose boundaries belong
    to the piece before): ``Constant(0.1).then(0.03, at=50).then(0.02, at=80)``.

    Examples
    --------
    >>> from fastopt import schedules
    >>> lr = schedules.MultiStep(0.4, milestones=[50, 80], gamma=0.5)
    >>> [lr(step) for step in (0, 49, 50, 80, 1000)]
    [0.4, 0.4, 0.2, 0.1, 0.1]
    """

    start: float = argument("float, finite", "The value before the first milestone.")
    _: KW_ONLY
    milestones: Sequence[int] = argument(
        MILESTONES, "The steps from which on there is a factor more. Kept as a tuple."
    )
    gamma: float = argument("float, >= 0", "The factor.", default=0.1)

    def _value_at(self, step: int) -> float:
        passed = bisect_right(self.milestones, step)
        return _times_power(self, self.start, self.gamma, passed, step)


@declared(frozen=True)
class InverseSqrt(Schedule):
    """Decay by the inverse square root of the time.

    ::

        start * sqrt(timescale / (timescale + step))

    Notes
    -----
    ``Warmup(InverseSqrt(peak, timescale=w), steps=w)`` is the schedule of the transformer: from
    step w on it is ``peak * sqrt(w/step)`` (Vaswani et al. 2017, "Attention is all you need",
    equation 3, where ``peak = 1/sqrt(d_model*w)`` and the count starts at 1). torch, optax and
    Keras have none of that name.

    Examples
    --------
    >>> from fastopt import schedules
    >>> lr = schedules.InverseSqrt(0.4, timescale=100)
    >>> [lr(step) for step in (0, 300, 1500)]
    [0.4, 0.2, 0.1]
    """

    start: float = argument("float, finite", "The value at step 0.")
    _: KW_ONLY
    timescale: int = argument("int, >= 1", "The value has halved after ``3*timescale`` steps.")

    def _value_at(self, step: int) -> float:
        return self.start * sqrt(self.timescale / (self.timescale + step))


def _times_power(owner: object, start: float, gamma: float, power: float, step: int) -> float:
    """Return ``start * gamma**power``, or say that it has grown too large."""
    name = f"the value at step {step}"
    try:
        return as_finite(type(owner).__name__, name, start * gamma**power)
    except OverflowError:
        raise ValueError(f"{type(owner).__name__}: {name} is too large for a float") from None
