"""The optimizers, sorted in order of increasing complexity."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, Any, TypedDict

from fastopt.dropout import Dropout
from fastopt.optimizers.base import Optimizer
from fastopt.optimizers.docstrings import documented
from fastopt.state import (
    AdamState,
    MomentumState,
    RMSpropState,
    adam_init,
    momentum_init,
    rmsprop_init,
)

if TYPE_CHECKING:
    from typing_extensions import Unpack

Scheduled = float | Callable[[int], float]
"""A number, or a schedule: a callable of the updates made so far."""


class Common(TypedDict, total=False):
    """What every optimizer takes besides the options of its rule."""

    l1: Scheduled
    l2: Scheduled
    weight_decay: Scheduled
    decay_after: bool
    l1_prox: Scheduled
    nonneg: bool
    maximize: bool
    clip_value: Scheduled | None
    clip_norm: Scheduled | None
    clip_tensor_norm: Scheduled | None
    clip_eps: Scheduled
    skip_nonfinite: bool
    ema_decay: Scheduled | None
    ema_debias: bool
    drop: Dropout | None
    zero_grads: bool
    flush_denormals: bool
    threads: int | None
    accumulation: str


@documented
class SGD(Optimizer):
    """Stochastic gradient descent: ``p -= lr * g``.

    Parameters
    ----------
    {PARAMS}
    lr : float or schedule, default 0.01, >= 0
        The learning rate.
    {COMMON}

    Raises
    ------
    {RAISES}

    Notes
    -----
    {NOTES}

    ``torch.optim.SGD`` without momentum, whose default is ``lr=1e-3``; its ``weight_decay`` is `l2`
    here, that of Keras' ``SGD`` is `weight_decay`.

    Source: Robbins & Monro 1951, "A stochastic approximation method".

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
    rule_options = ("lr",)

    def __init__(self, params: Any, *, lr: Scheduled = 1e-2, **options: Unpack[Common]) -> None:
        super().__init__(params, {"lr": lr}, dict(options))


@documented
class Momentum(Optimizer):
    """SGD with momentum.

    ::

        buf = momentum*buf + (1 - dampening)*g      (first step: buf = g)
        p -= lr * buf                               (nesterov: p -= lr * (g + momentum*buf))

    Parameters
    ----------
    {PARAMS}
    lr : float or schedule, default 0.01, >= 0
        The learning rate.
    momentum : float or schedule, default 0.9, in [0, 1]
        The share of the buffer that is kept.
    dampening : float or schedule, default 0.0, in [0, 1]
        What is withheld of the gradient.
    nesterov : bool, default False
        Nesterov's momentum.
    {COMMON}

    Raises
    ------
    {RAISES}

    Notes
    -----
    {NOTES}

    ``torch.optim.SGD(momentum=...)``; its ``weight_decay`` is `l2` here. Keras keeps the learning
    rate inside of the buffer, which differs where it changes.

    Sources: Polyak 1964; Sutskever et al. 2013, "On the importance of initialization and momentum
    in deep learning" (nesterov).

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
    rule_options = ("lr", "momentum", "dampening", "nesterov")

    def __init__(
        self,
        params: Any,
        *,
        lr: Scheduled = 1e-2,
        momentum: Scheduled = 0.9,
        dampening: Scheduled = 0.0,
        nesterov: bool = False,
        **options: Unpack[Common],
    ) -> None:
        rule = {"lr": lr, "momentum": momentum, "dampening": dampening, "nesterov": nesterov}
        super().__init__(params, rule, dict(options))

    def new_state(self, params: tuple[Any, ...]) -> MomentumState:
        return momentum_init(params)


@documented
class Adam(Optimizer):
    """Adam.

    ::

        m = beta1*m + (1 - beta1)*g
        v = beta2*v + (1 - beta2)*g**2
        p -= lr/(1 - beta1**t) * m / (sqrt(v)/sqrt(1 - beta2**t) + eps)

        epsilon_hat: p -= lr*sqrt(1 - beta2**t)/(1 - beta1**t) * m / (sqrt(v) + eps)

    Parameters
    ----------
    {PARAMS}
    lr : float or schedule, default 0.001, >= 0
        The learning rate.
    beta1, beta2 : float or schedule, defaults 0.9 and 0.999, in [0, 1)
        Decay rates of the running means of the gradient and of its square.
    eps : float or schedule, default 1e-8, >= 0
        Keeps the denominator from zero.
    epsilon_hat : bool, default False
        Add `eps` to the uncorrected root, as Keras does.
    scaled_prox : bool, default False
        Take the threshold of `l1_prox` in the metric of the rule.
    {COMMON}

    Raises
    ------
    {RAISES}

    Notes
    -----
    {NOTES}

    ``torch.optim.Adam(betas=(beta1, beta2))``; its ``weight_decay`` is `l2` here. Keras' ``Adam``
    with ``epsilon_hat=True, eps=1e-7``.

    Source: Kingma & Ba 2015, "Adam: a method for stochastic optimization", algorithm 1.

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
    rule_options = ("lr", "beta1", "beta2", "eps", "epsilon_hat", "scaled_prox")

    def __init__(
        self,
        params: Any,
        *,
        lr: Scheduled = 1e-3,
        beta1: Scheduled = 0.9,
        beta2: Scheduled = 0.999,
        eps: Scheduled = 1e-8,
        epsilon_hat: bool = False,
        scaled_prox: bool = False,
        **options: Unpack[Common],
    ) -> None:
        rule = {"lr": lr, "beta1": beta1, "beta2": beta2, "eps": eps}
        flags = {"epsilon_hat": epsilon_hat, "scaled_prox": scaled_prox}
        super().__init__(params, {**rule, **flags}, dict(options))

    def new_state(self, params: tuple[Any, ...]) -> AdamState:
        return adam_init(params)


