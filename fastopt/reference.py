"""The steps in plain NumPy: the specification, to be read as a textbook.

Every function here has the name, the signature and the effect of the one in :mod:`fastopt`, whose
kernels equal it bit for bit (NaNs compare equal). Nothing is checked here; the kernels' functions
check their arguments. Three conventions hold throughout:

- Arithmetic is done in the dtype of the parameter, operation by operation, in the order written.
- Hyper-parameters and bias corrections are computed in double precision and rounded to that dtype
  once, by ``T(...)`` below.
- A term whose coefficient is zero is absent (0 * inf must not make NaN).

``flush_denormals`` is the one option that this module does not follow: it lets the kernels deviate
from the formula, for speed.
"""

from __future__ import annotations

from dataclasses import dataclass, fields
from math import isfinite, sqrt
from typing import Any

import numpy as np

from fastopt.result import GlobalNorm, StepResult
from fastopt.state import (
    AdamState,
    MomentumState,
    RMSpropState,
    adam_init,
    momentum_init,
    rmsprop_init,
)
from fastopt.tree import Tree, paths, zip_trees

__all__ = [
    "adam_init",
    "adam_step",
    "global_norm",
    "momentum_init",
    "momentum_step",
    "rmsprop_init",
    "rmsprop_step",
    "sgd_step",
]


@dataclass
class _Terms:
    """What every step does to the gradient before its rule, and to the parameter around it."""

    lr: float
    l1: float
    l2: float
    weight_decay: float
    decay_after: bool
    l1_prox: float
    grad_scale: float
    maximize: bool
    keep_prob: float
    zero_grads: bool
    clip_norm: float | None
    clip_tensor_norm: float | None
    clip_eps: float
    clip_value: float | None
    ema_decay: float | None

    def __post_init__(self) -> None:
        for field in fields(self):
            value = getattr(self, field.name)
            if field.type.startswith("float") and value is not None:
                setattr(self, field.name, float(value))

    def measure(self, params: Tree, grads: Tree, skip_nonfinite: bool) -> StepResult | None:
        """Look at all gradients first, where clipping or skipping asks for it."""
        if not (self.clip_norm or self.clip_tensor_norm or skip_nonfinite):
            return None
        norm = _norm([g for _, g in zip_trees(params, grads)], paths(params))
        result = StepResult(
            skipped=skip_nonfinite and not norm.finite,
            grad_norm=abs(self.grad_scale) * norm,
            nonfinite=norm.nonfinite,
        )
        if self.clip_norm and not result.skipped:
            self.grad_scale *= self._clip_factor(self.clip_norm, result.grad_norm)
        return result

    def before_rule(self, p: Any, g: Any, mask: Any) -> Any:
        """Return the gradient that the rule sees; decay ``p`` if that comes first."""
        T = p.dtype.type
        scale = -self.grad_scale if self.maximize else self.grad_scale
        if self.clip_tensor_norm:
            norm = abs(self.grad_scale) * global_norm(g)
            scale *= self._clip_factor(self.clip_tensor_norm, norm)
        if T(scale) != 1:
            g = g * T(scale)
        if self.clip_value is not None:
            g = np.clip(g, T(-self.clip_value), T(self.clip_value))
        if mask is not None:  # DropConnect, Wan et al. 2013
            g = np.where(mask, g * T(1 / self.keep_prob), T(0))
        if (l2 := T(self.l2)) != 0:  # the gradient of (l2/2) * sum(p**2)
            g = g + l2 * p
        if (l1 := T(self.l1)) != 0:  # a subgradient of l1 * sum(abs(p))
            g = g + l1 * np.sign(p)
        if not self.decay_after:
            self._decay(p)
        return g

    def after_rule(self, p: Any, g: Any, average: Any) -> None:
        """Finish ``p``; ``g`` is the user's own gradient, ``average`` that of the parameter."""
        T = p.dtype.type
        if self.decay_after:
            self._decay(p)
        if (threshold := T(self.lr * self.l1_prox)) != 0:  # soft thresholding
            p[...] = np.sign(p) * np.maximum(np.abs(p) - threshold, T(0))
        if average is not None and self.ema_decay is not None:
            average[...] = T(self.ema_decay) * average + T(1 - self.ema_decay) * p
        if self.zero_grads:
            g[...] = 0

    def _decay(self, p: Any) -> None:
        if (decay := p.dtype.type(self.lr * self.weight_decay)) != 0:
            p -= decay * p

    def _clip_factor(self, max_norm: float, norm: float) -> float:
        """Pascanu et al. 2013, algorithm 1; a norm that is NaN gives NaN."""
        if norm + self.clip_eps == 0:
            return 1.0
        factor = max_norm / (norm + self.clip_eps)
        return 1.0 if factor >= 1 else factor


