"""What a schedule is, and how schedules combine: joined in time, multiplied, warmed up."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable
from dataclasses import KW_ONLY, dataclass
from numbers import Real
from typing import Any

from fastopt.schedules._checks import as_count, as_finite, check_counts, check_numbers

ScheduleLike = Callable[[int], float] | float
"""A schedule, any other callable that takes the step, or a number for a constant."""


class Schedule(ABC):
    """The base of all schedules: a function of the step count, with operators.

    A subclass gives :meth:`_value_at`, which may rely on a step that has been checked.

    Examples
    --------
    >>> from fastopt.schedules import Cosine, Schedule
    >>> isinstance(Cosine(0.1, steps=1000), Schedule)
    True
    >>> class Halved(Schedule):
    ...     def _value_at(self, step: int) -> float:
    ...         return 1.0 if step < 10 else 0.5
    >>> (Halved() * 0.1)(20)
    0.05
    """

    __slots__ = ()
    __array_ufunc__ = None  # so that NumPy's numbers leave `number * schedule` to __rmul__

    def __call__(self, step: int) -> float:
        """Return the value of the update before which `step` updates were made.

        Raises TypeError if `step` is no int, and ValueError if it is negative.
        """
        return self._value_at(as_count(type(self).__name__, "step", step))

    @abstractmethod
    def _value_at(self, step: int) -> float: ...

    def then(self, after: ScheduleLike, *, at: int) -> Joined:
        """Return this schedule before step `at`, and `after` from there on: :class:`Joined`."""
        return Joined(self, after, at=at)

    def __mul__(self, other: ScheduleLike) -> Product:
        """Return the product with a schedule or number: :class:`Product`."""
        return Product(self, other) if _is_schedule_like(other) else NotImplemented

    def __rmul__(self, other: ScheduleLike) -> Product:
        """Return the product with a number or another callable: :class:`Product`."""
        return Product(other, self) if _is_schedule_like(other) else NotImplemented


@dataclass(frozen=True, slots=True)
class Constant(Schedule):
    """The same value at every step.

    Parameters
    ----------
    value : float, finite
        The value.

    Raises
    ------
    TypeError, ValueError
        If `value` is no number, or not finite.

    Notes
    -----
    torch's ``ConstantLR(factor=f, total_iters=n)`` is ``Constant(f*lr).then(lr, at=n)``.

    Examples
    --------
    >>> from fastopt import schedules
    >>> schedules.Constant(0.1)(1000)
    0.1
    """

    value: float

    def __post_init__(self) -> None:
        check_numbers(self, "value")

    def _value_at(self, step: int) -> float:
        return self.value


@dataclass(frozen=True, slots=True)
class Joined(Schedule):
    """One schedule after another; ``first.then(second, at=at)`` makes it.

    ::

        first(step)            step < at
        second(step - at)      from there on

    Parameters
    ----------
    first, second : schedule, other callable, or number
        `second` starts at its own step 0.
    at : int, >= 0
        The step at which `second` begins.

    Raises
    ------
    TypeError, ValueError
        If an argument is of another kind, or `at` is negative. When called: if a callable returns
        something else than a finite number.

    Notes
    -----
    In ``a.then(b, at=100).then(c, at=150)`` both numbers count from the start of all. It is
    torch's ``SequentialLR`` and optax's ``join_schedules``.

    Examples
    --------
    >>> from fastopt import schedules
    >>> lr = schedules.Linear(0.0, 0.1, steps=10).then(schedules.Cosine(0.1, steps=20), at=10)
    >>> lr
    Joined(first=Linear(start=0.0, end=0.1, steps=10), second=Cosine(start=0.1, end=0.0, \
steps=20), at=10)
    >>> [lr(step) for step in (0, 5, 10, 20, 30)]
    [0.0, 0.05, 0.1, 0.05, 0.0]
    """

    first: ScheduleLike
    second: ScheduleLike
    _: KW_ONLY
    at: int

    def __post_init__(self) -> None:
        _check_schedules(self, "first", "second")
        check_counts(self, "at", least=0)

    def _value_at(self, step: int) -> float:
        if step < self.at:
            return _call(self, "first", step)
        return _call(self, "second", step - self.at)


@dataclass(frozen=True, slots=True)
class Product(Schedule):
    """The product of two schedules; ``first * second`` makes it.

    Parameters
    ----------
    first, second : schedule, other callable, or number
        The factors.

    Raises
    ------
    TypeError, ValueError
        If an argument is of another kind. When called: if a callable returns something else than
        a finite number, or the product is not finite.

    Notes
    -----
    It is torch's ``ChainedScheduler`` where its schedulers are all factors of the base rate.

    Examples
    --------
    >>> from fastopt import schedules
    >>> lr = schedules.Step(0.1, step_size=10) * schedules.Linear(0.0, 1.0, steps=4)
    >>> [lr(step) for step in (0, 2, 4)]
    [0.0, 0.05, 0.1]
    >>> 0.5 * schedules.Constant(0.1)
    Product(first=Constant(value=0.5), second=Constant(value=0.1))
    """

    first: ScheduleLike
    second: ScheduleLike

    def __post_init__(self) -> None:
        _check_schedules(self, "first", "second")

    def _value_at(self, step: int) -> float:
        product = _call(self, "first", step) * _call(self, "second", step)
        return as_finite(type(self).__name__, f"the value at step {step}", product)


@dataclass(frozen=True, slots=True)
class Warmup(Schedule):
    """A linear rise to where a schedule begins, and then that schedule.

    ::

        start + (schedule(0) - start) * step/steps      step < steps
        schedule(step - steps)                          from there on

    Parameters
    ----------
    schedule : schedule, other callable, or number
        What follows. It starts at its own step 0 when the rise is over.
    steps : int, >= 0
        The number of updates before `schedule` begins. With 0 there is no warm-up.
    start : float, default 0.0, finite
        The value at step 0. With 0 as a learning rate, the first update changes no parameter.

    Raises
    ------
    TypeError, ValueError
        If an argument is of another kind or out of range. When called: if a callable returns
        something else than a finite number.

    Notes
    -----
    The same as optax's ``warmup_cosine_decay_schedule(start, ..., warmup_steps=steps)`` with a
    cosine, whose ``decay_steps`` counts the warm-up too, and as torch's ``SequentialLR`` of a
    ``LinearLR`` and another. To multiply by a ramp instead, while the schedule runs from step 0
    on: ``schedule * Linear(0.0, 1.0, steps=100)``.

    Source: Goyal et al. 2017, "Accurate, large minibatch SGD", section 2.2.

    Examples
    --------
    >>> from fastopt import schedules
    >>> lr = schedules.Warmup(schedules.Exponential(0.1, gamma=0.5), steps=4)
    >>> [lr(step) for step in (0, 2, 4, 5)]
    [0.0, 0.05, 0.1, 0.05]
    """

    schedule: ScheduleLike
    _: KW_ONLY
    steps: int
    start: float = 0.0

    def __post_init__(self) -> None:
        _check_schedules(self, "schedule")
        check_counts(self, "steps", least=0)
        check_numbers(self, "start")

    def _value_at(self, step: int) -> float:
        if step >= self.steps:
            return _call(self, "schedule", step - self.steps)
        end = _call(self, "schedule", 0)
        return blend(self.start, (self.steps - step) / self.steps, end, step / self.steps)


def blend(start: float, start_weight: float, end: float, end_weight: float) -> float:
    """Return the weighted sum, which no rounding takes out of the range from start to end.

    Weights of 1 and 0 give `start` and `end` exactly; ``start + (end - start)*weight`` would not.
    Hyper-parameters have ranges: a momentum between 0.9 and 1 must not become 1.0000000000000002.
    """
    blended = start * start_weight + end * end_weight
    return min(max(blended, min(start, end)), max(start, end))


def _is_schedule_like(given: object) -> bool:
    """Tell whether it may stand for a schedule. A class is callable, but was to be called."""
    if isinstance(given, (bool, type)):
        return False
    return callable(given) or isinstance(given, Real)


def _check_schedules(owner: object, *names: str) -> None:
    """Make these attributes callables: a number becomes a :class:`Constant`."""
    class_name = type(owner).__name__
    for name in names:
        given: Any = getattr(owner, name)
        if not _is_schedule_like(given):
            is_class = isinstance(given, type)
            kind = f"the class {given.__name__}" if is_class else type(given).__name__
            raise TypeError(
                f"{class_name}: {name} must be a schedule, another callable or a number, not {kind}"
            )
        if not callable(given):
            object.__setattr__(owner, name, Constant(as_finite(class_name, name, given)))


def _call(owner: object, name: str, step: int) -> float:
    """Return what this schedule of `owner` gives, which may come from any callable."""
    return as_finite(type(owner).__name__, f"{name}({step})", getattr(owner, name)(step))
