"""Schedule-Free AdamW: a mean of parameters in place of the first moment and of a schedule."""

from __future__ import annotations

from dataclasses import dataclass
from math import sqrt
from typing import TYPE_CHECKING, Any

import numpy as np

from fastopt import _core
from fastopt.docstrings import document_class, document_init, document_step
from fastopt.optimizers import Scheduled
from fastopt.options import StepOptions
from fastopt.result import MaybeNone, StepResult
from fastopt.rules.schedulefree import Evaluated, move
from fastopt.rules.starts import copies_like
from fastopt.tree import LikeParams, PartialTree, Steps, Tree, number_for_each, zeros_like

if TYPE_CHECKING:
    from typing_extensions import Unpack

    from fastopt.optimizers import OptimizerOptions, Params

_step = _core.rules["schedulefree_adamw"].step


@dataclass(slots=True, eq=False)
class ScheduleFreeAdamWState:
    """State of :func:`fastopt.schedulefree_adamw_step`."""

    step: Steps
    """Updates made so far; a tree with one count for each array where they differ."""
    z: LikeParams
    """Where the directions alone lead to. The first step begins at the parameters."""
    v: LikeParams
    """Running mean of the squared gradients (second moment)."""
    weight_sum: LikeParams
    """The sum of the weights of all steps so far, a number for each array."""
    lr_max: LikeParams
    """The largest learning rate so far, a number for each array."""


@document_init
def schedulefree_adamw_init(params: Tree) -> ScheduleFreeAdamWState:
    """Make the state of Schedule-Free AdamW: ``step = 0``, ``z`` a copy of the parameters.

    Returns
    -------
    ScheduleFreeAdamWState
        ``z`` and ``v``, which is zeros, have the structure, shapes, dtypes and memory order of
        `params`; ``weight_sum`` and ``lr_max`` have zeros of shape () and dtype float64 in their
        place.

    Examples
    --------
    >>> import numpy as np, fastopt
    >>> state = fastopt.schedulefree_adamw_init([np.ones(2)])
    >>> state.z, state.v, state.weight_sum, state.lr_max
    ([array([1., 1.])], [array([0., 0.])], [array(0.)], [array(0.)])
    """
    z, v = (make("schedulefree_adamw_init", params) for make in (copies_like, zeros_like))
    weight_sum, lr_max = (number_for_each(params, 0.0) for _ in range(2))
    return ScheduleFreeAdamWState(0, z, v, weight_sum, lr_max)


def formula(
    T: Any, t: int, o: Any, p: Any, g: Any, z: Any, v: Any, weight_sum: Any, lr_max: Any
) -> None:
    v[...] = T(o.beta2) * v + T(1 - o.beta2) * (g * g)
    root = np.sqrt(v) * T(1 / sqrt(1 - o.beta2**t)) + T(o.eps)
    move(T, t, o, o.beta1, p, g / root + T(o.y_decay) * p, z, weight_sum, lr_max)


