"""Adafactor: Adagrad's kind of step with a second moment kept by rows and columns."""

from __future__ import annotations

from dataclasses import dataclass
from functools import partial
from math import sqrt
from typing import TYPE_CHECKING, Any

import numpy as np

from fastopt import _core
from fastopt.arguments import flag
from fastopt.docstrings import document_class, document_init, document_step
from fastopt.optimizers import Optimizer, Scheduled
from fastopt.options import StepOptions
from fastopt.result import MaybeNone, StepResult
from fastopt.rules.starts import of_rows
from fastopt.tree import LikeParams, PartialTree, Steps, Tree, map_tree, zeros_like

if TYPE_CHECKING:
    from typing_extensions import Unpack

    from fastopt.optimizers import OptimizerOptions, Params

_step = _core.rules["adafactor"].step


@dataclass(slots=True, eq=False)
class AdafactorState:
    """State of :func:`fastopt.adafactor_step`."""

    step: Steps
    """Updates made so far; a tree with one count for each array where they differ."""
    v_row: LikeParams
    """Running mean of the squared gradients of each row: ``(..., n, 1)`` for arrays of shape
    ``(..., n, m)``. Of arrays with fewer than two axes that of each element, like them."""
    v_col: LikeParams
    """The same of each column: ``(..., 1, m)``. Of arrays with fewer than two axes ``(0,)``."""
    m: LikeParams
    """Running mean of the steps (first moment) if there is one, else None."""


def _columns(zeros: Any) -> Any:
    shape = (0,) if zeros.ndim < 2 else (*zeros.shape[:-2], 1, zeros.shape[-1])
    return np.zeros(shape, zeros.dtype)


@document_init
def adafactor_init(params: Tree, *, beta1: bool = False) -> AdafactorState:
    """Make the state of Adafactor: ``step = 0``, all else zeros.

    Parameters
    ----------
    beta1 : bool, default False
        Keep ``m``, the running mean of the steps: steps with this state may have a `beta1`.

    Returns
    -------
    AdafactorState
        ``v_row``, ``v_col`` and, unless None, ``m`` have the structure and dtypes of `params`;
        ``m`` also their shapes and memory order.

    Examples
    --------
    >>> import numpy as np, fastopt
    >>> state = fastopt.adafactor_init({"w": np.ones((3, 2)), "b": np.ones(2)})
    >>> state.v_row["w"].shape, state.v_col["w"].shape
    ((3, 1), (1, 2))
    >>> state.v_row["b"].shape, state.v_col["b"].shape
    ((2,), (0,))
    """
    has_m = flag("adafactor_init", "beta1", beta1)
    zeros = partial(zeros_like, "adafactor_init", params)
    v_row, v_col = map_tree(of_rows, zeros()), map_tree(_columns, zeros())
    return AdafactorState(0, v_row, v_col, zeros() if has_m else None)


