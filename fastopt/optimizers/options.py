"""Hyper-parameters that can be read and set between steps, and are checked when they are set."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Iterable, Mapping, MutableMapping
from typing import TYPE_CHECKING, Any, Literal, TypedDict

from fastopt import _core
from fastopt.dropout import Dropout

if TYPE_CHECKING:
    from typing_extensions import Required

    from fastopt.options import Penalty
    from fastopt.tree import PartialTree, Tree

Scheduled = float | Callable[[int], float]
"""A number, or a schedule: a callable of the updates made so far."""


class OptionsWithoutDecay(TypedDict, total=False):
    """What AdamW, which has a `weight_decay` of its own, takes as every other optimizer does."""

    l1: Scheduled | Penalty
    l2: Scheduled | Penalty
    decay_after: bool
    l1_prox: Scheduled | Penalty
    nonneg: bool
    maximize: bool
    clip_value: Scheduled | None
    clip_norm: Scheduled | None
    clip_tensor_norm: Scheduled | None
    clip_eps: Scheduled
    skip_nonfinite: bool | Literal["raise"]
    ema_decay: Scheduled | None
    ema_debias: bool
    drop: Dropout | None
    zero_grads: bool
    flush_denormals: bool
    threads: int | None
    accumulation: str


class OtherArguments(TypedDict, total=False):
    """What a step takes besides gradients: what comes with them, and numbers in place of options.

    But for those numbers that give it a result.
    """

    params: Tree | None
    grad_scale: float
    mask: PartialTree | None
    keep_prob: float
    update_mask: PartialTree | None
    lr: float
    beta1: float
    beta2: float
    beta3: float
    eps: float
    epsilon_hat: bool
    bias_correction: bool
    momentum: float
    dampening: float
    nesterov: bool
    ns_steps: int
    ns_a: float
    ns_b: float
    ns_c: float
    match_rms_adamw: bool
    flatten: bool
    lr_inside: bool
    rho: float
    eps_inside_sqrt: bool
    eps_outside_max: bool
    max_of_corrected: bool
    alpha: float
    alpha_warmup: float
    beta3_warmup: float
    update_clip: bool
    momentum_decay: float
    warm_up: bool
    trust_decay: float
    always_adapt: bool
    trust_clip: bool
    trust_coeff: float
    norm_of_sum: bool
    lambd: float
    t0: float
    y_decay: float
    d_decay: float
    use_bias_correction: bool
    safeguard_warmup: bool
    d0: float
    d_coef: float
    growth_rate: float
    per_array: bool
    warmup_steps: float
    r: float
    weight_lr_power: float
    lr_decay: float
    beta2_decay: float
    eps1: float
    eps2: float
    d: float
    relative_step: bool
    scale_parameter: bool
    clamp: bool
    lambda1: float
    lambda2: float
    beta: float
    l2_shrinkage: float
    eta_minus: float
    eta_plus: float
    min_step_size: float
    max_step_size: float
    scaled_prox: bool
    l1: float
    l2: float
    weight_decay: float
    decay_after: bool
    l1_prox: float
    nonneg: bool
    maximize: bool
    clip_value: float | None
    clip_eps: float
    ema_decay: float
    zero_grads: bool
    flush_denormals: bool
    threads: int | None


class StepArguments(OtherArguments, total=False):
    """All that a step takes besides gradients."""

    clip_norm: float | None
    clip_tensor_norm: float | None
    skip_nonfinite: bool | Literal["raise"]


class WithClipNorm(OtherArguments, total=False):
    """Numbers with which a step has a result for certain, as with the two below."""

    clip_norm: Required[float]
    clip_tensor_norm: None
    skip_nonfinite: bool | Literal["raise"]


class WithClipTensorNorm(OtherArguments, total=False):
    clip_norm: None
    clip_tensor_norm: Required[float]
    skip_nonfinite: bool | Literal["raise"]


class WithSkipNonfinite(OtherArguments, total=False):
    clip_norm: float | None
    clip_tensor_norm: float | None
    skip_nonfinite: Required[Literal[True, "raise"]]


class OptimizerOptions(OptionsWithoutDecay, total=False):
    """What every optimizer takes besides the options of its rule."""

    weight_decay: Scheduled | Penalty


TERM_DEFAULTS: dict[str, Any] = _core.term_defaults
"""Options of steps that every group has for itself, besides those of the rule."""

OF_EACH_STEP = ("grad_scale", "keep_prob")
SHARED_DEFAULTS: dict[str, Any] = {
    **{name: value for name, value in _core.shared_defaults.items() if name not in OF_EACH_STEP},
    "drop": None,
    "ema_debias": False,
    "accumulation": "mean",
}
"""Options of steps that all groups have in common."""


def is_schedule(value: Any) -> bool:
    return callable(value) and not isinstance(value, Dropout)


NOT_SAVED = ("drop", "threads")
"""Options that are no numbers of the training: one is saved by itself, one is the machine's."""


