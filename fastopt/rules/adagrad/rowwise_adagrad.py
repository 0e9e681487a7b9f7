"""Row-wise Adagrad: Adagrad with one sum of squares for each row, as tables of embeddings have."""

from __future__ import annotations

from dataclasses import dataclass
from functools import partial
from typing import TYPE_CHECKING, Any

import numpy as np

from fastopt import _core
from fastopt.docstrings import document_class, document_init, document_step
from fastopt.optimizers import Optimizer, Scheduled
from fastopt.options import StepOptions
from fastopt.result import MaybeNone, StepResult
from fastopt.rules.starts import checked_start, fill, of_rows
from fastopt.tree import LikeParams, PartialTree, Steps, Tree, map_tree, zeros_like

if TYPE_CHECKING:
    from typing_extensions import Unpack

    from fastopt.optimizers import OptimizerOptions, Params

_step = _core.rules["rowwise_adagrad"].step


@dataclass(slots=True, eq=False)
class RowWiseAdagradState:
    """State of :func:`fastopt.rowwise_adagrad_step`."""

    step: Steps
    """Updates made so far; a tree with one count for each array where they differ."""
    s_row: LikeParams
    """Sum of the mean squared gradients of each row: ``(..., n, 1)`` for arrays of shape
    ``(..., n, m)``. Of arrays with fewer than two axes that of each element, like them."""


@document_init
def rowwise_adagrad_init(
    params: Tree, *, initial_accumulator_value: float = 0.0
) -> RowWiseAdagradState:
    """Make the state of row-wise Adagrad: ``step = 0`` and ``s_row`` filled with one number.

    Parameters
    ----------
    initial_accumulator_value : float, default 0.0, >= 0
        What ``s_row`` starts with.

    Returns
    -------
    RowWiseAdagradState
        ``s_row`` has the structure and dtypes of `params`.

    Examples
    --------
    >>> import numpy as np, fastopt
    >>> state = fastopt.rowwise_adagrad_init({"table": np.ones((1000, 64)), "b": np.ones(2)})
    >>> state.s_row["table"].shape, state.s_row["b"].shape
    ((1000, 1), (2,))
    """
    start = checked_start("rowwise_adagrad_init", initial_accumulator_value)
    s_row = map_tree(of_rows, zeros_like("rowwise_adagrad_init", params))
    fill("rowwise_adagrad_init", s_row, start)
    return RowWiseAdagradState(0, s_row)


def formula(T: Any, t: int, o: Any, p: Any, g: Any, s_row: Any) -> tuple[Any, float]:
    lr = o.lr / (1 + (t - 1) * o.lr_decay)
    squares, counts = o.squares_of_rows(g)
    with np.errstate(invalid="ignore"):  # 0/0 where nothing takes part
        new = (np.float64(s_row) + squares / counts).astype(T)
    new = np.where(np.abs(new) < np.finfo(T).tiny, T(0), new)
    s_row[...] = np.where(counts > 0, new, s_row)

    def metric() -> Any:
        return np.maximum(np.sqrt(s_row) + T(o.eps), np.finfo(T).tiny)

    with np.errstate(over="ignore"):
        rate = np.minimum(T(lr) / metric(), np.finfo(T).max)
    p -= rate * g
    return metric, lr


@document_step
def rowwise_adagrad_step(
    params: Tree,
    grads: PartialTree,
    state: RowWiseAdagradState,
    *,
    lr: float = 1e-2,
    lr_decay: float = 0.0,
    eps: float = 1e-10,
    scaled_prox: bool = False,
    **options: Unpack[StepOptions],
) -> StepResult | MaybeNone:
    """Update `params` and `state` in place by one step of row-wise Adagrad.

    ::

        s_row += mean(g**2)            of each row, along the last axis
        p -= lr/(1 + (t - 1)*lr_decay) / (sqrt(s_row) + eps) * g

    where ``t`` is the count of the state after the step, so 1 in the first one. An array with fewer
    than two axes has a sum for each element, as in :func:`adagrad_step`.

    Parameters
    ----------
    state : RowWiseAdagradState
        From :func:`rowwise_adagrad_init`. ``s_row`` and ``step`` are changed in place.
    lr : float, default 0.01, >= 0
        The learning rate.
    lr_decay : float, default 0.0, >= 0
        How fast the learning rate falls.
    eps : float, default 1e-10, >= 0
        Keeps the denominator from zero.
    {SCALED_PROX}

    Notes
    -----
    The same as torchrec's ``RowWiseAdagrad`` (whose ``weight_decay`` is `l2` here) and as
    ``EXACT_ROWWISE_ADAGRAD`` of FBGEMM, whose default `eps` is 1e-8, where all rows have gradients.
    There gradients are sparse: a penalty or a decay reaches rows that have one in this step, here
    it reaches all. A row whose gradient is zero stays as it is, here too.

    The rate is divided, and then multiplied by ``g``, as in FBGEMM: it is the same number for a
    whole row. The denominator is at least the smallest normal number of the dtype, the quotient at
    most its largest. Squares are added up in double precision in a fixed order; of a table in C
    order, whichever row it is. Such a table, with rows of up to 16384 elements, is gone over once,
    a few rows at a time, if there are no terms or masks to obey; in all other cases the gradient is
    read twice.

    What `update_mask` leaves out is not in the mean of its row; a row of which nothing takes part
    stays as it is.

    Source: Naumov et al. 2019, "Deep learning recommendation model for personalization and
    recommendation systems"; Duchi, Hazan & Singer 2011, equation 1.

    Examples
    --------
    >>> import numpy as np, fastopt
    >>> table = np.ones((2, 2))
    >>> state = fastopt.rowwise_adagrad_init(table)
    >>> fastopt.rowwise_adagrad_step(table, np.array([[1.0, -7.0], [0.0, 0.0]]), state, lr=0.5)
    >>> table, state.s_row
    (array([[0.9, 1.7],
           [1. , 1. ]]), array([[25.],
           [ 0.]]))
    """
    rule = (lr, lr_decay, eps, scaled_prox)
    return _step(RowWiseAdagradState, params, grads, state, *rule, options)


@document_class(rowwise_adagrad_step)
class RowWiseAdagrad(Optimizer):
    """Row-wise Adagrad.

    Parameters
    ----------
    initial_accumulator_value : float, default 0.0, >= 0
        What ``s_row`` starts with; of the whole optimizer.

    Examples
    --------
    >>> import numpy as np, fastopt
    >>> table = np.ones((2, 2))
    >>> opt = fastopt.RowWiseAdagrad(table, lr=0.5)
    >>> opt.step(np.array([[1.0, -7.0], [0.0, 0.0]]))
    >>> table
    array([[0.9, 1.7],
           [1. , 1. ]])
    """

    rule = "rowwise_adagrad"
    _never_negative = ("s_row",)

    def __init__(
        self,
        params: Params,
        *,
        state: RowWiseAdagradState | None = None,
        lr: Scheduled = 1e-2,
        lr_decay: Scheduled = 0.0,
        eps: Scheduled = 1e-10,
        scaled_prox: bool = False,
        initial_accumulator_value: float = 0.0,
        **options: Unpack[OptimizerOptions],
    ) -> None:
        start = checked_start("RowWiseAdagrad", initial_accumulator_value)
        self._new_state = partial(rowwise_adagrad_init, initial_accumulator_value=start)
        super().__init__(
            params,
            state=state,
            lr=lr,
            lr_decay=lr_decay,
            eps=eps,
            scaled_prox=scaled_prox,
            **options,
        )
