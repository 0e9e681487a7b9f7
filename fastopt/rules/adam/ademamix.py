"""AdEMAMix: Adam with a second mean of the gradients, which remembers longer."""

from __future__ import annotations

from dataclasses import dataclass
from math import exp, inf, log, sqrt
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

_step = _core.rules["ademamix"].step


@dataclass(slots=True, eq=False)
class AdEMAMixState:
    """State of :func:`fastopt.ademamix_step`."""

    step: Steps
    """Updates made so far; a tree with one count for each array where they differ."""
    m: LikeParams
    """Running mean of the gradients (first moment)."""
    m_slow: LikeParams
    """Running mean of the gradients that remembers longer."""
    v: LikeParams
    """Running mean of the squared gradients (second moment)."""


@document_init
def ademamix_init(params: Tree) -> AdEMAMixState:
    """Make the state of AdEMAMix: ``step = 0``, ``m``, ``m_slow`` and ``v`` of zeros.

    Returns
    -------
    AdEMAMixState
        ``m``, ``m_slow`` and ``v`` have the structure, shapes, dtypes and memory order of `params`.

    Examples
    --------
    >>> import numpy as np, fastopt
    >>> fastopt.ademamix_init([np.ones(2)])
    AdEMAMixState(step=0, m=[array([0., 0.])], m_slow=[array([0., 0.])], v=[array([0., 0.])])
    """
    m, m_slow, v = (zeros_like("ademamix_init", params) for _ in range(3))
    return AdEMAMixState(0, m, m_slow, v)


def _decay(o: Any, t: int) -> float:
    """Return the decay rate of the slow mean, whose memory grows evenly at first."""
    if t >= o.beta3_warmup:
        return float(o.beta3)
    share = t / o.beta3_warmup
    start, end = (log(beta) if beta > 0 else -inf for beta in (o.beta1, o.beta3))
    inverse = (1 - share) / start + share / end
    return min(exp(1 / inverse), o.beta3) if inverse != 0 else 0.0


def formula(
    T: Any, t: int, o: Any, p: Any, g: Any, m: Any, m_slow: Any, v: Any
) -> tuple[Any, float]:
    correction1, correction2 = 1 - o.beta1**t, 1 - o.beta2**t
    beta3 = _decay(o, t)
    alpha = o.alpha * (t / o.alpha_warmup) if t < o.alpha_warmup else o.alpha

    def metric() -> Any:
        return np.sqrt(v) * T(1 / sqrt(correction2)) + T(o.eps)

    m[...] = T(o.beta1) * m + T(1 - o.beta1) * g
    m_slow[...] = T(beta3) * m_slow + T(1 - beta3) * g
    v[...] = T(o.beta2) * v + T(1 - o.beta2) * (g * g)
    p -= T(o.lr) * ((T(1 / correction1) * m + T(alpha) * m_slow) / metric())
    return metric, o.lr * (1 + alpha * (1 - beta3**t))  # a gradient counts in both means


@document_step
def ademamix_step(
    params: Tree,
    grads: PartialTree,
    state: AdEMAMixState,
    *,
    lr: float = 1e-3,
    beta1: float = 0.9,
    beta2: float = 0.999,
    beta3: float = 0.9999,
    eps: float = 1e-8,
    alpha: float = 5.0,
    alpha_warmup: float = 0.0,
    beta3_warmup: float = 0.0,
    scaled_prox: bool = False,
    **options: Unpack[StepOptions],
) -> StepResult | MaybeNone:
    """Update `params` and `state` in place by one step of AdEMAMix.

    ::

        m      = beta1*m + (1 - beta1)*g
        m_slow = beta3*m_slow + (1 - beta3)*g
        v      = beta2*v + (1 - beta2)*g**2
        p -= lr * (m/(1 - beta1**t) + alpha*m_slow) / (sqrt(v/(1 - beta2**t)) + eps)

    where ``t`` is the count of the state after the step, so 1 in the first one. The start of
    ``m_slow`` at zero is not corrected.

    Parameters
    ----------
    state : AdEMAMixState
        From :func:`ademamix_init`. ``m``, ``m_slow``, ``v`` and ``step`` are changed in place.
    lr : float, default 0.001, >= 0
        The learning rate.
    beta1, beta2 : float, defaults 0.9 and 0.999, in [0, 1)
        Decay rates of the running means of the gradient and of its square.
    beta3 : float, default 0.9999, in [0, 1)
        Decay rate of the slow mean of the gradient.
    eps : float, default 1e-8, >= 0
        Keeps the denominator from zero.
    alpha : float, default 5.0, >= 0
        The weight of the slow mean; with 0 it is Adam.
    alpha_warmup, beta3_warmup : float, default 0.0, >= 0
        Steps over which `alpha` grows from 0, and the memory of the slow mean from that of `beta1`;
        with 0 they are what they are from the start. The paper takes the whole training.
    {SCALED_PROX}

    Notes
    -----
    The same as ``optax.contrib.ademamix``, bitsandbytes' and the paper's own code, all of which
    have `weight_decay` decoupled, as it is here. In the last ``alpha`` is 2 by default, and `beta3`
    grows a little otherwise, by an epsilon within its logarithm. The metric of `scaled_prox` is
    that of Adam, with the learning rate ``lr*(1 + alpha*(1 - beta3**t))``, since a gradient counts
    in both means.

    Source: Pagliardini, Ablin & Grangier 2024, "The AdEMAMix optimizer: better, faster, older",
    algorithm 1.

    Examples
    --------
    >>> import numpy as np, fastopt
    >>> w = np.ones(2)
    >>> state = fastopt.ademamix_init(w)
    >>> fastopt.ademamix_step(w, np.array([2.0, -3.0]), state, lr=0.25)
    >>> w.round(4)
    array([0.7499, 1.2501])
    """
    rule = (lr, beta1, beta2, beta3, eps, alpha, alpha_warmup, beta3_warmup, scaled_prox)
    return _step(AdEMAMixState, params, grads, state, *rule, options)


@document_class(ademamix_step)
class AdEMAMix(Optimizer):
    """AdEMAMix.

    Examples
    --------
    >>> import numpy as np, fastopt
    >>> w = np.ones(2)
    >>> opt = fastopt.AdEMAMix(w, lr=0.25)
    >>> opt.step(np.array([2.0, -3.0]))
    >>> w.round(4)
    array([0.7499, 1.2501])
    """

    rule = "ademamix"
    _never_negative = ("v",)
    _new_state = staticmethod(ademamix_init)

    def __init__(
        self,
        params: Params,
        *,
        state: AdEMAMixState | None = None,
        lr: Scheduled = 1e-3,
        beta1: Scheduled = 0.9,
        beta2: Scheduled = 0.999,
        beta3: Scheduled = 0.9999,
        eps: Scheduled = 1e-8,
        alpha: Scheduled = 5.0,
        alpha_warmup: Scheduled = 0.0,
        beta3_warmup: Scheduled = 0.0,
        scaled_prox: bool = False,
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
            alpha=alpha,
            alpha_warmup=alpha_warmup,
            beta3_warmup=beta3_warmup,
            scaled_prox=scaled_prox,
            **options,
        )
