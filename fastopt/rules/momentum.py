"""SGD with momentum."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from fastopt import _core
from fastopt.docstrings import document_class, document_init, document_step
from fastopt.optimizers import Optimizer, Scheduled
from fastopt.options import StepOptions
from fastopt.result import MaybeNone, StepResult
from fastopt.tree import LikeParams, PartialTree, Steps, Tree, zeros_like

if TYPE_CHECKING:
    from typing_extensions import Unpack

    from fastopt.optimizers import OptimizerOptions, Params

_step = _core.rules["momentum"].step


@dataclass(slots=True, eq=False)
class MomentumState:
    """State of :func:`fastopt.momentum_step`."""

    step: Steps
    """Updates made so far; a tree with one count for each array where they differ."""
    buf: LikeParams
    """The momentum buffer; overwritten, not read, by the step that finds ``step`` at 0."""


@document_init
def momentum_init(params: Tree) -> MomentumState:
    """Make the state of Momentum: ``step = 0`` and ``buf`` of zeros.

    Returns
    -------
    MomentumState
        ``buf`` has the structure, shapes, dtypes and memory order of `params`.

    Examples
    --------
    >>> import numpy as np, fastopt
    >>> fastopt.momentum_init({"w": np.ones(2)})
    MomentumState(step=0, buf={'w': array([0., 0.])})
    """
    return MomentumState(0, zeros_like("momentum_init", params))


def formula(T: Any, t: int, o: Any, p: Any, g: Any, buf: Any) -> None:
    # With lr inside, buf is a velocity, which is added. To multiply by 1 or -1 rounds nothing.
    factor, rate = (-o.lr, -1.0) if o.lr_inside else (1.0, o.lr)
    undamped, damped = T(factor), T(factor * (1 - o.dampening))
    # The first gradient enters undamped, or an average would start near zero.
    buf[...] = undamped * g if t == 1 else T(o.momentum) * buf + damped * g
    p -= T(rate) * (undamped * g + T(o.momentum) * buf if o.nesterov else buf)


@document_step
def momentum_step(
    params: Tree,
    grads: PartialTree,
    state: MomentumState,
    *,
    lr: float = 1e-2,
    momentum: float = 0.9,
    dampening: float = 0.0,
    nesterov: bool = False,
    lr_inside: bool = False,
    **options: Unpack[StepOptions],
) -> StepResult | MaybeNone:
    """Update `params` and `state` in place by one step of SGD with momentum.

    ::

        buf = momentum*buf + (1 - dampening)*g      (first step: buf = g)
        p -= lr * buf                               (nesterov: p -= lr * (g + momentum*buf))

        lr_inside: buf = momentum*buf - lr*(1 - dampening)*g    (first step: buf = -lr*g)
                   p += buf                         (nesterov: p += momentum*buf - lr*g)

    Parameters
    ----------
    state : MomentumState
        From :func:`momentum_init`. ``buf`` and ``step`` are changed in place.
    lr : float, default 0.01, >= 0
        The learning rate.
    momentum : float, default 0.9, in [0, 1]
        The share of the buffer that is kept.
    dampening : float, default 0.0, in [0, 1]
        What is withheld of the gradient. ``dampening=momentum`` makes `buf` an average of the
        gradients instead of a sum.
    nesterov : bool, default False
        Nesterov's momentum: look ahead by one step of the buffer.
    lr_inside : bool, default False
        Keep the learning rate inside of the buffer, as Keras and scikit-learn do: `buf` is their
        velocity. While `lr` is constant, nothing else changes. Where it changes, each gradient
        keeps the one of its own step, instead of all taking the latest.

    Notes
    -----
    The same as ``torch.optim.SGD(momentum=...)``; its ``weight_decay`` is `l2` here. With
    `lr_inside` as Keras and scikit-learn. To go from one to the other, ``buf`` of `lr_inside` is
    ``-lr*buf``; ``state.step`` must be at least 1 for ``buf`` to be read.

    Momentum makes steps (1 - dampening)/(1 - momentum) times as long in the end, but neither
    `l1_prox` nor `weight_decay`, which pass it by: at the minimum they weigh by so much less than
    `l1` and `l2`.

    Sources: Polyak 1964; Sutskever et al. 2013, "On the importance of initialization and momentum
    in deep learning" (nesterov).

    Examples
    --------
    >>> import numpy as np, fastopt
    >>> w = np.array([1.0])
    >>> state = fastopt.momentum_init(w)
    >>> for _ in range(2):
    ...     fastopt.momentum_step(w, np.array([1.0]), state, lr=0.1)
    >>> w, state
    (array([0.71]), MomentumState(step=2, buf=array([1.9])))
    """
    return _step(
        MomentumState, params, grads, state, lr, momentum, dampening, nesterov, lr_inside, options
    )


@document_class(momentum_step)
class Momentum(Optimizer):
    """SGD with momentum.

    Examples
    --------
    >>> import numpy as np, fastopt
    >>> w = np.array([1.0])
    >>> opt = fastopt.Momentum(w, lr=0.1)
    >>> for _ in range(2):
    ...     opt.step(np.array([1.0]))
    >>> w
    array([0.71])
    """

    rule = "momentum"
    _new_state = staticmethod(momentum_init)

    def __init__(
        self,
        params: Params,
        *,
        state: MomentumState | None = None,
        lr: Scheduled = 1e-2,
        momentum: Scheduled = 0.9,
        dampening: Scheduled = 0.0,
        nesterov: bool = False,
        lr_inside: bool = False,
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
            **options,
        )
