"""Other libraries that do the same, measured where they are installed.

They are imported when they are started: with the row, parameters and gradients that are theirs to
change, and the number of threads. For dropout, activations stand in the place of gradients.
"""

from __future__ import annotations

import inspect
from collections.abc import Callable, Collection
from functools import partial
from importlib import import_module
from itertools import count
from math import sqrt
from typing import Any, NamedTuple

import numpy as np

from fastopt.bench import numba_loops
from fastopt.bench.machine import installed
from fastopt.bench.measure import Contender
from fastopt.bench.rules import MASK_SEED, Row

Arrays = list[Any]


class Peer(NamedTuple):
    """A way of a library to do what a row measures."""

    name: str
    package: str
    rows: Collection[str]
    """The names of those that it has."""
    start: Callable[[Row, Arrays, Arrays, int], Contender]
    """Return what takes a step: it changes the parameters in place, or returns new arrays."""
    threads_are_fixed: bool = False
    """Whether it always uses all processors."""

    @property
    def is_installed(self) -> bool:
        return installed(self.package) is not None


# What torch calls a step, and its arguments besides lr.
TORCH: dict[str, Any] = {
    "sgd": lambda h: ("SGD", {}),
    "momentum": lambda h: ("SGD", {"momentum": h.momentum}),
    "adam": lambda h: ("Adam", {"betas": (h.beta1, h.beta2), "eps": h.eps}),
    "rmsprop": lambda h: ("RMSprop", {"alpha": h.rho, "eps": h.eps}),
    "adagrad": lambda h: ("Adagrad", {"lr_decay": h.lr_decay, "eps": h.eps}),
    "adadelta": lambda h: ("Adadelta", {"rho": h.rho, "eps": h.eps}),
    "adamax": lambda h: ("Adamax", {"betas": (h.beta1, h.beta2), "eps": h.eps}),
    "rprop": lambda h: (
        "Rprop",
        {
            "etas": (h.eta_minus, h.eta_plus),
            "step_sizes": (h.min_step_size, h.max_step_size),
        },
    ),
    "asgd": lambda h: ("ASGD", {"lambd": h.lambd, "alpha": h.alpha, "t0": h.t0}),
    "adafactor": lambda h: (
        "Adafactor",
        {"beta2_decay": h.beta2_decay, "eps": (h.eps1, h.eps2), "d": h.d},
    ),
    "amsgrad": lambda h: ("Adam", TORCH["adam"](h)[1] | {"amsgrad": True}),
    "nadam": lambda h: (
        "NAdam",
        {"betas": (h.beta1, h.beta2), "eps": h.eps, "momentum_decay": h.momentum_decay},
    ),
    "radam": lambda h: ("RAdam", {"betas": (h.beta1, h.beta2), "eps": h.eps}),
    "recipe": lambda h: ("AdamW", TORCH["adam"](h)[1] | {"weight_decay": h.weight_decay}),
}
NOT_FUSED = {"asgd", "rmsprop", "adadelta", "adafactor", "adamax", "nadam", "radam", "rprop"}


def _torch(kind: str, row: Row, params: Arrays, grads: Arrays, threads: int) -> Contender:
    """Start an optimizer of torch that is of this `kind`: ``fused`` or ``foreach``."""
    torch: Any = import_module("torch")
    torch.set_num_threads(threads)
    h = row.hyperparameters
    tensors = [torch.from_numpy(array).requires_grad_() for array in params]
    for tensor, grad in zip(tensors, map(torch.from_numpy, grads), strict=True):
        tensor.grad = grad
    name, arguments = TORCH[row.name](h)
    optimizer = getattr(torch.optim, name)(tensors, lr=h.lr, **arguments, **{kind: True})
    values = [tensor.detach() for tensor in tensors]
    averages = [value.clone() for value in values] if h.ema_decay else []

    def recipe() -> None:
        torch.nn.utils.clip_grad_norm_(tensors, h.clip_norm)
        optimizer.step()
        torch._foreach_lerp_(averages, values, 1 - h.ema_decay)

    return Contender(recipe if averages else optimizer.step)


# The transformations of optax.
OPTAX: dict[str, Any] = {
    "sgd": lambda o, h: o.sgd(h.lr),
    "momentum": lambda o, h: o.sgd(h.lr, momentum=h.momentum),
    "adam": lambda o, h: o.adam(h.lr, h.beta1, h.beta2, h.eps),
    "rmsprop": lambda o, h: o.rmsprop(h.lr, h.rho, h.eps, eps_in_sqrt=False),
    "adadelta": lambda o, h: o.adadelta(h.lr, h.rho, h.eps),
    "adamax": lambda o, h: o.adamax(h.lr, h.beta1, h.beta2, h.eps),
    "lamb": lambda o, h: o.lamb(h.lr, h.beta1, h.beta2, h.eps, weight_decay=h.trust_decay),
    "lion": lambda o, h: o.lion(h.lr, h.beta1, h.beta2, weight_decay=0.0),
    "recipe": lambda o, h: o.chain(
        o.clip_by_global_norm(h.clip_norm),
        o.adamw(h.lr, h.beta1, h.beta2, h.eps, weight_decay=h.weight_decay),
    ),
}


