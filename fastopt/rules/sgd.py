"""Stochastic gradient descent."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from fastopt import _core
from fastopt.docstrings import document_class, document_step
from fastopt.optimizers import Optimizer, Scheduled
from fastopt.options import StepOptions
from fastopt.result import MaybeNone, StepResult
from fastopt.tree import PartialTree, Tree

if TYPE_CHECKING:
    from typing_extensions import Unpack

    from fastopt.optimizers import OptimizerOptions, Params

_step = _core.rules["sgd"].step


def formula(T: Any, t: int, o: Any, p: Any, g: Any) -> None:
    p -= T(o.lr) * g


@document_step
def sgd_step(
    params: Tree,
    grads: PartialTree,
    state: None = None,
    *,
    lr: float = 1e-2,
    **options: Unpack[StepOptions],
) -> StepResult | MaybeNone:
    """Update `params` in place by one step of stochastic gradient descent.

    ::

        p -= lr * g

    Parameters
    ----------
    state : None
        SGD has no state. The argument is there so that all steps can be called alike.
    lr : float, default 0.01, >= 0
        The learning rate.

    Notes
    -----
    The same as ``torch.optim.SGD`` and Keras' ``SGD`` without momentum. torch's ``weight_decay``
    there is `l2` here, and its default is ``lr=1e-3``.

    Source: Robbins & Monro 1951, "A stochastic approximation method".

    Examples
    --------
    >>> import numpy as np, fastopt
    >>> w = np.array([1.0, -2.0])
    >>> fastopt.sgd_step(w, np.array([0.5, 0.5]), lr=0.1)
    >>> w
    array([ 0.95, -2.05])
    """
    return _step(None, params, grads, state, lr, options)


@document_class(sgd_step)
class SGD(Optimizer):
    """Stochastic gradient descent.

    Examples
    --------
    >>> import numpy as np, fastopt
    >>> w = np.array([1.0, -2.0])
    >>> opt = fastopt.SGD(w, lr=0.1)
    >>> opt.step(np.array([0.5, 0.5]))
    >>> w
    array([ 0.95, -2.05])
    """

    rule = "sgd"

    def __init__(
        self,
        params: Params,
        *,
        state: None = None,
        lr: Scheduled = 1e-2,
        **options: Unpack[OptimizerOptions],
    ) -> None:
        super().__init__(params, state=state, lr=lr, **options)
