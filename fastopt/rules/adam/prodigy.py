"""Prodigy: Adam that finds the length of its steps."""

from __future__ import annotations

from collections.abc import Generator
from dataclasses import dataclass
from math import isfinite, sqrt
from typing import TYPE_CHECKING, Any

import numpy as np

from fastopt import _core
from fastopt.docstrings import document_class, document_init, document_step
from fastopt.optimizers import Optimizer, Scheduled
from fastopt.options import StepOptions
from fastopt.result import MaybeNone, StepResult
from fastopt.rules.starts import copies_like
from fastopt.tree import LikeParams, PartialTree, Steps, Tree, number_for_each, zeros_like

if TYPE_CHECKING:
    from typing_extensions import Unpack

    from fastopt.optimizers import OptimizerOptions, Params

_step = _core.rules["prodigy"].step


@dataclass(slots=True, eq=False)
class ProdigyState:
    """State of :func:`fastopt.prodigy_step`."""

    step: Steps
    """Updates made so far; a tree with one count for each array where they differ."""
    m: LikeParams
    """Running mean of the gradients times ``d`` (first moment)."""
    v: LikeParams
    """Running mean of their squares (second moment)."""
    s: LikeParams
    """Sum of the gradients, which decays; each times the length of its step."""
    p0: LikeParams
    """Where the parameters began: what they are in the first step."""
    d_now: LikeParams
    """The length of steps by now, a number for each array; 0 before the first, which has `d0`."""
    d_max: LikeParams
    """The largest estimate of it so far, a number for each array."""
    d_numerator: LikeParams
    """How far gradients went along with the way from ``p0``, a number for each array."""


@document_init
def prodigy_init(params: Tree) -> ProdigyState:
    """Make the state of Prodigy: ``step = 0``, ``p0`` a copy of the parameters, all else zero.

    Returns
    -------
    ProdigyState
        ``m``, ``v``, ``s`` and ``p0`` have the structure, shapes, dtypes and memory order of
        `params`; ``d_now``, ``d_max`` and ``d_numerator`` have zeros of shape () and dtype float64
        in their place.

    Examples
    --------
    >>> import numpy as np, fastopt
    >>> state = fastopt.prodigy_init([np.ones(2)])
    >>> state.m, state.p0, state.d_now
    ([array([0., 0.])], [array([1., 1.])], [array(0.)])
    """
    m, v, s = (zeros_like("prodigy_init", params) for _ in range(3))
    d_now, d_max, d_numerator = (number_for_each(params, 0.0) for _ in range(3))
    p0 = copies_like("prodigy_init", params)
    return ProdigyState(0, m, v, s, p0, d_now, d_max, d_numerator)


def formula(
    T: Any,
    t: int,
    o: Any,
    p: Any,
    g: Any,
    m: Any,
    v: Any,
    s: Any,
    p0: Any,
    d_now: Any,
    d_max: Any,
    d_numerator: Any,
) -> Generator[tuple[float, ...], tuple[float, ...], None]:
    before = float(d_now) if d_now > 0 else o.d0
    beta3 = o.beta3 if o.beta3 > 0 else sqrt(o.beta2)
    d_lr = before * o.lr
    if o.use_bias_correction:
        d_lr *= sqrt(1 - o.beta2**t) / (1 - o.beta1**t)
    of_product = before / o.d0 * d_lr
    of_sum = before / o.d0 * before if o.safeguard_warmup else of_product
    if t == 1:
        p0[...] = p
    m[...] = T(o.beta1) * m + T(before * (1 - o.beta1)) * g
    v[...] = T(o.beta2) * v + T(before * before * (1 - o.beta2)) * (g * g)
    s[...] = T(beta3) * s + T(of_sum) * g

    products = of_product * (np.float64(g) * np.float64(p0 - p))
    product, magnitude = yield o.total(np.positive, products), o.total(np.abs, s)

    rate, decay, eps = d_lr, o.d_decay * d_lr, before * o.eps
    if magnitude == 0:
        rate = decay = 0.0
    numerator = beta3 * float(d_numerator) + product
    d_hat = o.d_coef * numerator / magnitude if magnitude != 0 else float("nan")
    if isfinite(d_hat):
        largest = max(float(d_max), before, d_hat)
        d = max(before, d_hat) if before == o.d0 else before
        d = min(largest, d * o.growth_rate) if o.growth_rate > 0 else largest
        d_now[...], d_max[...], d_numerator[...] = d, largest, numerator
        eps = d * o.eps
        if o.beta1 == 0:
            rate = d_lr * (d / before)
    least = np.finfo(T).tiny if o.eps > 0 else T(0)
    p -= T(decay) * p
    p -= T(rate) * (m / (np.sqrt(v) + max(T(eps), least)))


