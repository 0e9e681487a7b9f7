"""Adan: Adam with Nesterov's momentum, made of the differences of gradients."""

from __future__ import annotations

from dataclasses import dataclass
from math import sqrt
from typing import TYPE_CHECKING, Any

import numpy as np

from fastopt import _core
from fastopt.docstrings import document_class, document_init, document_step
from fastopt.optimizers import Optimizer, Scheduled
from fastopt.options import StepOptions
from fastopt.result import MaybeNone, StepResult
from fastopt.tree import LikeParams, PartialTree, Steps, Tree, zeros_like

if TYPE_CHECKING:
    from typing_extensions import Unpack

    from fastopt.optimizers import OptimizerOptions, Params

_step = _core.rules["adan"].step


@dataclass(slots=True, eq=False)
class AdanState:
    """State of :func:`fastopt.adan_step`."""

    step: Steps
    """Updates made so far; a tree with one count for each array where they differ."""
    m: LikeParams
    """Running mean of the gradients (first moment)."""
    d: LikeParams
    """Running mean of the differences of a gradient and the one before; the paper's ``v``."""
    n: LikeParams
    """Running mean of the squared gradients that look ahead (second moment)."""
    g_prev: LikeParams
    """The latest gradient."""


@document_init
def adan_init(params: Tree) -> AdanState:
    """Make the state of Adan: ``step = 0``, ``m``, ``d``, ``n`` and ``g_prev`` of zeros.

    Returns
    -------
    AdanState
        Its arrays have the structure, shapes, dtypes and memory order of `params`.

    Examples
    --------
    >>> import numpy as np, fastopt
    >>> fastopt.adan_init(np.ones(1))
    AdanState(step=0, m=array([0.]), d=array([0.]), n=array([0.]), g_prev=array([0.]))
    """
    m, d, n, g_prev = (zeros_like("adan_init", params) for _ in range(4))
    return AdanState(0, m, d, n, g_prev)


def formula(
    T: Any, t: int, o: Any, p: Any, g: Any, m: Any, d: Any, n: Any, g_prev: Any
) -> tuple[Any, float]:
    correction1 = correction2 = correction3 = 1.0
    if o.bias_correction:
        correction1, correction2, correction3 = (
            1 - beta**t for beta in (o.beta1, o.beta2, o.beta3)
        )

    def metric() -> Any:
        return np.sqrt(n) * T(1 / sqrt(correction3)) + T(o.eps)

    difference = np.zeros_like(g) if t == 1 else g - g_prev
    g_ahead = g + T(o.beta2) * difference
    m[...] = T(o.beta1) * m + T(1 - o.beta1) * g
    d[...] = T(o.beta2) * d + T(1 - o.beta2) * difference
    n[...] = T(o.beta3) * n + T(1 - o.beta3) * (g_ahead * g_ahead)
    g_prev[...] = g
    p -= T(o.lr) * ((T(1 / correction1) * m + T(o.beta2 / correction2) * d) / metric())
    return metric, o.lr


@document_step
def adan_step(
    params: Tree,
    grads: PartialTree,
    state: AdanState,
    *,
    lr: float = 1e-3,
    beta1: float = 0.98,
    beta2: float = 0.92,
    beta3: float = 0.99,
    eps: float = 1e-8,
    scaled_prox: bool = False,
    bias_correction: bool = True,
    **options: Unpack[StepOptions],
) -> StepResult | MaybeNone:
    """Update `params` and `state` in place by one step of Adan.

    ::

        difference = g - g_prev                     (0 where t is 1)
        m = beta1*m + (1 - beta1)*g
        d = beta2*d + (1 - beta2)*difference
        n = beta3*n + (1 - beta3)*(g + beta2*difference)**2
        g_prev = g
        ahead = m/(1 - beta1**t) + beta2 * d/(1 - beta2**t)
        p -= lr * ahead / (sqrt(n/(1 - beta3**t)) + eps)

        bias_correction=False: p -= lr * (m + beta2*d) / (sqrt(n) + eps)

    where ``t`` is the count of the state after the step, so 1 in the first one.

    Parameters
    ----------
    state : AdanState
        From :func:`adan_init`. ``m``, ``d``, ``n``, ``g_prev`` and ``step`` are changed in place.
    lr : float, default 0.001, >= 0
        The learning rate.
    beta1, beta2 : float, defaults 0.98 and 0.92, in [0, 1)
        Decay rates of the running means of the gradient and of the differences.
    beta3 : float, default 0.99, in [0, 1)
        Decay rate of the running mean of the square.
    eps : float, default 1e-8, >= 0
        Keeps the denominator from zero.
    {SCALED_PROX}
    bias_correction : bool, default True
        Divide the means by ``1 - beta1**t`` and so on. The paper does not, where ``m`` starts with
        the first gradient and ``n`` with its square.

    Notes
    -----
    The betas are those of the code of the paper's authors; in the paper they are 1 less these:
    0.02, 0.08 and 0.01. It is the same as that code and ``timm.optim.Adan``, and their
    ``no_prox=True`` is `weight_decay` here. By default they divide by ``1 + lr*w`` after the rule,
    as the paper does: that is ``weight_decay=w/(1 + lr*w), decay_after=True``. ``optax.adan`` has
    ``1 - b2`` in place of the factor `beta2`, and so looks ahead by 0.08 of a difference where the
    paper does by 0.92; its ``eps_root`` is 1e-8.

    Source: Xie et al. 2022, "Adan: adaptive Nesterov momentum algorithm for faster optimizing deep
    models", algorithm 1.

    Examples
    --------
    >>> import numpy as np, fastopt
    >>> w = np.ones(2)
    >>> state = fastopt.adan_init(w)
    >>> fastopt.adan_step(w, np.array([2.0, -3.0]), state, lr=0.25)
    >>> w.round(4)
    array([0.75, 1.25])
    """
    rule = (lr, beta1, beta2, beta3, eps, scaled_prox, bias_correction)
    return _step(AdanState, params, grads, state, *rule, options)


@document_class(adan_step)
class Adan(Optimizer):
    """Adan.

    Examples
    --------
    >>> import numpy as np, fastopt
    >>> w = np.ones(2)
    >>> opt = fastopt.Adan(w, lr=0.25)
    >>> opt.step(np.array([2.0, -3.0]))
    >>> w.round(4)
    array([0.75, 1.25])
    """

    rule = "adan"
    _never_negative = ("n",)
    _new_state = staticmethod(adan_init)

    def __init__(
        self,
        params: Params,
        *,
        state: AdanState | None = None,
        lr: Scheduled = 1e-3,
        beta1: Scheduled = 0.98,
        beta2: Scheduled = 0.92,
        beta3: Scheduled = 0.99,
        eps: Scheduled = 1e-8,
        scaled_prox: bool = False,
        bias_correction: bool = True,
        **options: Unpack[OptimizerOptions],
    ) -> None:
        super().__init__(
            params,
            state=state,
            lr=lr,
            beta1=beta1,
            beta2=beta2,
            beta3=beta3,
            eps=eps,
            scaled_prox=scaled_prox,
            bias_correction=bias_correction,
            **options,
        )
