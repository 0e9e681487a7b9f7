"""Hyper-parameters that change from step to step: a schedule is a function of the step count.

A schedule is called with the number of updates made so far and returns a float: the first update
sees step 0, and update number t (from 1) sees ``t - 1``, as in torch and optax. It can stand
wherever an optimizer takes a number: learning rate, momentum, penalties, the decay of an average.

>>> from fastopt import schedules
>>> lr = schedules.Warmup(schedules.Cosine(0.1, steps=1000), steps=100)
>>> [lr(step) for step in (0, 50, 100, 600, 1100, 5000)]
[0.0, 0.05, 0.1, 0.05, 0.0, 0.0]

Each value is computed from the step alone, in double precision, and never from the value before:
who resumes at step 731 gets the bits of who never stopped, and errors do not add up. Past its end,
a schedule stays at its last value. Schedules are frozen dataclasses: they can be compared, hashed,
copied and pickled, and their repr builds them anew.

They combine. ``a.then(b, at=1000)`` is `a` before step 1000 and `b` from there on, which sees
``step - 1000``. ``a * b`` is the product, and ``a * 0.5`` too. Any callable that takes an int and
returns a number may stand for a schedule in all of these, and so may a number: it stays what it is.
What a callable returns is checked whenever it is called. It is compared, hashed and pickled as
Python does it, so take a function of a module rather than a lambda where that matters.

:class:`ReduceOnPlateau` alone has a state: it goes by a metric instead of the step.
"""

from fastopt.schedules.combine import Constant, Joined, Product, Schedule, Warmup
from fastopt.schedules.cosine import Cosine, CosineRestarts, OneCycle
from fastopt.schedules.decay import (
    Exponential,
    InverseSqrt,
    Linear,
    MultiStep,
    Polynomial,
    Step,
)
from fastopt.schedules.plateau import ReduceOnPlateau

__all__ = [
    "Constant",
    "Cosine",
    "CosineRestarts",
    "Exponential",
    "InverseSqrt",
    "Joined",
    "Linear",
    "MultiStep",
    "OneCycle",
    "Polynomial",
    "Product",
    "ReduceOnPlateau",
    "Schedule",
    "Step",
    "Warmup",
]
