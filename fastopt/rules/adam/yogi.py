"""Yogi: Adam whose mean of squares does not forget quickly."""

from __future__ import annotations

from dataclasses import dataclass
from functools import partial
from math import sqrt
from typing import TYPE_CHECKING, Any

import numpy as np

from fastopt import _core
from fastopt.docstrings import document_class, document_init, document_step
from fastopt.optimizers import Optimizer, Scheduled
from fastopt.options import StepOptions
from fastopt.result import MaybeNone, StepResult
from fastopt.rules.starts import checked_start, filled_like
from fastopt.tree import LikeParams, PartialTree, Steps, Tree

if TYPE_CHECKING:
    from typing_extensions import Unpack

    from fastopt.optimizers import OptimizerOptions, Params

_step = _core.rules["yogi"].step


@dataclass(slots=True, eq=False)
class YogiState:
    """State of :func:`fastopt.yogi_step`."""

    step: Steps
    """Updates made so far; a tree with one count for each array where they differ."""
    m: LikeParams
    """Running mean of the gradients (first moment)."""
    v: LikeParams
    """Running estimate of the squared gradients (second moment)."""


@document_init
def yogi_init(params: Tree, *, initial_accumulator_value: float = 1e-6) -> YogiState:
    """Make the state of Yogi: ``step = 0``, ``m`` and ``v`` of one number.

    Parameters
    ----------
    initial_accumulator_value : float, default 1e-6, >= 0
        What ``m`` and ``v`` start with.

    Returns
    -------
    YogiState
        ``m`` and ``v`` have the structure, shapes, dtypes and memory order of `params`.

    Examples
    --------
    >>> import numpy as np, fastopt
    >>> fastopt.yogi_init([np.ones(2)])
    YogiState(step=0, m=[array([1.e-06, 1.e-06])], v=[array([1.e-06, 1.e-06])])
    """
    start = checked_start("yogi_init", initial_accumulator_value)
    m, v = (filled_like("yogi_init", params, start) for _ in range(2))
    return YogiState(0, m, v)


def formula(T: Any, t: int, o: Any, p: Any, g: Any, m: Any, v: Any) -> tuple[Any, float]:
    correction1 = correction2 = 1.0
    if o.bias_correction:
        correction1, correction2 = 1 - o.beta1**t, 1 - o.beta2**t

    def metric() -> Any:
        return np.sqrt(v) * T(1 / sqrt(correction2)) + T(o.eps)

    squared = g * g
    m[...] = T(o.beta1) * m + T(1 - o.beta1) * g
    v -= T(1 - o.beta2) * np.sign(v - squared) * squared
    p -= T(o.lr / correction1) * (m / metric())
    return metric, o.lr


@document_step
def yogi_step(
    params: Tree,
    grads: PartialTree,
    state: YogiState,
    *,
    lr: float = 1e-2,
    beta1: float = 0.9,
    beta2: float = 0.999,
    eps: float = 1e-3,
    scaled_prox: bool = False,
    bias_correction: bool = True,
    **options: Unpack[StepOptions],
) -> StepResult | MaybeNone:
    """Update `params` and `state` in place by one step of Yogi.

    ::

        m = beta1*m + (1 - beta1)*g
        v = v - (1 - beta2)*sign(v - g**2)*g**2
        p -= lr * m/(1 - beta1**t) / (sqrt(v/(1 - beta2**t)) + eps)

        bias_correction=False: p -= lr * m / (sqrt(v) + eps)

    where ``t`` is the count of the state after the step, so 1 in the first one.

    Parameters
    ----------
    state : YogiState
        From :func:`yogi_init`. ``m``, ``v`` and ``step`` are changed in place.
    lr : float, default 0.01, >= 0
        The learning rate.
    beta1, beta2 : float, defaults 0.9 and 0.999, in [0, 1)
        Decay rate of the running mean of the gradient, and what is left out of its square as ``v``
        moves by it.
    eps : float, default 1e-3, >= 0
        Keeps the denominator from zero.
    {SCALED_PROX}
    bias_correction : bool, default True
        Divide the moments by ``1 - beta1**t`` and ``1 - beta2**t``, as optax does; the paper does
        not.

    Notes
    -----
    Adam's ``v`` moves by ``(1 - beta2)*(g**2 - v)``, so that it falls quickly after large
    gradients, and steps become long. Yogi's moves by no more than the share ``1 - beta2`` of the
    square that comes in.

    The same as ``optax.yogi(lr, beta1, beta2, eps)``, whose moments start with 1e-6 as here. With
    ``bias_correction=False`` each step is that of the paper's algorithm.

    Source: Zaheer et al. 2018, "Adaptive methods for nonconvex optimization", algorithm 2.

    Examples
    --------
    >>> import numpy as np, fastopt
    >>> w = np.ones(2)
    >>> state = fastopt.yogi_init(w)
    >>> fastopt.yogi_step(w, np.array([2.0, -3.0]), state, lr=0.25)
    >>> w.round(4)
    array([0.7502, 1.2499])
    """
    rule = (lr, beta1, beta2, eps, scaled_prox, bias_correction)
    return _step(YogiState, params, grads, state, *rule, options)


@document_class(yogi_step)
class Yogi(Optimizer):
    """Yogi.

    Parameters
    ----------
    initial_accumulator_value : float, default 1e-6, >= 0
        What ``m`` and ``v`` start with; of the whole optimizer.

    Examples
    --------
    >>> import numpy as np, fastopt
    >>> w = np.ones(2)
    >>> opt = fastopt.Yogi(w, lr=0.25)
    >>> opt.step(np.array([2.0, -3.0]))
    >>> w.round(4)
    array([0.7502, 1.2499])
    """

    rule = "yogi"
    _never_negative = ("v",)

    def __init__(
        self,
        params: Params,
        *,
        state: YogiState | None = None,
        lr: Scheduled = 1e-2,
        beta1: Scheduled = 0.9,
        beta2: Scheduled = 0.999,
        eps: Scheduled = 1e-3,
        scaled_prox: bool = False,
        bias_correction: bool = True,
        initial_accumulator_value: float = 1e-6,
        **options: Unpack[OptimizerOptions],
    ) -> None:
        start = checked_start("Yogi", initial_accumulator_value)
        self._new_state = partial(yogi_init, initial_accumulator_value=start)
        super().__init__(
            params,
            state=state,
            lr=lr,
            beta1=beta1,
            beta2=beta2,
            eps=eps,
            scaled_prox=scaled_prox,
            bias_correction=bias_correction,
            **options,
        )
