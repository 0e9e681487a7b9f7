"""No call keeps an object or a reference: least of all where it raises."""

from __future__ import annotations

import contextlib
import copy
import gc
import sys
from collections.abc import Callable, Iterator
from typing import Any

import numpy as np
import pytest
from tensors import Tensor

import fastopt

CALLS = 200


def params() -> dict[str, Any]:
    return {"w": np.ones((3, 4)), "b": [np.ones(5), np.ones((2, 2)).T]}


P, G, WRONG = params(), params(), {"w": np.ones((3, 4)), "b": [np.ones(5), np.ones(3)]}
STATE = fastopt.adam_init(P)
OPT = fastopt.Adam(P, lr=1e-3, clip_norm=1.0, ema_decay=0.9, ema_debias=True, l2=1e-4)
SCHEDULED = fastopt.SGD(params(), lr=fastopt.schedules.Cosine(0.1, steps=10_000))
TENSORS = [Tensor(np.ones(40)), Tensor(np.ones(20_000))]
OF_TENSORS = fastopt.Momentum(TENSORS, lr=0.1)
MASK = {"w": np.ones((3, 4), bool), "b": [None, None]}


def refused(call: Callable[[], Any]) -> Callable[[], Any]:
    def calls_and_fails() -> None:
        with contextlib.suppress(ValueError, TypeError, RuntimeError):
            call()
            raise AssertionError("it is not refused")

    return calls_and_fails


OTHERS = params()


def with_params() -> None:
    OPT.step(G, params=OTHERS)
    OPT.step(G, params=P)


def accumulates() -> None:
    OPT.accumulate(G)
    OPT.accumulate(G)
    OPT.step()


ALL: dict[str, Callable[[], Any]] = {
    "a step": lambda: fastopt.adam_step(P, G, STATE),
    "terms": lambda: fastopt.adam_step(P, G, STATE, l1={"w": 0.1, "b": 0.0}, clip_norm=1.0),
    "masks": lambda: fastopt.sgd_step(P, G, mask=MASK, update_mask=MASK, keep_prob=0.5),
    "dropout": lambda: fastopt.sgd_step(P, G, drop=fastopt.Dropout(0.5, 1)),
    "an init": lambda: fastopt.adam_init(P),
    "missing": lambda: fastopt.adam_step(P, {"w": None, "b": G["b"]}, fastopt.adam_init(P)),
    "an object": lambda: OPT.step(G),
    "an option": lambda: OPT.step(G, lr=0.5),
    "other params": with_params,
    "a schedule": lambda: SCHEDULED.step(G),
    "accumulation": accumulates,
    "a set option": lambda: OPT.groups[0].update(lr=0.25),
    "making one": lambda: fastopt.Adam(P, lr=fastopt.schedules.Cosine(0.1, steps=9)),
    "states": lambda: OPT.load_state_dict(OPT.state_dict()),
    "a copy": lambda: copy.deepcopy(OPT),
    "tensors": lambda: OF_TENSORS.step([Tensor(np.ones(40)), Tensor(np.ones(20_000))]),
    "norms": lambda: (fastopt.global_norm(P), fastopt.penalty(P, l1=1.0), fastopt.sparsity(P)),
    "a wrong shape": refused(lambda: fastopt.adam_step(P, WRONG, STATE)),
    "a wrong shape, object": refused(lambda: OPT.step(WRONG)),
    "a wrong number": refused(lambda: fastopt.adam_step(P, G, STATE, lr=-1.0)),
    "a wrong option": refused(lambda: OPT.groups[0].update(lr="much")),
    "a wrong key": refused(lambda: fastopt.sgd_step(P, {"w": G["w"]})),
    "a wrong state": refused(lambda: fastopt.adam_step(P, G, fastopt.momentum_init(P))),
    "an overlap": refused(lambda: fastopt.sgd_step(P["w"], P["w"])),
    "a wrong tensor": refused(lambda: OF_TENSORS.step([Tensor(np.ones(4)), Tensor(np.ones(2))])),
    "a wrong class": refused(lambda: fastopt.Adam({"w": "text"})),
}


@pytest.fixture(autouse=True)
def frozen_heap() -> Iterator[None]:
    """Let the collector look only at what is made from here on: all else is much, and stays."""
    gc.collect()
    gc.freeze()
    yield
    gc.unfreeze()


def kept(call: Callable[[], Any], held: list[Any]) -> list[int]:
    """Return how many blocks of memory, and references to each of `held`, are more afterwards."""
    gc.collect()
    before = [sys.getallocatedblocks(), *map(sys.getrefcount, held)]
    for _ in range(CALLS):
        call()
    gc.collect()
    after = [sys.getallocatedblocks(), *map(sys.getrefcount, held)]
    return [more - less for more, less in zip(after, before, strict=True)]


@pytest.mark.parametrize("name", ALL)
def test_nothing_is_kept(name: str) -> None:
    held = [P, P["w"], *P["b"], G, *G["b"], STATE, STATE.m, STATE.m["w"], OPT, OPT.groups[0], MASK]
    held += [*TENSORS, WRONG["b"][1], type(STATE), type(OPT), OPT.ema["w"], "lr", "clip_norm"]
    runs = [kept(ALL[name], held) for _ in range(5)]  # Python's own caches fill in the first
    grown = [min(each) for each in zip(*runs, strict=True)]
    assert max(grown) < CALLS // 4, grown
