"""LARS: momentum with steps in proportion to the norm of the array that they change."""

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

_step = _core.rules["lars"].step


@dataclass(slots=True, eq=False)
class LARSState:
    """State of :func:`fastopt.lars_step`."""

    step: Steps
    """Updates made so far; a tree with one count for each array where they differ."""
    buf: LikeParams
    """The momentum buffer; overwritten, not read, by the step that finds ``step`` at 0."""


@document_init
def lars_init(params: Tree) -> LARSState:
    """Make the state of LARS: ``step = 0`` and ``buf`` of zeros.

    Returns
    -------
    LARSState
        ``buf`` has the structure, shapes, dtypes and memory order of `params`.

    Examples
    --------
    >>> import numpy as np, fastopt
    >>> fastopt.lars_init([np.ones(2)])
    LARSState(step=0, buf=[array([0., 0.])])
    """
    return LARSState(0, zeros_like("lars_init", params))


def formula(T: Any, t: int, o: Any, p: Any, g: Any, buf: Any) -> None:
    most = float(np.finfo(T).max)
    in_norm = o.trust_decay if o.norm_of_sum else 0.0
    of_p = sqrt(o.total(np.square, p))
    of_g = sqrt(o.total(np.square, g + T(in_norm) * p))
    divisor = of_g + (0.0 if o.norm_of_sum else o.trust_decay) * of_p + o.eps
    inverse, length = 1 / divisor if divisor > 0 else float("inf"), o.trust_coeff * of_p
    in_range = of_p > 0 and of_g > 0 and 0 < inverse <= most
    in_range = in_range and length <= most and o.lr * length <= most
    if not (o.always_adapt or o.trust_decay != 0) or not in_range:
        inverse, length = 1.0, 1.0
    elif o.trust_clip:
        ratio = np.float64(length * inverse) / o.lr
        length = length / o.lr if ratio < 1 else 1 / inverse

    # With lr inside, buf is a velocity, which is added.
    factor, rate = (-o.lr * length, -1.0) if o.lr_inside else (length, o.lr)
    undamped, damped = T(factor), T(factor * (1 - o.dampening))
    u = T(inverse) * (g + T(o.trust_decay) * p)
    buf[...] = undamped * u if t == 1 else T(o.momentum) * buf + damped * u
    p -= T(rate) * (undamped * u + T(o.momentum) * buf if o.nesterov else buf)


