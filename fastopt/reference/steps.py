"""The rules, sorted in order of increasing complexity."""

from __future__ import annotations

from math import sqrt
from typing import TYPE_CHECKING

import numpy as np

from fastopt.options import StepOptions
from fastopt.reference.terms import Terms
from fastopt.result import StepResult
from fastopt.state import AdamState, MomentumState, RMSpropState
from fastopt.tree import Tree

if TYPE_CHECKING:
    from typing_extensions import Unpack


def sgd_step(
    params: Tree,
    grads: Tree,
    state: None = None,
    *,
    lr: float = 1e-2,
    **options: Unpack[StepOptions],
) -> StepResult | None:
    """Stochastic gradient descent."""
    terms = Terms(lr, options)
    result = terms.measure(params, grads)
    if result and result.skipped:
        return result
    lr = float(lr)
    for entry, p in terms.entries(params, grads):
        T = p.dtype.type
        g = entry.before_rule()
        p -= T(lr) * g
        entry.after_rule()
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
    **options: Unpack[StepOptions],
) -> StepResult | None:
    """Momentum, and Nesterov's form of it."""
    terms = Terms(lr, options)
    result = terms.measure(params, grads)
    if result and result.skipped:
        return result
    lr, momentum, dampening = float(lr), float(momentum), float(dampening)
    state.step += 1
    for entry, p, buf in terms.entries(params, grads, state.buf):
        T = p.dtype.type
        g = entry.before_rule()
        if state.step == 1:
            buf[...] = g
        else:
            buf[...] = T(momentum) * buf + T(1 - dampening) * g
        p -= T(lr) * (g + T(momentum) * buf if nesterov else buf)
        entry.after_rule()
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
    scaled_prox: bool = False,
    **options: Unpack[StepOptions],
) -> StepResult | None:
    """Adam (Kingma & Ba 2015, algorithm 1)."""
    terms = Terms(lr, options)
    result = terms.measure(params, grads)
    if result and result.skipped:
        return result
    lr, beta1, beta2, eps = float(lr), float(beta1), float(beta2), float(eps)
    state.step += 1
    correction1 = 1 - beta1**state.step
    sqrt_correction2 = sqrt(1 - beta2**state.step)
    if epsilon_hat:  # the remark at the end of the paper's section 2
        step_size, inv_sqrt_correction2 = lr * sqrt_correction2 / correction1, 1.0
        metric_lr = lr * sqrt_correction2
    else:
        step_size, inv_sqrt_correction2 = lr / correction1, 1 / sqrt_correction2
        metric_lr = lr
    for entry, p, m, v in terms.entries(params, grads, state.m, state.v):
        T = p.dtype.type
        g = entry.before_rule()
        m[...] = T(beta1) * m + T(1 - beta1) * g
        v[...] = T(beta2) * v + T(1 - beta2) * (g * g)
        d = np.sqrt(v) * T(inv_sqrt_correction2) + T(eps)
        p -= T(step_size) * (m / d)
        entry.after_rule(d if scaled_prox else None, metric_lr)
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
    scaled_prox: bool = False,
    **options: Unpack[StepOptions],
) -> StepResult | None:
    """RMSprop (Tieleman & Hinton 2012); centered (Graves 2013) where the state has ``avg``."""
    terms = Terms(lr, options)
    result = terms.measure(params, grads)
    if result and result.skipped:
        return result
    lr, rho, eps, momentum = float(lr), float(rho), float(eps), float(momentum)
    state.step += 1
    for entry, p, v, avg, buf in terms.entries(params, grads, state.v, state.avg, state.buf):
        T = p.dtype.type
        g = entry.before_rule()
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
        entry.after_rule(d if scaled_prox else None, lr)
    return result
