"""RMSprop, also centered, also with momentum."""

from __future__ import annotations

from dataclasses import dataclass
from functools import partial
from typing import TYPE_CHECKING, Any

import numpy as np

from fastopt import _core
from fastopt.arguments import flag
from fastopt.docstrings import document_class, document_init, document_step
from fastopt.optimizers import Optimizer, Scheduled
from fastopt.options import StepOptions
from fastopt.result import MaybeNone, StepResult
from fastopt.tree import LikeParams, PartialTree, Steps, Tree, zeros_like

if TYPE_CHECKING:
    from typing_extensions import Unpack

    from fastopt.optimizers import OptimizerOptions, Params

_step = _core.rules["rmsprop"].step


@dataclass(slots=True, eq=False)
class RMSpropState:
    """State of :func:`fastopt.rmsprop_step`."""

    step: Steps
    """Updates made so far; a tree with one count for each array where they differ."""
    v: LikeParams
    """Running mean of the squared gradients."""
    avg: LikeParams
    """Running mean of the gradients where the rule is centered, else None."""
    buf: LikeParams
    """The momentum buffer where there is momentum, else None."""


@document_init
def rmsprop_init(params: Tree, *, centered: bool = False, momentum: bool = False) -> RMSpropState:
    """Make the state of RMSprop: ``step = 0``, ``v`` of zeros, and what the options need.

    Parameters
    ----------
    centered : bool, default False
        Keep ``avg``, the running mean of the gradients: steps with this state are centered.
    momentum : bool, default False
        Keep ``buf``, the momentum buffer: steps with this state have momentum.

    Returns
    -------
    RMSpropState
        ``v``, and ``avg`` and ``buf`` unless None, have the structure, shapes, dtypes and memory
        order of `params`.

    Examples
    --------
    >>> import numpy as np, fastopt
    >>> fastopt.rmsprop_init(np.ones(2), centered=True)
    RMSpropState(step=0, v=array([0., 0.]), avg=array([0., 0.]), buf=None)
    """
    zeros = partial(zeros_like, "rmsprop_init", params)
    has_avg = flag("rmsprop_init", "centered", centered)
    has_buf = flag("rmsprop_init", "momentum", momentum)
    return RMSpropState(0, zeros(), zeros() if has_avg else None, zeros() if has_buf else None)


def formula(
    T: Any, t: int, o: Any, p: Any, g: Any, v: Any, avg: Any, buf: Any
) -> tuple[Any, float]:
    def metric() -> Any:
        # Rounding can push the difference below zero.
        mean_square = v if avg is None else np.maximum(v - avg * avg, T(0))
        if o.eps_inside_sqrt:
            return np.sqrt(mean_square + T(o.eps))
        return np.sqrt(mean_square) + T(o.eps)

    v[...] = T(o.rho) * v + T(1 - o.rho) * (g * g)
    if avg is not None:
        avg[...] = T(o.rho) * avg + T(1 - o.rho) * g
    if buf is None:
        p -= T(o.lr) * (g / metric())
    else:
        buf[...] = T(o.momentum) * buf + g / metric()
        p -= T(o.lr) * buf
    return metric, o.lr


@document_step
def rmsprop_step(
    params: Tree,
    grads: PartialTree,
    state: RMSpropState,
    *,
    lr: float = 1e-2,
    rho: float = 0.99,
    eps: float = 1e-8,
    eps_inside_sqrt: bool = False,
    momentum: float = 0.0,
    scaled_prox: bool = False,
    **options: Unpack[StepOptions],
) -> StepResult | MaybeNone:
    """Update `params` and `state` in place by one step of RMSprop.

    ::

        v = rho*v + (1 - rho)*g**2
        d = sqrt(v) + eps                           (eps_inside_sqrt: d = sqrt(v + eps))
        p -= lr * g / d

        centered: avg = rho*avg + (1 - rho)*g;      d = sqrt(max(v - avg**2, 0)) + eps
        momentum: buf = momentum*buf + g / d;       p -= lr * buf

    Parameters
    ----------
    state : RMSpropState
        From :func:`rmsprop_init`, which decides: steps are centered where it has ``avg``, and have
        momentum where it has ``buf``. ``v``, ``avg``, ``buf`` and ``step`` are changed in place.
    lr : float, default 0.01, >= 0
        The learning rate.
    rho : float, default 0.99, in [0, 1)
        Decay rate of the running means (torch's ``alpha``).
    eps : float, default 1e-8, >= 0
        Keeps the denominator from zero.
    eps_inside_sqrt : bool, default False
        Add `eps` before the root is taken, as Keras and optax do.
    momentum : float, default 0.0, in [0, 1]
        The share of ``buf`` that is kept. Not zero, it needs a state made with ``momentum=True``.
    {SCALED_PROX}

    Notes
    -----
    The same as ``torch.optim.RMSprop`` (its ``weight_decay`` is `l2` here); with `eps_inside_sqrt`
    as Keras (whose defaults are ``rho=0.9, epsilon=1e-7``), apart from momentum, where Keras keeps
    the learning rate inside of the buffer.

    Sources: Tieleman & Hinton 2012, lecture 6.5; Graves 2013, "Generating sequences with recurrent
    neural networks", eq. 38-45 (centered).

    Examples
    --------
    >>> import numpy as np, fastopt
    >>> w = np.array([1.0, 1.0])
    >>> state = fastopt.rmsprop_init(w)
    >>> fastopt.rmsprop_step(w, np.array([0.1, -10.0]), state, lr=0.01, rho=0.75)
    >>> w
    array([0.98, 1.02])
    """
    rule = (lr, rho, eps, eps_inside_sqrt, momentum, scaled_prox)
    return _step(RMSpropState, params, grads, state, *rule, options)


@document_class(rmsprop_step)
class RMSprop(Optimizer):
    """RMSprop.

    Parameters
    ----------
    momentum : float or schedule, default 0.0, in [0, 1]
        The share of the buffer that is kept. If it is 0 here, there is no buffer, and no group
        can have momentum.
    centered : bool, default False
        Divide by the deviation from the mean instead; of the whole optimizer.

    Examples
    --------
    >>> import numpy as np, fastopt
    >>> w = np.array([1.0, 1.0])
    >>> opt = fastopt.RMSprop(w, lr=0.01, rho=0.75)
    >>> opt.step(np.array([0.1, -10.0]))
    >>> w
    array([0.98, 1.02])
    """

    rule = "rmsprop"
    _never_negative = ("v",)

    def __init__(
        self,
        params: Params,
        *,
        state: RMSpropState | None = None,
        lr: Scheduled = 1e-2,
        rho: Scheduled = 0.99,
        eps: Scheduled = 1e-8,
        eps_inside_sqrt: bool = False,
        momentum: Scheduled = 0.0,
        scaled_prox: bool = False,
        centered: bool = False,
        **options: Unpack[OptimizerOptions],
    ) -> None:
        if not isinstance(centered, bool):
            raise TypeError(f"RMSprop: centered must be True or False, not {centered!r}")
        has_buf = callable(momentum) or momentum != 0
        self._new_state = partial(rmsprop_init, centered=centered, momentum=has_buf)
        super().__init__(
            params,
            state=state,
            lr=lr,
            rho=rho,
            eps=eps,
            eps_inside_sqrt=eps_inside_sqrt,
            momentum=momentum,
            scaled_prox=scaled_prox,
            **options,
        )