def _optax(row: Row, params: Arrays, grads: Arrays, threads: int) -> Contender:
    """Start what JAX compiles, with buffers given away so that they are reused.

    JAX starts its threads once, one for each processor; their number cannot be set.
    """
    jax: Any = import_module("jax")
    optax: Any = import_module("optax")
    h = row.hyperparameters
    transformation = OPTAX[row.name](optax, h)

    def update(held: Any, gradients: Any) -> Any:
        old, state, average = held
        changes, state = transformation.update(gradients, state, old)
        new = optax.apply_updates(old, changes)
        if average:
            average = optax.incremental_update(new, average, 1 - h.ema_decay)
        return new, state, average

    compiled = jax.jit(update, donate_argnums=0)
    values = [*map(jax.numpy.array, params)]  # a copy
    averages = [*map(jax.numpy.array, params)] if h.ema_decay else []
    held = values, transformation.init(values), averages
    gradients = [*map(jax.numpy.asarray, grads)]

    def step() -> Any:
        nonlocal held
        held = jax.block_until_ready(compiled(held, gradients))
        return held[0]

    return Contender(step)


def _thinc(row: Row, params: Arrays, grads: Arrays, threads: int) -> Contender:
    """Start ``NumpyOps.adam`` on flat arrays, which is what it takes. It uses one thread."""
    adam: Any = import_module("thinc.api").NumpyOps().adam
    h = row.hyperparameters
    used, steps = [grad.flatten() for grad in grads], count(1)
    arrays = [
        (p.reshape(-1), g, np.zeros_like(g), np.zeros_like(g))
        for p, g in zip(params, used, strict=True)
    ]

    def step() -> None:
        t = next(steps)
        sqrt_correction2 = sqrt(1 - h.beta2**t)
        step_size = h.lr * sqrt_correction2 / (1 - h.beta1**t)
        for p, g, m, v in arrays:
            # Its epsilon is the one that is added to the uncorrected root.
            adam(p, g, m, v, h.beta1, h.beta2, h.eps * sqrt_correction2, step_size)

    def refresh() -> None:
        for old, new in zip(used, grads, strict=True):
            old[...] = new.ravel()

    # A step leaves the gradients at zero. Without new ones the moments decay; after many steps they
    # were denormal, which is slow and not what happens in training.
    return Contender(step, refresh, max_loops=500)


def _numba(row: Row, params: Arrays, grads: Arrays, threads: int) -> Contender:
    """Start the loop of `row`, called once for each array."""
    import_module("numba").set_num_threads(threads)
    calls = []
    for p, g in zip(params, grads, strict=True):
        parallel = threads > 1 and p.size >= numba_loops.PARALLEL_FROM
        states = (np.zeros(p.size, p.dtype) for _ in range(row.writes - 1))
        arrays = p.reshape(-1), g.reshape(-1), *states
        calls.append((numba_loops.compiled(row.name, parallel), arrays))
    numbers = vars(row.hyperparameters)
    names = inspect.signature(numba_loops.loops(range)[row.name]).parameters
    scalars = [numbers[name] for name in names if name in numbers]
    steps = count(1)

    def step() -> None:
        t = next(steps)
        for loop, arrays in calls:
            loop(*arrays, t, *scalars)

    return Contender(step)


def _torch_dropout(row: Row, params: Arrays, inputs: Arrays, threads: int) -> Contender:
    """Start dropout, which returns a new tensor, of one that shares the memory of the array."""
    torch: Any = import_module("torch")
    torch.set_num_threads(threads)
    torch.manual_seed(MASK_SEED)
    x, p = torch.from_numpy(*inputs), row.hyperparameters.p
    return Contender(lambda: [torch.nn.functional.dropout(x, p)])


def _numpy_dropout(row: Row, params: Arrays, inputs: Arrays, threads: int) -> Contender:
    """Start what one writes in NumPy without temporary arrays. It uses one thread."""
    (out,), (x,) = params, inputs
    rng, p, mask = np.random.default_rng(MASK_SEED), np.float32(row.hyperparameters.p), x.copy()

    def step() -> None:
        rng.random(dtype=np.float32, out=mask)
        np.greater_equal(mask, p, out=mask)
        np.multiply(mask, 1 / (1 - p), out=mask)
        np.multiply(x, mask, out=out)

    return Contender(step)


_TABLE = (
    Peer("torch-fused", "torch", TORCH.keys() - NOT_FUSED, partial(_torch, "fused")),
    Peer("torch-foreach", "torch", TORCH, partial(_torch, "foreach")),
    Peer("thinc", "thinc", {"adam"}, _thinc),
    Peer("numba", "numba", numba_loops.loops(range), _numba),
    Peer("optax", "optax", OPTAX, _optax, threads_are_fixed=True),
    Peer("torch", "torch", {"dropout"}, _torch_dropout),
    Peer("numpy", "numpy", {"dropout"}, _numpy_dropout),
)
PEERS = {peer.name: peer for peer in _TABLE}
