"""AdaBelief: Adam that divides by how far gradients are from their mean."""

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

_step = _core.rules["adabelief"].step


@dataclass(slots=True, eq=False)
class AdaBeliefState:
    """State of :func:`fastopt.adabelief_step`."""

    step: Steps
    """Updates made so far; a tree with one count for each array where they differ."""
    m: LikeParams
    """Running mean of the gradients (first moment)."""
    s: LikeParams
    """Running mean of the squared distance of gradients from `m`, with `eps` added at each step."""


@document_init
def adabelief_init(params: Tree) -> AdaBeliefState:
    """Make the state of AdaBelief: ``step = 0``, ``m`` and ``s`` of zeros.

    Returns
    -------
    AdaBeliefState
        ``m`` and ``s`` have the structure, shapes, dtypes and memory order of `params`.

    Examples
    --------
    >>> import numpy as np, fastopt
    >>> fastopt.adabelief_init([np.ones(2)])
    AdaBeliefState(step=0, m=[array([0., 0.])], s=[array([0., 0.])])
    """
    m, s = (zeros_like("adabelief_init", params) for _ in range(2))
    return AdaBeliefState(0, m, s)


def formula(T: Any, t: int, o: Any, p: Any, g: Any, m: Any, s: Any) -> tuple[Any, float]:
    correction1, correction2 = 1 - o.beta1**t, 1 - o.beta2**t

    def metric() -> Any:
        return np.sqrt(s) * T(1 / sqrt(correction2)) + T(o.eps)

    m[...] = T(o.beta1) * m + T(1 - o.beta1) * g
    surprise = g - m
    s[...] = T(o.beta2) * s + T(1 - o.beta2) * (surprise * surprise) + T(o.eps)
    p -= T(o.lr / correction1) * (m / metric())
    return metric, o.lr


@document_step
def adabelief_step(
    params: Tree,
    grads: PartialTree,
    state: AdaBeliefState,
    *,
    lr: float = 1e-3,
    beta1: float = 0.9,
    beta2: float = 0.999,
    eps: float = 1e-16,
    scaled_prox: bool = False,
    **options: Unpack[StepOptions],
) -> StepResult | MaybeNone:
    """Update `params` and `state` in place by one step of AdaBelief.

    ::

        m = beta1*m + (1 - beta1)*g
        s = beta2*s + (1 - beta2)*(g - m)**2 + eps
        p -= lr * m/(1 - beta1**t) / (sqrt(s/(1 - beta2**t)) + eps)

    where ``t`` is the count of the state after the step, so 1 in the first one.

    Parameters
    ----------
    state : AdaBeliefState
        From :func:`adabelief_init`. ``m``, ``s`` and ``step`` are changed in place.
    lr : float, default 0.001, >= 0
        The learning rate.
    beta1, beta2 : float, defaults 0.9 and 0.999, in [0, 1)
        Decay rates of the running means of the gradient and of its squared distance from that.
    eps : float, default 1e-16, >= 0
        Keeps the denominator from zero. It is also added to ``s`` at each step, and so adds up
        there to ``eps/(1 - beta2)``.
    {SCALED_PROX}

    Notes
    -----
    The same as ``optax.adabelief(eps=eps, eps_root=eps)`` and as ``adabelief_pytorch.AdaBelief``
    and ``timm.optim.AdaBelief`` with ``rectify=False``. Where gradients are constant, ``s`` is
    small and steps are long: the smaller `eps`, the longer.

    Source: Zhuang et al. 2020, "AdaBelief optimizer: adapting stepsizes by the belief in observed
    gradients", algorithm 2.

    Examples
    --------
    >>> import numpy as np, fastopt
    >>> w = np.ones(2)
    >>> state = fastopt.adabelief_init(w)
    >>> fastopt.adabelief_step(w, np.array([2.0, -3.0]), state, lr=0.25)
    >>> w.round(4)
    array([0.7222, 1.2778])
    """
    rule = (lr, beta1, beta2, eps, scaled_prox)
    return _step(AdaBeliefState, params, grads, state, *rule, options)


@document_class(adabelief_step)
class AdaBelief(Optimizer):
    """AdaBelief.

    Examples
    --------
    >>> import numpy as np, fastopt
    >>> w = np.ones(2)
    >>> opt = fastopt.AdaBelief(w, lr=0.25)
    >>> opt.step(np.array([2.0, -3.0]))
    >>> w.round(4)
    array([0.7222, 1.2778])
    """

    rule = "adabelief"
    _never_negative = ("s",)
    _new_state = staticmethod(adabelief_init)

    def __init__(
        self,
        params: Params,
        *,
        state: AdaBeliefState | None = None,
        lr: Scheduled = 1e-3,
        beta1: Scheduled = 0.9,
        beta2: Scheduled = 0.999,
        eps: Scheduled = 1e-16,
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
            scaled_prox=scaled_prox,
            **options,
        )
