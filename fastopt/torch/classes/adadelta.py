"""Adadelta."""

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
    torchs="lr, rho, eps, weight_decay",
    refused="capturable, differentiable",
    ours="Adadelta",
    own="",
    notes="",
    result="tensor([ 0.9984, -1.9984])",
)
class Adadelta(Tabled, torch.optim.Adadelta):
    """Adadelta: ``torch.optim.Adadelta``."""

    _row = TORCH["adadelta"]

    def __init__(
        self,
        params: ParamsT,
        lr: float | Tensor = 1.0,
        rho: float = 0.9,
        eps: float = 1e-6,
        weight_decay: float = 0,
        foreach: bool | None = None,
        *,
        capturable: bool = False,
        maximize: bool = False,
        differentiable: bool = False,
        **options: Unpack[OptimizerOptions],
    ) -> None:
        self._begin(
            torch.optim.Adadelta.__init__,
            dict(options),
            params=params,
            lr=lr,
            rho=rho,
            eps=eps,
            weight_decay=weight_decay,
            foreach=foreach,
            capturable=capturable,
            maximize=maximize,
            differentiable=differentiable,
        )
