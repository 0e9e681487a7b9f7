"""Rprop."""

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
    torchs="lr, etas, step_sizes",
    refused="capturable, differentiable",
    ours="Rprop",
    own="",
    notes=" `lr` is the first step of each parameter; later it matters to `l1_prox` alone.",
    result="tensor([ 0.5000, -1.5000])",
)
class Rprop(Tabled, torch.optim.Rprop):
    """Rprop: ``torch.optim.Rprop``."""

    _row = TORCH["rprop"]

    def __init__(
        self,
        params: ParamsT,
        lr: float | Tensor = 1e-2,
        etas: tuple[float, float] = (0.5, 1.2),
        step_sizes: tuple[float, float] = (1e-6, 50),
        *,
        capturable: bool = False,
        foreach: bool | None = None,
        maximize: bool = False,
        differentiable: bool = False,
        **options: Unpack[OptimizerOptions],
    ) -> None:
        self._begin(
            torch.optim.Rprop.__init__,
            dict(options),
            params=params,
            lr=lr,
            etas=etas,
            step_sizes=step_sizes,
            capturable=capturable,
            foreach=foreach,
            maximize=maximize,
            differentiable=differentiable,
        )
