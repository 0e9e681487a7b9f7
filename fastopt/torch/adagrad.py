"""Adagrad."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor
from torch.optim.optimizer import ParamsT

from fastopt.docstrings import append
from fastopt.interop.torch_reading import TORCH
from fastopt.torch.optimizer import TERMS
from fastopt.torch.options import EPS_INSIDE_SQRT, OPTIONS, SCALED, RootOptions
from fastopt.torch.tabled import Tabled

if TYPE_CHECKING:
    from typing_extensions import Unpack


@append(
    OPTIONS,
    torchs="lr, lr_decay, weight_decay, initial_accumulator_value, eps",
    refused="differentiable",
    ours="Adagrad",
    own=SCALED + EPS_INSIDE_SQRT,
    notes=" Parameters of a group that is added later start with `initial_accumulator_value` too.",
    result="tensor([ 0.5000, -1.5000])",
)
class Adagrad(Tabled, torch.optim.Adagrad):
    """Adagrad: ``torch.optim.Adagrad``."""

    _row = TORCH["adagrad"]
    _eager = True
    _terms = TERMS | {"scaled_prox": False, "eps_inside_sqrt": False}

    def __init__(
        self,
        params: ParamsT,
        lr: float | Tensor = 1e-2,
        lr_decay: float = 0,
        weight_decay: float = 0,
        initial_accumulator_value: float = 0,
        eps: float = 1e-10,
        foreach: bool | None = None,
        *,
        maximize: bool = False,
        differentiable: bool = False,
        fused: bool | None = None,
        **options: Unpack[RootOptions],
    ) -> None:
        self._begin(
            torch.optim.Adagrad.__init__,
            dict(options),
            params=params,
            lr=lr,
            lr_decay=lr_decay,
            weight_decay=weight_decay,
            initial_accumulator_value=initial_accumulator_value,
            eps=eps,
            foreach=foreach,
            maximize=maximize,
            differentiable=differentiable,
            fused=fused,
        )

    @classmethod
    def _start(cls, group: dict[str, Any]) -> float:
        return float(group["initial_accumulator_value"])

    def share_memory(self) -> None:
        """Move the states into memory that processes share, as torch does."""
        super().share_memory()
        self._own.unbind()  # from the memory that they had
