"""The optimizers of optax, compiled by JAX, with buffers given away so that they are reused.

JAX starts its threads once, one for each processor; their number cannot be set.
"""

from __future__ import annotations

import importlib
from typing import Any

import numpy as np

from fastopt.bench.measure import Contender
from fastopt.bench.peers.opponent import Array, Opponent
from fastopt.bench.rules import Rule

RULES = frozenset({"sgd", "momentum", "adam", "rmsprop", "recipe"})


def start(rule: Rule, params: list[Array], grads: list[Array], threads: int) -> Opponent:
    """Start the transformation of `rule`; a step waits until its results are there."""
    jax: Any = importlib.import_module("jax")
    optax: Any = importlib.import_module("optax")
    transformation = _transformation(optax, rule)

    def update(held: Any, gradients: Any) -> Any:
        old, state, average = held
        changes, state = transformation.update(gradients, state, old)
        new = optax.apply_updates(old, changes)
        if rule.has_ema:
            average = optax.incremental_update(new, average, 1 - rule.options["ema_decay"])
        return new, state, average

    compiled = jax.jit(update, donate_argnums=0)
    values = [jax.numpy.array(array) for array in params]  # a copy
    averages = [jax.numpy.array(array) for array in params] if rule.has_ema else None
    held = values, transformation.init(values), averages
    gradients = [jax.numpy.asarray(grad) for grad in grads]

    def step() -> None:
        nonlocal held
        held = jax.block_until_ready(compiled(held, gradients))

    return Opponent(Contender(step), lambda: [np.asarray(array) for array in held[0]])


def _transformation(optax: Any, rule: Rule) -> Any:
    h = rule.hyperparameters
    if rule.name in {"sgd", "momentum"}:
        return optax.sgd(h["lr"], momentum=h.get("momentum"))
    if rule.name == "rmsprop":
        return optax.rmsprop(h["lr"], decay=h["rho"], eps=h["eps"], eps_in_sqrt=False)
    if rule.name == "adam":
        return optax.adam(h["lr"], b1=h["beta1"], b2=h["beta2"], eps=h["eps"])
    adamw = optax.adamw(
        h["lr"], b1=h["beta1"], b2=h["beta2"], eps=h["eps"], weight_decay=h["weight_decay"]
    )
    return optax.chain(optax.clip_by_global_norm(h["clip_norm"]), adamw)
