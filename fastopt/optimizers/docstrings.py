"""The part of the docstrings that all optimizers share, written once."""

from __future__ import annotations

from typing import TypeVar

from fastopt.optimizers.base import Optimizer

Class = TypeVar("Class", bound=type[Optimizer])

PARAMS = """\
params : tree, list of groups, or result of :func:`fastopt.groups`
    The parameters: float32 or float64 arrays, alone or in nested dicts, lists and tuples. Or
    groups with options of their own, ``[{"params": tree, "lr": 0.1}, ...]``, whose gradients
    are a list with a tree for each; ``"frozen": True`` keeps a group as it is. The arrays are
    checked once and held; they are changed in place by steps.
"""

COMMON = """\
l1, l2, weight_decay, decay_after, l1_prox, nonneg, maximize, clip_value
    Terms of the step, for each group: see :func:`fastopt.{RULE}_step`. Entries that shall have
    penalties of their own are groups.
clip_norm, clip_tensor_norm, clip_eps, skip_nonfinite, zero_grads, flush_denormals, threads
    As in :func:`fastopt.{RULE}_step`, for all groups together: there is one global norm.
drop : Dropout or None, default None
    DropConnect, with masks made during the step.
ema_decay : float or None, default None, in [0, 1]
    Keep averages of the parameters, ``ema = ema_decay*ema + (1 - ema_decay)*p``, which start as
    copies: see :attr:`ema` and :meth:`averaged`.
ema_debias : bool, default False
    Correct the averages for their start: the average after t steps is that of the t parameters
    since, as if divided by ``1 - ema_decay**t``; the start is not in it.
accumulation : "mean" or "sum", default "mean"
    What a step makes of the gradients that :meth:`accumulate` added.
"""

RAISES = """\
TypeError, ValueError
    If an array could not be updated in place, arrays overlap (one array in two groups, or a
    group twice), an option is unknown, out of range, or its schedule returns what is. The
    message names it.
"""

NOTES = """\
Every number may be a schedule: a callable of :attr:`step_count`, such as those of
:mod:`fastopt.schedules`. It is called before each update; the first sees 0.

A step is that of :func:`fastopt.{RULE}_step`, bit for bit. Every group counts the updates of
its own, in ``group.state.step``, which differs from :attr:`step_count` where a group was frozen
or added later.
"""


def documented(optimizer: Class) -> Class:
    """Put the text that all optimizers share where the docstring says so."""
    text = optimizer.__doc__ or ""
    for name in ("PARAMS", "COMMON", "RAISES", "NOTES"):
        shared = globals()[name].rstrip().replace("\n", "\n    ")
        text = text.replace("{" + name + "}", shared)
    optimizer.__doc__ = text.replace("{RULE}", optimizer.rule)
    return optimizer
