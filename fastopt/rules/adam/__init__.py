"""Adam, and AdamW, which is Adam with decoupled weight decay."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from math import sqrt
from typing import TYPE_CHECKING, Any

import numpy as np

from fastopt import _core
from fastopt.docstrings import document_class, document_init, document_step
from fastopt.optimizers import Optimizer, OptionsWithoutDecay, Scheduled
from fastopt.options import Penalty, StepOptions
from fastopt.result import MaybeNone, StepResult
from fastopt.rules.adam.amsgrad import AMSGrad, AMSGradState, amsgrad_init
from fastopt.rules.cautious import checked
from fastopt.tree import LikeParams, PartialTree, Steps, Tree, zeros_like

if TYPE_CHECKING:
    from typing_extensions import Unpack

    from fastopt.optimizers import OptimizerOptions, Params

_step = _core.rules["adam"].step
_cautious_step = _core.rules["cautious_adam"].step


@dataclass(slots=True, eq=False)
class AdamState:
    """State of :func:`fastopt.adam_step`."""

    step: Steps
    """Updates made so far; a tree with one count for each array where they differ."""
    m: LikeParams
    """Running mean of the gradients (first moment)."""
    v: LikeParams
    """Running mean of the squared gradients (second moment)."""


@document_init
def adam_init(params: Tree) -> AdamState:
    """Make the state of Adam: ``step = 0``, ``m`` and ``v`` of zeros.

    Returns
    -------
    AdamState
        ``m`` and ``v`` have the structure, shapes, dtypes and memory order of `params`.

    Examples
    --------
    >>> import numpy as np, fastopt
    >>> fastopt.adam_init([np.ones(2)])
    AdamState(step=0, m=[array([0., 0.])], v=[array([0., 0.])])
    """
    return AdamState(0, zeros_like("adam_init", params), zeros_like("adam_init", params))


def update(T: Any, t: int, o: Any, g: Any, m: Any, v: Any) -> tuple[Any, Any, float]:
    correction1 = 1 - o.beta1**t if o.bias_correction else 1.0
    sqrt_correction2 = sqrt(1 - o.beta2**t) if o.bias_correction else 1.0
    if o.epsilon_hat:  # the remark at the end of the paper's section 2
        metric_lr, inv_sqrt_correction2 = o.lr * sqrt_correction2, 1.0
    else:
        metric_lr, inv_sqrt_correction2 = o.lr, 1 / sqrt_correction2

    def metric() -> Any:
        return np.sqrt(v) * T(inv_sqrt_correction2) + T(o.eps)

    m[...] = T(o.beta1) * m + T(1 - o.beta1) * g
    v[...] = T(o.beta2) * v + T(1 - o.beta2) * (g * g)
    return T(metric_lr / correction1) * (m / metric()), metric, metric_lr


def formula(T: Any, t: int, o: Any, p: Any, g: Any, m: Any, v: Any) -> tuple[Any, float]:
    u, metric, metric_lr = update(T, t, o, g, m, v)
    p -= u
    return metric, metric_lr


@document_step
def adam_step(
    params: Tree,
    grads: PartialTree,
    state: AdamState,
    *,
    lr: float = 1e-3,
    beta1: float = 0.9,
    beta2: float = 0.999,
    eps: float = 1e-8,
    epsilon_hat: bool = False,
    scaled_prox: bool = False,
    bias_correction: bool = True,
    cautious: bool = False,
    **options: Unpack[StepOptions],
) -> StepResult | MaybeNone:
    """Update `params` and `state` in place by one step of Adam.

    ::

        m = beta1*m + (1 - beta1)*g
        v = beta2*v + (1 - beta2)*g**2
        p -= lr/(1 - beta1**t) * m / (sqrt(v)/sqrt(1 - beta2**t) + eps)

        epsilon_hat: p -= lr*sqrt(1 - beta2**t)/(1 - beta1**t) * m / (sqrt(v) + eps)
        without bias_correction: p -= lr * m / (sqrt(v) + eps)

    where ``t`` is the count of the state after the step, so 1 in the first one.

    Parameters
    ----------
    state : AdamState
        From :func:`adam_init`. ``m``, ``v`` and ``step`` are changed in place.
    lr : float, default 0.001, >= 0
        The learning rate.
    beta1, beta2 : float, defaults 0.9 and 0.999, in [0, 1)
        Decay rates of the running means of the gradient and of its square.
    eps : float, default 1e-8, >= 0
        Keeps the denominator from zero.
    epsilon_hat : bool, default False
        Add `eps` to the uncorrected root, as Keras and scikit-learn do. Early in training this is
        a larger epsilon by ``1/sqrt(1 - beta2**t)``.
    {SCALED_PROX}
    bias_correction : bool, default True
        Divide the means by ``1 - beta1**t`` and ``1 - beta2**t``, which makes up for their start
        at zero. Without it, step t is ``(1 - beta1**t)/sqrt(1 - beta2**t)`` times as long, by
        default 3 times in the first one and up to 6.6 times soon after; and `epsilon_hat` makes no
        difference.
    cautious : bool, default False
        Change an element only where its step agrees in sign with its gradient, as
        :func:`cautious_adam_step`, which messages name then.

    Notes
    -----
    The same as ``torch.optim.Adam(betas=(beta1, beta2))`` (its ``weight_decay`` is `l2` here), and
    with `weight_decay` as ``torch.optim.AdamW``. With `epsilon_hat` as Keras (whose default
    ``epsilon`` is 1e-7), scikit-learn and thinc. Without `bias_correction` as BERT's
    ``AdamWeightDecayOptimizer``, the first versions of Flower's ``FedAdam``, and DeepSpeed with
    ``bias_correction=False``.

    Source: Kingma & Ba 2015, "Adam: a method for stochastic optimization", algorithm 1; for
    `epsilon_hat`, the end of its section 2.

    Examples
    --------
    >>> import numpy as np, fastopt
    >>> params = {"w": np.ones(2), "b": np.zeros(1)}
    >>> state = fastopt.adam_init(params)
    >>> grads = {"w": np.array([2.0, -3.0]), "b": np.array([0.5])}
    >>> fastopt.adam_step(params, grads, state, lr=0.1)
    >>> params
    {'w': array([0.9, 1.1]), 'b': array([-0.1])}
    """
    cautious = cautious is not False and checked("adam_step", cautious)
    step = _cautious_step if cautious else _step
    return step(
        AdamState,
        params,
        grads,
        state,
        lr,
        beta1,
        beta2,
        eps,
        epsilon_hat,
        scaled_prox,
        bias_correction,
        options,
    )


@document_class(adam_step)
class Adam(Optimizer):
    """Adam.

    Parameters
    ----------
    amsgrad : bool, default False
        Divide by the largest mean of squares so far, as :func:`amsgrad_step`, whose state the
        optimizer has then. The same for all groups.
    max_of_corrected : bool, default False
        That of :func:`amsgrad_step`; it needs `amsgrad`.
    cautious : bool, default False
        As in :func:`adam_step`. The same for all groups, and not with `amsgrad`.

    Examples
    --------
    >>> import numpy as np, fastopt
    >>> params = {"w": np.ones(2), "b": np.zeros(1)}
    >>> opt = fastopt.Adam(params, lr=0.1)
    >>> opt.step({"w": np.array([2.0, -3.0]), "b": np.array([0.5])})
    >>> params
    {'w': array([0.9, 1.1]), 'b': array([-0.1])}
    >>> opt.groups[0]["lr"] = 0.05
    """

    rule = "adam"
    _never_negative: tuple[str, ...] = ("v",)
    _new_state: Callable[[Any], Any] = staticmethod(adam_init)

    def __init__(
        self,
        params: Params,
        *,
        state: AdamState | AMSGradState | None = None,
        lr: Scheduled = 1e-3,
        beta1: Scheduled = 0.9,
        beta2: Scheduled = 0.999,
        eps: Scheduled = 1e-8,
        epsilon_hat: bool = False,
        scaled_prox: bool = False,
        bias_correction: bool = True,
        amsgrad: bool = False,
        max_of_corrected: bool = False,
        cautious: bool = False,
        **options: Unpack[OptimizerOptions],
    ) -> None:
        if not isinstance(amsgrad, bool):
            raise TypeError(
                f"{type(self).__name__}: amsgrad must be True or False, not {amsgrad!r}"
            )
        of_amsgrad: dict[str, Any] = {}
        if checked(type(self).__name__, cautious):
            self.rule = "cautious_adam"
            if amsgrad:
                raise ValueError(f"{type(self).__name__}: amsgrad and cautious exclude each other")
        if amsgrad:
            self.rule, self._new_state = "amsgrad", amsgrad_init
            self._never_negative = AMSGrad._never_negative
            of_amsgrad["max_of_corrected"] = max_of_corrected
        elif max_of_corrected is not False:
            raise ValueError(f"{type(self).__name__}: max_of_corrected needs amsgrad=True")
        super().__init__(
            params,
            state=state,
            lr=lr,
            beta1=beta1,
            beta2=beta2,
            eps=eps,
            epsilon_hat=epsilon_hat,
            scaled_prox=scaled_prox,
            bias_correction=bias_correction,
            **of_amsgrad,
            **options,
        )


class AdamOptions(OptionsWithoutDecay, total=False):
    """What AdamW hands on to Adam."""

    state: AdamState | AMSGradState | None
    lr: Scheduled
    beta1: Scheduled
    beta2: Scheduled
    eps: Scheduled
    epsilon_hat: bool
    scaled_prox: bool
    bias_correction: bool
    amsgrad: bool
    max_of_corrected: bool
    cautious: bool


@document_class(adam_step)
class AdamW(Adam):
    """Adam with decoupled weight decay: ``p -= lr*weight_decay*p``, then the rule of :class:`Adam`.

    Parameters
    ----------
    weight_decay : float or schedule, default 0.01, >= 0
        Decoupled weight decay: ``p -= lr * weight_decay * p``, before the rule of Adam.

    Notes
    -----
    ``torch.optim.AdamW``, whose default is 0.01 too; Keras' is 0.004.

    Source: Loshchilov & Hutter 2019, "Decoupled weight decay regularization", algorithm 2.

    Examples
    --------
    >>> import numpy as np, fastopt
    >>> w = np.ones(2)
    >>> opt = fastopt.AdamW(w, lr=0.1, weight_decay=0.5)
    >>> opt.step(np.array([2.0, -3.0]))
    >>> w
    array([0.85, 1.05])
    """

    def __init__(
        self,
        params: Params,
        *,
        weight_decay: Scheduled | Penalty = 1e-2,
        **options: Unpack[AdamOptions],
    ) -> None:
        super().__init__(params, weight_decay=weight_decay, **options)
