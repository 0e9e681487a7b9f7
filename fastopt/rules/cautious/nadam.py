"""Cautious NAdam: NAdam that changes an element where update and gradient agree."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from fastopt import _core
from fastopt.docstrings import document_class, document_init, document_step
from fastopt.optimizers import Scheduled
from fastopt.options import StepOptions
from fastopt.result import MaybeNone, StepResult
from fastopt.rules.adam.nadam import NAdam, NAdamState, update
from fastopt.rules.cautious import refuse_option, subtract
from fastopt.tree import PartialTree, Tree, number_for_each, zeros_like

if TYPE_CHECKING:
    from typing_extensions import Unpack

    from fastopt.optimizers import OptimizerOptions, Params

_step = _core.rules["cautious_nadam"].step


@document_init
def cautious_nadam_init(params: Tree) -> NAdamState:
    """Make the state of Cautious NAdam, which is that of NAdam.

    Returns
    -------
    NAdamState
        ``m`` and ``v`` have the structure, shapes, dtypes and memory order of `params`;
        ``mu_product`` has for each array one of shape ``()`` and dtype float64.

    Examples
    --------
    >>> import numpy as np, fastopt
    >>> fastopt.cautious_nadam_init([np.ones(2)])
    NAdamState(step=0, m=[array([0., 0.])], v=[array([0., 0.])], mu_product=[array(1.)])
    """
    m, v = (zeros_like("cautious_nadam_init", params) for _ in range(2))
    return NAdamState(0, m, v, number_for_each(params, 1.0))


def formula(T: Any, t: int, o: Any, p: Any, g: Any, *state: Any) -> tuple[Any, float]:
    return subtract(T, o, p, g, *update(T, t, o, g, *state))


@document_step
def cautious_nadam_step(
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
    **options: Unpack[StepOptions],
) -> StepResult | MaybeNone:
    """Update `params` and `state` in place by one step of Cautious NAdam.

    ::

        mu(t) = beta1*(1 - 0.5*0.96**(t*momentum_decay))    warm_up=False: beta1
        mu_product *= mu(t)

        m = beta1*m + (1 - beta1)*g
        v = beta2*v + (1 - beta2)*g**2
        ahead = (1 - mu(t))/(1 - mu_product) * g + mu(t+1)/(1 - mu_product*mu(t+1)) * m
        u = lr * ahead / (sqrt(v/(1 - beta2**t)) + eps)

        share = mean(u*g > 0)
        p -= u / max(share, 0.001) where u*g > 0, else 0

    where ``t`` is the count of the state after the step, so 1 in the first one, and the mean is
    that of each array by itself: with `update_mask`, of what is updated.

    Parameters
    ----------
    state : NAdamState
        From :func:`cautious_nadam_init` or :func:`nadam_init`, which are the same.
        ``m``, ``v``, ``mu_product`` and ``step`` are changed in place.
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

    Notes
    -----
    The same as :func:`nadam_step` with `cautious`. (``timm.optim.NAdamW``
    with ``caution=True`` looks ahead in another way.) Signs are compared, where timm multiplies, so
    that a product that underflows does not count there.

    What stays as it is still shrinks by `weight_decay`, which comes before the rule; the gradient
    that `u` is compared with is that after the terms, with `l2` and `l1` in it. An element whose
    gradient is 0 stays. One that is NaN becomes NaN.

    The threshold of `scaled_prox` is divided by `share`, as the update is.

    Source: Liang, Chen, Liu & Liu 2024, "Cautious optimizers: improving training with one line of
    code", that line; the least share is timm's, where the paper adds a small number to it.

    Examples
    --------
    >>> import numpy as np, fastopt
    >>> w = np.ones(2)
    >>> state = fastopt.cautious_nadam_init(w)
    >>> for grad in ([2.0, -3.0], [2.0, 0.1]):
    ...     fastopt.cautious_nadam_step(w, np.array(grad), state, lr=0.25, warm_up=False)
    >>> w.round(3)
    array([0.053, 1.368])
    """
    rule = (lr, beta1, beta2, eps, momentum_decay, warm_up, scaled_prox)
    return _step(NAdamState, params, grads, state, *rule, options)


@document_class(cautious_nadam_step)
class CautiousNAdam(NAdam):
    """Cautious NAdam; ``fastopt.NAdam(params, cautious=True)`` is the same.

    Examples
    --------
    >>> import numpy as np, fastopt
    >>> w = np.ones(2)
    >>> opt = fastopt.CautiousNAdam(w, lr=0.25, warm_up=False)
    >>> for grad in ([2.0, -3.0], [2.0, 0.1]):
    ...     opt.step(np.array(grad))
    >>> w.round(3)
    array([0.053, 1.368])
    """

    rule = "cautious_nadam"

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
        **options: Unpack[OptimizerOptions],
    ) -> None:
        refuse_option("CautiousNAdam", options)
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
            cautious=True,
            **options,
        )
