"""NAdam: Adam that looks ahead, by a momentum that warms up."""

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
from fastopt.rules.cautious import checked
from fastopt.tree import LikeParams, PartialTree, Steps, Tree, number_for_each, zeros_like

if TYPE_CHECKING:
    from typing_extensions import Unpack

    from fastopt.optimizers import OptimizerOptions, Params

_step = _core.rules["nadam"].step
_cautious_step = _core.rules["cautious_nadam"].step


@dataclass(slots=True, eq=False)
class NAdamState:
    """State of :func:`fastopt.nadam_step`."""

    step: Steps
    """Updates made so far; a tree with one count for each array where they differ."""
    m: LikeParams
    """Running mean of the gradients (first moment)."""
    v: LikeParams
    """Running mean of the squared gradients (second moment)."""
    mu_product: LikeParams
    """The product of all momenta so far: for each array one number, an array of shape ``()``."""


@document_init
def nadam_init(params: Tree) -> NAdamState:
    """Make the state of NAdam: ``step = 0``, ``m`` and ``v`` of zeros, ``mu_product`` of ones.

    Returns
    -------
    NAdamState
        ``m`` and ``v`` have the structure, shapes, dtypes and memory order of `params`;
        ``mu_product`` has for each array one of shape ``()`` and dtype float64.

    Examples
    --------
    >>> import numpy as np, fastopt
    >>> fastopt.nadam_init([np.ones(2)])
    NAdamState(step=0, m=[array([0., 0.])], v=[array([0., 0.])], mu_product=[array(1.)])
    """
    m, v = (zeros_like("nadam_init", params) for _ in range(2))
    return NAdamState(0, m, v, number_for_each(params, 1.0))


def update(T: Any, t: int, o: Any, g: Any, m: Any, v: Any, mu_product: Any) -> Any:
    def momentum(step: int) -> float:
        warmth = 1 - 0.5 * 0.96 ** (step * o.momentum_decay) if o.warm_up else 1.0
        return float(o.beta1 * warmth)

    now, ahead = momentum(t), momentum(t + 1)
    product = float(mu_product) * now
    of_grad = o.lr * (1 - now) / (1 - product)
    of_mean = o.lr * ahead / (1 - product * ahead)

    def metric() -> Any:
        return np.sqrt(v) * T(1 / sqrt(1 - o.beta2**t)) + T(o.eps)

    m[...] = T(o.beta1) * m + T(1 - o.beta1) * g
    v[...] = T(o.beta2) * v + T(1 - o.beta2) * (g * g)
    mu_product[...] = product
    return (T(of_grad) * g + T(of_mean) * m) / metric(), metric, o.lr


def formula(T: Any, t: int, o: Any, p: Any, g: Any, m: Any, v: Any, mu_product: Any) -> Any:
    u, metric, metric_lr = update(T, t, o, g, m, v, mu_product)
    p -= u
    return metric, metric_lr


@document_step
def nadam_step(
    params: Tree,
    grads: PartialTree,
    state: NAdamState,
    *,
    lr: float = 2e-3,
    beta1: float = 0.9,
    beta2: float = 0.999,
    eps: float = 1e-8,
    momentum_decay: float = 4e-3,
    warm_up: bool = True,
    scaled_prox: bool = False,
    cautious: bool = False,
    **options: Unpack[StepOptions],
) -> StepResult | MaybeNone:
    """Update `params` and `state` in place by one step of NAdam.

    ::

        mu(t) = beta1*(1 - 0.5*0.96**(t*momentum_decay))    warm_up=False: beta1
        mu_product *= mu(t)

        m = beta1*m + (1 - beta1)*g
        v = beta2*v + (1 - beta2)*g**2
        ahead = (1 - mu(t))/(1 - mu_product) * g + mu(t+1)/(1 - mu_product*mu(t+1)) * m
        p -= lr * ahead / (sqrt(v/(1 - beta2**t)) + eps)

    where ``t`` is the count of the state after the step, so 1 in the first one, and ``mu_product``
    a number of its own for each array.

    Parameters
    ----------
    state : NAdamState
        From :func:`nadam_init`. ``m``, ``v``, ``mu_product`` and ``step`` are changed in place.
    lr : float, default 0.002, >= 0
        The learning rate.
    beta1, beta2 : float, defaults 0.9 and 0.999, in [0, 1)
        Decay rates of the running means of the gradient and of its square.
    eps : float, default 1e-8, >= 0
        Keeps the denominator from zero.
    momentum_decay : float, default 0.004, >= 0
        How fast the momentum of the look ahead grows from ``beta1/2`` to `beta1`.
    warm_up : bool, default True
        Let it grow; with False it is `beta1` from the start.
    {SCALED_PROX}
    cautious : bool, default False
        Change an element only where its step agrees in sign with its gradient, as
        :func:`cautious_nadam_step`, which messages name then.

    Notes
    -----
    The same as ``torch.optim.NAdam(betas=(beta1, beta2))`` (its ``weight_decay`` is `l2` here, and
    `weight_decay` with ``decoupled_weight_decay=True``), which keeps ``mu_product`` in float32
    unless float64 is torch's default dtype; with ``momentum_decay=1`` as
    ``keras.optimizers.Nadam``, and with ``warm_up=False`` as ``optax.nadam``.

    The threshold of `scaled_prox` takes the momentum to stand still: while that grows, it is off
    by what it grows in a step, less than 0.0001 of it with the default `momentum_decay`.

    Source: Dozat 2016, "Incorporating Nesterov momentum into Adam", algorithm 2; the schedule of
    the momentum, with 0.96 and 0.004, is that of its experiments.

    Examples
    --------
    >>> import numpy as np, fastopt
    >>> w = np.ones(2)
    >>> state = fastopt.nadam_init(w)
    >>> fastopt.nadam_step(w, np.array([2.0, -3.0]), state, lr=0.25, warm_up=False)
    >>> w.round(4)
    array([0.6316, 1.3684])
    """
    rule = (lr, beta1, beta2, eps, momentum_decay, warm_up, scaled_prox)
    cautious = cautious is not False and checked("nadam_step", cautious)
    step = _cautious_step if cautious else _step
    return step(NAdamState, params, grads, state, *rule, options)


@document_class(nadam_step)
class NAdam(Optimizer):
    """NAdam.

    Parameters
    ----------
    cautious : bool, default False
        As in :func:`nadam_step`. The same for all groups.

    Examples
    --------
    >>> import numpy as np, fastopt
    >>> w = np.ones(2)
    >>> opt = fastopt.NAdam(w, lr=0.25, warm_up=False)
    >>> opt.step(np.array([2.0, -3.0]))
    >>> w.round(4)
    array([0.6316, 1.3684])
    """

    rule = "nadam"
    _never_negative = ("v", "mu_product")
    _new_state = staticmethod(nadam_init)

    def __init__(
        self,
        params: Params,
        *,
        state: NAdamState | None = None,
        lr: Scheduled = 2e-3,
        beta1: Scheduled = 0.9,
        beta2: Scheduled = 0.999,
        eps: Scheduled = 1e-8,
        momentum_decay: Scheduled = 4e-3,
        warm_up: bool = True,
        scaled_prox: bool = False,
        cautious: bool = False,
        **options: Unpack[OptimizerOptions],
    ) -> None:
        if checked(type(self).__name__, cautious):
            self.rule = "cautious_nadam"
        super().__init__(
            params,
            state=state,
            lr=lr,
            beta1=beta1,
            beta2=beta2,
            eps=eps,
            momentum_decay=momentum_decay,
            warm_up=warm_up,
            scaled_prox=scaled_prox,
            **options,
        )
