"""An optimizer in plain NumPy, array by array: what the objects must do, as naively as can be.

Only formulas are borrowed, from `fastopt.reference`: a step of one array, a mask, a norm. Groups,
counts, schedules, accumulation, averages, clipping by the norm of all and skipping are the model's.
"""

from __future__ import annotations

import inspect
from dataclasses import dataclass, field
from typing import Any

import numpy as np
from optimizer_options import is_schedule

import fastopt
from fastopt import reference
from fastopt.reference.dropout import keep_prob as share_kept
from fastopt.rules import RULES

STATES = {
    name: rule.init and getattr(fastopt, inspect.signature(rule.init).return_annotation)
    for name, rule in RULES.items()
}

OF_THE_OPTIMIZER = ("threads", "flush_denormals", "ema_debias", "accumulation")
"""Shared options that no formula knows."""


def value_at(value: Any, step: int) -> Any:
    return value(step) if is_schedule(value) else value


@dataclass
class Entry:
    """One array of the parameters, and all that belongs to it."""

    path: str
    group: int
    p: Any
    state: dict[str, Any]
    ema: Any
    total: Any
    """The sum of the gradients that are accumulated."""


@dataclass
class Group:
    """What all arrays of a group have in common."""

    options: dict[str, Any]
    step: int = 0
    ema_weight: float = 0.0
    """What the parameters so far weigh in the debiased average; the rest of 1 is its start."""


