"""All that is measured: each row has a table of its own in the output.

The plain rules; a whole recipe of training in one call; Adam with options, beside Adam without
them; and dropout. What a row reads and writes follows from its state and its options.
"""

from __future__ import annotations

import dataclasses
import inspect
from collections.abc import Callable, Mapping, Sequence
from copy import deepcopy
from dataclasses import dataclass, field
from functools import partial
from itertools import count
from types import SimpleNamespace
from typing import Any

import numpy as np

import fastopt
from fastopt import _core
from fastopt.bench.workloads import Arrays, Workload, arrays_of
from fastopt.rules import RULES
from fastopt.tree import map_tree

MASK_SEED = 2
ITEMSIZE = np.dtype(np.float32).itemsize

DROPPED = 0.25
"""The share that masks and dropout drop: one that no library has to round."""

READ_FOR_SUMS = {
    "adafactor": ["params", "grads"],
    "cautious_adam": ["grads", "m", "v"],
    "cautious_lion": ["grads", "m"],
    "cautious_nadam": ["grads", "m", "v"],
    "lars": ["params", "grads"],
    "prodigy": ["params", "grads", "s", "p0"],
}
"""What rules read in the phase that has sums over arrays, where this is not all."""


@dataclass(frozen=True)
class Row:
    """A step of a rule, or dropout."""

    name: str
    rule: str
    """Whose step it is, of ``RULES``; or ``dropout``."""
    options: Mapping[str, float] = field(default_factory=dict)
    """Keyword arguments other than the defaults."""
    arguments: Mapping[str, Callable[[Arrays], Any]] = field(default_factory=dict)
    """Keyword arguments that every run makes for itself, from its parameters."""
    baseline: str = "reference"
    """Whom it is measured against without peers; a rule stands for its step without options."""

    @property
    def is_step(self) -> bool:
        """Whether there are parameters and gradients; dropout goes from one array to another."""
        return self.rule in RULES

    @property
    def function(self) -> str:
        return RULES[self.rule].step.__name__ if self.is_step else self.rule

    @property
    def is_beside_plain(self) -> bool:
        """Whether it is timed beside the same step without options, not beside the reference."""
        return self.baseline == self.rule

    def new_state(self, params: Arrays) -> Any:
        init = RULES[self.rule].init if self.is_step else None
        return init(params) if init else None

    @property
    def writes(self) -> int:
        """How many arrays of the size of the parameters a step cannot avoid to write."""
        stored = moments(self.new_state(np.zeros(1, np.float32))).keys() - {self.only_read}
        return 1 + len(stored) + ("ema" in self.arguments)

    @property
    def only_read(self) -> str | None:
        """The array of the state that a step leaves as it is."""
        return _core.rules[self.rule].only_read if self.is_step else None

    @property
    def earlier_phases(self) -> list[Sequence[str]]:
        """What is read, phase by phase, before the phase that writes."""
        rule = _core.rules.get(self.rule)
        phases: list[Sequence[str]] = []
        if rule and len(rule.factors) > 1:  # with rows alone, a row is in the cache meanwhile
            phases.append(["grads"])
        if rule and rule.sums:
            phases.append(READ_FOR_SUMS.get(self.rule, ["params", "grads", *rule.arrays]))
        return phases

    @property
    def reads(self) -> int:
        """How many arrays it reads, once in each phase; clipping reads the gradients before."""
        others = sum(map(len, self.earlier_phases)) + bool(self.only_read)
        return self.writes + self.is_step + others + ("clip_norm" in self.options)

    @property
    def bytes_per_param(self) -> float:
        """The memory traffic that cannot be avoided; a mask has one bit for each parameter."""
        return ITEMSIZE * (self.reads + self.writes) + ("mask" in self.arguments) / 8

    @property
    def hyperparameters(self) -> SimpleNamespace:
        """All numbers of the step, for peers, which have defaults of their own."""
        signature = inspect.signature(getattr(fastopt, self.function))
        defaults = {name: p.default for name, p in signature.parameters.items()}
        return SimpleNamespace(**{**defaults, **self.options})


def moments(state: Any) -> dict[str, Arrays]:
    """Return the arrays of a state like the parameters: neither its count nor its numbers."""
    return _named(state, {name for rule in _core.rules.values() for name in rule.arrays})


def means(state: Any) -> dict[str, Arrays]:
    """Return its means of rows and of columns."""
    return _named(state, {name for rule in _core.rules.values() for name in rule.factors})