@documented
class AdamW(Adam):
    """Adam with decoupled weight decay: :class:`Adam` with ``weight_decay=0.01`` by default.

    ::

        p -= lr * weight_decay * p                  (before the rule of Adam)

    Parameters
    ----------
    {PARAMS}
    lr, beta1, beta2, eps, epsilon_hat, scaled_prox
        As in :class:`Adam`.
    weight_decay : float or schedule, default 0.01, >= 0
        Decoupled weight decay.
    {COMMON}

    Raises
    ------
    {RAISES}

    Notes
    -----
    {NOTES}

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

    def __init__(self, params: Any, *, weight_decay: Scheduled = 1e-2, **options: Any) -> None:
        super().__init__(params, weight_decay=weight_decay, **options)


@documented
class RMSprop(Optimizer):
    """RMSprop.

    ::

        v = rho*v + (1 - rho)*g**2
        d = sqrt(v) + eps                           (eps_inside_sqrt: d = sqrt(v + eps))
        p -= lr * g / d

        centered: avg = rho*avg + (1 - rho)*g;      d = sqrt(max(v - avg**2, 0)) + eps
        momentum: buf = momentum*buf + g / d;       p -= lr * buf

    Parameters
    ----------
    {PARAMS}
    lr : float or schedule, default 0.01, >= 0
        The learning rate.
    rho : float or schedule, default 0.99, in [0, 1)
        Decay rate of the running means (torch's ``alpha``).
    eps : float or schedule, default 1e-8, >= 0
        Keeps the denominator from zero.
    eps_inside_sqrt : bool, default False
        Add `eps` before the root is taken, as Keras and optax do.
    momentum : float or schedule, default 0.0, in [0, 1]
        The share of the buffer that is kept. If it is 0 here, there is no buffer, and no group
        can have momentum.
    centered : bool, default False
        Divide by the deviation from the mean instead; of the whole optimizer.
    scaled_prox : bool, default False
        Take the threshold of `l1_prox` in the metric of the rule.
    {COMMON}

    Raises
    ------
    {RAISES}

    Notes
    -----
    {NOTES}

    ``torch.optim.RMSprop``; its ``weight_decay`` is `l2` here. Keras' ``RMSprop`` with
    ``eps_inside_sqrt=True, rho=0.9, eps=1e-7``.

    Sources: Tieleman & Hinton 2012, lecture 6.5; Graves 2013, eq. 38-45 (centered).

    Examples
    --------
    >>> import numpy as np, fastopt
    >>> w = np.array([1.0, 1.0])
    >>> opt = fastopt.RMSprop(w, lr=0.01, rho=0.75)
    >>> opt.step(np.array([0.1, -10.0]))
    >>> w
    array([0.98, 1.02])
    """

    rule = "rmsprop"
    rule_options = ("lr", "rho", "eps", "eps_inside_sqrt", "scaled_prox", "momentum")

    def __init__(
        self,
        params: Any,
        *,
        lr: Scheduled = 1e-2,
        rho: Scheduled = 0.99,
        eps: Scheduled = 1e-8,
        eps_inside_sqrt: bool = False,
        momentum: Scheduled = 0.0,
        centered: bool = False,
        scaled_prox: bool = False,
        **options: Unpack[Common],
    ) -> None:
        if not isinstance(centered, bool):
            raise TypeError(f"RMSprop: centered must be True or False, not {centered!r}")
        self._centered = centered
        self._has_buf = callable(momentum) or momentum != 0
        rule = {"lr": lr, "rho": rho, "eps": eps, "momentum": momentum}
        flags = {"eps_inside_sqrt": eps_inside_sqrt, "scaled_prox": scaled_prox}
        super().__init__(params, {**rule, **flags}, dict(options))

    def new_state(self, params: tuple[Any, ...]) -> RMSpropState:
        return rmsprop_init(params, centered=self._centered, momentum=self._has_buf)

    def check_group(self, where: str, values: dict[str, Any]) -> None:
        super().check_group(where, values)
        if not self._has_buf and (callable(values["momentum"]) or values["momentum"] != 0):
            raise ValueError(
                f"{where}momentum={values['momentum']!r} needs a buffer, which the optimizer has "
                "only if it is made with momentum"
            )