def sgd_step(
    params: Tree,
    grads: Tree,
    state: None = None,
    *,
    lr: float = 1e-2,
    l1: float = 0.0,
    l2: float = 0.0,
    weight_decay: float = 0.0,
    decay_after: bool = False,
    l1_prox: float = 0.0,
    grad_scale: float = 1.0,
    maximize: bool = False,
    mask: Tree | None = None,
    keep_prob: float = 1.0,
    zero_grads: bool = False,
    clip_norm: float | None = None,
    clip_tensor_norm: float | None = None,
    clip_eps: float = 1e-6,
    clip_value: float | None = None,
    ema: Tree | None = None,
    ema_decay: float | None = None,
    skip_nonfinite: bool = False,
    flush_denormals: bool = False,
    threads: int | None = None,
) -> StepResult | None:
    """Stochastic gradient descent."""
    terms = _Terms(
        *(lr, l1, l2, weight_decay, decay_after, l1_prox, grad_scale, maximize, keep_prob),
        *(zero_grads, clip_norm, clip_tensor_norm, clip_eps, clip_value, ema_decay),
    )
    result = terms.measure(params, grads, skip_nonfinite)
    if result and result.skipped:
        return result
    lr = float(lr)
    for p, grad, keep, average in zip_trees(params, grads, mask, ema):
        T = p.dtype.type
        g = terms.before_rule(p, grad, keep)
        p -= T(lr) * g
        terms.after_rule(p, grad, average)
    return result


def momentum_step(
    params: Tree,
    grads: Tree,
    state: MomentumState,
    *,
    lr: float = 1e-2,
    momentum: float = 0.9,
    dampening: float = 0.0,
    nesterov: bool = False,
    l1: float = 0.0,
    l2: float = 0.0,
    weight_decay: float = 0.0,
    decay_after: bool = False,
    l1_prox: float = 0.0,
    grad_scale: float = 1.0,
    maximize: bool = False,
    mask: Tree | None = None,
    keep_prob: float = 1.0,
    zero_grads: bool = False,
    clip_norm: float | None = None,
    clip_tensor_norm: float | None = None,
    clip_eps: float = 1e-6,
    clip_value: float | None = None,
    ema: Tree | None = None,
    ema_decay: float | None = None,
    skip_nonfinite: bool = False,
    flush_denormals: bool = False,
    threads: int | None = None,
) -> StepResult | None:
    """Momentum, and Nesterov's form of it."""
    terms = _Terms(
        *(lr, l1, l2, weight_decay, decay_after, l1_prox, grad_scale, maximize, keep_prob),
        *(zero_grads, clip_norm, clip_tensor_norm, clip_eps, clip_value, ema_decay),
    )
    result = terms.measure(params, grads, skip_nonfinite)
    if result and result.skipped:
        return result
    lr, momentum, dampening = float(lr), float(momentum), float(dampening)
    state.step += 1
    for p, grad, buf, keep, average in zip_trees(params, grads, state.buf, mask, ema):
        T = p.dtype.type
        g = terms.before_rule(p, grad, keep)
        if state.step == 1:
            buf[...] = g
        else:
            buf[...] = T(momentum) * buf + T(1 - dampening) * g
        p -= T(lr) * (g + T(momentum) * buf if nesterov else buf)
        terms.after_rule(p, grad, average)
    return result


def adam_step(
    params: Tree,
    grads: Tree,
    state: AdamState,
    *,
    lr: float = 1e-3,
    beta1: float = 0.9,
    beta2: float = 0.999,
    eps: float = 1e-8,
    epsilon_hat: bool = False,
    l1: float = 0.0,
    l2: float = 0.0,
    weight_decay: float = 0.0,
    decay_after: bool = False,
    l1_prox: float = 0.0,
    grad_scale: float = 1.0,
    maximize: bool = False,
    mask: Tree | None = None,
    keep_prob: float = 1.0,
    zero_grads: bool = False,
    clip_norm: float | None = None,
    clip_tensor_norm: float | None = None,
    clip_eps: float = 1e-6,
    clip_value: float | None = None,
    ema: Tree | None = None,
    ema_decay: float | None = None,
    skip_nonfinite: bool = False,
    flush_denormals: bool = False,
    threads: int | None = None,
) -> StepResult | None:
    """Adam (Kingma & Ba 2015, algorithm 1)."""
    terms = _Terms(
        *(lr, l1, l2, weight_decay, decay_after, l1_prox, grad_scale, maximize, keep_prob),
        *(zero_grads, clip_norm, clip_tensor_norm, clip_eps, clip_value, ema_decay),
    )
    result = terms.measure(params, grads, skip_nonfinite)
    if result and result.skipped:
        return result
    lr, beta1, beta2, eps = float(lr), float(beta1), float(beta2), float(eps)
    state.step += 1
    correction1 = 1 - beta1**state.step
    sqrt_correction2 = sqrt(1 - beta2**state.step)
    if epsilon_hat:  # the remark at the end of the paper's section 2
        step_size, inv_sqrt_correction2 = lr * sqrt_correction2 / correction1, 1.0
    else:
        step_size, inv_sqrt_correction2 = lr / correction1, 1 / sqrt_correction2
    for p, grad, m, v, keep, average in zip_trees(params, grads, state.m, state.v, mask, ema):
        T = p.dtype.type
        g = terms.before_rule(p, grad, keep)
        m[...] = T(beta1) * m + T(1 - beta1) * g
        v[...] = T(beta2) * v + T(1 - beta2) * (g * g)
        p -= T(step_size) * (m / (np.sqrt(v) * T(inv_sqrt_correction2) + T(eps)))
        terms.after_rule(p, grad, average)
    return result


