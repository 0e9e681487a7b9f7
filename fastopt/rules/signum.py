"""Signum: the sign of a mean of gradients; SignSGD, where the mean is the gradient itself."""

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

_step = _core.rules["signum"].step


@dataclass(slots=True, eq=False)
class SignumState:
    """State of :func:`fastopt.signum_step`."""

    step: Steps
    """Updates made so far; a tree with one count for each array where they differ."""
    m: LikeParams
    """Running mean of the gradients."""


@document_init
def signum_init(params: Tree) -> SignumState:
    """Make the state of Signum: ``step = 0`` and ``m`` of zeros.

    Returns
    -------
    SignumState
        ``m`` has the structure, shapes, dtypes and memory order of `params`.

    Examples
    --------
    >>> import numpy as np, fastopt
    >>> fastopt.signum_init([np.ones(2)])
    SignumState(step=0, m=[array([0., 0.])])
    """
    return SignumState(0, zeros_like("signum_init", params))


def formula(T: Any, t: int, o: Any, p: Any, g: Any, m: Any) -> None:
    m[...] = T(o.momentum) * m + T(1 - o.momentum) * g
    p -= T(o.lr) * np.sign(m)


@document_step
def signum_step(
    params: Tree,
    grads: PartialTree,
    state: SignumState,
    *,
    lr: float = 1e-3,
    momentum: float = 0.9,
    **options: Unpack[StepOptions],
) -> StepResult | MaybeNone:
    """Update `params` and `state` in place by one step of Signum.

    ::

        m = momentum*m + (1 - momentum)*g
        p -= lr * sign(m)

    where the sign of 0 is 0. With ``momentum=0.0`` it is SignSGD: ``p -= lr * sign(g)``.

    Parameters
    ----------
    state : SignumState
        From :func:`signum_init`. ``m`` and ``step`` are changed in place.
    lr : float, default 0.001, >= 0
        The learning rate: how far each element moves.
    momentum : float, default 0.9, in [0, 1)
        Decay rate of the mean.

    Notes
    -----
    The same as ``optax.signum(lr, beta=momentum)``, with ``momentum=0.0`` as
    ``optax.sign_sgd(lr)``. The start of ``m`` at zero needs no correction, which would change no
    sign. :func:`fastopt.lion_step` has two decay rates in place of one.

    Source: Bernstein et al. 2018, "signSGD: compressed optimisation for non-convex problems",
    algorithms 1 (SignSGD) and 2 (Signum).

    Examples
    --------
    >>> import numpy as np, fastopt
    >>> w = np.array([1.0, 1.0, 1.0])
    >>> state = fastopt.signum_init(w)
    >>> fastopt.signum_step(w, np.array([0.1, -10.0, 0.0]), state, lr=0.25)
    >>> w
    array([0.75, 1.25, 1.  ])
    """
    return _step(SignumState, params, grads, state, lr, momentum, options)


@document_class(signum_step)
class Signum(Optimizer):
    """Signum; with ``momentum=0.0`` SignSGD.

    Examples
    --------
    >>> import numpy as np, fastopt
    >>> w = np.array([1.0, 1.0, 1.0])
    >>> opt = fastopt.Signum(w, lr=0.25)
    >>> opt.step(np.array([0.1, -10.0, 0.0]))
    >>> w
    array([0.75, 1.25, 1.  ])
    """

    rule = "signum"
    _new_state = staticmethod(signum_init)

    def __init__(
        self,
        params: Params,
        *,
        state: SignumState | None = None,
        lr: Scheduled = 1e-3,
        momentum: Scheduled = 0.9,
        **options: Unpack[OptimizerOptions],
    ) -> None:
        super().__init__(params, state=state, lr=lr, momentum=momentum, **options)
