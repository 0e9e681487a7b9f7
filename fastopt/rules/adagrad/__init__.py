"""Adagrad."""

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
from fastopt.rules.starts import checked_start, filled_like
from fastopt.tree import LikeParams, PartialTree, Steps, Tree

if TYPE_CHECKING:
    from typing_extensions import Unpack

    from fastopt.optimizers import OptimizerOptions, Params

_step = _core.rules["adagrad"].step


@dataclass(slots=True, eq=False)
class AdagradState:
    """State of :func:`fastopt.adagrad_step`."""

    step: Steps
    """Updates made so far; a tree with one count for each array where they differ."""
    s: LikeParams
    """Sum of the squared gradients."""


@document_init
def adagrad_init(params: Tree, *, initial_accumulator_value: float = 0.0) -> AdagradState:
    """Make the state of Adagrad: ``step = 0`` and ``s`` of one number.

    Parameters
    ----------
    initial_accumulator_value : float, default 0.0, >= 0
        What ``s`` starts with. Keras and optax start with 0.1.

    Returns
    -------
    AdagradState
        ``s`` has the structure, shapes, dtypes and memory order of `params`.

    Examples
    --------
    >>> import numpy as np, fastopt
    >>> fastopt.adagrad_init([np.ones(2)], initial_accumulator_value=0.1)
    AdagradState(step=0, s=[array([0.1, 0.1])])
    """
    start = checked_start("adagrad_init", initial_accumulator_value)
    return AdagradState(0, filled_like("adagrad_init", params, start))


def formula(T: Any, t: int, o: Any, p: Any, g: Any, s: Any) -> tuple[Any, float]:
    lr = o.lr / (1 + (t - 1) * o.lr_decay)

    def metric() -> Any:
        if o.eps_inside_sqrt:
            return np.sqrt(s + T(o.eps))
        return np.sqrt(s) + T(o.eps)

    s += g * g
    p -= T(lr) * (g / metric())
    return metric, lr


@document_step
def adagrad_step(
    params: Tree,
    grads: PartialTree,
    state: AdagradState,
    *,
    lr: float = 1e-2,
    lr_decay: float = 0.0,
    eps: float = 1e-10,
    eps_inside_sqrt: bool = False,
    scaled_prox: bool = False,
    **options: Unpack[StepOptions],
) -> StepResult | MaybeNone:
    """Update `params` and `state` in place by one step of Adagrad.

    ::

        s += g**2
        p -= lr/(1 + (t - 1)*lr_decay) * g / (sqrt(s) + eps)

        eps_inside_sqrt: p -= lr/(1 + (t - 1)*lr_decay) * g / sqrt(s + eps)

    where ``t`` is the count of the state after the step, so 1 in the first one.

    Parameters
    ----------
    state : AdagradState
        From :func:`adagrad_init`. ``s`` and ``step`` are changed in place.
    lr : float, default 0.01, >= 0
        The learning rate.
    lr_decay : float, default 0.0, >= 0
        How fast the learning rate falls with the count of steps. `weight_decay`, and `l1_prox`
        without `scaled_prox`, go by `lr` itself.
    eps : float, default 1e-10, >= 0
        Keeps the denominator from zero.
    eps_inside_sqrt : bool, default False
        Add `eps` before the root is taken, as Keras and optax do.
    {SCALED_PROX}

    Notes
    -----
    The same as ``torch.optim.Adagrad`` (its ``weight_decay`` is `l2` here); with `eps_inside_sqrt`,
    ``eps=1e-7`` and ``initial_accumulator_value=0.1`` as Keras' and optax' defaults.

    Source: Duchi, Hazan & Singer 2011, "Adaptive subgradient methods for online learning and
    stochastic optimization", eq. 1 with the diagonal of its matrix.

    Examples
    --------
    >>> import numpy as np, fastopt
    >>> w = np.array([1.0, 1.0])
    >>> state = fastopt.adagrad_init(w)
    >>> fastopt.adagrad_step(w, np.array([0.1, -10.0]), state, lr=0.25)
    >>> w
    array([0.75, 1.25])
    """
    rule = (lr, lr_decay, eps, eps_inside_sqrt, scaled_prox)
    return _step(AdagradState, params, grads, state, *rule, options)


@document_class(adagrad_step)
class Adagrad(Optimizer):
    """Adagrad.

    Parameters
    ----------
    initial_accumulator_value : float, default 0.0, >= 0
        What ``s`` starts with; of the whole optimizer.

    Examples
    --------
    >>> import numpy as np, fastopt
    >>> w = np.array([1.0, 1.0])
    >>> opt = fastopt.Adagrad(w, lr=0.25)
    >>> opt.step(np.array([0.1, -10.0]))
    >>> w
    array([0.75, 1.25])
    """

    rule = "adagrad"
    _never_negative = ("s",)

    def __init__(
        self,
        params: Params,
        *,
        state: AdagradState | None = None,
        lr: Scheduled = 1e-2,
        lr_decay: Scheduled = 0.0,
        eps: Scheduled = 1e-10,
        eps_inside_sqrt: bool = False,
        scaled_prox: bool = False,
        initial_accumulator_value: float = 0.0,
        **options: Unpack[OptimizerOptions],
    ) -> None:
        start = checked_start("Adagrad", initial_accumulator_value)
        self._new_state = partial(adagrad_init, initial_accumulator_value=start)
        super().__init__(
            params,
            state=state,
            lr=lr,
            lr_decay=lr_decay,
            eps=eps,
            eps_inside_sqrt=eps_inside_sqrt,
            scaled_prox=scaled_prox,
            **options,
        )