def rmsprop_step(
    params: Tree,
    grads: Tree,
    state: RMSpropState,
    *,
    lr: float = 1e-2,
    rho: float = 0.99,
    eps: float = 1e-8,
    eps_inside_sqrt: bool = False,
    momentum: float = 0.0,
    l1: float = 0.0,
    l2: float = 0.0,
    weight_decay: float = 0.0,
    decay_after: bool = False,
    l1_prox: float = 0.0,
    grad_scale: float = 1.0,
    maximize: bool = False,
    mask: Tree | None = None,
    keep_prob: float = 1.0,
    zero_grads: bool = False,
    clip_norm: float | None = None,
    clip_tensor_norm: float | None = None,
    clip_eps: float = 1e-6,
    clip_value: float | None = None,
    ema: Tree | None = None,
    ema_decay: float | None = None,
    skip_nonfinite: bool = False,
    flush_denormals: bool = False,
    threads: int | None = None,
) -> StepResult | None:
    """RMSprop (Tieleman & Hinton 2012); centered (Graves 2013) where the state has ``avg``."""
    terms = _Terms(
        *(lr, l1, l2, weight_decay, decay_after, l1_prox, grad_scale, maximize, keep_prob),
        *(zero_grads, clip_norm, clip_tensor_norm, clip_eps, clip_value, ema_decay),
    )
    result = terms.measure(params, grads, skip_nonfinite)
    if result and result.skipped:
        return result
    lr, rho, eps, momentum = float(lr), float(rho), float(eps), float(momentum)
    state.step += 1
    for p, grad, v, avg, buf, keep, average in zip_trees(
        params, grads, state.v, state.avg, state.buf, mask, ema
    ):
        T = p.dtype.type
        g = terms.before_rule(p, grad, keep)
        v[...] = T(rho) * v + T(1 - rho) * (g * g)
        mean_square = v
        if avg is not None:
            avg[...] = T(rho) * avg + T(1 - rho) * g
            mean_square = np.maximum(v - avg * avg, T(0))  # rounding can push it below zero
        if eps_inside_sqrt:
            d = np.sqrt(mean_square + T(eps))
        else:
            d = np.sqrt(mean_square) + T(eps)
        if buf is None:
            p -= T(lr) * (g / d)
        else:
            buf[...] = T(momentum) * buf + g / d
            p -= T(lr) * buf
        terms.after_rule(p, grad, average)
    return result


def global_norm(grads: Tree, *, threads: int | None = None) -> GlobalNorm:
    """Euclidean norm of all elements, summed in double precision in a fixed order."""
    return _norm([array for (array,) in zip_trees(grads)], paths(grads))


def _norm(arrays: list[Any], names: list[str]) -> GlobalNorm:
    total = _add([_sum_of_squares(array, 1.0) for array in arrays])
    if isfinite(total):
        return GlobalNorm(sqrt(total))
    # Something is not finite, or its square is not. On a small scale, no finite number has an
    # infinite square.
    small = 2.0**-600
    squares = [_sum_of_squares(array, small) for array in arrays]
    broken = [i for i, square in enumerate(squares) if not isfinite(square)]
    return GlobalNorm(
        np.sqrt(np.float64(_add(squares))) / small,
        f"grads{names[broken[0]]}" if broken else None,
    )


def _add(numbers: list[float]) -> float:
    """Add one after the other. (Python's own sum compensates for rounding, since 3.12.)"""
    total = 0.0
    for number in numbers:
        total += number
    return total


CHUNK, LANES = 4096, 16


def _sum_of_squares(array: Any, scale: float) -> float:
    """Add chunk by chunk, in a chunk into 16 lanes in turn, and fold the lanes in halves.

    The order is that of memory, with every axis walked forwards.
    """
    forwards = array[(..., *(slice(None, None, -1 if s < 0 else 1) for s in array.strides))]
    outer_first = sorted(range(array.ndim), key=lambda axis: -abs(array.strides[axis]))
    x = forwards.transpose(outer_first).ravel().astype(np.float64) * scale
    sums = []
    for start in range(0, x.size, CHUNK):
        chunk = x[start : start + CHUNK]
        rows = np.zeros((-(-chunk.size // LANES), LANES))
        rows.ravel()[: chunk.size] = chunk * chunk
        lanes = np.add.accumulate(rows, axis=0)[-1]
        while lanes.size > 1:
            lanes = lanes[: lanes.size // 2] + lanes[lanes.size // 2 :]
        sums.append(float(lanes[0]))
    return _add(sums)