@dataclass
class Model:
    """What an optimizer holds, and what its calls do to that."""

    rule: str
    states: tuple[str, ...]
    """The arrays that the rule keeps, such as m and v."""
    shared: dict[str, Any]
    defaults: dict[str, Any]
    """What groups have where they are given nothing else."""
    groups: list[Group] = field(default_factory=list)
    entries: list[Entry] = field(default_factory=list)
    step_count: int = 0
    waiting: int = 0
    """How many gradients are accumulated."""
    frozen_then: list[bool] = field(default_factory=list)
    """Which groups were frozen when they were."""

    # What is there

    @property
    def frozen(self) -> list[bool]:
        return [group.options["frozen"] for group in self.groups]

    @property
    def averages(self) -> bool:
        return self.shared["ema_decay"] is not None

    @property
    def used(self) -> list[int]:
        """The numbers of the entries that are not frozen."""
        return [k for k, entry in enumerate(self.entries) if not self.frozen[entry.group]]

    def of_group(self, number: int) -> list[Entry]:
        return [entry for entry in self.entries if entry.group == number]

    def add_group(self, options: dict[str, Any]) -> None:
        self.groups.append(Group({"frozen": False, **self.defaults, **options}))

    def add_entry(self, path: str, group: int, array: Any) -> None:
        self.entries.append(
            Entry(
                path,
                group,
                p=array.copy(order="K"),
                state={name: np.zeros_like(array) for name in self.states},
                ema=array.copy(order="K") if self.averages else None,
                total=np.zeros_like(array),
            )
        )

    # Accumulation

    def accumulate(self, grads: list[Any]) -> None:
        for k in self.used:
            self.entries[k].total[...] += grads[k]
        self.waiting += 1
        self.frozen_then = self.frozen

    def discard(self) -> None:
        for entry in self.entries:
            entry.total[...] = 0
        self.waiting = 0

    def step_of_sum(self, *, grad_scale: float = 1.0, **masks: Any) -> fastopt.StepResult | None:
        if self.shared["accumulation"] == "mean":
            grad_scale = float(grad_scale) / self.waiting
        result = self.step([entry.total for entry in self.entries], grad_scale=grad_scale, **masks)
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
    ) -> fastopt.StepResult | None:
        """Make a step, which only reads gradients: the caller knows what becomes of them."""
        grad_scale = float(grad_scale)  # numbers are computed with in double precision
        shared = {name: value_at(value, self.step_count) for name, value in self.shared.items()}
        drop = shared.pop("drop")
        if drop is not None and drop.training:
            mask, keep_prob = self.drawn(drop), share_kept(drop.p)
        masks = {"mask": mask, "update_mask": update_mask}
        result = self.measured(grads, shared, masks, grad_scale=grad_scale, keep_prob=keep_prob)
        if result is not None and result.skipped:
            return result
        if shared["clip_norm"] is not None:
            grad_scale *= clip_factor(shared["clip_norm"], result.grad_norm, shared["clip_eps"])
        decays = self.decays(shared["ema_decay"])
        for name in (*OF_THE_OPTIMIZER, "clip_norm", "skip_nonfinite", "zero_grads"):
            shared.pop(name, None)
        for k in self.used:
            entry = self.entries[k]
            shared["ema_decay"] = decays[entry.group]
            own = {name: at and [at[k]] for name, at in masks.items()}
            self.step_entry(
                entry, grads[k], grad_scale=grad_scale, keep_prob=keep_prob, **shared, **own
            )
        for group in self.groups:
            group.step += not group.options["frozen"]
        self.step_count += 1
        if drop is not None and drop.training:
            drop.offset = (drop.offset + len(self.entries)) % 2**64
        return result

    def drawn(self, drop: fastopt.Dropout) -> list[Any]:
        """Return the masks of a step: entry k has a number of its own, frozen entries too."""
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
        names = ("clip_norm", "clip_tensor_norm", "clip_eps", "skip_nonfinite")
        # Dicts with numbers as keys have the paths of a list, and may leave some of them out.
        result = reference.sgd_step(
            {k: self.entries[k].p.copy() for k in self.used},
            {k: grads[k] for k in self.used},
            lr=0.0,
            **{name: shared[name] for name in names},
            **{name: at and {k: at[k] for k in self.used} for name, at in masks.items()},
            **options,
        )
        if result is None:
            return None
        paths = {f"grads[{k}]": f"grads{entry.path}" for k, entry in enumerate(self.entries)}
        broken = result.nonfinite and paths[result.nonfinite]
        return fastopt.StepResult(result.skipped, float(result.grad_norm), broken)

    def decays(self, decay: float | None) -> list[float | None]:
        """Return the decay of the average of each group in the step that is being made."""
        if decay is None or not self.shared["ema_debias"]:
            return [decay] * len(self.groups)
        return [
            decay if group.options["frozen"] else debiased(group, float(decay))
            for group in self.groups
        ]

    def step_entry(self, entry: Entry, grad: Any, ema_decay: float | None, **options: Any) -> None:
        """Make the step of one array as if it were alone."""
        group = self.groups[entry.group]
        own = {name: value_at(value, self.step_count) for name, value in group.options.items()}
        del own["frozen"]
        state_class = STATES[self.rule]
        state = None
        if state_class is not None:
            arrays = {name: None for name in state_class.__slots__ if name != "step"}
            arrays |= {name: [array] for name, array in entry.state.items()}
            state = state_class(group.step, **arrays)
        if entry.ema is not None:
            options |= {"ema": [entry.ema], "ema_decay": ema_decay}
        step = getattr(reference, f"{self.rule}_step")
        step([entry.p], [grad], state, **own, **options)

    # Loading

    def load(self, saved: Model) -> None:
        """Take over what another optimizer had when it was saved."""
        take_over(self.shared, saved.shared)
        for own, group in zip(self.groups, saved.groups, strict=True):
            take_over(own.options, group.options)
            own.step, own.ema_weight = group.step, group.ema_weight
        for own, entry in zip(self.entries, saved.entries, strict=True):
            own.p[...], own.total[...] = entry.p, entry.total
            for name, array in entry.state.items():
                own.state[name][...] = array
            if own.ema is not None:
                own.ema[...] = entry.ema
        self.step_count, self.waiting = saved.step_count, saved.waiting
        self.frozen_then = list(saved.frozen_then)


def take_over(own: dict[str, Any], saved: dict[str, Any]) -> None:
    """Replace numbers; a schedule stays, and gets what one in its place remembered."""
    for name, value in saved.items():
        if hasattr(value, "state_dict"):
            own[name].load_state_dict(value.state_dict())
        elif name != "threads" and not callable(value):  # they are the machine's
            own[name] = value


def debiased(group: Group, decay: float) -> float:
    """Return the decay that keeps an average free of its start, and count its weight.

    An average that starts at zero has the weight w = d*w + (1 - d) in it and is to be divided by it
    (Kingma & Ba 2015, section 3). One that is divided at once goes on with d*w_before/w.
    """
    before = group.ema_weight
    group.ema_weight = decay * before + (1 - decay)
    return decay * before / group.ema_weight if group.ema_weight > 0 else decay


def clip_factor(limit: float, norm: float, eps: float) -> float:
    """Pascanu et al. 2013, algorithm 1; a norm that is NaN makes the factor NaN."""
    if norm + float(eps) == 0:
        return 1.0
    factor = float(limit) / (norm + float(eps))
    return 1.0 if factor >= 1 else factor
