"""Adamax: Adam with the infinity norm."""

from __future__ import annotations

from dataclasses import dataclass
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

_step = _core.rules["adamax"].step


@dataclass(slots=True, eq=False)
class AdamaxState:
    """State of :func:`fastopt.adamax_step`."""

    step: Steps
    """Updates made so far; a tree with one count for each array where they differ."""
    m: LikeParams
    """Running mean of the gradients (first moment)."""
    u: LikeParams
    """Running maximum of the magnitudes of the gradients, which decays."""


@document_init
def adamax_init(params: Tree) -> AdamaxState:
    """Make the state of Adamax: ``step = 0``, ``m`` and ``u`` of zeros.

    Returns
    -------
    AdamaxState
        ``m`` and ``u`` have the structure, shapes, dtypes and memory order of `params`.

    Examples
    --------
    >>> import numpy as np, fastopt
    >>> fastopt.adamax_init([np.ones(2)])
    AdamaxState(step=0, m=[array([0., 0.])], u=[array([0., 0.])])
    """
    return AdamaxState(0, zeros_like("adamax_init", params), zeros_like("adamax_init", params))


def formula(T: Any, t: int, o: Any, p: Any, g: Any, m: Any, u: Any) -> tuple[Any, float]:
    inside, outside = (0.0, o.eps) if o.eps_outside_max else (o.eps, 0.0)

    def metric() -> Any:
        return u + T(outside)

    m[...] = T(o.beta1) * m + T(1 - o.beta1) * g
    u[...] = np.maximum(T(o.beta2) * u, np.abs(g) + T(inside))
    p -= T(o.lr / (1 - o.beta1**t)) * (m / metric())
    return metric, o.lr


@document_step
def adamax_step(
    params: Tree,
    grads: PartialTree,
    state: AdamaxState,
    *,
    lr: float = 2e-3,
    beta1: float = 0.9,
    beta2: float = 0.999,
    eps: float = 1e-8,
    eps_outside_max: bool = False,
    scaled_prox: bool = False,
    **options: Unpack[StepOptions],
) -> StepResult | MaybeNone:
    """Update `params` and `state` in place by one step of Adamax.

    ::

        m = beta1*m + (1 - beta1)*g
        u = max(beta2*u, abs(g) + eps)
        p -= lr/(1 - beta1**t) * m / u

        eps_outside_max: u = max(beta2*u, abs(g));  p -= lr/(1 - beta1**t) * m / (u + eps)

    where ``t`` is the count of the state after the step, so 1 in the first one.

    Parameters
    ----------
    state : AdamaxState
        From :func:`adamax_init`. ``m``, ``u`` and ``step`` are changed in place.
    lr : float, default 0.002, >= 0
        The learning rate.
    beta1, beta2 : float, defaults 0.9 and 0.999, in [0, 1)
        Decay rates of the running mean of the gradient and of the maximum of its magnitude.
    eps : float, default 1e-8, >= 0
        Keeps the denominator from zero.
    eps_outside_max : bool, default False
        Add `eps` to the maximum instead of the magnitudes that it is of, as Keras does.
    {SCALED_PROX}

    Notes
    -----
    The same as ``torch.optim.Adamax(betas=(beta1, beta2))`` (its ``weight_decay`` is `l2` here);
    with `eps_outside_max` as Keras, whose defaults are ``lr=0.001, eps=1e-7``. The paper's
    algorithm has no epsilon: that is ``eps=0``.

    Source: Kingma & Ba 2015, "Adam: a method for stochastic optimization", algorithm 2.

    Examples
    --------
    >>> import numpy as np, fastopt
    >>> w = np.ones(2)
    >>> state = fastopt.adamax_init(w)
    >>> fastopt.adamax_step(w, np.array([2.0, -3.0]), state, lr=0.25)
    >>> w
    array([0.75, 1.25])
    """
    rule = (lr, beta1, beta2, eps, eps_outside_max, scaled_prox)
    return _step(AdamaxState, params, grads, state, *rule, options)


@document_class(adamax_step)
class Adamax(Optimizer):
    """Adamax.

    Examples
    --------
    >>> import numpy as np, fastopt
    >>> w = np.ones(2)
    >>> opt = fastopt.Adamax(w, lr=0.25)
    >>> opt.step(np.array([2.0, -3.0]))
    >>> w
    array([0.75, 1.25])
    """

    rule = "adamax"
    _never_negative = ("u",)
    _new_state = staticmethod(adamax_init)

    def __init__(
        self,
        params: Params,
        *,
        state: AdamaxState | None = None,
        lr: Scheduled = 2e-3,
        beta1: Scheduled = 0.9,
        beta2: Scheduled = 0.999,
        eps: Scheduled = 1e-8,
        eps_outside_max: bool = False,
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
            eps_outside_max=eps_outside_max,
            scaled_prox=scaled_prox,
            **options,
        )
