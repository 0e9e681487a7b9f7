"""SGD."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor
from torch.optim.optimizer import ParamsT

import fastopt
from fastopt.docstrings import append
from fastopt.torch.optimizer import Optimizer, OptimizerOptions
from fastopt.torch.options import OPTIONS

if TYPE_CHECKING:
    from typing_extensions import Unpack


@append(
    OPTIONS,
    torchs="lr, momentum, dampening, weight_decay, nesterov",
    refused="differentiable",
    ours="Momentum",
    own="",
    notes=" `momentum` must not exceed 1.",
    result="tensor([0., 0.])",
)
class SGD(Optimizer, torch.optim.SGD):
    """SGD, also with momentum, also Nesterov's: ``torch.optim.SGD``."""

    _deciding = ("momentum", "dampening", "weight_decay", "nesterov", "maximize", "differentiable")
    _counts = False

    def __init__(
        self,
        params: ParamsT,
        lr: float | Tensor = 1e-3,
        momentum: float = 0,
        dampening: float = 0,
        weight_decay: float | Tensor = 0,
        nesterov: bool = False,
        *,
        maximize: bool = False,
        foreach: bool | None = None,
        differentiable: bool = False,
        fused: bool | None = None,
        **options: Unpack[OptimizerOptions],
    ) -> None:
        self._begin(
            torch.optim.SGD.__init__,
            dict(options),
            params=params,
            lr=lr,
            momentum=momentum,
            dampening=dampening,
            weight_decay=weight_decay,
            nesterov=nesterov,
            maximize=maximize,
            foreach=foreach,
            differentiable=differentiable,
            fused=fused,
        )

    @classmethod
    def _variant(cls, groups: list[dict[str, Any]]) -> Any:
        return tuple(map(cls._has_state, groups))

    @classmethod
    def _has_state(cls, group: dict[str, Any]) -> bool:
        return bool(group["momentum"] != 0)

    @classmethod
    def _arrays_of(cls, variant: Any) -> dict[str, str]:
        return {"buf": "momentum_buffer"} if any(variant) else {}

    @classmethod
    def _steps_of(cls, state: dict[str, Any]) -> int:
        return int(state.get("momentum_buffer") is not None)

    @classmethod
    def _numbers(cls, group: dict[str, Any], variant: Any) -> dict[str, Any]:
        numbers = {name: group[name] for name in ("lr", "maximize", *cls._terms)}
        numbers["l2"] = group["weight_decay"]
        if any(variant):
            numbers["momentum"] = group["momentum"]
            if cls._has_state(group):
                numbers |= {name: group[name] for name in ("dampening", "nesterov")}
        return numbers

    @classmethod
    def _make(cls, variant: Any, groups: Any, shared: Any, steps: Any, arrays: Any) -> Any:
        if not any(variant):
            return fastopt.SGD(groups, **shared)
        return _Momentum(groups, state=fastopt.MomentumState(steps, **arrays), **shared)


_Momentum: Any = type("SGD", (fastopt.Momentum,), {})  # as messages shall call it
