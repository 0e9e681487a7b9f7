"""RAdam."""

from __future__ import annotations

from typing import TYPE_CHECKING

import torch
from torch import Tensor
from torch.optim.optimizer import ParamsT

from fastopt.docstrings import append
from fastopt.interop.torch_rules import TORCH
from fastopt.torch.optimizer import TERMS
from fastopt.torch.options import OPTIONS, RADAM, SCALED, AdamOptions
from fastopt.torch.tabled import Tabled

if TYPE_CHECKING:
    from typing_extensions import Unpack


@append(
    OPTIONS,
    torchs="lr, betas, eps, weight_decay, decoupled_weight_decay",
    refused="capturable, differentiable",
    ours="RAdam",
    own=SCALED + RADAM,
    notes="",
    result="tensor([0., 0.])",
)
class RAdam(Tabled, torch.optim.RAdam):
    """RAdam: ``torch.optim.RAdam``."""

    _row = TORCH["radam"]
    _terms = TERMS | {"scaled_prox": False, "epsilon_hat": True}

    def __init__(
        self,
        params: ParamsT,
        lr: float | Tensor = 1e-3,
        betas: tuple[float, float] = (0.9, 0.999),
        eps: float = 1e-8,
        weight_decay: float = 0,
        decoupled_weight_decay: bool = False,
        *,
        foreach: bool | None = None,
        maximize: bool = False,
        capturable: bool = False,
        differentiable: bool = False,
        **options: Unpack[AdamOptions],
    ) -> None:
        self._begin(
            torch.optim.RAdam.__init__,
            dict(options),
            params=params,
            lr=lr,
            betas=betas,
            eps=eps,
            weight_decay=weight_decay,
            decoupled_weight_decay=decoupled_weight_decay,
            foreach=foreach,
            maximize=maximize,
            capturable=capturable,
            differentiable=differentiable,
        )
