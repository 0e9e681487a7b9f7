"""RAdam: Adam whose steps are rectified while little is known of the variance."""

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

_step = _core.rules["radam"].step


@dataclass(slots=True, eq=False)
class RAdamState:
    """State of :func:`fastopt.radam_step`."""

    step: Steps
    """Updates made so far; a tree with one count for each array where they differ."""
    m: LikeParams
    """Running mean of the gradients (first moment)."""
    v: LikeParams
    """Running mean of the squared gradients (second moment)."""


@document_init
def radam_init(params: Tree) -> RAdamState:
    """Make the state of RAdam: ``step = 0``, ``m`` and ``v`` of zeros.

    Returns
    -------
    RAdamState
        ``m`` and ``v`` have the structure, shapes, dtypes and memory order of `params`.

    Examples
    --------
    >>> import numpy as np, fastopt
    >>> fastopt.radam_init([np.ones(2)])
    RAdamState(step=0, m=[array([0., 0.])], v=[array([0., 0.])])
    """
    return RAdamState(0, zeros_like("radam_init", params), zeros_like("radam_init", params))


def formula(T: Any, t: int, o: Any, p: Any, g: Any, m: Any, v: Any) -> tuple[Any, float]:
    correction1, correction2 = 1 - o.beta1**t, 1 - o.beta2**t
    most = 2 / (1 - o.beta2) - 1
    length = most - 2 * t * o.beta2**t / correction2
    metric_lr, inv_sqrt_correction2 = o.lr, 1.0
    adapts = length > 5
    if adapts:
        metric_lr *= sqrt((length - 4) * (length - 2) * most / ((most - 4) * (most - 2) * length))
        if o.epsilon_hat:
            metric_lr *= sqrt(correction2)
        else:
            inv_sqrt_correction2 = 1 / sqrt(correction2)

    def metric() -> Any:
        return np.sqrt(v) * T(inv_sqrt_correction2) + T(o.eps) if adapts else np.ones_like(v)

    m[...] = T(o.beta1) * m + T(1 - o.beta1) * g
    v[...] = T(o.beta2) * v + T(1 - o.beta2) * (g * g)
    p -= T(metric_lr / correction1) * (m / metric())
    return metric, metric_lr


@document_step
def radam_step(
    params: Tree,
    grads: PartialTree,
    state: RAdamState,
    *,
    lr: float = 1e-3,
    beta1: float = 0.9,
    beta2: float = 0.999,
    eps: float = 1e-8,
    epsilon_hat: bool = True,
    scaled_prox: bool = False,
    **options: Unpack[StepOptions],
) -> StepResult | MaybeNone:
    """Update `params` and `state` in place by one step of RAdam.

    ::

        m = beta1*m + (1 - beta1)*g
        v = beta2*v + (1 - beta2)*g**2
        most = 2/(1 - beta2) - 1
        length = most - 2*t*beta2**t/(1 - beta2**t)

        if length > 5:
            r = sqrt((length - 4)*(length - 2)*most / ((most - 4)*(most - 2)*length))
            p -= lr*r * sqrt(1 - beta2**t)/(1 - beta1**t) * m / (sqrt(v) + eps)
        else:
            p -= lr/(1 - beta1**t) * m

        epsilon_hat=False: p -= lr*r/(1 - beta1**t) * m / (sqrt(v)/sqrt(1 - beta2**t) + eps)

    where ``t`` is the count of the state after the step, so 1 in the first one. With the default
    `beta2` the first five steps are of the second kind.

    Parameters
    ----------
    state : RAdamState
        From :func:`radam_init`. ``m``, ``v`` and ``step`` are changed in place.
    lr : float, default 0.001, >= 0
        The learning rate.
    beta1, beta2 : float, defaults 0.9 and 0.999, in [0, 1)
        Decay rates of the running means of the gradient and of its square. With a `beta2` of up to
        2/3 no step is rectified.
    eps : float, default 1e-8, >= 0
        Keeps the denominator from zero.
    epsilon_hat : bool, default True
        Add `eps` to the uncorrected root, as torch does; optax adds it to the corrected one.
    {SCALED_PROX}

    Notes
    -----
    The same as ``torch.optim.RAdam(betas=(beta1, beta2))`` (its ``weight_decay`` is `l2` here, and
    `weight_decay` with ``decoupled_weight_decay=True``); with ``epsilon_hat=False`` as
    ``optax.radam``, whose ``threshold`` is 5. thinc's counts one step ahead: ``state.step = 1``
    before the first one. The paper has no epsilon and rectifies where ``length`` is above 4.
    Where a step does not divide, the metric of `scaled_prox` is 1.

    Source: Liu et al. 2020, "On the variance of the adaptive learning rate and beyond",
    algorithm 2.

    Examples
    --------
    >>> import numpy as np, fastopt
    >>> w = np.ones(2)
    >>> state = fastopt.radam_init(w)
    >>> fastopt.radam_step(w, np.array([2.0, -3.0]), state, lr=0.25)
    >>> w
    array([0.5 , 1.75])
    """
    rule = (lr, beta1, beta2, eps, epsilon_hat, scaled_prox)
    return _step(RAdamState, params, grads, state, *rule, options)


@document_class(radam_step)
class RAdam(Optimizer):
    """RAdam.

    Examples
    --------
    >>> import numpy as np, fastopt
    >>> w = np.ones(2)
    >>> opt = fastopt.RAdam(w, lr=0.25)
    >>> opt.step(np.array([2.0, -3.0]))
    >>> w
    array([0.5 , 1.75])
    """

    rule = "radam"
    _never_negative = ("v",)
    _new_state = staticmethod(radam_init)

    def __init__(
        self,
        params: Params,
        *,
        state: RAdamState | None = None,
        lr: Scheduled = 1e-3,
        beta1: Scheduled = 0.9,
        beta2: Scheduled = 0.999,
        eps: Scheduled = 1e-8,
        epsilon_hat: bool = True,
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
            epsilon_hat=epsilon_hat,
            scaled_prox=scaled_prox,
            **options,
        )
