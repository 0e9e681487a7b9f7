"""LAMB: Adam with steps in proportion to the norm of the array that they change."""

from __future__ import annotations

from dataclasses import dataclass
from math import inf, sqrt
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

_step = _core.rules["lamb"].step


@dataclass(slots=True, eq=False)
class LAMBState:
    """State of :func:`fastopt.lamb_step`."""

    step: Steps
    """Updates made so far; a tree with one count for each array where they differ."""
    m: LikeParams
    """Running mean of the gradients (first moment)."""
    v: LikeParams
    """Running mean of the squared gradients (second moment)."""


@document_init
def lamb_init(params: Tree) -> LAMBState:
    """Make the state of LAMB: ``step = 0``, ``m`` and ``v`` of zeros.

    Returns
    -------
    LAMBState
        ``m`` and ``v`` have the structure, shapes, dtypes and memory order of `params`.

    Examples
    --------
    >>> import numpy as np, fastopt
    >>> fastopt.lamb_init([np.ones(2)])
    LAMBState(step=0, m=[array([0., 0.])], v=[array([0., 0.])])
    """
    return LAMBState(0, zeros_like("lamb_init", params), zeros_like("lamb_init", params))


def formula(T: Any, t: int, o: Any, p: Any, g: Any, m: Any, v: Any) -> tuple[Any, float]:
    inv_correction1 = 1 / (1 - o.beta1**t) if o.bias_correction else 1.0
    inv_sqrt_correction2 = 1 / sqrt(1 - o.beta2**t) if o.bias_correction else 1.0

    def root() -> Any:
        return np.sqrt(v) * T(inv_sqrt_correction2) + T(o.eps)

    def metric() -> Any:
        with np.errstate(all="ignore"):  # the ratio may be out of range
            return root() / T(ratio)

    m[...] = T(o.beta1) * m + T(1 - o.beta1) * g
    v[...] = T(o.beta2) * v + T(1 - o.beta2) * (g * g)
    u = T(inv_correction1) * (m / root()) + T(o.trust_decay) * p
    of_p, of_u = sqrt(o.total(np.square, p)), sqrt(o.total(np.square, u))
    inv_of_u, most = 1 / of_u if of_u > 0 else inf, float(np.finfo(T).max)
    adapts = o.always_adapt or o.trust_decay != 0
    in_range = of_p > 0 and inv_of_u > 0 and o.lr * of_p <= most and inv_of_u <= most
    ratio, unit, length = of_p * inv_of_u, inv_of_u, o.lr * of_p
    if not (adapts and in_range) or (o.trust_clip and ratio > 1):
        ratio, unit, length = 1.0, 1.0, o.lr
    p -= T(length) * (T(unit) * u)
    return metric, o.lr


