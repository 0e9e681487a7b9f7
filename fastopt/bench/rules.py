"""The steps that are measured.

The four rules; a whole recipe of training in one call; and Adam with options that are measured by
what they add to Adam without them.
"""

from __future__ import annotations

import dataclasses
import inspect
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from functools import partial
from itertools import count
from typing import Any, Protocol

import numpy as np

import fastopt
from fastopt import _core
from fastopt.bench.workloads import (
    DROPPED,
    GRADS_SEED,
    ITEMSIZE,
    MASK_SEED,
    PARAMS_SEED,
    Workload,
    arrays_of,
    fill_normal,
)
from fastopt.tree import Tree, map_tree


@dataclass(frozen=True)
class Rule:
    """A step, and the arrays it must read and write."""

    name: str
    optimizer: str
    """Whose step it is: ``adam`` for ``adam_step`` and ``adam_init``."""
    reads: int
    """How many arrays of the size of the parameters a step cannot avoid to read."""
    writes: int
    """How many it cannot avoid to write."""
    options: Mapping[str, float] = field(default_factory=dict)
    """Keyword arguments other than the defaults."""
    arguments: Mapping[str, Callable[[Tree], Any]] = field(default_factory=dict)
    """Keyword arguments that every run makes for itself, from its parameters."""
    mask_bits: int = 0
    """How many bits for each parameter a step reads besides."""
    against_plain: bool = False
    """Whether it is timed beside the same step without options, not beside the reference."""

    @property
    def baseline(self) -> str:
        """Whom it is measured against without peers."""
        return self.optimizer if self.against_plain else "reference"

    @property
    def bytes_per_param(self) -> float:
        """The memory traffic that a step cannot avoid."""
        return ITEMSIZE * (self.reads + self.writes) + self.mask_bits / 8

    @property
    def has_ema(self) -> bool:
        """Whether the step also keeps an average of the parameters."""
        return "ema" in self.arguments

    @property
    def state_arrays(self) -> int:
        """How many arrays a step updates besides the parameters."""
        return self.writes - 1

    @property
    def hyperparameters(self) -> dict[str, Any]:
        """All numbers of the step, for peers, which have defaults of their own."""
        signature = inspect.signature(getattr(fastopt, f"{self.optimizer}_step"))
        defaults = {name: p.default for name, p in signature.parameters.items()}
        return {**defaults, **self.options}

    def new_state(self, params: Tree) -> Any:
        """Return a state for `params`, or None where the step has none."""
        init = getattr(fastopt, f"{self.optimizer}_init", None)
        return init(params) if init else None


def _packed_masks(params: Tree) -> Tree:
    """Return a mask of its own for every array, in packed bits."""
    offsets = count()
    return map_tree(
        lambda p: fastopt.dropout_mask(p.shape, DROPPED, seed=MASK_SEED, offset=next(offsets)),
        params,
    )


RULES = {
    rule.name: rule
    for rule in (
        Rule("sgd", "sgd", reads=2, writes=1),
        Rule("momentum", "momentum", reads=3, writes=2),
        Rule("adam", "adam", reads=4, writes=3),
        Rule("rmsprop", "rmsprop", reads=3, writes=2),
        # The norm reads the gradients, and must be known before the rule reads them again.
        Rule(
            "recipe",
            "adam",
            reads=6,
            writes=4,
            options={"weight_decay": 0.01, "clip_norm": 1.0, "ema_decay": 0.999},
            arguments={"ema": lambda params: map_tree(np.copy, params)},
        ),
        Rule(
            "adam-mask",
            "adam",
            reads=4,
            writes=3,
            options={"keep_prob": 1 - DROPPED},
            arguments={"mask": _packed_masks},
            mask_bits=1,
            against_plain=True,
        ),
        Rule(
            "adam-drop",
            "adam",
            reads=4,
            writes=3,
            arguments={"drop": lambda params: fastopt.Dropout(DROPPED, MASK_SEED)},
            against_plain=True,
        ),
        Rule(
            "adam-penalties",
            "adam",
            reads=4,
            writes=3,
            options={"l1": 1e-4, "l2": 1e-4, "weight_decay": 0.01, "l1_prox": 1e-4},
            against_plain=True,
        ),
    )
}


class Run:
    """The arrays of one workload and a step on them, without arguments: what a timer calls."""

    def __init__(self, library: Any, rule: Rule, workload: Workload, grads: Tree) -> None:
        """Start with `library`, which is `fastopt` or its `reference`; `grads` may be shared."""
        self.params = workload.normal(PARAMS_SEED)
        self.state = rule.new_state(self.params)
        made = {name: make(self.params) for name, make in rule.arguments.items()}
        self.ema, self.drop = made.get("ema"), made.get("drop")
        averaged = [self.ema] if rule.has_ema else []
        self.states: tuple[Tree, ...] = (*_moments(self.state), *averaged)
        function = getattr(library, f"{rule.optimizer}_step")
        arguments = [self.params, grads] + ([self.state] if self.state else [])
        self.plain_step = partial(function, *arguments)
        """The step without options, on the same arrays."""
        self.step = partial(function, *arguments, **rule.options, **made)

    def reset(self) -> None:
        """Go back to the start without giving up the memory."""
        fill_normal(self.params, PARAMS_SEED)
        for tree in self.states:
            for array in arrays_of(tree):
                array.fill(0)
        if self.ema is not None:
            for average, param in zip(arrays_of(self.ema), arrays_of(self.params), strict=True):
                average[...] = param
        if self.drop:
            self.drop.offset = 0
        if self.state:
            self.state.step = 0

    def written(self) -> list[Any]:
        """Return all arrays that the step changes."""
        return [array for tree in (self.params, *self.states) for array in arrays_of(tree)]

    def probe(self, zeros: Tree, threads: int) -> partial[None]:
        """Return the loop that moves as much memory as the step, for the same arrays.

        It adds the gradients to all that a step writes. With `zeros` for gradients nothing changes.
        """
        return partial(_core.memory_probe, self.params, zeros, self.states, threads)


def _moments(state: Any) -> list[Tree]:
    """Return what a state has besides the step count."""
    if state is None:
        return []
    entries = [getattr(state, entry.name) for entry in dataclasses.fields(state)]
    return [entry for entry in entries if entry is not None and not isinstance(entry, int)]


def new_grads(workload: Workload) -> Tree:
    """Return gradients, the same for every contender."""
    return workload.normal(GRADS_SEED)


class Written(Protocol):
    """What has written to arrays."""

    def written(self) -> list[Any]:
        """Return them all."""
        ...


def identical(a: Written, b: Written) -> bool:
    """Tell whether two runs have come to the same arrays, bit for bit."""
    return all(
        # As integers, or 0.0 would equal -0.0.
        np.array_equal(x.view(np.uint32), y.view(np.uint32))
        for x, y in zip(a.written(), b.written(), strict=True)
    )
