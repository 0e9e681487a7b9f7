"""ASGD: SGD whose rate falls, and the mean of the parameters on the way."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from fastopt import _core
from fastopt.docstrings import document_class, document_init, document_step
from fastopt.optimizers import Optimizer, Scheduled
from fastopt.options import StepOptions
from fastopt.result import MaybeNone, StepResult
from fastopt.tree import LikeParams, PartialTree, Steps, Tree, number_for_each, zeros_like

if TYPE_CHECKING:
    from typing_extensions import Unpack

    from fastopt.optimizers import OptimizerOptions, Params

_step = _core.rules["asgd"].step


@dataclass(slots=True, eq=False)
class ASGDState:
    """State of :func:`fastopt.asgd_step`."""

    step: Steps
    """Updates made so far; a tree with one count for each array where they differ."""
    ax: LikeParams
    """The mean of the parameters since ``t0``, or what they are before."""
    eta: LikeParams
    """The learning rate of the next step, a number for each array; the first has `lr`."""
    mu: LikeParams
    """What the next step counts in the mean, a number for each array."""


@document_init
def asgd_init(params: Tree) -> ASGDState:
    """Make the state of ASGD: ``step = 0``, ``ax`` of zeros, ``eta = 0`` and ``mu = 1``.

    Returns
    -------
    ASGDState
        ``ax`` has the structure, shapes, dtypes and memory order of `params`; ``eta`` and ``mu``
        have arrays of shape () and dtype float64 in their place.

    Examples
    --------
    >>> import numpy as np, fastopt
    >>> fastopt.asgd_init([np.ones(2)])
    ASGDState(step=0, ax=[array([0., 0.])], eta=[array(0.)], mu=[array(1.)])
    """
    zeros = zeros_like("asgd_init", params)
    return ASGDState(0, zeros, number_for_each(params, 0.0), number_for_each(params, 1.0))


def formula(T: Any, t: int, o: Any, p: Any, g: Any, ax: Any, eta: Any, mu: Any) -> None:
    now = o.lr if t == 1 else float(eta)
    share = T(float(mu))
    with np.errstate(over="ignore"):  # of Python's numbers it would be an error
        eta[...] = o.lr / np.float64(1 + o.lambd * o.lr * t) ** o.alpha
    mu[...] = 1 / max(1.0, t - o.t0)
    p[...] = T(1 - o.lambd * now) * p - T(now) * g
    ax[...] = p if share == 1 else ax + share * (p - ax)


@document_step
def asgd_step(
    params: Tree,
    grads: PartialTree,
    state: ASGDState,
    *,
    lr: float = 1e-2,
    lambd: float = 1e-4,
    alpha: float = 0.75,
    t0: float = 1e6,
    **options: Unpack[StepOptions],
) -> StepResult | MaybeNone:
    """Update `params` and `state` in place by one step of averaged SGD.

    ::

        p = (1 - lambd*eta)*p - eta*g               (eta is lr in the first step)
        ax += mu*(p - ax)                           (ax = p where mu is 1)
        eta = lr / (1 + lambd*lr*t)**alpha
        mu = 1 / max(1, t - t0)

    where ``t`` is the count of the state after the step, so 1 in the first one.

    Parameters
    ----------
    state : ASGDState
        From :func:`asgd_init`. ``ax``, ``eta``, ``mu`` and ``step`` are changed in place.
    lr : float, default 0.01, >= 0
        The learning rate, from which the rate falls.
    lambd : float, default 0.0001, >= 0
        How fast it falls, and how much of the parameters decays at this rate.
    alpha : float, default 0.75, >= 0
        The power by which it falls.
    t0 : float, default 1000000.0, >= 0
        The update after which the mean begins.

    Notes
    -----
    The same as ``torch.optim.ASGD``; its ``weight_decay`` is `l2` here. ``ax`` is what to use in
    the end: ``p[...] = state.ax``. It is the mean of the parameters as the rule leaves them, before
    `l1_prox`, `nonneg` and `decay_after`; `ema_decay` averages what comes behind these.

    `weight_decay` and `l1_prox` go by `lr`, not by the rate that has fallen.

    Sources: Polyak & Juditsky 1992, "Acceleration of stochastic approximation by averaging";
    Bottou 2010, "Large-scale machine learning with stochastic gradient descent", section 4.

    Examples
    --------
    >>> import numpy as np, fastopt
    >>> w = np.array([1.0])
    >>> state = fastopt.asgd_init(w)
    >>> for _ in range(2):
    ...     fastopt.asgd_step(w, np.array([1.0]), state, lr=0.25, lambd=0.0, t0=0.0)
    >>> w, state.ax
    (array([0.5]), array([0.5]))
    """
    return _step(ASGDState, params, grads, state, lr, lambd, alpha, t0, options)


@document_class(asgd_step)
class ASGD(Optimizer):
    """Averaged SGD.

    Examples
    --------
    >>> import numpy as np, fastopt
    >>> w = np.array([1.0])
    >>> opt = fastopt.ASGD(w, lr=0.25, lambd=0.0, t0=0.0)
    >>> for _ in range(3):
    ...     opt.step(np.array([1.0]))
    >>> w, opt.groups[0].state.ax
    (array([0.25]), array([0.375]))
    """

    rule = "asgd"
    _new_state = staticmethod(asgd_init)

    def __init__(
        self,
        params: Params,
        *,
        state: ASGDState | None = None,
        lr: Scheduled = 1e-2,
        lambd: Scheduled = 1e-4,
        alpha: Scheduled = 0.75,
        t0: Scheduled = 1e6,
        **options: Unpack[OptimizerOptions],
    ) -> None:
        super().__init__(params, state=state, lr=lr, lambd=lambd, alpha=alpha, t0=t0, **options)
