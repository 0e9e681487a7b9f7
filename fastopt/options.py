"""The keywords that all steps share. The core has their defaults, docstrings.py what they mean."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any, Literal, TypeAlias, TypedDict

from fastopt import _core
from fastopt.tree import PartialTree, Record, Tree

if TYPE_CHECKING:
    from fastopt.dropout import Dropout

Penalty: TypeAlias = "float | Mapping[Any, Penalty] | Sequence[Penalty] | Record"
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
    mask: PartialTree | None
    keep_prob: float
    drop: Dropout | None
    update_mask: PartialTree | None
    zero_grads: bool
    clip_norm: float | None
    clip_tensor_norm: float | None
    clip_eps: float
    clip_value: float | None
    ema: Tree | None
    ema_decay: float | None
    skip_nonfinite: bool | Literal["raise"]
    flush_denormals: bool
    threads: int | None


_core_defaults = {**_core.term_defaults, **_core.shared_defaults, **_core.object_defaults}
DEFAULTS: dict[str, Any] = {name: _core_defaults[name] for name in StepOptions.__annotations__}
