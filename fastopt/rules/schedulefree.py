"""Schedule-Free SGD, and what it has in common with Schedule-Free AdamW."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from functools import partial
from typing import TYPE_CHECKING, Any

import numpy as np

from fastopt import _core
from fastopt.docstrings import document_class, document_init, document_step
from fastopt.optimizers import Optimizer, Scheduled
from fastopt.optimizers.averages import Averages
from fastopt.options import StepOptions
from fastopt.result import MaybeNone, StepResult
from fastopt.rules.starts import copies_like
from fastopt.tree import LikeParams, PartialTree, Steps, Tree, as_array, number_for_each

if TYPE_CHECKING:
    from typing_extensions import Unpack

    from fastopt.optimizers import OptimizerOptions, Params

_step = _core.rules["schedulefree_sgd"].step


@dataclass(slots=True, eq=False)
class ScheduleFreeSGDState:
    """State of :func:`fastopt.schedulefree_sgd_step`."""

    step: Steps
    """Updates made so far; a tree with one count for each array where they differ."""
    z: LikeParams
    """Where SGD alone would be, with these gradients. The first step begins at the parameters."""
    weight_sum: LikeParams
    """The sum of the weights of all steps so far, a number for each array."""
    lr_max: LikeParams
    """The largest learning rate so far, a number for each array."""


@document_init
def schedulefree_sgd_init(params: Tree) -> ScheduleFreeSGDState:
    """Make the state of Schedule-Free SGD: ``step = 0``, ``z`` a copy of the parameters.

    Returns
    -------
    ScheduleFreeSGDState
        ``z`` has the structure, shapes, dtypes and memory order of `params`; ``weight_sum`` and
        ``lr_max`` have zeros of shape () and dtype float64 in their place.

    Examples
    --------
    >>> import numpy as np, fastopt
    >>> state = fastopt.schedulefree_sgd_init([np.ones(2)])
    >>> state.z, state.weight_sum, state.lr_max
    ([array([1., 1.])], [array(0.)], [array(0.)])
    """
    z = copies_like("schedulefree_sgd_init", params)
    return ScheduleFreeSGDState(0, z, number_for_each(params, 0.0), number_for_each(params, 0.0))


def move(
    T: Any, t: int, o: Any, beta: float, p: Any, u: Any, z: Any, weight_sum: Any, lr_max: Any
) -> None:
    """Move parameters and ``z`` by a direction: what both rules have in common."""
    rate = o.lr * (t / o.warmup_steps if t < o.warmup_steps else 1.0)
    largest = max(float(lr_max), rate)
    with np.errstate(over="ignore", invalid="ignore"):  # of Python's numbers it would be an error
        weight = np.float64(t) ** o.r * np.float64(largest) ** o.weight_lr_power
        total = float(weight_sum) + weight
        c = float(weight / total) if total > 0 else 0.0
    before = p.copy() if t == 1 else z.copy()
    p[...] = p + T(c) * (before - p) + T(rate * (beta * (1 - c) - 1)) * u
    z[...] = before - T(rate) * u
    weight_sum[...], lr_max[...] = total, largest


def formula(T: Any, t: int, o: Any, p: Any, g: Any, z: Any, weight_sum: Any, lr_max: Any) -> None:
    move(T, t, o, o.momentum, p, g, z, weight_sum, lr_max)


@document_step
def schedulefree_sgd_step(
    params: Tree,
    grads: PartialTree,
    state: ScheduleFreeSGDState,
    *,
    lr: float = 1.0,
    momentum: float = 0.9,
    warmup_steps: float = 0.0,
    r: float = 0.0,
    weight_lr_power: float = 2.0,
    **options: Unpack[StepOptions],
) -> StepResult | MaybeNone:
    """Update `params` and `state` in place by one step of Schedule-Free SGD.

    ::

        rate = lr * min(1, t/warmup_steps)
        lr_max = max(lr_max, rate)
        w = t**r * lr_max**weight_lr_power;  weight_sum += w;  c = w/weight_sum

        p += c*(z - p) + rate*(momentum*(1 - c) - 1)*g          (z is p where t is 1)
        z -= rate*g

    where ``t`` is the count of the state after the step, so 1 in the first one.

    Parameters
    ----------
    state : ScheduleFreeSGDState
        From :func:`schedulefree_sgd_init`. ``z``, ``weight_sum``, ``lr_max`` and ``step`` are
        changed in place.
    lr : float, default 1.0, >= 0
        The learning rate. It needs no schedule, and is larger than that of SGD.
    momentum : float, default 0.9, in (0, 1]
        How far between ``z`` and the mean of all ``z`` gradients are taken: at 1 at the mean. It
        is to stay as it is.
    warmup_steps : float, default 0.0, >= 0
        Over how many steps the learning rate grows to `lr`.
    r : float, default 0.0, >= 0
        The mean weighs step ``t`` by this power of ``t``.
    weight_lr_power : float, default 2.0, >= 0
        And by this power of the largest rate so far: 0 counts all steps of a warm-up alike.

    Notes
    -----
    The parameters are where gradients are taken, ``y`` of the paper. To evaluate and to use in the
    end is the mean ``x = p + (1 - 1/momentum)*(z - p)``, which :meth:`ScheduleFreeSGD.evaluation`
    puts in their place.

    The same as ``schedulefree.SGDScheduleFree``; its ``weight_decay`` is `l2` here. But it counts
    steps and weights of a group, and here each array has its own: they differ where gradients are
    missing. `weight_decay`, `l1_prox` and `nonneg` act on the parameters, not on ``z``.

    An element that `update_mask` leaves out of the first step has the ``z`` of
    :func:`schedulefree_sgd_init`; all others take the parameters as they are in that step.

    Source: Defazio et al. 2024, "The road less scheduled", algorithm 1.

    Examples
    --------
    >>> import numpy as np, fastopt
    >>> w = np.array([1.0])
    >>> state = fastopt.schedulefree_sgd_init(w)
    >>> for _ in range(2):
    ...     fastopt.schedulefree_sgd_step(w, np.array([1.0]), state, lr=0.5, momentum=0.5)
    >>> w, state.z
    (array([0.125]), array([0.]))
    >>> w + (1 - 1/0.5)*(state.z - w)
    array([0.25])
    """
    rule = (lr, momentum, warmup_steps, r, weight_lr_power)
    return _step(ScheduleFreeSGDState, params, grads, state, *rule, options)


class Evaluated(Optimizer):
    """An optimizer whose parameters are where gradients are taken, not what is to be used."""

    _beta: str
    """The option that says how far these are from each other."""

    @contextmanager
    def evaluation(self) -> Iterator[LikeParams]:
        """Put what is to be evaluated in place of the parameters, within a ``with`` block.

        It is the mean ``x`` of the paper, in the memory of the parameters; at the end of the block
        these are as they were before: exactly. Meanwhile a step is refused, as is all else that
        :meth:`averaged` refuses, and :meth:`averaged` itself. What is written to the parameters
        within the block is lost. Entries that are frozen, or had no step yet, stay as they are;
        elements that `update_mask` has left out of every step are taken with the ``z`` that they
        were given.

        Yields
        ------
        tree
            `params`, which has what is to be evaluated.

        Raises
        ------
        ValueError
            If an array has been replaced or made read-only.
        RuntimeError
            Within another such block or that of :meth:`averaged`, or while another call of the same
            optimizer is under way.

        Examples
        --------
        >>> import numpy as np, fastopt
        >>> w = np.array([1.0])
        >>> opt = fastopt.ScheduleFreeSGD(w, lr=0.5, momentum=0.5)
        >>> for _ in range(2):
        ...     opt.step(np.array([1.0]))
        >>> with opt.evaluation():
        ...     print(w)
        [0.25]
        >>> w
        array([0.125])
        """
        where = f"{type(self).__name__}.evaluation"
        plan = self._held.plan
        mine = object()  # another block may be begun in another thread
        back = partial(plan.swap_back, where, mine)
        try:
            with plan.turn(where):
                plan.check_not_swapped(where)
                plan.swap_in(where, mine, self._evaluated(where), "the values for evaluation")
            yield self.params
        finally:
            back()  # first of all: an interrupt may come in between

    def _evaluated(self, where: str) -> list[Any]:
        """Return an array with the mean for each of the parameters, in the order of these."""
        known = {name: param for group in self.groups for name, param in group._entries}
        z: dict[str, Any] = {}
        for group in self.groups:
            z |= group._named_arrays("z")
        names = self.names
        stand_in = Averages([known[name] for name in names], names, z, "z")
        stand_in.check(where, names, self.params)
        means: dict[str, Any] = {}
        frozen = set(self.frozen)
        for group in self.groups:
            beta = group._now(max(self.step_count - 1, 0))[self._beta]
            for name, step in zip(group.names, group._steps(), strict=True):
                param = as_array(where, name, known[name])
                mean = np.empty_like(param, subok=False)
                mean[...] = param
                if step > 0 and name not in frozen:
                    with np.errstate(over="ignore", invalid="ignore"):
                        mean += mean.dtype.type(1 - 1 / beta) * (
                            as_array(where, name, z[name]) - mean
                        )
                means[name] = mean
        return [means[name] for name in names]


@document_class(schedulefree_sgd_step)
class ScheduleFreeSGD(Evaluated):
    """Schedule-Free SGD.

    Examples
    --------
    >>> import numpy as np, fastopt
    >>> w = np.array([1.0])
    >>> opt = fastopt.ScheduleFreeSGD(w, lr=0.5, momentum=0.5)
    >>> for _ in range(2):
    ...     opt.step(np.array([1.0]))
    >>> with opt.evaluation():
    ...     print(w)
    [0.25]
    """

    rule = "schedulefree_sgd"
    _never_negative = ("weight_sum", "lr_max")
    _new_state = staticmethod(schedulefree_sgd_init)
    _beta = "momentum"

    def __init__(
        self,
        params: Params,
        *,
        state: ScheduleFreeSGDState | None = None,
        lr: Scheduled = 1.0,
        momentum: Scheduled = 0.9,
        warmup_steps: Scheduled = 0.0,
        r: Scheduled = 0.0,
        weight_lr_power: Scheduled = 2.0,
        **options: Unpack[OptimizerOptions],
    ) -> None:
        super().__init__(
            params,
            state=state,
            lr=lr,
            momentum=momentum,
            warmup_steps=warmup_steps,
            r=r,
            weight_lr_power=weight_lr_power,
            **options,
        )
