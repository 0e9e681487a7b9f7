"""Schedules that fall or rise by a formula: lines, powers and steps."""

from __future__ import annotations

from bisect import bisect_right
from collections.abc import Sequence
from dataclasses import KW_ONLY, dataclass
from math import sqrt

from fastopt.schedules._checks import as_count, as_finite, check_counts, check_numbers
from fastopt.schedules.combine import Schedule, blend


@dataclass(frozen=True, slots=True)
class Linear(Schedule):
    """A straight line from `start` to `end`.

    ::

        start + (end - start) * step/steps          step < steps
        end                                         from there on

    Parameters
    ----------
    start : float, finite
        The value at step 0.
    end : float, default 0.0, finite
        The value at step `steps` and after it.
    steps : int, >= 1
        The number of steps from one to the other.

    Raises
    ------
    TypeError, ValueError
        If an argument is of another kind or out of range.

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

    start: float
    end: float = 0.0
    _: KW_ONLY
    steps: int

    def __post_init__(self) -> None:
        check_numbers(self, "start", "end")
        check_counts(self, "steps", least=1)

    def _value_at(self, step: int) -> float:
        step = min(step, self.steps)
        return blend(self.start, (self.steps - step) / self.steps, self.end, step / self.steps)


@dataclass(frozen=True, slots=True)
class Polynomial(Schedule):
    """A power of the time that is left, from `start` to `end`.

    ::

        end + (start - end) * (1 - step/steps)**power       step < steps
        end                                                 from there on

    Parameters
    ----------
    start : float, finite
        The value at step 0.
    end : float, default 0.0, finite
        The value at step `steps` and after it.
    steps : int, >= 1
        The number of steps from one to the other.
    power : float, default 1.0, > 0
        With 1 it is :class:`Linear`; with more it falls fast first and slowly later.

    Raises
    ------
    TypeError, ValueError
        If an argument is of another kind or out of range.

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

    start: float
    end: float = 0.0
    _: KW_ONLY
    steps: int
    power: float = 1.0

    def __post_init__(self) -> None:
        check_numbers(self, "start", "end", "power")
        check_counts(self, "steps", least=1)
        if self.power <= 0:
            raise ValueError(f"{type(self).__name__}: 0 < power must hold, it is {self.power:g}")

    def _value_at(self, step: int) -> float:
        step = min(step, self.steps)
        weight = ((self.steps - step) / self.steps) ** self.power
        return blend(self.start, weight, self.end, 1 - weight)


@dataclass(frozen=True, slots=True)
class Exponential(Schedule):
    """Exponential decay, or growth.

    ::

        start * gamma**(step/steps)

    Parameters
    ----------
    start : float, finite
        The value at step 0.
    gamma : float, >= 0
        What `steps` steps multiply the value by. More than 1 makes it grow, as in a search for
        the largest learning rate.
    steps : int, default 1, >= 1
        The number of steps for one factor of `gamma`.

    Raises
    ------
    TypeError, ValueError
        If an argument is of another kind or out of range. When called: if the value has grown too
        large for a float.

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

    start: float
    _: KW_ONLY
    gamma: float
    steps: int = 1

    def __post_init__(self) -> None:
        check_numbers(self, "start")
        check_numbers(self, "gamma", least=0)
        check_counts(self, "steps", least=1)

    def _value_at(self, step: int) -> float:
        return _times_power(self, self.start, self.gamma, step / self.steps, step)


@dataclass(frozen=True, slots=True)
class Step(Schedule):
    """A factor at regular intervals.

    ::

        start * gamma**(step // step_size)

    Parameters
    ----------
    start : float, finite
        The value before the first factor.
    step_size : int, >= 1
        The number of steps from one factor to the next.
    gamma : float, default 0.1, >= 0
        The factor.

    Raises
    ------
    TypeError, ValueError
        If an argument is of another kind or out of range. When called: if the value has grown too
        large for a float.

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

    start: float
    _: KW_ONLY
    step_size: int
    gamma: float = 0.1

    def __post_init__(self) -> None:
        check_numbers(self, "start")
        check_numbers(self, "gamma", least=0)
        check_counts(self, "step_size", least=1)

    def _value_at(self, step: int) -> float:
        return _times_power(self, self.start, self.gamma, step // self.step_size, step)


@dataclass(frozen=True, slots=True)
class MultiStep(Schedule):
    """A factor at each of some steps.

    ::

        start * gamma**n        n: how many milestones are <= step

    Parameters
    ----------
    start : float, finite
        The value before the first milestone.
    milestones : sequence of int, >= 1, increasing
        The steps from which on there is a factor more. Kept as a tuple.
    gamma : float, default 0.1, >= 0
        The factor.

    Raises
    ------
    TypeError, ValueError
        If an argument is of another kind or out of range, or the milestones do not increase. When
        called: if the value has grown too large for a float.

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

    start: float
    _: KW_ONLY
    milestones: Sequence[int]
    gamma: float = 0.1

    def __post_init__(self) -> None:
        check_numbers(self, "start")
        check_numbers(self, "gamma", least=0)
        name = type(self).__name__
        if isinstance(self.milestones, (str, bytes)) or not hasattr(self.milestones, "__iter__"):
            kind = type(self.milestones).__name__
            raise TypeError(f"{name}: milestones must be a sequence of ints, not {kind}")
        steps = [
            as_count(name, f"milestones[{i}]", step, 1) for i, step in enumerate(self.milestones)
        ]
        for i in range(1, len(steps)):
            if steps[i] <= steps[i - 1]:
                raise ValueError(
                    f"{name}: milestones must increase, but {steps[i]} follows {steps[i - 1]}"
                )
        object.__setattr__(self, "milestones", tuple(steps))

    def _value_at(self, step: int) -> float:
        passed = bisect_right(self.milestones, step)
        return _times_power(self, self.start, self.gamma, passed, step)


@dataclass(frozen=True, slots=True)
class InverseSqrt(Schedule):
    """Decay by the inverse square root of the time.

    ::

        start * sqrt(timescale / (timescale + step))

    Parameters
    ----------
    start : float, finite
        The value at step 0.
    timescale : int, >= 1
        The value has halved after ``3*timescale`` steps.

    Raises
    ------
    TypeError, ValueError
        If an argument is of another kind or out of range.

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

    start: float
    _: KW_ONLY
    timescale: int

    def __post_init__(self) -> None:
        check_numbers(self, "start")
        check_counts(self, "timescale", least=1)

    def _value_at(self, step: int) -> float:
        return self.start * sqrt(self.timescale / (self.timescale + step))


def _times_power(owner: object, start: float, gamma: float, power: float, step: int) -> float:
    """Return ``start * gamma**power``, or say that it has grown too large."""
    name = f"the value at step {step}"
    try:
        return as_finite(type(owner).__name__, name, start * gamma**power)
    except OverflowError:
        raise ValueError(f"{type(owner).__name__}: {name} is too large for a float") from None
