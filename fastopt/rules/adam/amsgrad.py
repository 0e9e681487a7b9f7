"""AMSGrad: Adam that divides by the largest mean of squares so far."""

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

_step = _core.rules["amsgrad"].step


@dataclass(slots=True, eq=False)
class AMSGradState:
    """State of :func:`fastopt.amsgrad_step`."""

    step: Steps
    """Updates made so far; a tree with one count for each array where they differ."""
    m: LikeParams
    """Running mean of the gradients (first moment)."""
    v: LikeParams
    """Running mean of the squared gradients (second moment)."""
    v_max: LikeParams
    """The largest that this mean has been, element by element."""


@document_init
def amsgrad_init(params: Tree) -> AMSGradState:
    """Make the state of AMSGrad: ``step = 0``, ``m``, ``v`` and ``v_max`` of zeros.

    Returns
    -------
    AMSGradState
        ``m``, ``v`` and ``v_max`` have the structure, shapes, dtypes and memory order of `params`.

    Examples
    --------
    >>> import numpy as np, fastopt
    >>> fastopt.amsgrad_init(np.ones(2))
    AMSGradState(step=0, m=array([0., 0.]), v=array([0., 0.]), v_max=array([0., 0.]))
    """
    return AMSGradState(0, *(zeros_like("amsgrad_init", params) for _ in range(3)))


def formula(
    T: Any, t: int, o: Any, p: Any, g: Any, m: Any, v: Any, v_max: Any
) -> tuple[Any, float]:
    correction1 = 1 - o.beta1**t if o.bias_correction else 1.0
    correction2 = 1 - o.beta2**t if o.bias_correction else 1.0
    if o.max_of_corrected:
        before_max, inv_sqrt_after_max = 1 / correction2, 1.0
        eps = o.eps / sqrt(correction2) if o.epsilon_hat else o.eps
        metric_lr = o.lr
    else:
        before_max, eps = 1.0, o.eps
        inv_sqrt_after_max = 1.0 if o.epsilon_hat else 1 / sqrt(correction2)
        metric_lr = o.lr * sqrt(correction2) if o.epsilon_hat else o.lr

    def metric() -> Any:
        return np.sqrt(v_max) * T(inv_sqrt_after_max) + T(eps)

    m[...] = T(o.beta1) * m + T(1 - o.beta1) * g
    v[...] = T(o.beta2) * v + T(1 - o.beta2) * (g * g)
    v_max[...] = np.maximum(v_max, v * T(before_max))
    p -= T(metric_lr / correction1) * (m / metric())
    return metric, metric_lr


@document_step
def amsgrad_step(
    params: Tree,
    grads: PartialTree,
    state: AMSGradState,
    *,
    lr: float = 1e-3,
    beta1: float = 0.9,
    beta2: float = 0.999,
    eps: float = 1e-8,
    epsilon_hat: bool = False,
    scaled_prox: bool = False,
    bias_correction: bool = True,
    max_of_corrected: bool = False,
    **options: Unpack[StepOptions],
) -> StepResult | MaybeNone:
    """Update `params` and `state` in place by one step of AMSGrad.

    ::

        m = beta1*m + (1 - beta1)*g
        v = beta2*v + (1 - beta2)*g**2
        v_max = max(v_max, v)
        p -= lr/(1 - beta1**t) * m / (sqrt(v_max)/sqrt(1 - beta2**t) + eps)

        max_of_corrected: v_max = max(v_max, v/(1 - beta2**t))
                          p -= lr/(1 - beta1**t) * m / (sqrt(v_max) + eps)
        epsilon_hat: eps/sqrt(1 - beta2**t) in place of eps
        without bias_correction: p -= lr * m / (sqrt(v_max) + eps)

    where ``t`` is the count of the state after the step, so 1 in the first one.

    Parameters
    ----------
    state : AMSGradState
        From :func:`amsgrad_init`. ``m``, ``v``, ``v_max`` and ``step`` are changed in place.
    lr : float, default 0.001, >= 0
        The learning rate.
    beta1, beta2 : float, defaults 0.9 and 0.999, in [0, 1)
        Decay rates of the running means of the gradient and of its square.
    eps : float, default 1e-8, >= 0
        Keeps the denominator from zero.
    epsilon_hat : bool, default False
        Add `eps` to the uncorrected root, as Keras does.
    {SCALED_PROX}
    bias_correction : bool, default True
        Divide the means by ``1 - beta1**t`` and ``1 - beta2**t``, which makes up for their start
        at zero. Without it `epsilon_hat` and `max_of_corrected` make no difference.
    max_of_corrected : bool, default False
        Take the maximum of the mean that was corrected already, as optax does. Corrections become
        smaller, so that it counts early gradients for more.

    Notes
    -----
    The same as ``torch.optim.Adam(amsgrad=True)`` (its ``weight_decay`` is `l2` here), and with
    `weight_decay` as ``torch.optim.AdamW(amsgrad=True)``. With `epsilon_hat` as Keras' ``Adam`` and
    ``AdamW`` with ``amsgrad=True`` (whose default ``epsilon`` is 1e-7). With `max_of_corrected` as
    ``optax.amsgrad``. The paper corrects nothing: that is ``bias_correction=False``.

    Source: Reddi, Kale & Kumar 2018, "On the convergence of Adam and beyond", algorithm 2.

    Examples
    --------
    >>> import numpy as np, fastopt
    >>> w = np.ones(2)
    >>> state = fastopt.amsgrad_init(w)
    >>> fastopt.amsgrad_step(w, np.array([2.0, -3.0]), state, lr=0.25)
    >>> w
    array([0.75, 1.25])
    """
    rule = (lr, beta1, beta2, eps, epsilon_hat, scaled_prox, bias_correction, max_of_corrected)
    return _step(AMSGradState, params, grads, state, *rule, options)


@document_class(amsgrad_step)
class AMSGrad(Optimizer):
    """AMSGrad; ``fastopt.Adam(params, amsgrad=True)`` is the same.

    Examples
    --------
    >>> import numpy as np, fastopt
    >>> w = np.ones(2)
    >>> opt = fastopt.AMSGrad(w, lr=0.25)
    >>> opt.step(np.array([2.0, -3.0]))
    >>> w
    array([0.75, 1.25])
    """

    rule = "amsgrad"
    _never_negative = ("v", "v_max")
    _new_state = staticmethod(amsgrad_init)

    def __init__(
        self,
        params: Params,
        *,
        state: AMSGradState | None = None,
        lr: Scheduled = 1e-3,
        beta1: Scheduled = 0.9,
        beta2: Scheduled = 0.999,
        eps: Scheduled = 1e-8,
        epsilon_hat: bool = False,
        scaled_prox: bool = False,
        bias_correction: bool = True,
        max_of_corrected: bool = False,
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
            bias_correction=bias_correction,
            max_of_corrected=max_of_corrected,
            **options,
        )
