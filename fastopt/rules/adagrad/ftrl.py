"""FTRL-Proximal: where the parameter is best by all gradients so far, with exact zeros."""

from __future__ import annotations

from dataclasses import dataclass
from functools import partial
from typing import TYPE_CHECKING, Any

import numpy as np

from fastopt import _core
from fastopt.docstrings import document_class, document_init, document_step
from fastopt.optimizers import Optimizer, Scheduled
from fastopt.options import StepOptions
from fastopt.result import MaybeNone, StepResult
from fastopt.rules.starts import checked_start, filled_like
from fastopt.tree import LikeParams, PartialTree, Steps, Tree, zeros_like

if TYPE_CHECKING:
    from typing_extensions import Unpack

    from fastopt.optimizers import OptimizerOptions, Params

_step = _core.rules["ftrl"].step


@dataclass(slots=True, eq=False)
class FTRLState:
    """State of :func:`fastopt.ftrl_step`."""

    step: Steps
    """Updates made so far; a tree with one count for each array where they differ."""
    n: LikeParams
    """Sum of the squared gradients."""
    z: LikeParams
    """Sum of the gradients, less what holds the parameter near where it was."""


@document_init
def ftrl_init(params: Tree, *, initial_accumulator_value: float = 0.1) -> FTRLState:
    """Make the state of FTRL: ``step = 0``, ``n`` of one number and ``z`` of zeros.

    Parameters
    ----------
    initial_accumulator_value : float, default 0.1, >= 0
        What ``n`` starts with. The paper starts with 0.

    Returns
    -------
    FTRLState
        ``n`` and ``z`` have the structure, shapes, dtypes and memory order of `params`.

    Examples
    --------
    >>> import numpy as np, fastopt
    >>> fastopt.ftrl_init([np.ones(2)])
    FTRLState(step=0, n=[array([0.1, 0.1])], z=[array([0., 0.])])
    """
    start = checked_start("ftrl_init", initial_accumulator_value)
    return FTRLState(0, filled_like("ftrl_init", params, start), zeros_like("ftrl_init", params))


def formula(T: Any, t: int, o: Any, p: Any, g: Any, n: Any, z: Any) -> None:
    lambda1 = T(o.lambda1)
    if o.lr == 0:
        return
    per_lr = T(1 / o.lr)
    squares = n + g * g
    root = np.sqrt(squares)
    sigma = (root - np.sqrt(n)) * per_lr
    z += g + (T(o.l2_shrinkage) - sigma) * p
    clipped = np.where(z > lambda1, lambda1, np.where(z < -lambda1, -lambda1, z))
    curvature = (T(o.beta) + root) * per_lr + T(o.lambda2)
    p[...] = np.where(curvature != 0, (clipped - z) / curvature, p)
    n[...] = squares


@document_step
def ftrl_step(
    params: Tree,
    grads: PartialTree,
    state: FTRLState,
    *,
    lr: float = 1e-3,
    lambda1: float = 0.0,
    lambda2: float = 0.0,
    beta: float = 0.0,
    l2_shrinkage: float = 0.0,
    **options: Unpack[StepOptions],
) -> StepResult | MaybeNone:
    """Update `params` and `state` in place by one step of FTRL-Proximal.

    ::

        sigma = (sqrt(n + g**2) - sqrt(n)) / lr
        n += g**2
        z += g + (l2_shrinkage - sigma)*p
        p = (clip(z, -lambda1, lambda1) - z) / ((beta + sqrt(n))/lr + lambda2)

    where an element with nothing in the denominator, for which no gradient has come yet, stays.

    Parameters
    ----------
    state : FTRLState
        From :func:`ftrl_init`. ``n``, ``z`` and ``step`` are changed in place.
    lr : float, default 0.001, >= 0
        The learning rate, the paper's ``alpha``. With 0 the step changes nothing; one whose
        inverse the dtype cannot hold is refused.
    lambda1 : float, default 0.0, >= 0
        The L1 penalty, which makes exact zeros.
    lambda2 : float, default 0.0, >= 0
        The L2 penalty of each step, ``lambda2/2 * sum(p**2)``.
    beta : float, default 0.0, >= 0
        Shortens the first steps; the paper takes 1.
    l2_shrinkage : float, default 0.0, >= 0
        An L2 penalty of the loss that leaves ``n`` alone, ``l2_shrinkage/2 * sum(p**2)``.

    Notes
    -----
    What is divided by `lr` is multiplied by ``1/lr``, rounded once, which is faster.

    `p` follows from ``z``, ``n`` and `lr`, not from where it was. So it should start at zero: of
    what is there before the first step, the share ``1 - sqrt(n/(n + g**2))`` is left. `lr` should
    stay as it is: where it is doubled, `p` is, too. Terms that change `p` beside the rule
    (`weight_decay`, `l1_prox`, `nonneg`) have no lasting effect: `lambda2` and `lambda1` are in the
    place of the first two. `l1` and `l2` are terms of the gradient, and enter ``n``.

    The same as ``keras.optimizers.Ftrl`` with its default ``learning_rate_power=-0.5``, whose
    ``l1_regularization_strength`` is `lambda1`. Its ``l2_regularization_strength`` and
    ``l2_shrinkage_regularization_strength`` are half of `lambda2` and of `l2_shrinkage`. The
    paper's algorithm has ``beta=1.0`` and ``initial_accumulator_value=0.0``.

    Source: McMahan et al. 2013, "Ad click prediction: a view from the trenches", algorithm 1.

    Examples
    --------
    >>> import numpy as np, fastopt
    >>> w = np.zeros(3)
    >>> state = fastopt.ftrl_init(w, initial_accumulator_value=0.0)
    >>> fastopt.ftrl_step(w, np.array([1.0, -4.0, 0.5]), state, lr=0.25, lambda1=1.0)
    >>> w
    array([0.    , 0.1875, 0.    ])
    """
    rule = (lr, lambda1, lambda2, beta, l2_shrinkage)
    return _step(FTRLState, params, grads, state, *rule, options)


@document_class(ftrl_step)
class FTRL(Optimizer):
    """FTRL-Proximal.

    Parameters
    ----------
    initial_accumulator_value : float, default 0.1, >= 0
        What ``n`` starts with; of the whole optimizer.

    Examples
    --------
    >>> import numpy as np, fastopt
    >>> w = np.zeros(3)
    >>> opt = fastopt.FTRL(w, lr=0.25, lambda1=1.0, initial_accumulator_value=0.0)
    >>> opt.step(np.array([1.0, -4.0, 0.5]))
    >>> w
    array([0.    , 0.1875, 0.    ])
    """

    rule = "ftrl"
    _never_negative = ("n",)

    def __init__(
        self,
        params: Params,
        *,
        state: FTRLState | None = None,
        lr: Scheduled = 1e-3,
        lambda1: Scheduled = 0.0,
        lambda2: Scheduled = 0.0,
        beta: Scheduled = 0.0,
        l2_shrinkage: Scheduled = 0.0,
        initial_accumulator_value: float = 0.1,
        **options: Unpack[OptimizerOptions],
    ) -> None:
        start = checked_start("FTRL", initial_accumulator_value)
        self._new_state = partial(ftrl_init, initial_accumulator_value=start)
        super().__init__(
            params,
            state=state,
            lr=lr,
            lambda1=lambda1,
            lambda2=lambda2,
            beta=beta,
            l2_shrinkage=l2_shrinkage,
            **options,
        )
