"""Adadelta."""

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

_step = _core.rules["adadelta"].step


@dataclass(slots=True, eq=False)
class AdadeltaState:
    """State of :func:`fastopt.adadelta_step`."""

    step: Steps
    """Updates made so far; a tree with one count for each array where they differ."""
    s: LikeParams
    """Running mean of the squared gradients."""
    d: LikeParams
    """Running mean of the squared steps, before they are multiplied by the learning rate."""


@document_init
def adadelta_init(params: Tree) -> AdadeltaState:
    """Make the state of Adadelta: ``step = 0``, ``s`` and ``d`` of zeros.

    Returns
    -------
    AdadeltaState
        ``s`` and ``d`` have the structure, shapes, dtypes and memory order of `params`.

    Examples
    --------
    >>> import numpy as np, fastopt
    >>> fastopt.adadelta_init([np.ones(2)])
    AdadeltaState(step=0, s=[array([0., 0.])], d=[array([0., 0.])])
    """
    return AdadeltaState(
        0, zeros_like("adadelta_init", params), zeros_like("adadelta_init", params)
    )


def formula(T: Any, t: int, o: Any, p: Any, g: Any, s: Any, d: Any) -> None:
    s[...] = T(o.rho) * s + T(1 - o.rho) * (g * g)
    u = np.sqrt(d + T(o.eps)) / np.sqrt(s + T(o.eps)) * g
    d[...] = T(o.rho) * d + T(1 - o.rho) * (u * u)
    p -= T(o.lr) * u


@document_step
def adadelta_step(
    params: Tree,
    grads: PartialTree,
    state: AdadeltaState,
    *,
    lr: float = 1.0,
    rho: float = 0.9,
    eps: float = 1e-6,
    **options: Unpack[StepOptions],
) -> StepResult | MaybeNone:
    """Update `params` and `state` in place by one step of Adadelta.

    ::

        s = rho*s + (1 - rho)*g**2
        u = sqrt(d + eps)/sqrt(s + eps) * g
        d = rho*d + (1 - rho)*u**2
        p -= lr * u

    Parameters
    ----------
    state : AdadeltaState
        From :func:`adadelta_init`. ``s``, ``d`` and ``step`` are changed in place.
    lr : float, default 1.0, >= 0
        The learning rate, which the paper has not.
    rho : float, default 0.9, in [0, 1)
        Decay rate of the running means.
    eps : float, default 1e-6, >= 0
        Keeps the denominator from zero, and the first steps from being so.

    Notes
    -----
    The same as ``torch.optim.Adadelta`` (its ``weight_decay`` is `l2` here) and as Keras, whose
    defaults are ``lr=0.001, rho=0.95, eps=1e-7``. There is no `scaled_prox`: what the gradient is
    divided by has changed by the time that proximal L1 follows.

    Source: Zeiler 2012, "ADADELTA: an adaptive learning rate method", algorithm 1.

    Examples
    --------
    >>> import numpy as np, fastopt
    >>> w = np.array([1.0, 1.0])
    >>> state = fastopt.adadelta_init(w)
    >>> fastopt.adadelta_step(w, np.array([0.0, 6.0]), state, rho=0.75, eps=16.0)
    >>> w
    array([ 1. , -3.8])
    """
    return _step(AdadeltaState, params, grads, state, lr, rho, eps, options)


@document_class(adadelta_step)
class Adadelta(Optimizer):
    """Adadelta.

    Examples
    --------
    >>> import numpy as np, fastopt
    >>> w = np.array([1.0, 1.0])
    >>> opt = fastopt.Adadelta(w, rho=0.75, eps=16.0)
    >>> opt.step(np.array([0.0, 6.0]))
    >>> w
    array([ 1. , -3.8])
    """

    rule = "adadelta"
    _never_negative = ("s", "d")
    _new_state = staticmethod(adadelta_init)

    def __init__(
        self,
        params: Params,
        *,
        state: AdadeltaState | None = None,
        lr: Scheduled = 1.0,
        rho: Scheduled = 0.9,
        eps: Scheduled = 1e-6,
        **options: Unpack[OptimizerOptions],
    ) -> None:
        super().__init__(params, state=state, lr=lr, rho=rho, eps=eps, **options)