@document_step
def prodigy_step(
    params: Tree,
    grads: PartialTree,
    state: ProdigyState,
    *,
    lr: float = 1.0,
    beta1: float = 0.9,
    beta2: float = 0.999,
    beta3: float = 0.0,
    eps: float = 1e-8,
    d_decay: float = 0.0,
    use_bias_correction: bool = False,
    safeguard_warmup: bool = False,
    d0: float = 1e-6,
    d_coef: float = 1.0,
    growth_rate: float = 0.0,
    per_array: bool = False,
    **options: Unpack[StepOptions],
) -> StepResult | MaybeNone:
    """Update `params` and `state` in place by one step of Prodigy.

    ::

        m = beta1*m + (1 - beta1)*d*g
        v = beta2*v + (1 - beta2)*d**2*g**2
        s = beta3*s + d/d0 * lr*d * g
        d_numerator = beta3*d_numerator + sum(d/d0 * lr*d * g*(p0 - p))
        d_hat = d_coef * d_numerator / sum(abs(s))
        d_max = max(d_max, d, d_hat)
        d, before = d_max, d
        p -= lr*before * d_decay * p
        p -= lr*before * m / (sqrt(v) + d*eps)

        growth_rate: d = min(d_max, d*growth_rate), of max(d, d_hat) while d is d0
        use_bias_correction: lr*sqrt(1 - beta2**t)/(1 - beta1**t) in place of lr
        safeguard_warmup: s = beta3*s + d/d0 * d * g

    where ``d`` is ``d_now`` of the state, or `d0` in the first step; ``t`` is the count of the
    state after the step, so 1 in the first one; ``p0`` is what the parameters are in that step; and
    sums are over all arrays of the step together: with `update_mask`, over what is updated.

    Parameters
    ----------
    state : ProdigyState
        From :func:`prodigy_init`. ``m``, ``v``, ``s``, ``p0``, ``d_now``, ``d_max``,
        ``d_numerator`` and ``step`` are changed in place.
    lr : float, default 1.0, >= 0
        A factor of ``d`` in the length of steps. It is to stay 1, or to fall from there: with the
        rate of an Adam, ``d`` may stay `d0` for thousands of steps.
    beta1, beta2 : float, defaults 0.9 and 0.999, in [0, 1)
        Decay rates of the running means of the gradient and of its square.
    beta3 : float, default 0.0, in [0, 1)
        Decay rate of the sums that ``d`` is found by; 0 stands for ``sqrt(beta2)``.
    eps : float, default 1e-8, >= 0
        Keeps the denominator from zero.
    d_decay : float, default 0.0, >= 0
        Weight decay by ``d_decay*lr*d``: what the package calls ``weight_decay``. (That of all
        steps, `weight_decay`, is by ``weight_decay*lr``, which is far too much where `lr` is 1.)
    use_bias_correction : bool, default False
        Begin with the lengths of Adam's steps.
    safeguard_warmup : bool, default False
        Leave `lr` out of ``s``, where a schedule of it begins with small ones.
    d0 : float, default 1e-6, > 0
        Where ``d`` begins: so small that nothing diverges.
    d_coef : float, default 1.0, > 0
        Factor of the estimate, by which to tune the rule: 0.5 and 2 are usual.
    growth_rate : float, default 0.0, >= 0
        By what factor ``d`` grows in a step at most, after the first time; 0 stands for any.
    per_array : bool, default False
        Let each array have a ``d`` of its own, by sums over it alone.

    Notes
    -----
    The same as ``prodigyopt.Prodigy(betas=(beta1, beta2))``, whose ``weight_decay`` is `d_decay`
    here, or with ``decouple=False`` `l2`; ``beta3=None`` is 0 here and ``growth_rate=inf`` 0. Its
    ``slice_p``, for sums over a part of the elements, is left out. With ``beta1=0`` it has the
    new ``d`` in ``m``, and so has this. Unlike this, it takes over no gradients in steps where `lr`
    is 0, does not count steps before the first gradient that is not zero, and has the largest `lr`
    of all groups in its sums, where here each group has its own.
    Where the dtype cannot hold ``d*eps``, its smallest normal number is taken.

    The numbers of the state are the same for all arrays of a step. An array without a gradient
    keeps those that it had, and goes on with those of the array that has seen the most updates
    (the first of these in the order of `params`); its bias correction is by its own count. What is
    in groups of an optimizer has ``d`` in common, too: their `beta2`, `beta3`, `d0`, `d_coef` and
    `growth_rate` must be the same, but for groups with `per_array`. Where sums are not finite,
    ``d`` stays as it is.

    The memory is gone over twice, first for the sums, which are added up in double precision in a
    fixed order: array by array, as they stand in `params`.

    Source: Mishchenko & Defazio 2023, "Prodigy: an expeditiously adaptive parameter-free learner",
    algorithm 4, with the decay of sums of the authors' package.

    Examples
    --------
    >>> import numpy as np, fastopt
    >>> w = np.array([3.0, -2.0])
    >>> state = fastopt.prodigy_init(w)
    >>> for _ in range(100):
    ...     fastopt.prodigy_step(w, w.copy(), state)
    >>> w.round(3), state.d_now
    (array([-0.038, -0.015]), array(1.07550077))
    """
    rule = (
        *(lr, beta1, beta2, beta3, eps, d_decay, use_bias_correction, safeguard_warmup),
        *(d0, d_coef, growth_rate, per_array),
    )
    return _step(ProdigyState, params, grads, state, *rule, options)


