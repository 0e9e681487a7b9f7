"""Cautious Adam: Adam that changes an element where update and gradient agree."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from fastopt import _core
from fastopt.docstrings import document_class, document_init, document_step
from fastopt.optimizers import Scheduled
from fastopt.options import StepOptions
from fastopt.result import MaybeNone, StepResult
from fastopt.rules.adam import Adam, AdamState, update
from fastopt.rules.cautious import refuse_option, subtract
from fastopt.tree import PartialTree, Tree, zeros_like

if TYPE_CHECKING:
    from typing_extensions import Unpack

    from fastopt.optimizers import OptimizerOptions, Params

_step = _core.rules["cautious_adam"].step


@document_init
def cautious_adam_init(params: Tree) -> AdamState:
    """Make the state of Cautious Adam, which is that of Adam.

    Returns
    -------
    AdamState
        ``m`` and ``v`` have the structure, shapes, dtypes and memory order of `params`.

    Examples
    --------
    >>> import numpy as np, fastopt
    >>> fastopt.cautious_adam_init([np.ones(2)])
    AdamState(step=0, m=[array([0., 0.])], v=[array([0., 0.])])
    """
    m, v = (zeros_like("cautious_adam_init", params) for _ in range(2))
    return AdamState(0, m, v)


def formula(T: Any, t: int, o: Any, p: Any, g: Any, *state: Any) -> tuple[Any, float]:
    return subtract(T, o, p, g, *update(T, t, o, g, *state))


@document_step
def cautious_adam_step(
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
    **options: Unpack[StepOptions],
) -> StepResult | MaybeNone:
    """Update `params` and `state` in place by one step of Cautious Adam.

    ::

        m = beta1*m + (1 - beta1)*g
        v = beta2*v + (1 - beta2)*g**2
        u = lr/(1 - beta1**t) * m / (sqrt(v)/sqrt(1 - beta2**t) + eps)

        epsilon_hat: eps/sqrt(1 - beta2**t) in place of eps
        without bias_correction: u = lr * m / (sqrt(v) + eps)

        share = mean(u*g > 0)
        p -= u / max(share, 0.001) where u*g > 0, else 0

    where ``t`` is the count of the state after the step, so 1 in the first one, and the mean is
    that of each array by itself: with `update_mask`, of what is updated.

    Parameters
    ----------
    state : AdamState
        From :func:`cautious_adam_init` or :func:`adam_init`, which are the same.
        ``m``, ``v`` and ``step`` are changed in place.
    lr : float, default 0.001, >= 0
        The learning rate.
    beta1, beta2 : float, defaults 0.9 and 0.999, in [0, 1)
        Decay rates of the running means of the gradient and of its square.
    eps : float, default 1e-8, >= 0
        Keeps the denominator from zero.
    epsilon_hat : bool, default False
        Add `eps` to the uncorrected root, as Keras does.
    {SCALED_PROX}
    bias_correction : bool, default True
        Divide the means by ``1 - beta1**t`` and ``1 - beta2**t``.

    Notes
    -----
    The same as :func:`adam_step` with `cautious`. With `weight_decay` as timm's AdamW,
    ``timm.optim.AdamWLegacy(caution=True)``. Signs are compared, where timm multiplies, so that a
    product that underflows does not count there.

    What stays as it is still shrinks by `weight_decay`, which comes before the rule; the gradient
    that `u` is compared with is that after the terms, with `l2` and `l1` in it. An element whose
    gradient is 0 stays. One that is NaN becomes NaN.

    The threshold of `scaled_prox` is divided by `share`, as the update is.

    Source: Liang, Chen, Liu & Liu 2024, "Cautious optimizers: improving training with one line of
    code", that line; the least share is timm's, where the paper adds a small number to it.

    Examples
    --------
    >>> import numpy as np, fastopt
    >>> w = np.ones(2)
    >>> state = fastopt.cautious_adam_init(w)
    >>> for grad in ([2.0, -3.0], [2.0, 0.5]):
    ...     fastopt.cautious_adam_step(w, np.array(grad), state, lr=0.25)
    >>> w.round(3)
    array([0.25, 1.25])
    """
    rule = (lr, beta1, beta2, eps, epsilon_hat, scaled_prox, bias_correction)
    return _step(AdamState, params, grads, state, *rule, options)


@document_class(cautious_adam_step)
class CautiousAdam(Adam):
    """Cautious Adam; ``fastopt.Adam(params, cautious=True)`` is the same.

    Examples
    --------
    >>> import numpy as np, fastopt
    >>> w = np.ones(2)
    >>> opt = fastopt.CautiousAdam(w, lr=0.25)
    >>> for grad in ([2.0, -3.0], [2.0, 0.5]):
    ...     opt.step(np.array(grad))
    >>> w.round(3)
    array([0.25, 1.25])
    """

    rule = "cautious_adam"

    def __init__(
        self,
        params: Params,
        *,
        state: AdamState | None = None,
        lr: Scheduled = 1e-3,
        beta1: Scheduled = 0.9,
        beta2: Scheduled = 0.999,
        eps: Scheduled = 1e-8,
        epsilon_hat: bool = False,
        scaled_prox: bool = False,
        bias_correction: bool = True,
        **options: Unpack[OptimizerOptions],
    ) -> None:
        refuse_option("CautiousAdam", options)
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
            cautious=True,
            **options,
        )
