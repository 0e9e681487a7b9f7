"""Adamax."""

from __future__ import annotations

from typing import TYPE_CHECKING

import torch
from torch import Tensor
from torch.optim.optimizer import ParamsT

from fastopt.docstrings import append
from fastopt.interop.torch_reading import TORCH
from fastopt.torch.optimizer import TERMS
from fastopt.torch.options import ADAMAX, OPTIONS, SCALED, AdamaxOptions
from fastopt.torch.tabled import Tabled

if TYPE_CHECKING:
    from typing_extensions import Unpack


@append(
    OPTIONS,
    torchs="lr, betas, eps, weight_decay",
    refused="capturable, differentiable",
    ours="Adamax",
    own=SCALED + ADAMAX,
    notes="",
    result="tensor([ 0.5000, -1.5000])",
)
class Adamax(Tabled, torch.optim.Adamax):
    """Adamax: ``torch.optim.Adamax``."""

    _row = TORCH["adamax"]
    _terms = TERMS | {"scaled_prox": False, "eps_outside_max": False}

    def __init__(
        self,
        params: ParamsT,
        lr: float | Tensor = 2e-3,
        betas: tuple[float, float] = (0.9, 0.999),
        eps: float = 1e-8,
        weight_decay: float = 0,
        foreach: bool | None = None,
        *,
        maximize: bool = False,
        differentiable: bool = False,
        capturable: bool = False,
        **options: Unpack[AdamaxOptions],
    ) -> None:
        self._begin(
            torch.optim.Adamax.__init__,
            dict(options),
            params=params,
            lr=lr,
            betas=betas,
            eps=eps,
            weight_decay=weight_decay,
            foreach=foreach,
            maximize=maximize,
            differentiable=differentiable,
            capturable=capturable,
        )