@document_class(prodigy_step)
class Prodigy(Optimizer):
    """Prodigy.

    Examples
    --------
    >>> import numpy as np, fastopt
    >>> w = np.array([3.0, -2.0])
    >>> opt = fastopt.Prodigy(w)
    >>> for _ in range(100):
    ...     opt.step(w.copy())
    >>> w.round(3)
    array([-0.038, -0.015])
    """

    rule = "prodigy"
    _never_negative = ("v", "d_now", "d_max")
    _new_state = staticmethod(prodigy_init)

    def __init__(
        self,
        params: Params,
        *,
        state: ProdigyState | None = None,
        lr: Scheduled = 1.0,
        beta1: Scheduled = 0.9,
        beta2: Scheduled = 0.999,
        beta3: Scheduled = 0.0,
        eps: Scheduled = 1e-8,
        d_decay: Scheduled = 0.0,
        use_bias_correction: bool = False,
        safeguard_warmup: bool = False,
        d0: Scheduled = 1e-6,
        d_coef: Scheduled = 1.0,
        growth_rate: Scheduled = 0.0,
        per_array: bool = False,
        **options: Unpack[OptimizerOptions],
    ) -> None:
        super().__init__(
            params,
            state=state,
            lr=lr,
            beta1=beta1,
            beta2=beta2,
            beta3=beta3,
            eps=eps,
            d_decay=d_decay,
            use_bias_correction=use_bias_correction,
            safeguard_warmup=safeguard_warmup,
            d0=d0,
            d_coef=d_coef,
            growth_rate=growth_rate,
            per_array=per_array,
            **options,
        )
