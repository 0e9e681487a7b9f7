"""NAdam."""

from __future__ import annotations

from typing import TYPE_CHECKING

import torch
from torch import Tensor
from torch.optim.optimizer import ParamsT

from fastopt.docstrings import append
from fastopt.interop.torch_rules import TORCH
from fastopt.rules import CautiousNAdam
from fastopt.torch.optimizer import TERMS
from fastopt.torch.options import CAUTIOUS, OPTIONS, SCALED, CautiousOptions
from fastopt.torch.tabled import Tabled

if TYPE_CHECKING:
    from typing_extensions import Unpack


@append(
    OPTIONS,
    torchs="lr, betas, eps, weight_decay, momentum_decay, decoupled_weight_decay",
    refused="capturable, differentiable",
    ours="NAdam",
    own=SCALED + CAUTIOUS,
    notes="",
    result="tensor([ 0.4718, -1.4718])",
)
class NAdam(Tabled, torch.optim.NAdam):
    """NAdam: ``torch.optim.NAdam``."""

    _row = TORCH["nadam"]
    _cautious = CautiousNAdam
    _terms = TERMS | {"scaled_prox": False, "cautious": False}

    def __init__(
        self,
        params: ParamsT,
        lr: float | Tensor = 2e-3,
        betas: tuple[float, float] = (0.9, 0.999),
        eps: float = 1e-8,
        weight_decay: float = 0,
        momentum_decay: float = 4e-3,
        decoupled_weight_decay: bool = False,
        *,
        foreach: bool | None = None,
        maximize: bool = False,
        capturable: bool = False,
        differentiable: bool = False,
        **options: Unpack[CautiousOptions],
    ) -> None:
        self._begin(
            torch.optim.NAdam.__init__,
            dict(options),
            params=params,
            lr=lr,
            betas=betas,
            eps=eps,
            weight_decay=weight_decay,
            momentum_decay=momentum_decay,
            decoupled_weight_decay=decoupled_weight_decay,
            foreach=foreach,
            maximize=maximize,
            capturable=capturable,
            differentiable=differentiable,
        )
