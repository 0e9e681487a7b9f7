"""ADOPT: Adam whose gradient is divided before it is averaged, by the squares of before."""

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

_step = _core.rules["adopt"].step


@dataclass(slots=True, eq=False)
class ADOPTState:
    """State of :func:`fastopt.adopt_step`."""

    step: Steps
    """Updates made so far; a tree with one count for each array where they differ."""
    m: LikeParams
    """Running mean of the gradients, each divided."""
    v: LikeParams
    """Running mean of the squared gradients (second moment)."""


@document_init
def adopt_init(params: Tree) -> ADOPTState:
    """Make the state of ADOPT: ``step = 0``, ``m`` and ``v`` of zeros.

    Returns
    -------
    ADOPTState
        ``m`` and ``v`` have the structure, shapes, dtypes and memory order of `params`.

    Examples
    --------
    >>> import numpy as np, fastopt
    >>> fastopt.adopt_init([np.ones(2)])
    ADOPTState(step=0, m=[array([0., 0.])], v=[array([0., 0.])])
    """
    m, v = (zeros_like("adopt_init", params) for _ in range(2))
    return ADOPTState(0, m, v)


def formula(T: Any, t: int, o: Any, p: Any, g: Any, m: Any, v: Any) -> None:
    if t == 1:
        v[...] = g * g
        return
    u = g / np.maximum(np.sqrt(v), T(o.eps))
    if o.update_clip:
        bound = T(sqrt(sqrt(t - 1)))
        u = np.clip(u, -bound, bound)
    m[...] = T(o.beta1) * m + T(1 - o.beta1) * u
    v[...] = T(o.beta2) * v + T(1 - o.beta2) * (g * g)
    p -= T(o.lr) * m


@document_step
def adopt_step(
    params: Tree,
    grads: PartialTree,
    state: ADOPTState,
    *,
    lr: float = 1e-3,
    beta1: float = 0.9,
    beta2: float = 0.9999,
    eps: float = 1e-6,
    update_clip: bool = True,
    **options: Unpack[StepOptions],
) -> StepResult | MaybeNone:
    """Update `params` and `state` in place by one step of ADOPT.

    ::

        if t == 1:                  # p stays
            v = g**2
        else:
            u = g / max(sqrt(v), eps)
            u = clip(u, -(t - 1)**0.25, (t - 1)**0.25)      if update_clip
            m = beta1*m + (1 - beta1)*u
            v = beta2*v + (1 - beta2)*g**2
            p -= lr*m

    where ``t`` is the count of the state after the step, so 1 in the first one.

    Parameters
    ----------
    state : ADOPTState
        From :func:`adopt_init`. ``m``, ``v`` and ``step`` are changed in place.
    lr : float, default 0.001, >= 0
        The learning rate.
    beta1, beta2 : float, defaults 0.9 and 0.9999, in [0, 1)
        Decay rates of the running means of the divided gradient and of the squared gradient.
    eps : float, default 1e-6, >= 0
        The least that a gradient is divided by.
    update_clip : bool, default True
        Keep elements of the divided gradient within a bound that grows from step to step: an
        element whose first gradient is near zero would else be divided by next to nothing.

    Notes
    -----
    The same as the paper's own code with ``clip_lambda=lambda step: step**0.25``, and as
    ``optax.contrib.adopt(nesterov=False)``. In the first step the rule
    changes the state alone; `weight_decay` and the other terms act as always.

    Source: Taniguchi et al. 2024, "ADOPT: modified Adam can converge with any beta2 with the
    optimal rate", algorithm 2.

    Examples
    --------
    >>> import numpy as np, fastopt
    >>> w = np.ones(2)
    >>> state = fastopt.adopt_init(w)
    >>> for _ in range(2):
    ...     fastopt.adopt_step(w, np.array([2.0, -3.0]), state, lr=0.25)
    >>> w
    array([0.975, 1.025])
    """
    rule = (lr, beta1, beta2, eps, update_clip)
    return _step(ADOPTState, params, grads, state, *rule, options)


@document_class(adopt_step)
class ADOPT(Optimizer):
    """ADOPT.

    Examples
    --------
    >>> import numpy as np, fastopt
    >>> w = np.ones(2)
    >>> opt = fastopt.ADOPT(w, lr=0.25)
    >>> opt.step(np.array([2.0, -3.0]))
    >>> opt.step(np.array([2.0, -3.0]))
    >>> w
    array([0.975, 1.025])
    """

    rule = "adopt"
    _never_negative = ("v",)
    _new_state = staticmethod(adopt_init)

    def __init__(
        self,
        params: Params,
        *,
        state: ADOPTState | None = None,
        lr: Scheduled = 1e-3,
        beta1: Scheduled = 0.9,
        beta2: Scheduled = 0.9999,
        eps: Scheduled = 1e-6,
        update_clip: bool = True,
        **options: Unpack[OptimizerOptions],
    ) -> None:
        super().__init__(
            params,
            state=state,
            lr=lr,
            beta1=beta1,
            beta2=beta2,
            eps=eps,
            update_clip=update_clip,
            **options,
        )
