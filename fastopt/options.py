"""The keywords that all steps share, and their defaults; ``_docstrings.py`` says what they mean."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, TypedDict

from fastopt.tree import Tree

if TYPE_CHECKING:
    from fastopt.dropout import Dropout

Penalty = Any
"""A number, or numbers in the structure of the parameters; one may stand for a whole branch."""


class StepOptions(TypedDict, total=False):
    """What every step takes besides the options of its rule."""

    l1: Penalty
    l2: Penalty
    weight_decay: Penalty
    decay_after: bool
    l1_prox: Penalty
    nonneg: bool
    grad_scale: float
    maximize: bool
    mask: Tree | None
    keep_prob: float
    drop: Dropout | None
    update_mask: Tree | None
    zero_grads: bool
    clip_norm: float | None
    clip_tensor_norm: float | None
    clip_eps: float
    clip_value: float | None
    ema: Tree | None
    ema_decay: float | None
    skip_nonfinite: bool
    flush_denormals: bool
    threads: int | None


DEFAULTS: StepOptions = {
    "l1": 0.0,
    "l2": 0.0,
    "weight_decay": 0.0,
    "decay_after": False,
    "l1_prox": 0.0,
    "nonneg": False,
    "grad_scale": 1.0,
    "maximize": False,
    "mask": None,
    "keep_prob": 1.0,
    "drop": None,
    "update_mask": None,
    "zero_grads": False,
    "clip_norm": None,
    "clip_tensor_norm": None,
    "clip_eps": 1e-6,
    "clip_value": None,
    "ema": None,
    "ema_decay": None,
    "skip_nonfinite": False,
    "flush_denormals": False,
    "threads": None,
}
