"""Lion: steps of one length, in the direction of a sign."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from fastopt import _core
from fastopt.docstrings import document_class, document_init, document_step
from fastopt.optimizers import Optimizer, Scheduled
from fastopt.options import StepOptions
from fastopt.result import MaybeNone, StepResult
from fastopt.rules.cautious import checked
from fastopt.tree import LikeParams, PartialTree, Steps, Tree, zeros_like

if TYPE_CHECKING:
    from typing_extensions import Unpack

    from fastopt.optimizers import OptimizerOptions, Params

_step = _core.rules["lion"].step
_cautious_step = _core.rules["cautious_lion"].step


@dataclass(slots=True, eq=False)
class LionState:
    """State of :func:`fastopt.lion_step`."""

    step: Steps
    """Updates made so far; a tree with one count for each array where they differ."""
    m: LikeParams
    """Running mean of the gradients."""


@document_init
def lion_init(params: Tree) -> LionState:
    """Make the state of Lion: ``step = 0`` and ``m`` of zeros.

    Returns
    -------
    LionState
        ``m`` has the structure, shapes, dtypes and memory order of `params`.

    Examples
    --------
    >>> import numpy as np, fastopt
    >>> fastopt.lion_init([np.ones(2)])
    LionState(step=0, m=[array([0., 0.])])
    """
    return LionState(0, zeros_like("lion_init", params))


def update(T: Any, t: int, o: Any, g: Any, m: Any) -> tuple[Any, None, float]:
    u = T(o.lr) * np.sign(T(o.beta1) * m + T(1 - o.beta1) * g)
    m[...] = T(o.beta2) * m + T(1 - o.beta2) * g
    return u, None, o.lr


def formula(T: Any, t: int, o: Any, p: Any, g: Any, m: Any) -> None:
    u, *_ = update(T, t, o, g, m)
    p -= u


@document_step
def lion_step(
    params: Tree,
    grads: PartialTree,
    state: LionState,
    *,
    lr: float = 1e-4,
    beta1: float = 0.9,
    beta2: float = 0.99,
    cautious: bool = False,
    **options: Unpack[StepOptions],
) -> StepResult | MaybeNone:
    """Update `params` and `state` in place by one step of Lion.

    ::

        p -= lr * sign(beta1*m + (1 - beta1)*g)
        m = beta2*m + (1 - beta2)*g

    where the sign of 0 is 0.

    Parameters
    ----------
    state : LionState
        From :func:`lion_init`. ``m`` and ``step`` are changed in place.
    lr : float, default 0.0001, >= 0
        The learning rate: how far each element moves. A third to a tenth of that of Adam suits.
    beta1 : float, default 0.9, in [0, 1)
        The share of the mean in the direction of a step.
    beta2 : float, default 0.99, in [0, 1)
        Decay rate of the mean.
    cautious : bool, default False
        Change an element only where its step agrees in sign with its gradient, as
        :func:`cautious_lion_step`, which messages name then.

    Notes
    -----
    The same as ``optax.lion``, ``keras.optimizers.Lion`` (whose default `lr` is 0.001) and
    ``lion_pytorch.Lion``, all of which have `weight_decay` decoupled as it is here; its default in
    optax is 0.001, elsewhere 0. Since all steps are of one length, the paper takes
    `weight_decay` 3 to 10 times that of AdamW.

    Source: Chen et al. 2023, "Symbolic discovery of optimization algorithms", program 1.

    Examples
    --------
    >>> import numpy as np, fastopt
    >>> w = np.array([1.0, 1.0, 1.0])
    >>> state = fastopt.lion_init(w)
    >>> fastopt.lion_step(w, np.array([0.1, -10.0, 0.0]), state, lr=0.25)
    >>> w
    array([0.75, 1.25, 1.  ])
    """
    cautious = cautious is not False and checked("lion_step", cautious)
    step = _cautious_step if cautious else _step
    return step(LionState, params, grads, state, lr, beta1, beta2, options)


@document_class(lion_step)
class Lion(Optimizer):
    """Lion.

    Parameters
    ----------
    cautious : bool, default False
        As in :func:`lion_step`. The same for all groups.

    Examples
    --------
    >>> import numpy as np, fastopt
    >>> w = np.array([1.0, 1.0, 1.0])
    >>> opt = fastopt.Lion(w, lr=0.25)
    >>> opt.step(np.array([0.1, -10.0, 0.0]))
    >>> w
    array([0.75, 1.25, 1.  ])
    """

    rule = "lion"
    _new_state = staticmethod(lion_init)

    def __init__(
        self,
        params: Params,
        *,
        state: LionState | None = None,
        lr: Scheduled = 1e-4,
        beta1: Scheduled = 0.9,
        beta2: Scheduled = 0.99,
        cautious: bool = False,
        **options: Unpack[OptimizerOptions],
    ) -> None:
        if checked(type(self).__name__, cautious):
            self.rule = "cautious_lion"
        super().__init__(params, state=state, lr=lr, beta1=beta1, beta2=beta2, **options)