def formula(
    T: Any, t: int, o: Any, p: Any, g: Any, v_row: Any, v_col: Any, m: Any
) -> tuple[Any, float]:
    one_minus_beta2 = t**o.beta2_decay
    lr = min(o.lr, 1 / sqrt(t)) if o.relative_step else o.lr
    added, least = o.eps1, 0.0
    if o.clamp:
        added, least = 0.0, o.eps1 or float(np.finfo(T).eps)

    def average(mean: Any, squares: Any, counts: Any) -> None:
        with np.errstate(invalid="ignore"):  # 0/0 where nothing takes part
            means = squares / counts + added
        new = ((1 - one_minus_beta2) * np.float64(mean) + one_minus_beta2 * means).astype(T)
        new = np.where(np.abs(new) < np.finfo(T).tiny, T(0), new)
        mean[...] = np.where(counts > 0, new, mean)

    def inverse_root(x: Any) -> Any:
        with np.errstate(divide="ignore"):
            return (1 / np.sqrt(x)).astype(T)

    squares, counts = o.squares_of_rows(g)
    average(v_row, squares, counts)
    most = T(1 / max(sqrt(np.finfo(T).tiny), least))
    if p.ndim < 2:
        root = inverse_root(v_row)
    else:
        average(v_col, *o.squares_of_columns(g))
        taking_part = np.where(counts > 0, np.float64(v_row), 0.0)
        of_rows = np.add.accumulate(taking_part, axis=-2)[..., -1:, :]
        with np.errstate(invalid="ignore"):
            of_rows = of_rows / np.sum(counts > 0, axis=-2, keepdims=True)
        of_rows = np.maximum(of_rows, max(least, np.finfo(np.float64).tiny))
        root = np.minimum(inverse_root(np.float64(v_row)), np.finfo(T).max)
        with np.errstate(over="ignore"):
            root = root * inverse_root(v_col / of_rows)
    root = np.minimum(root, most)
    u = g * root

    count = max(o.total(np.square, np.ones_like(p)), 1.0)
    of_p = sqrt(o.total(np.square, o.p_before_decay) / count)
    clipped = sqrt(o.total(np.square, u) / count) / o.d
    in_range = lr * of_p <= float(np.finfo(T).max)
    scale = max(o.eps2, of_p if in_range else 0.0) if o.scale_parameter else 1.0
    if not clipped <= 1:  # NaN does not stay hidden
        scale = scale / clipped
    if m is None:
        p -= T(lr * scale) * u
    else:
        m[...] = T(o.beta1) * m + T(1 - o.beta1) * (T(lr * scale) * u)
        p -= m
    return lambda: 1 / (T(scale) * root), lr


@document_step
def adafactor_step(
    params: Tree,
    grads: PartialTree,
    state: AdafactorState,
    *,
    lr: float = 1e-2,
    beta2_decay: float = -0.8,
    eps1: float = 1e-30,
    eps2: float = 1e-3,
    d: float = 1.0,
    beta1: float = 0.0,
    relative_step: bool = True,
    scale_parameter: bool = True,
    clamp: bool = False,
    scaled_prox: bool = False,
    **options: Unpack[StepOptions],
) -> StepResult | MaybeNone:
    """Update `params` and `state` in place by one step of Adafactor.

    ::

        beta2 = 1 - t**beta2_decay
        v_row = beta2*v_row + (1 - beta2)*(mean(g**2, axis=-1) + eps1)
        v_col = beta2*v_col + (1 - beta2)*(mean(g**2, axis=-2) + eps1)
        v = v_row * v_col/mean(v_row, axis=-2)      (fewer than two axes: v = v_row, of g**2)
        u = g / sqrt(v)
        u = u / max(1, rms(u)/d)
        p -= min(lr, 1/sqrt(t)) * max(eps2, rms(p)) * u

        without relative_step: lr in place of min(lr, 1/sqrt(t))
        without scale_parameter: 1 in place of max(eps2, rms(p))
        first moment: m = beta1*m + (1 - beta1)*(what is subtracted);  p -= m
        clamp: no eps1 in the means; v = max(v_row * v_col/max(mean(v_row), eps1), eps1**2)

    where ``t`` is the count of the state after the step, so 1 in the first one, and ``rms`` is the
    root of the mean square of each array by itself. With `update_mask` all means are those of what
    is updated; where nothing of a row is, that of the row stays.

    Parameters
    ----------
    state : AdafactorState
        From :func:`adafactor_init`. ``v_row``, ``v_col``, ``m`` and ``step`` are changed in place.
    lr : float, default 0.01, >= 0
        The learning rate: how long a step is, as a share of the root mean square of the array.
    beta2_decay : float, default -0.8, <= 0
        How fast the decay rate of the second moment comes close to 1.
    eps1 : float, default 1e-30, >= 0
        Keeps the second moment from zero. With `clamp`, 0 stands for the machine epsilon of the
        dtype, which is torch's default.
    eps2 : float, default 1e-3, >= 0
        The scale of an array that is small or zero.
    d : float, default 1.0, > 0
        The root mean square that a direction has at most.
    beta1 : float, default 0.0, in [0, 1)
        Decay rate of the running mean of the steps. Not zero, it needs a state made with
        ``beta1=True``.
    relative_step : bool, default True
        Let the learning rate be at most ``1/sqrt(t)``.
    scale_parameter : bool, default True
        Make steps in proportion to the array that they change.
    clamp : bool, default False
        Bound the second moment from below, as torch does, in place of adding `eps1` to it.
    {SCALED_PROX}

    Notes
    -----
    ``torch.optim.Adafactor(eps=(e1, e2))`` is ``adafactor_step(..., clamp=True, eps1=e1, eps2=e2)``
    with ``eps1=0`` where ``e1`` is None. transformers' ``Adafactor`` with its defaults, and Keras'
    with ``lr=0.001``, are `adafactor_step` with its own; ``Adafactor(lr=x, relative_step=False)``
    of transformers is the same here. Its ``warmup_init`` is a schedule, ``lr=lambda t: 1e-6*(t +
    1)``; its ``weight_decay`` goes by the length of the step, ours by `lr`. optax factors the two
    longest axes, where both have 128 elements (``min_dim_size_to_factor``), and adds its weight
    decay at the end.

    What a state holds of an ``(n, m)`` array are ``n + m`` numbers, where Adam has ``2*n*m``. The
    last two axes are those that are factored: of convolutions, reshape the parameters to give
    others (a view is enough). In C arrays are flat, and nothing is factored.

    An element of ``v`` counts as the smallest normal number of the dtype at least: rows and columns
    of zeros may meet. An array whose root mean square is out of range is scaled as a small one.

    The gradient is gone over three times: for rows and columns, for the root mean squares, for the
    step. Squares are added up in double precision in a fixed order.

    Source: Shazeer & Stern 2018, "Adafactor: adaptive learning rates with sublinear memory cost",
    algorithms 4 and 5.

    Examples
    --------
    >>> import numpy as np, fastopt
    >>> w = np.array([[1.0, 1.0], [1.0, 1.0]])
    >>> state = fastopt.adafactor_init(w)
    >>> fastopt.adafactor_step(w, np.array([[0.1, -0.2], [10.0, -20.0]]), state, lr=0.25)
    >>> w
    array([[0.75, 1.25],
           [0.75, 1.25]])
    """
    rule = (
        *(lr, beta2_decay, eps1, eps2, d, beta1),
        *(relative_step, scale_parameter, clamp, scaled_prox),
    )
    return _step(AdafactorState, params, grads, state, *rule, options)