class Options(_core.Options, MutableMapping[str, Any]):
    """Options of an optimizer: a dict with fixed keys, whose values are checked when they are set.

    A value is a number, or a schedule: a callable of the number of updates made so far. Steps read
    them where they are set.
    """

    _written = "opt.options"

    def __init__(self, owner: str, values: Mapping[str, Any], count: _core.StepCount) -> None:
        self._owner = owner
        super().__init__(owner, "", None, dict(values), count, ())

    def update(self, other: Any = (), /, **more: Any) -> None:
        """Set several options; all of them or, if one is refused, none."""
        self._set_all({**dict(other), **more})

    def __setattr__(self, name: str, value: Any) -> None:
        if name.startswith("_"):
            super().__setattr__(name, value)
            return
        said = f"{self._written} has no attribute {name!r} to set"
        if name in self:
            said = f"{name} is an option, and set by {self._written}[{name!r}] = ..."
        raise AttributeError(f"{self._owner}: {said}")

    def __dir__(self) -> list[str]:
        return public(super().__dir__())

    def __repr__(self) -> str:
        return f"{type(self).__name__}({dict(self)!r})"

    def __reduce_ex__(self, protocol: Any) -> Any:
        raise TypeError(
            f"{type(self).__name__} belongs to its optimizer; dict(options) is a copy of its values"
        )

    def _shown(self, *defaults: Mapping[str, Any]) -> str:
        """Return those that differ from one of their defaults; what has none is always shown."""
        missing = object()
        return ", ".join(
            f"{name}={value!r}"
            for name, value in self.items()
            if is_schedule(value) or any(value != known.get(name, missing) for known in defaults)
        )

    def _now(self, step: int) -> dict[str, Any]:
        """Return the numbers of an update; schedules are asked."""
        asked = {name: value(step) for name, value in self.items() if is_schedule(value)}
        self._check(asked)
        return {**self, **{name: _plain(value) for name, value in asked.items()}}

    def _saved(self) -> dict[str, Any]:
        """Return plain values; of a schedule only what it remembers."""
        return {name: _saved(value) for name, value in self.items() if name not in NOT_SAVED}


def public(names: Iterable[str]) -> list[str]:
    """Return the names that are no part of how a class works."""
    return [name for name in names if not name.startswith("_") or name.endswith("__")]


def _plain(value: Any) -> Any:
    """Return a number, which may be NumPy's or an array without axes, as one of Python's."""
    return value.item() if hasattr(value, "item") else value


def _saved(value: Any) -> Any:
    if is_schedule(value):
        parts = [part.state_dict() for part in stateful_parts(value)]
        return {"schedule": _described(value), "states": parts}
    return value


def stateful_parts(schedule: Any) -> list[Any]:
    """Return what a schedule has in it that remembers, such as a ReduceOnPlateau."""
    if hasattr(schedule, "state_dict"):
        return [schedule]
    if not dataclasses.is_dataclass(schedule):
        return []
    parts = (getattr(schedule, field.name) for field in dataclasses.fields(schedule))
    return [inner for part in parts if callable(part) for inner in stateful_parts(part)]


def _described(schedule: Any) -> str:
    """Return what a person can tell a schedule by; nothing reads it."""
    if dataclasses.is_dataclass(schedule):
        return repr(schedule)
    return getattr(schedule, "__qualname__", type(schedule).__qualname__)