@document_step
def schedulefree_adamw_step(
    params: Tree,
    grads: PartialTree,
    state: ScheduleFreeAdamWState,
    *,
    lr: float = 2.5e-3,
    beta1: float = 0.9,
    beta2: float = 0.999,
    eps: float = 1e-8,
    y_decay: float = 0.0,
    warmup_steps: float = 0.0,
    r: float = 0.0,
    weight_lr_power: float = 2.0,
    **options: Unpack[StepOptions],
) -> StepResult | MaybeNone:
    """Update `params` and `state` in place by one step of Schedule-Free AdamW.

    ::

        v = beta2*v + (1 - beta2)*g**2
        u = g / (sqrt(v/(1 - beta2**t)) + eps) + y_decay*p

        rate = lr * min(1, t/warmup_steps)
        lr_max = max(lr_max, rate)
        w = t**r * lr_max**weight_lr_power;  weight_sum += w;  c = w/weight_sum

        p += c*(z - p) + rate*(beta1*(1 - c) - 1)*u             (z is p where t is 1)
        z -= rate*u

    where ``t`` is the count of the state after the step, so 1 in the first one.

    Parameters
    ----------
    state : ScheduleFreeAdamWState
        From :func:`schedulefree_adamw_init`. ``z``, ``v``, ``weight_sum``, ``lr_max`` and ``step``
        are changed in place.
    lr : float, default 0.0025, >= 0
        The learning rate. It needs no schedule, and is larger than that of Adam.
    beta1 : float, default 0.9, in (0, 1]
        How far between ``z`` and the mean of all ``z`` gradients are taken: at 1 at the mean. It
        is to stay as it is.
    beta2 : float, default 0.999, in [0, 1)
        Decay rate of the running mean of the square of the gradient.
    eps : float, default 1e-8, >= 0
        Keeps the denominator from zero.
    y_decay : float, default 0.0, >= 0
        Weight decay within the direction, so of the parameters and of ``z`` alike, by the
        parameters: ``weight_decay`` of the authors' package.
    warmup_steps : float, default 0.0, >= 0
        Over how many steps the learning rate grows to `lr`.
    r : float, default 0.0, >= 0
        The mean weighs step ``t`` by this power of ``t``.
    weight_lr_power : float, default 2.0, >= 0
        And by this power of the largest rate so far: 0 counts all steps of a warm-up alike.

    Notes
    -----
    The parameters are where gradients are taken, ``y`` of the paper. To evaluate and to use in the
    end is the mean ``x = p + (1 - 1/beta1)*(z - p)``, which :meth:`ScheduleFreeAdamW.evaluation`
    puts in their place.

    The same as ``schedulefree.AdamWScheduleFree``. But it counts steps and weights of a group, and
    here each array has its own: they differ where gradients are missing. `weight_decay`, `l1_prox`
    and `nonneg` act on the parameters, not on ``z``. ``keras.optimizers.ScheduleFreeAdamW`` has
    ``weight_lr_power=0`` and `weight_decay`.

    An element that `update_mask` leaves out of the first step has the ``z`` of
    :func:`schedulefree_adamw_init`; all others take the parameters as they are in that step.

    Source: Defazio et al. 2024, "The road less scheduled", algorithm 1 and the AdamW of section 4.

    Examples
    --------
    >>> import numpy as np, fastopt
    >>> w = np.array([1.0])
    >>> state = fastopt.schedulefree_adamw_init(w)
    >>> for _ in range(2):
    ...     fastopt.schedulefree_adamw_step(w, np.array([2.0]), state, lr=0.5, beta1=0.5)
    >>> w.round(4), state.z.round(4)
    (array([0.125]), array([0.]))
    """
    rule = (lr, beta1, beta2, eps, y_decay, warmup_steps, r, weight_lr_power)
    return _step(ScheduleFreeAdamWState, params, grads, state, *rule, options)


@document_class(schedulefree_adamw_step)
class ScheduleFreeAdamW(Evaluated):
    """Schedule-Free AdamW.

    Examples
    --------
    >>> import numpy as np, fastopt
    >>> w = np.array([1.0])
    >>> opt = fastopt.ScheduleFreeAdamW(w, lr=0.5, beta1=0.5)
    >>> for _ in range(2):
    ...     opt.step(np.array([2.0]))
    >>> with opt.evaluation():
    ...     print(w.round(4))
    [0.25]
    """

    rule = "schedulefree_adamw"
    _never_negative = ("v", "weight_sum", "lr_max")
    _new_state = staticmethod(schedulefree_adamw_init)
    _beta = "beta1"

    def __init__(
        self,
        params: Params,
        *,
        state: ScheduleFreeAdamWState | None = None,
        lr: Scheduled = 2.5e-3,
        beta1: Scheduled = 0.9,
        beta2: Scheduled = 0.999,
        eps: Scheduled = 1e-8,
        y_decay: Scheduled = 0.0,
        warmup_steps: Scheduled = 0.0,
        r: Scheduled = 0.0,
        weight_lr_power: Scheduled = 2.0,
        **options: Unpack[OptimizerOptions],
    ) -> None:
        super().__init__(
            params,
            state=state,
            lr=lr,
            beta1=beta1,
            beta2=beta2,
            eps=eps,
            y_decay=y_decay,
            warmup_steps=warmup_steps,
            r=r,
            weight_lr_power=weight_lr_power,
            **options,
        )
