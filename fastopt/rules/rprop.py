"""Rprop: a step length for each element, which goes by the signs of gradients alone."""

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

_step = _core.rules["rprop"].step


@dataclass(slots=True, eq=False)
class RpropState:
    """State of :func:`fastopt.rprop_step`."""

    step: Steps
    """Updates made so far; a tree with one count for each array where they differ."""
    g_prev: LikeParams
    """The latest gradient, 0 where its sign had changed."""
    size: LikeParams
    """How far each element moves. The first step sets it, to `lr`."""


@document_init
def rprop_init(params: Tree) -> RpropState:
    """Make the state of Rprop: ``step = 0``, ``g_prev`` and ``size`` of zeros.

    Returns
    -------
    RpropState
        ``g_prev`` and ``size`` have the structure, shapes, dtypes and memory order of `params`.

    Examples
    --------
    >>> import numpy as np, fastopt
    >>> fastopt.rprop_init([np.ones(2)])
    RpropState(step=0, g_prev=[array([0., 0.])], size=[array([0., 0.])])
    """
    return RpropState(0, zeros_like("rprop_init", params), zeros_like("rprop_init", params))


def formula(T: Any, t: int, o: Any, p: Any, g: Any, g_prev: Any, size: Any) -> None:
    agreement = np.zeros_like(g) if t == 1 else np.sign(g) * np.sign(g_prev)
    falls = np.where(agreement < 0, T(o.eta_minus), T(1))
    scaled = np.where(agreement > 0, T(o.eta_plus), falls) * (T(o.lr) if t == 1 else size)
    size[...] = np.minimum(np.maximum(scaled, T(o.min_step_size)), T(o.max_step_size))
    g_prev[...] = np.where(agreement < 0, T(0), g)
    p -= size * np.sign(g_prev)


@document_step
def rprop_step(
    params: Tree,
    grads: PartialTree,
    state: RpropState,
    *,
    lr: float = 1e-2,
    eta_minus: float = 0.5,
    eta_plus: float = 1.2,
    min_step_size: float = 1e-6,
    max_step_size: float = 50.0,
    **options: Unpack[StepOptions],
) -> StepResult | MaybeNone:
    """Update `params` and `state` in place by one step of Rprop.

    ::

        agreement = sign(g) * sign(g_prev)                (0 where t is 1)
        size = lr                                         where t is 1
        size = eta_plus*size                              where agreement > 0
        size = eta_minus*size;  g = 0                     where agreement < 0
        size = min(max(size, min_step_size), max_step_size)
        p -= size * sign(g)
        g_prev = g

    where ``t`` is the count of the state after the step, so 1 in the first one.

    Parameters
    ----------
    state : RpropState
        From :func:`rprop_init`. ``g_prev``, ``size`` and ``step`` are changed in place.
    lr : float, default 0.01, >= 0
        How far each element moves in the first step. Later it matters to `weight_decay` and
        `l1_prox` alone.
    eta_minus : float, default 0.5, in (0, 1]
        By what ``size`` is multiplied where a gradient has another sign than the one before.
    eta_plus : float, default 1.2, > 0
        By what it is multiplied where the sign is the same.
    min_step_size : float, default 1e-6, >= 0
        The least of ``size``.
    max_step_size : float, default 50.0, > 0
        The most of ``size``.

    Notes
    -----
    It wants gradients without noise, of all data at once: signs that change by chance make steps
    shorter and shorter.

    The same as ``torch.optim.Rprop(lr, etas=(eta_minus, eta_plus), step_sizes=(min_step_size,
    max_step_size))``, whose `lr` is the first step of each parameter too; but torch finds the sign
    of the product of both gradients, which is 0 where it underflows. ``optax.rprop`` differs: it
    moves by what the gradient before has made, one step late.

    Source: Riedmiller & Braun 1993, "A direct adaptive method for faster backpropagation learning:
    the RPROP algorithm", in the form iRprop- of Igel & Hüsken 2000, "Improving the Rprop learning
    algorithm", which takes no step back where a sign has changed.

    Examples
    --------
    >>> import numpy as np, fastopt
    >>> w = np.array([1.0, 1.0])
    >>> state = fastopt.rprop_init(w)
    >>> fastopt.rprop_step(w, np.array([0.1, -10.0]), state, lr=0.25)
    >>> w
    array([0.75, 1.25])
    >>> fastopt.rprop_step(w, np.array([0.1, 10.0]), state)
    >>> w
    array([0.45, 1.25])
    """
    rule = (lr, eta_minus, eta_plus, min_step_size, max_step_size)
    return _step(RpropState, params, grads, state, *rule, options)


@document_class(rprop_step)
class Rprop(Optimizer):
    """Rprop.

    Examples
    --------
    >>> import numpy as np, fastopt
    >>> w = np.array([1.0, 1.0])
    >>> opt = fastopt.Rprop(w, lr=0.25)
    >>> opt.step(np.array([0.1, -10.0]))
    >>> opt.step(np.array([0.1, 10.0]))
    >>> w
    array([0.45, 1.25])
    """

    rule = "rprop"
    _never_negative = ("size",)
    _new_state = staticmethod(rprop_init)

    def __init__(
        self,
        params: Params,
        *,
        state: RpropState | None = None,
        lr: Scheduled = 1e-2,
        eta_minus: Scheduled = 0.5,
        eta_plus: Scheduled = 1.2,
        min_step_size: Scheduled = 1e-6,
        max_step_size: Scheduled = 50.0,
        **options: Unpack[OptimizerOptions],
    ) -> None:
        super().__init__(
            params,
            state=state,
            lr=lr,
            eta_minus=eta_minus,
            eta_plus=eta_plus,
            min_step_size=min_step_size,
            max_step_size=max_step_size,
            **options,
        )
