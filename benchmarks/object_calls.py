"""The calls of an optimizer object that must be cheap, on 100 parameters: what people train with.

``test_objects.py`` times them beside the first of their table, whose time is 1;
``tests/test_call_costs.py`` counts what Python does in them.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import make_dataclass
from typing import Any, NamedTuple

import numpy as np

import fastopt
from fastopt.schedules import Cosine, Warmup

SIZE, GROUPS = 100, 161
LONG = 10**9  # a schedule that goes on for ever
TEN = [f"w{i}" for i in range(10)]
Model = make_dataclass("Model", TEN)


class Call(NamedTuple):
    """A call, and how many times as long as the first of its table it may take."""

    at_most: float
    make: Callable[[], Callable[[], Any]]


def array(value: float, size: int = SIZE) -> Any:
    return np.full(size, value, np.float32)


def function() -> Callable[[], Any]:
    w, g = array(1), array(0.5)
    state = fastopt.adam_init(w)
    return lambda: fastopt.adam_step(w, g, state)


def step(**options: Any) -> Callable[[], Any]:
    opt, g = fastopt.Adam(array(1), **options), array(0.5)
    return lambda: opt.step(g)


def step_with_scale() -> Callable[[], Any]:
    opt, g = fastopt.Adam(array(1)), array(0.5)
    return lambda: opt.step(g, grad_scale=0.5)


def step_with_lr() -> Callable[[], Any]:
    opt, g = fastopt.Adam(array(1)), array(0.5)
    return lambda: opt.step(g, lr=1e-3)


def step_of_many(count: int, *, missing: bool = False, params: bool = False) -> Callable[[], Any]:
    arrays = [array(1) for _ in range(count)]
    opt, grads = fastopt.Adam(arrays), [array(0.5) for _ in range(count)]
    if missing:
        grads[count // 2] = None
        opt.step(grads)
    return (lambda: opt.step(grads, params=arrays)) if params else (lambda: opt.step(grads))


def step_with_params(*, params: bool) -> Callable[[], Any]:
    w, g = array(1), array(0.5)
    opt = fastopt.Adam(w)
    return (lambda: opt.step(g, params=w)) if params else (lambda: opt.step(g))


def set_lr_then_step() -> Callable[[], Any]:
    opt, g = fastopt.Adam(array(1)), array(0.5)

    def call() -> None:
        opt.groups[0]["lr"] = 1e-3
        opt.step(g)

    return call


def accumulate_four_times() -> Callable[[], Any]:
    opt, g = fastopt.Adam(array(1)), array(0.5)

    def call() -> None:
        for _ in range(4):
            opt.accumulate(g)
        opt.step()

    return call


def groups_on_one_schedule(count: int) -> Callable[[], Any]:
    lr = Cosine(1e-3, steps=LONG)
    opt = fastopt.Adam([{"params": array(1, SIZE // count)} for _ in range(count)], lr=lr)
    grads = [array(0.5, SIZE // count)] * count
    return lambda: opt.step(grads)


def of_ten_arrays(model: Callable[..., Any]) -> Callable[[], Any]:
    opt = fastopt.Adam(model(**{name: array(1, SIZE // 10) for name in TEN}))
    grads = model(**{name: array(0.5, SIZE // 10) for name in TEN})
    return lambda: opt.step(grads)


def set_lr_of_every_group(count: int) -> Callable[[], Any]:
    opt = fastopt.Adam([{"params": array(1)} for _ in range(count)])
    grads = [array(0.5)] * count

    def call() -> None:
        for group in opt.groups:
            group["lr"] = 1e-3
        opt.step(grads)

    return call


def making(make: Callable[[Any], Any]) -> Callable[[], Any]:
    arrays = [array(1, 10) for _ in range(1000)]
    return lambda: make(arrays)


CALLS = {
    "adam_step(w, g, state)": Call(1, function),
    "Adam.step(g)": Call(0.9, step),
    "step(g, grad_scale=0.5)": Call(1.2, step_with_scale),
    "step(g, lr=1e-3)": Call(1.3, step_with_lr),
    "lr on Cosine": Call(1.8, lambda: step(lr=Cosine(1e-3, steps=LONG))),
    "lr on Warmup(Cosine)": Call(
        2.5, lambda: step(lr=Warmup(Cosine(1e-3, steps=LONG), steps=LONG // 2))
    ),
    "set groups[0]['lr'], then step": Call(2.5, set_lr_then_step),
    "clip_norm=1": Call(2, lambda: step(clip_norm=1.0)),
    "averages with debias": Call(1.6, lambda: step(ema_decay=0.99, ema_debias=True)),
    "four times accumulate, then step()": Call(5.5, accumulate_four_times),
    "ten groups of one array, one schedule": Call(6, lambda: groups_on_one_schedule(10)),
    f"{GROUPS} groups of one array, lr of each set": Call(
        45, lambda: set_lr_of_every_group(GROUPS)
    ),
}

NODES = {
    "dict of ten arrays": Call(1, lambda: of_ten_arrays(dict)),
    "dataclass of ten arrays": Call(1.3, lambda: of_ten_arrays(Model)),
}

MISSING = {
    "99 arrays": Call(1, lambda: step_of_many(99)),
    "100 arrays, one gradient is None": Call(1, lambda: step_of_many(100, missing=True)),
}

PARAMS = {
    "one array": Call(1, lambda: step_with_params(params=False)),
    "one array, params= the same": Call(1.3, lambda: step_with_params(params=True)),
}

PARAMS_OF_MANY = {
    "100 arrays": Call(1, lambda: step_of_many(100)),
    "100 arrays, params= the same": Call(1.3, lambda: step_of_many(100, params=True)),
}

MAKING = {
    "two lists of np.zeros_like, 1,000 arrays": Call(
        1, lambda: making(lambda arrays: [[np.zeros_like(a) for a in arrays] for _ in range(2)])
    ),
    "adam_init(arrays)": Call(0.5, lambda: making(fastopt.adam_init)),
    "Adam(arrays)": Call(1.8, lambda: making(fastopt.Adam)),
}
"""What it takes to begin, beside the zeros that Adam needs for 1,000 arrays of 10 parameters."""

TABLES = {
    "calls": CALLS,
    "nodes": NODES,
    "missing": MISSING,
    "params": PARAMS,
    "params of many": PARAMS_OF_MANY,
    "making": MAKING,
}