def _named(state: Any, names: set[str]) -> dict[str, Arrays]:
    entries = (entry.name for entry in (dataclasses.fields(state) if state else ()))
    found = {name: getattr(state, name) for name in entries if name in names}
    return {name: entry for name, entry in found.items() if entry is not None}


def _packed_masks(params: Arrays) -> Arrays:
    """Return a mask of its own for every array, in packed bits."""
    masks = (partial(fastopt.dropout_mask, p=DROPPED, seed=MASK_SEED, offset=i) for i in count())
    return map_tree(lambda p: next(masks)(p.shape), params)


RECIPE = {"weight_decay": 0.01, "clip_norm": 1.0, "ema_decay": 0.999}
PENALTIES = {"l1": 1e-4, "l2": 1e-4, "weight_decay": 0.01, "l1_prox": 1e-4}

STEADY = {"prodigy": {"growth_rate": 1.0}}
"""Options with which steps do not grow without end, though gradients stay the same."""

_TABLE = (
    *(
        Row(name, name, {**rule.of_any_shape, **STEADY.get(name, {})})
        for name, rule in RULES.items()
    ),
    Row("recipe", "adam", RECIPE, {"ema": deepcopy}),
    Row("adam-mask", "adam", {"keep_prob": 1 - DROPPED}, {"mask": _packed_masks}, "adam"),
    Row("adam-drop", "adam", {}, {"drop": lambda _: fastopt.Dropout(DROPPED, MASK_SEED)}, "adam"),
    Row("adam-penalties", "adam", PENALTIES, baseline="adam"),
    Row("dropout", "dropout", {"p": DROPPED}, baseline="limit"),
)
ROWS = {row.name: row for row in _TABLE}


class Run:
    """The arrays of one workload, and a step on them or dropout."""

    def __init__(self, library: Any, row: Row, workload: Workload, inputs: Arrays) -> None:
        """Start with `library`, which is `fastopt` or its `reference`; `inputs` may be shared."""
        self._row, self.inputs = row, inputs
        self.params = workload.normal(seed=0)  # of dropout: where the result goes
        state = row.new_state(self.params)
        made = {name: make(self.params) for name, make in row.arguments.items()}
        self._moments = moments(state)
        self.states = (*self._moments.values(), *([made["ema"]] if "ema" in made else []))
        self.means = tuple(means(state).values())
        function = getattr(library, row.function)
        if row.is_step:
            self.plain_step = partial(function, self.params, inputs, state)
        else:
            self.plain_step = partial(function, inputs, seed=MASK_SEED, out=self.params)
        self.step = partial(self.plain_step, **row.options, **made)

    def written(self) -> list[Any]:
        """Return all arrays that change."""
        return [
            array
            for arrays in (self.params, *self.states, *self.means)
            for array in arrays_of(arrays)
        ]

    def probe(self, threads: int) -> Callable[[], None]:
        """Return the loop that moves as much memory, for the same arrays, and only adds.

        For a step it adds gradients of zero to all that is written: nothing changes. The pages of
        ``np.zeros`` would share one page until they are written, and cost no memory traffic.
        """
        if not self._row.is_step:
            return partial(_core.copy_probe, self.params, self.inputs, threads)
        zeros = map_tree(lambda p: np.full_like(p, 0), self.params)
        arrays = {"params": self.params, "grads": self.inputs, **self._moments}
        readings = list(self._row.earlier_phases)
        written = self.states
        if only_read := self._row.only_read:  # beside what is written, but a loop for it is at hand
            readings.append([only_read])
            written = tuple(x for x in self.states if x is not arrays[only_read])
        read = [[arrays[name] for name in names] for names in readings]

        def probe() -> None:
            for first, *others in read:
                _core.read_probe(first, tuple(others), threads)
            _core.memory_probe(self.params, zeros, written, threads)

        return probe


def new_inputs(workload: Workload) -> Arrays:
    """Return what is only read, the same for every contender: gradients, or activations."""
    return workload.normal(seed=1)


def identical(a: Run, b: Run) -> bool:
    """Tell whether two runs have come to the same arrays, bit for bit."""
    return all(
        # As integers, or 0.0 would equal -0.0.
        np.array_equal(x.view(np.uint32), y.view(np.uint32))
        for x, y in zip(a.written(), b.written(), strict=True)
    )
