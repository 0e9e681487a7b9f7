"""An optimizer in plain NumPy, array by array: what the objects must do, as naively as can be.

Only formulas are borrowed, from `fastopt.reference`: a step of one array, a mask, a norm. Groups,
counts, schedules, accumulation, averages, clipping by the norm of all and skipping are the model's.
What loading does is in `model_loading`.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from fnmatch import fnmatchcase
from typing import Any

import numpy as np
from optimizer_options import is_schedule

import fastopt
from fastopt import _core, reference
from fastopt.reference.dropout import keep_prob as share_kept
from fastopt.rules import RULES
from fastopt.tree import names, paths, zip_trees

STATES = {name: rule.state for name, rule in RULES.items()}

STARTS: dict[str, dict[str, float | None]] = {
    "yogi": {"m": 1e-6, "v": 1e-6},
    "ftrl": {"n": 0.1},
    "schedulefree_sgd": {"z": None},
    "schedulefree_adamw": {"z": None},
    "prodigy": {"p0": None},
}
"""What arrays of a state begin with where that is not zero; None stands for the parameter."""

OF_THE_OPTIMIZER = ("threads", "flush_denormals", "ema_debias", "accumulation")
"""Shared options that no formula knows."""


def value_at(value: Any, step: int) -> Any:
    return value(step) if is_schedule(value) else value


@dataclass
class Entry:
    """One array of the parameters, and all that belongs to it."""

    name: str
    path: str
    group: int
    p: Any
    state: dict[str, Any]
    ema: Any
    total: Any
    """The sum of the gradients that are accumulated; it is used while some are."""
    step: int = 0
    """The updates that it has seen."""
    ema_weight: float = 0.0
    """What the parameters so far weigh in the debiased average; the rest of 1 is its start."""
    frozen: bool = False
    """Whether it is frozen by itself, besides its group."""
    added: bool = False
    """Whether there is a gradient in the sum."""
    frozen_then: bool = False
    """Whether it or its group was frozen when gradients were accumulated."""


@dataclass
class Group:
    """What all arrays of a group have in common."""

    options: dict[str, Any]


def means_like(array: Any, slot: str) -> Any:
    """Return means of rows or of columns, of zero."""
    init = fastopt.adafactor_init if slot in ("v_row", "v_col") else fastopt.rowwise_adagrad_init
    return getattr(init(array), slot)


@dataclass
class Model:
    """What an optimizer holds, and what its calls do to that."""

    rule: str
    states: tuple[str, ...]
    """The arrays that the rule keeps, such as m and v."""
    shared: dict[str, Any]
    defaults: dict[str, Any]
    """What groups have where they are given nothing else."""
    form: str
    """Of the parameters: a "list" of groups, a tree with "patterns", or a "tree" of one group."""
    patterns: dict[str, dict[str, Any]] = field(default_factory=dict)
    matches: list[tuple[str, ...]] = field(default_factory=list)
    """Of each group: the patterns that its names match."""
    groups: list[Group] = field(default_factory=list)
    entries: list[Entry] = field(default_factory=list)
    step_count: int = 0
    waiting: int = 0
    """How many gradients are accumulated."""
    weight: float = 0.0
    """The sum of their weights."""

    # What is there

    @property
    def averages(self) -> bool:
        return self.shared["ema_decay"] is not None

    def is_frozen(self, entry: Entry) -> bool:
        return entry.frozen or self.groups[entry.group].options["frozen"]

    @property
    def used(self) -> list[int]:
        """The numbers of the entries that are not frozen."""
        return [k for k, entry in enumerate(self.entries) if not self.is_frozen(entry)]

    def taking_part(self, grads: list[Any]) -> list[int]:
        """Return the numbers of the entries that a step with these gradients updates."""
        return [k for k in self.used if grads[k] is not None]

    def of_group(self, number: int) -> list[Entry]:
        return [entry for entry in self.entries if entry.group == number]

    def current(self) -> tuple[dict[str, Any], ...]:
        """Return the numbers of the next step."""
        shared = {k: v for k, v in self.shared.items() if k not in ("accumulation", "drop")}
        of_groups = [group.options | shared for group in self.groups]
        return tuple(
            {name: value_at(value, self.step_count) for name, value in each.items()}
            for each in of_groups
        )

    @property
    def names(self) -> list[str]:
        return [entry.name for entry in self.entries]

    # What is added

    def add_group(self, options: dict[str, Any]) -> None:
        self.groups.append(Group({"frozen": False, **self.defaults, **options}))

    def group_of(self, name: str) -> int:
        """Return the number of the group that an entry belongs to by its name."""
        if self.form == "patterns":
            return self.matches.index(self.matched(name))
        return int(name.split(".", maxsplit=1)[0]) if self.form == "list" else 0

    def matched(self, name: str) -> tuple[str, ...]:
        return tuple(pattern for pattern in self.patterns if fnmatchcase(name, pattern))

    def add_groups_of(self, entry_names: list[str]) -> None:
        """Add the groups of patterns that no entry has matched before: in the patterns' order."""
        order = list(self.patterns)
        new = {self.matched(name) for name in entry_names} - set(self.matches)
        for found in sorted(new, key=lambda found: [order.index(pattern) for pattern in found]):
            self.matches.append(found)
            options: dict[str, Any] = {}
            for pattern in found:
                options |= self.patterns[pattern]
            self.add_group(options)

    def take(self, params: Any) -> None:
        """Take these arrays by their names, in their order; what has a new name is new."""
        known = {entry.name: entry for entry in self.entries}
        found = names("model", params)
        if self.form == "patterns":
            self.add_groups_of(found)
        self.entries = []
        for name, path, (array,) in zip(found, paths(params), zip_trees(params), strict=True):
            entry = known.get(name) or self.new_entry(name, array)
            entry.path, entry.p = path, array.copy(order="K")
            if entry.total is not None:
                entry.total = like(entry.p, entry.total)
            self.entries.append(entry)

    def lie_like(self, params: list[Any]) -> None:
        """Let arrays lie in memory as those of the user: rules may add up in that order."""
        for entry, p in zip(self.entries, params, strict=True):
            forwards = (..., *(slice(None, None, -1 if s < 0 else 1) for s in p.strides))
            entry.p = like(p[forwards], entry.p[forwards])[forwards]

    def new_entry(self, name: str, array: Any) -> Entry:
        return Entry(
            name,
            path="",
            group=self.group_of(name),
            p=array,
            state=self.new_state(array),
            ema=array.copy(order="K") if self.averages else None,
            total=None,
        )

    def new_state(self, array: Any) -> dict[str, Any]:
        state = {slot: np.zeros_like(array) for slot in self.states}
        for slot, start in STARTS.get(self.rule, {}).items():
            state[slot][...] = array if start is None else start
        has = _core.rules[self.rule]
        state |= {slot: np.array(start) for slot, start in has.numbers.items()}
        return state | {slot: means_like(array, slot) for slot in has.factors}

    # What is frozen

    def freeze(self, pattern: str) -> None:
        for entry in self.entries:
            if fnmatchcase(entry.name, pattern):
                entry.frozen = True

    def unfreeze(self, pattern: str) -> None:
        chosen = [entry for entry in self.entries if fnmatchcase(entry.name, pattern)]
        for number in {entry.group for entry in chosen}:
            if self.groups[number].options["frozen"]:
                self.groups[number].options["frozen"] = False
                for entry in self.of_group(number):
                    entry.frozen = True
        for entry in chosen:
            entry.frozen = False

    # Averages

    def reset_averages(self) -> None:
        for entry in self.entries:
            entry.ema[...], entry.ema_weight = entry.p, 0.0

    # Accumulation

    @property
    def may_accumulate(self) -> bool:
        """Whether what is frozen was frozen when gradients were accumulated."""
        return not self.waiting or all(
            entry.frozen_then == self.is_frozen(entry) for entry in self.entries
        )

    def accumulate(self, grads: list[Any], weight: float = 1.0) -> None:
        if not self.waiting:
            self.begin_sums()
        for k in self.taking_part(grads):
            entry = self.entries[k]
            entry.total[...] += entry.p.dtype.type(weight) * grads[k]
            entry.added = True
        self.waiting += 1
        self.weight += float(weight)
        for entry in self.entries:
            entry.frozen_then = self.is_frozen(entry)

    def begin_sums(self) -> None:
        """Make sums as the parameters lie in memory now: norms are added up in that order."""
        for entry in self.entries:
            entry.total = np.zeros_like(entry.p)

    def discard(self) -> None:
        for entry in self.entries:
            entry.added = False
        self.waiting, self.weight = 0, 0.0

    def step_of_sum(self, *, grad_scale: float = 1.0, **more: Any) -> fastopt.StepResult | None:
        if self.shared["accumulation"] == "mean":
            grad_scale = float(grad_scale) / self.weight
        sums = [entry.total if entry.added else None for entry in self.entries]
        result = self.step(sums, grad_scale=grad_scale, **more)
        self.discard()  # skipped or not
        return result

    # Steps

    def step(
        self,
        grads: list[Any],
        *,
        grad_scale: float = 1.0,
        mask: list[Any] | None = None,
        keep_prob: float = 1.0,
        update_mask: list[Any] | None = None,
        **numbers: Any,
    ) -> fastopt.StepResult | None:
        """Make a step, which only reads gradients: the caller knows what becomes of them."""
        grad_scale = float(grad_scale)  # numbers are computed with in double precision
        of_all = {name: numbers.pop(name) for name in list(numbers) if name in self.shared}
        shared = {
            name: value_at(value, self.step_count) for name, value in (self.shared | of_all).items()
        }
        drop = shared.pop("drop")
        if drop is not None and drop.training:
            mask, keep_prob = self.drawn(drop), share_kept(drop.p)
        masks = {"mask": mask, "update_mask": update_mask}
        result = self.measured(grads, shared, masks, grad_scale=grad_scale, keep_prob=keep_prob)
        if result is not None and result.skipped:
            return result
        if shared["clip_norm"] is not None:
            grad_scale *= clip_factor(shared["clip_norm"], result.grad_norm, shared["clip_eps"])
        decay, debias = shared.pop("ema_decay"), shared["ema_debias"]
        for name in (*OF_THE_OPTIMIZER, "clip_norm", "skip_nonfinite", "zero_grads"):
            shared.pop(name, None)
        for k in self.taking_part(grads):
            entry = self.entries[k]
            own = shared | {name: at and [at[k]] for name, at in masks.items()}
            if decay is not None:
                own["ema_decay"] = debiased(entry, float(decay)) if debias else decay
            own |= self.groups[entry.group].options | numbers
            self.step_entry(entry, grads[k], grad_scale=grad_scale, keep_prob=keep_prob, **own)
            entry.step += 1
        self.step_count += 1
        if drop is not None and drop.training:
            drop.offset = (drop.offset + len(self.entries)) % 2**64
        return result

    def drawn(self, drop: fastopt.Dropout) -> list[Any]:
        """Return the masks of a step: what is left out has a number of its own, too."""
        return [
            reference.dropout_mask(
                entry.p.shape,
                drop.p,
                seed=drop.seed,
                offset=(drop.offset + k) % 2**64,
                packed=False,
            )
            for k, entry in enumerate(self.entries)
        ]

    def measured(
        self, grads: list[Any], shared: dict[str, Any], masks: dict[str, Any], **options: Any
    ) -> fastopt.StepResult | None:
        """Return what a step has to say: what one of copies says of all gradients together."""
        looked_at = self.taking_part(grads)
        of_norms = ("clip_norm", "clip_tensor_norm", "clip_eps", "skip_nonfinite")
        # Dicts with numbers as keys have the paths of a list, and may leave some of them out.
        result = reference.sgd_step(
            {k: self.entries[k].p.copy() for k in looked_at},
            {k: grads[k] for k in looked_at},
            lr=0.0,
            **{name: shared[name] for name in of_norms},
            **{name: at and {k: at[k] for k in looked_at} for name, at in masks.items()},
            **options,
        )
        if result is None:
            return None
        written = {f"grads[{k}]": f"grads{entry.path}" for k, entry in enumerate(self.entries)}
        broken = result.nonfinite and written[result.nonfinite]
        return fastopt.StepResult(result.skipped, float(result.grad_norm), broken)

    def step_entry(self, entry: Entry, grad: Any, **options: Any) -> None:
        """Make the step of one array as if it were alone."""
        own = {name: value_at(value, self.step_count) for name, value in options.items()}
        del own["frozen"]
        state_class = STATES[self.rule]
        state = None
        if state_class is not None:
            arrays = {name: None for name in state_class.__slots__ if name != "step"}
            arrays |= {name: [array] for name, array in entry.state.items()}
            state = state_class(entry.step, **arrays)
        if entry.ema is not None:
            own["ema"] = [entry.ema]
        step = getattr(reference, f"{self.rule}_step")
        step([entry.p], [grad], state, **own)


def like(memory: Any, values: Any) -> Any:
    """Return an array that lies in memory like another one, with the same axes first."""
    made = np.empty_like(memory)
    made[...] = values
    return made


def debiased(entry: Entry, decay: float) -> float:
    """Return the decay that keeps an average free of its start, and count its weight.

    An average that starts at zero has the weight w = d*w + (1 - d) in it and is to be divided by it
    (Kingma & Ba 2015, section 3). One that is divided at once goes on with d*w_before/w.
    """
    before = entry.ema_weight
    entry.ema_weight = decay * before + (1 - decay)
    return decay * before / entry.ema_weight if entry.ema_weight > 0 else decay


def clip_factor(limit: float, norm: float, eps: float) -> float:
    """Pascanu et al. 2013, algorithm 1; a norm that is NaN makes the factor NaN."""
    if norm + float(eps) == 0:
        return 1.0
    factor = float(limit) / (norm + float(eps))
    return 1.0 if factor >= 1 else factor