@document_step
def lars_step(
    params: Tree,
    grads: PartialTree,
    state: LARSState,
    *,
    lr: float = 1.0,
    momentum: float = 0.9,
    dampening: float = 0.0,
    nesterov: bool = False,
    lr_inside: bool = False,
    trust_coeff: float = 1e-3,
    trust_decay: float = 0.0,
    eps: float = 1e-8,
    norm_of_sum: bool = False,
    always_adapt: bool = True,
    trust_clip: bool = False,
    **options: Unpack[StepOptions],
) -> StepResult | MaybeNone:
    """Update `params` and `state` in place by one step of LARS.

    ::

        ratio = trust_coeff*norm(p) / (norm(g) + trust_decay*norm(p) + eps)
                                                    (1 where a norm is 0, NaN or too large)
        u = ratio * (g + trust_decay*p)
        buf = momentum*buf + (1 - dampening)*u      (first step: buf = u)
        p -= lr * buf                               (nesterov: p -= lr * (u + momentum*buf))

        norm_of_sum: ratio = trust_coeff*norm(p) / (norm(g + trust_decay*p) + eps)
        trust_clip: ratio = min(ratio/lr, 1)
        lr_inside: buf = momentum*buf - lr*(1 - dampening)*u;  p += buf

    where norms are those of each array by itself: with `update_mask`, of what is updated.

    Parameters
    ----------
    state : LARSState
        From :func:`lars_init`. ``buf`` and ``step`` are changed in place.
    lr : float, default 1.0, >= 0
        The learning rate: by what the ratio is multiplied.
    momentum : float, default 0.9, in [0, 1]
        The share of the buffer that is kept.
    dampening : float, default 0.0, in [0, 1]
        What is withheld of a direction.
    nesterov : bool, default False
        Nesterov's momentum: look ahead by one step of the buffer.
    lr_inside : bool, default False
        Keep the learning rate inside of the buffer, as the paper and optax do.
    trust_coeff : float, default 0.001, >= 0
        How long a gradient becomes, as a share of the norm of the array.
    trust_decay : float, default 0.0, >= 0
        Weight decay within the direction: what the paper, timm and optax call ``weight_decay``.
        (That of all steps, `weight_decay`, comes before the rule.)
    eps : float, default 1e-8, >= 0
        Keeps the denominator from zero.
    norm_of_sum : bool, default False
        Divide by the norm of gradient and decay together, as optax does.
    always_adapt : bool, default True
        With False the ratio is 1 where `trust_decay` is 0, as timm has it.
    trust_clip : bool, default False
        Let the rate of an array be `lr` at most (LARC): the ratio is divided by `lr`, and is 1 at
        most.

    Notes
    -----
    ``timm.optim.Lars(weight_decay=w)`` is ``lars_step(..., trust_decay=w, momentum=0.0,
    always_adapt=False)``; ``optax.lars(lr, weight_decay=w)`` is ``lars_step(..., trust_decay=w,
    eps=0.0, norm_of_sum=True, lr_inside=True)``.

    The memory is gone over twice, first for the norms. Their squares are added up in double
    precision in a fixed order: in float64, norms below 1e-154 count as 0 and those above 1e154 as
    out of range.

    Biases and scales of normalisation are often left out of decay and ratio: give them a group with
    ``trust_decay=0.0, always_adapt=False``.

    Source: You, Gitman & Ginsburg 2017, "Large batch training of convolutional networks",
    algorithm 1.

    Examples
    --------
    >>> import numpy as np, fastopt
    >>> w = np.array([3.0, 4.0])
    >>> state = fastopt.lars_init(w)
    >>> fastopt.lars_step(w, np.array([0.0, 2.0]), state, trust_coeff=0.1, eps=0.0)
    >>> w
    array([3. , 3.5])
    """
    rule = (
        *(lr, momentum, dampening, nesterov, lr_inside, trust_coeff, trust_decay),
        *(eps, norm_of_sum, always_adapt, trust_clip),
    )
    return _step(LARSState, params, grads, state, *rule, options)


@document_class(lars_step)
class LARS(Optimizer):
    """LARS.

    Examples
    --------
    >>> import numpy as np, fastopt
    >>> w = np.array([3.0, 4.0])
    >>> opt = fastopt.LARS(w, trust_coeff=0.1, eps=0.0)
    >>> opt.step(np.array([0.0, 2.0]))
    >>> w
    array([3. , 3.5])
    """

    rule = "lars"
    _new_state = staticmethod(lars_init)

    def __init__(
        self,
        params: Params,
        *,
        state: LARSState | None = None,
        lr: Scheduled = 1.0,
        momentum: Scheduled = 0.9,
        dampening: Scheduled = 0.0,
        nesterov: bool = False,
        lr_inside: bool = False,
        trust_coeff: Scheduled = 1e-3,
        trust_decay: Scheduled = 0.0,
        eps: Scheduled = 1e-8,
        norm_of_sum: bool = False,
        always_adapt: bool = True,
        trust_clip: bool = False,
        **options: Unpack[OptimizerOptions],
    ) -> None:
        super().__init__(
            params,
            state=state,
            lr=lr,
            momentum=momentum,
            dampening=dampening,
            nesterov=nesterov,
            lr_inside=lr_inside,
            trust_coeff=trust_coeff,
            trust_decay=trust_decay,
            eps=eps,
            norm_of_sum=norm_of_sum,
            always_adapt=always_adapt,
            trust_clip=trust_clip,
            **options,
        )