@document_class(adafactor_step)
class Adafactor(Optimizer):
    """Adafactor.

    Parameters
    ----------
    beta1 : float or schedule, default 0.0, in [0, 1)
        Decay rate of the running mean of the steps. If it is 0 here, there is no such mean, and no
        group can have one.

    Examples
    --------
    >>> import numpy as np, fastopt
    >>> w = np.array([[1.0, 1.0], [1.0, 1.0]])
    >>> opt = fastopt.Adafactor(w, lr=0.25)
    >>> opt.step(np.array([[0.1, -0.2], [10.0, -20.0]]))
    >>> w
    array([[0.75, 1.25],
           [0.75, 1.25]])
    """

    rule = "adafactor"
    _never_negative = ("v_row", "v_col")

    def __init__(
        self,
        params: Params,
        *,
        state: AdafactorState | None = None,
        lr: Scheduled = 1e-2,
        beta2_decay: Scheduled = -0.8,
        eps1: Scheduled = 1e-30,
        eps2: Scheduled = 1e-3,
        d: Scheduled = 1.0,
        beta1: Scheduled = 0.0,
        relative_step: bool = True,
        scale_parameter: bool = True,
        clamp: bool = False,
        scaled_prox: bool = False,
        **options: Unpack[OptimizerOptions],
    ) -> None:
        has_m = callable(beta1) or beta1 != 0
        self._new_state = partial(adafactor_init, beta1=has_m)
        super().__init__(
            params,
            state=state,
            lr=lr,
            beta2_decay=beta2_decay,
            eps1=eps1,
            eps2=eps2,
            d=d,
            beta1=beta1,
            relative_step=relative_step,
            scale_parameter=scale_parameter,
            clamp=clamp,
            scaled_prox=scaled_prox,
            **options,
        )
