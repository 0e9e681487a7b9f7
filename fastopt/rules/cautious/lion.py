"""Cautious Lion: Lion that changes an element where update and gradient agree."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from fastopt import _core
from fastopt.docstrings import document_class, document_init, document_step
from fastopt.optimizers import Scheduled
from fastopt.options import StepOptions
from fastopt.result import MaybeNone, StepResult
from fastopt.rules.cautious import refuse_option, subtract
from fastopt.rules.lion import Lion, LionState, update
from fastopt.tree import PartialTree, Tree, zeros_like

if TYPE_CHECKING:
    from typing_extensions import Unpack

    from fastopt.optimizers import OptimizerOptions, Params

_step = _core.rules["cautious_lion"].step


@document_init
def cautious_lion_init(params: Tree) -> LionState:
    """Make the state of Cautious Lion, which is that of Lion.

    Returns
    -------
    LionState
        ``m`` has the structure, shapes, dtypes and memory order of `params`.

    Examples
    --------
    >>> import numpy as np, fastopt
    >>> fastopt.cautious_lion_init([np.ones(2)])
    LionState(step=0, m=[array([0., 0.])])
    """
    return LionState(0, zeros_like("cautious_lion_init", params))


def formula(T: Any, t: int, o: Any, p: Any, g: Any, *state: Any) -> tuple[Any, float]:
    return subtract(T, o, p, g, *update(T, t, o, g, *state))


@document_step
def cautious_lion_step(
    params: Tree,
    grads: PartialTree,
    state: LionState,
    *,
    lr: float = 1e-4,
    beta1: float = 0.9,
    beta2: float = 0.99,
    **options: Unpack[StepOptions],
) -> StepResult | MaybeNone:
    """Update `params` and `state` in place by one step of Cautious Lion.

    ::

        u = lr * sign(beta1*m + (1 - beta1)*g)
        m = beta2*m + (1 - beta2)*g

        share = mean(u*g > 0)
        p -= u / max(share, 0.001) where u*g > 0, else 0

    where the mean is that of each array by itself: with `update_mask`, of what is updated.

    Parameters
    ----------
    state : LionState
        From :func:`cautious_lion_init` or :func:`lion_init`, which are the same.
        ``m`` and ``step`` are changed in place.
    lr : float, default 0.0001, >= 0
        The learning rate: how far each element moves where all agree.
    beta1 : float, default 0.9, in [0, 1)
        The share of the mean in the direction of a step.
    beta2 : float, default 0.99, in [0, 1)
        Decay rate of the mean.

    Notes
    -----
    The same as :func:`lion_step` with `cautious`, and as ``timm.optim.Lion(caution=True)``.
    Signs are compared, where timm multiplies, so that a product that underflows does not count
    there.

    What stays as it is still shrinks by `weight_decay`, which comes before the rule; the gradient
    that `u` is compared with is that after the terms, with `l2` and `l1` in it. An element whose
    gradient is 0 stays. One that is NaN becomes NaN.

    Source: Liang, Chen, Liu & Liu 2024, "Cautious optimizers: improving training with one line of
    code", that line; the least share is timm's, where the paper adds a small number to it.

    Examples
    --------
    >>> import numpy as np, fastopt
    >>> w = np.ones(2)
    >>> state = fastopt.cautious_lion_init(w)
    >>> for grad in ([2.0, -3.0], [2.0, 0.1]):
    ...     fastopt.cautious_lion_step(w, np.array(grad), state, lr=0.25)
    >>> w
    array([0.25, 1.25])
    """
    return _step(LionState, params, grads, state, lr, beta1, beta2, options)


@document_class(cautious_lion_step)
class CautiousLion(Lion):
    """Cautious Lion; ``fastopt.Lion(params, cautious=True)`` is the same.

    Examples
    --------
    >>> import numpy as np, fastopt
    >>> w = np.ones(2)
    >>> opt = fastopt.CautiousLion(w, lr=0.25)
    >>> for grad in ([2.0, -3.0], [2.0, 0.1]):
    ...     opt.step(np.array(grad))
    >>> w
    array([0.25, 1.25])
    """

    rule = "cautious_lion"

    def __init__(
        self,
        params: Params,
        *,
        state: LionState | None = None,
        lr: Scheduled = 1e-4,
        beta1: Scheduled = 0.9,
        beta2: Scheduled = 0.99,
        **options: Unpack[OptimizerOptions],
    ) -> None:
        refuse_option("CautiousLion", options)
        super().__init__(
            params,
            state=state,
            lr=lr,
            beta1=beta1,
            beta2=beta2,
            cautious=True,
            **options,
        )
