"""Adam, AdamW and Adamax."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor
from torch.optim.optimizer import ParamsT

from fastopt.docstrings import append
from fastopt.interop.table import Row
from fastopt.interop.torch_rules import TORCH
from fastopt.rules import CautiousAdam
from fastopt.torch.optimizer import TERMS
from fastopt.torch.options import (
    ADAM,
    ADAMAX,
    CAUTIOUS,
    OPTIONS,
    SCALED,
    AdamaxOptions,
    AdamOptions,
)
from fastopt.torch.tabled import Tabled

if TYPE_CHECKING:
    from typing_extensions import Unpack


@append(
    OPTIONS,
    torchs="lr, betas, eps, weight_decay, amsgrad, decoupled_weight_decay",
    refused="capturable, differentiable",
    ours="Adam",
    own=SCALED + ADAM + CAUTIOUS,
    notes=" `amsgrad` must be the same in all groups.",
    result="tensor([ 0.5000, -1.5000])",
)
class Adam(Tabled, torch.optim.Adam):
    """Adam: ``torch.optim.Adam``."""

    _row = TORCH["adam"]
    _cautious = CautiousAdam
    _terms = TERMS | {"scaled_prox": False, "epsilon_hat": False, "cautious": False}

    def __init__(
        self,
        params: ParamsT,
        lr: float | Tensor = 1e-3,
        betas: tuple[float | Tensor, float | Tensor] = (0.9, 0.999),
        eps: float = 1e-8,
        weight_decay: float = 0,
        amsgrad: bool = False,
        *,
        foreach: bool | None = None,
        maximize: bool = False,
        capturable: bool = False,
        differentiable: bool = False,
        fused: bool | None = None,
        decoupled_weight_decay: bool = False,
        **options: Unpack[AdamOptions],
    ) -> None:
        self._begin(
            torch.optim.Adam.__init__,
            dict(options),
            params=params,
            lr=lr,
            betas=betas,
            eps=eps,
            weight_decay=weight_decay,
            amsgrad=amsgrad,
            foreach=foreach,
            maximize=maximize,
            capturable=capturable,
            differentiable=differentiable,
            fused=fused,
            decoupled_weight_decay=decoupled_weight_decay,
        )

    @classmethod
    def _variant(cls, groups: list[dict[str, Any]]) -> Any:
        amsgrad, variant = cls._in_all(groups, "amsgrad"), super()._variant(groups)
        if amsgrad and variant:
            raise ValueError(f"{cls.__name__}: amsgrad and cautious exclude each other")
        return "amsgrad" if amsgrad else variant

    @classmethod
    def _row_of(cls, variant: Any) -> Row:
        return TORCH["amsgrad"] if variant == "amsgrad" else super()._row_of(variant)


@append(
    OPTIONS,
    torchs="lr, betas, eps, weight_decay, amsgrad",
    refused="capturable, differentiable",
    ours="AdamW",
    own=SCALED + ADAM + CAUTIOUS,
    notes=" `amsgrad` must be the same in all groups.",
    result="tensor([ 0.4950, -1.4900])",
)
class AdamW(Adam, torch.optim.AdamW):
    """Adam with decoupled weight decay: ``torch.optim.AdamW``."""

    def __init__(
        self,
        params: ParamsT,
        lr: float | Tensor = 1e-3,
        betas: tuple[float | Tensor, float | Tensor] = (0.9, 0.999),
        eps: float = 1e-8,
        weight_decay: float = 1e-2,
        amsgrad: bool = False,
        *,
        maximize: bool = False,
        foreach: bool | None = None,
        capturable: bool = False,
        differentiable: bool = False,
        fused: bool | None = None,
        **options: Unpack[AdamOptions],
    ) -> None:
        Adam.__init__(
            self,
            params,
            lr,
            betas,
            eps,
            weight_decay,
            amsgrad,
            maximize=maximize,
            foreach=foreach,
            capturable=capturable,
            differentiable=differentiable,
            fused=fused,
            decoupled_weight_decay=True,
            **options,
        )


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