@document_step
def lamb_step(
    params: Tree,
    grads: PartialTree,
    state: LAMBState,
    *,
    lr: float = 1e-3,
    beta1: float = 0.9,
    beta2: float = 0.999,
    eps: float = 1e-6,
    trust_decay: float = 1e-2,
    bias_correction: bool = True,
    always_adapt: bool = True,
    trust_clip: bool = False,
    scaled_prox: bool = False,
    **options: Unpack[StepOptions],
) -> StepResult | MaybeNone:
    """Update `params` and `state` in place by one step of LAMB.

    ::

        m = beta1*m + (1 - beta1)*g
        v = beta2*v + (1 - beta2)*g**2
        u = m/(1 - beta1**t) / (sqrt(v)/sqrt(1 - beta2**t) + eps) + trust_decay*p
        ratio = norm(p)/norm(u)                     (1 where a norm is 0, NaN or too large)
        p -= lr*ratio * u

        trust_clip: ratio = min(ratio, 1)
        without bias_correction: u = m / (sqrt(v) + eps) + trust_decay*p

    where ``t`` is the count of the state after the step, so 1 in the first one, and norms are those
    of each array by itself: with `update_mask`, of what is updated.

    Parameters
    ----------
    state : LAMBState
        From :func:`lamb_init`. ``m``, ``v`` and ``step`` are changed in place.
    lr : float, default 0.001, >= 0
        The learning rate: how long a step is, as a share of the norm of the array.
    beta1, beta2 : float, defaults 0.9 and 0.999, in [0, 1)
        Decay rates of the running means of the gradient and of its square.
    eps : float, default 1e-6, >= 0
        Keeps the denominator from zero.
    trust_decay : float, default 0.01, >= 0
        Weight decay within the direction whose norm is taken: what the paper, timm and optax call
        ``weight_decay``. (That of all steps, `weight_decay`, comes before the rule.)
    bias_correction : bool, default True
        Divide the means by ``1 - beta1**t`` and ``1 - beta2**t``.
    always_adapt : bool, default True
        With False the ratio is 1 where `trust_decay` is 0.
    trust_clip : bool, default False
        Let the ratio be 1 at most.
    {SCALED_PROX}

    Notes
    -----
    ``optax.lamb(weight_decay=w)`` is ``lamb_step(..., trust_decay=w)``, and ``w`` is 0 there by
    default; ``timm.optim.Lamb`` is ``lamb_step(..., always_adapt=False, clip_norm=1.0,
    clip_eps=0.0)``; Keras' ``Lamb`` is ``lamb_step(..., trust_decay=0.0)``, its ``weight_decay``
    is `weight_decay` here, and its default ``epsilon`` is 1e-7.

    The memory is gone over twice, first for the norms. Their squares are added up in double
    precision in a fixed order: in float64, norms below 1e-154 count as 0 and those above 1e154 as
    out of range. With `scaled_prox` the minimum is that of the L1 penalty if `trust_decay` is 0.

    Biases and scales of normalisation are often left out of decay and ratio: give them a group with
    ``trust_decay=0.0, always_adapt=False``.

    Source: You et al. 2020, "Large batch optimization for deep learning: training BERT in 76
    minutes", algorithm 2.

    Examples
    --------
    >>> import numpy as np, fastopt
    >>> w = np.array([3.0, 4.0])
    >>> state = fastopt.lamb_init(w)
    >>> fastopt.lamb_step(w, np.array([2.0, -3.0]), state, lr=0.1, eps=0.0, trust_decay=0.0)
    >>> w.round(3)
    array([2.646, 4.354])
    """
    rule = (
        *(lr, beta1, beta2, eps, trust_decay, bias_correction),
        *(always_adapt, trust_clip, scaled_prox),
    )
    return _step(LAMBState, params, grads, state, *rule, options)


@document_class(lamb_step)
class LAMB(Optimizer):
    """LAMB.

    Examples
    --------
    >>> import numpy as np, fastopt
    >>> w = np.array([3.0, 4.0])
    >>> opt = fastopt.LAMB(w, lr=0.1, eps=0.0, trust_decay=0.0)
    >>> opt.step(np.array([2.0, -3.0]))
    >>> w.round(3)
    array([2.646, 4.354])
    """

    rule = "lamb"
    _never_negative = ("v",)
    _new_state = staticmethod(lamb_init)

    def __init__(
        self,
        params: Params,
        *,
        state: LAMBState | None = None,
        lr: Scheduled = 1e-3,
        beta1: Scheduled = 0.9,
        beta2: Scheduled = 0.999,
        eps: Scheduled = 1e-6,
        trust_decay: Scheduled = 1e-2,
        bias_correction: bool = True,
        always_adapt: bool = True,
        trust_clip: bool = False,
        scaled_prox: bool = False,
        **options: Unpack[OptimizerOptions],
    ) -> None:
        super().__init__(
            params,
            state=state,
            lr=lr,
            beta1=beta1,
            beta2=beta2,
            eps=eps,
            trust_decay=trust_decay,
            bias_correction=bias_correction,
            always_adapt=always_adapt,
            trust_clip=trust_clip,
            scaled_prox=scaled_prox,
            **options,
        )
