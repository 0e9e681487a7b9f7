"""What a schedule is, and how schedules combine: joined in time, multiplied, warmed up."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable
from dataclasses import KW_ONLY
from math import isfinite
from numbers import Real
from typing import Any, ClassVar

from fastopt.arguments import (
    STEP_LIMIT,
    Kind,
    Take,
    argument,
    as_count,
    as_finite,
    declared,
    take_all,
)

ScheduleLike = Callable[[int], float] | float
"""A schedule, any other callable that takes the step, or a number for a constant."""

NOT_FINITE = "a callable returns something else than a finite number"


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
    _to_take: ClassVar[list[tuple[str, Take]]] = []  # for take_all, of those under @schedule

    __post_init__ = take_all

    def __call__(self, step: int) -> float:
        """Return the value of the update before which `step` updates were made.

        Raises TypeError if `step` is no int, and ValueError if it is negative.
        """
        if type(step) is not int or not 0 <= step < STEP_LIMIT:  # called at every step: be quick
            step = as_count(type(self).__name__, "step", step)
        return self._value_at(step)

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


def _is_schedule_like(given: object) -> bool:
    """Tell whether it may stand for a schedule. A class is callable, but was to be called."""
    if isinstance(given, (bool, type)):
        return False
    return callable(given) or isinstance(given, Real)


def _take_part(owner: str, name: str, given: Any) -> Any:
    """Return a callable: a number becomes a :class:`Constant`."""
    if not _is_schedule_like(given):
        is_class = isinstance(given, type)
        kind = f"the class {given.__name__}" if is_class else type(given).__name__
        raise TypeError(
            f"{owner}: {name} must be a schedule, another callable or a number, not {kind}"
        )
    return given if callable(given) else Constant(as_finite(owner, name, given))


PART = Kind("schedule, other callable, or number", _take_part)


@declared(frozen=True)
class Constant(Schedule):
    """The same value at every step.

    Notes
    -----
    torch's ``ConstantLR(factor=f, total_iters=n)`` is ``Constant(f*lr).then(lr, at=n)``.

    Examples
    --------
    >>> from fastopt import schedules
    >>> schedules.Constant(0.1)(1000)
    0.1
    """

    value: float = argument("float, finite", "The value.")

    def _value_at(self, step: int) -> float:
        return self.value


@declared(frozen=True, when_called=NOT_FINITE)
class Joined(Schedule):
    """One schedule after another; ``first.then(second, at=at)`` makes it.

    ::

        first(step)            step < at
        second(step - at)      from there on

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

    first: ScheduleLike = argument(PART, "What there is before step `at`.")
    second: ScheduleLike = argument(PART, "What follows. It starts at its own step 0.")
    _: KW_ONLY
    at: int = argument("int, >= 0", "The step at which `second` begins.")

    def _value_at(self, step: int) -> float:
        if step < self.at:
            return _call(self, "first", step)
        return _call(self, "second", step - self.at)


@declared(frozen=True, when_called=f"{NOT_FINITE}, or the product is not finite")
class Product(Schedule):
    """The product of two schedules; ``first * second`` makes it.

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

    first: ScheduleLike = argument(PART, "A factor.")
    second: ScheduleLike = argument(PART, "The other factor.")

    def _value_at(self, step: int) -> float:
        product = _call(self, "first", step) * _call(self, "second", step)
        return as_finite(type(self).__name__, f"the value at step {step}", product)


@declared(frozen=True, when_called=NOT_FINITE)
class Warmup(Schedule):
    """A linear rise to where a schedule begins, and then that schedule.

    ::

        start + (schedule(0) - start) * step/steps      step < steps
        schedule(step - steps)                          from there on

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

    schedule: ScheduleLike = argument(
        PART, "What follows. It starts at its own step 0 when the rise is over."
    )
    _: KW_ONLY
    steps: int = argument(
        "int, >= 0", "The number of updates before `schedule` begins. With 0 there is no warm-up."
    )
    start: float = argument(
        "float, finite",
        "The value at step 0. With 0 as a learning rate, the first update changes no parameter.",
        default=0.0,
    )

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
    least, most = (end, start) if end < start else (start, end)
    return least if blended < least else most if blended > most else blended


def _call(owner: object, name: str, step: int) -> float:
    """Return what this schedule of `owner` gives, which may come from any callable."""
    value = getattr(owner, name)(step)
    if type(value) is float and isfinite(value):
        return value
    return as_finite(type(owner).__name__, f"{name}({step})", value)
