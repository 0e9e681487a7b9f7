"""Adam and AdamW."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor
from torch.optim.optimizer import ParamsT

import fastopt
from fastopt.docstrings import append
from fastopt.torch.optimizer import TERMS, Optimizer
from fastopt.torch.options import ADAM, OPTIONS, SCALED, AdamOptions

if TYPE_CHECKING:
    from typing_extensions import Unpack


@append(
    OPTIONS,
    torchs="lr, betas, eps, weight_decay, decoupled_weight_decay",
    refused="amsgrad, capturable, differentiable",
    ours="Adam",
    own=SCALED + ADAM,
    notes="",
    result="tensor([ 0.5000, -1.5000])",
)
class Adam(Optimizer, torch.optim.Adam):
    """Adam: ``torch.optim.Adam``."""

    _deciding = (
        *("betas", "eps", "weight_decay", "maximize", "decoupled_weight_decay"),
        *("amsgrad", "capturable", "differentiable"),
    )
    _terms = TERMS | {"scaled_prox": False, "epsilon_hat": False}

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
    def _arrays_of(cls, variant: Any) -> dict[str, str]:
        return {"m": "exp_avg", "v": "exp_avg_sq"}

    @classmethod
    def _numbers(cls, group: dict[str, Any], variant: Any) -> dict[str, Any]:
        beta1, beta2 = group["betas"]
        decays = {"l2": 0.0, "weight_decay": 0.0}
        decays["weight_decay" if group["decoupled_weight_decay"] else "l2"] = group["weight_decay"]
        numbers = {name: group[name] for name in ("lr", "eps", "maximize", *cls._terms)}
        return {**numbers, **decays, "beta1": beta1, "beta2": beta2}

    @classmethod
    def _make(cls, variant: Any, groups: Any, shared: Any, steps: Any, arrays: Any) -> Any:
        return fastopt.Adam(groups, state=fastopt.AdamState(steps, **arrays), **shared)


@append(
    OPTIONS,
    torchs="lr, betas, eps, weight_decay",
    refused="amsgrad, capturable, differentiable",
    ours="AdamW",
    own=SCALED + ADAM,
    notes="",
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
