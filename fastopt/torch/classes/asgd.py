"""ASGD."""

from __future__ import annotations

from typing import TYPE_CHECKING

import torch
from torch import Tensor
from torch.optim.optimizer import ParamsT

from fastopt.docstrings import append
from fastopt.interop.torch_rules import TORCH
from fastopt.torch.optimizer import OptimizerOptions
from fastopt.torch.options import OPTIONS
from fastopt.torch.tabled import Tabled

if TYPE_CHECKING:
    from typing_extensions import Unpack


@append(
    OPTIONS,
    torchs="lr, lambd, alpha, t0, weight_decay",
    refused="capturable, differentiable",
    ours="ASGD",
    own="",
    notes=" `l1_prox` goes by `lr`, not by the rate that has fallen.",
    result="tensor([-5.0008e-05,  1.0002e-04])",
)
class ASGD(Tabled, torch.optim.ASGD):
    """ASGD: ``torch.optim.ASGD``."""

    _row = TORCH["asgd"]

    def __init__(
        self,
        params: ParamsT,
        lr: float | Tensor = 1e-2,
        lambd: float = 1e-4,
        alpha: float = 0.75,
        t0: float = 1e6,
        weight_decay: float = 0,
        *,
        foreach: bool | None = None,
        maximize: bool = False,
        differentiable: bool = False,
        capturable: bool = False,
        **options: Unpack[OptimizerOptions],
    ) -> None:
        self._begin(
            torch.optim.ASGD.__init__,
            dict(options),
            params=params,
            lr=lr,
            lambd=lambd,
            alpha=alpha,
            t0=t0,
            weight_decay=weight_decay,
            foreach=foreach,
            maximize=maximize,
            differentiable=differentiable,
            capturable=capturable,
        )
