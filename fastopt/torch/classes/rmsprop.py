"""RMSprop."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor
from torch.optim.optimizer import ParamsT

import fastopt
from fastopt.docstrings import append
from fastopt.torch.optimizer import TERMS, Optimizer
from fastopt.torch.options import EPS_INSIDE_SQRT, OPTIONS, SCALED, RootOptions

if TYPE_CHECKING:
    from typing_extensions import Unpack


@append(
    OPTIONS,
    torchs="lr, alpha, eps, weight_decay, momentum, centered",
    refused="capturable, differentiable",
    ours="RMSprop",
    own=SCALED + EPS_INSIDE_SQRT,
    notes=" `centered` must be the same in all groups, `momentum` must not exceed 1.",
    result="tensor([-4.0000,  3.0000])",
)
class RMSprop(Optimizer, torch.optim.RMSprop):
    """RMSprop, also centered, also with momentum: ``torch.optim.RMSprop``."""

    _deciding = (
        *("alpha", "eps", "weight_decay", "momentum", "centered", "maximize"),
        *("capturable", "differentiable"),
    )
    _terms = TERMS | {"scaled_prox": False, "eps_inside_sqrt": False}

    def __init__(
        self,
        params: ParamsT,
        lr: float | Tensor = 1e-2,
        alpha: float = 0.99,
        eps: float = 1e-8,
        weight_decay: float = 0,
        momentum: float = 0,
        centered: bool = False,
        capturable: bool = False,
        foreach: bool | None = None,
        maximize: bool = False,
        differentiable: bool = False,
        **options: Unpack[RootOptions],
    ) -> None:
        self._begin(
            torch.optim.RMSprop.__init__,
            dict(options),
            params=params,
            lr=lr,
            alpha=alpha,
            eps=eps,
            weight_decay=weight_decay,
            momentum=momentum,
            centered=centered,
            capturable=capturable,
            foreach=foreach,
            maximize=maximize,
            differentiable=differentiable,
        )

    @classmethod
    def _variant(cls, groups: list[dict[str, Any]]) -> Any:
        centered = {bool(group["centered"]) for group in groups}
        if len(centered) > 1:
            raise ValueError("RMSprop: centered must be the same in all groups")
        return centered.pop(), any(group["momentum"] != 0 for group in groups)

    @classmethod
    def _arrays_of(cls, variant: Any) -> dict[str, str]:
        centered, momentum = variant
        names = {"v": "square_avg"}
        if centered:
            names["avg"] = "grad_avg"
        if momentum:
            names["buf"] = "momentum_buffer"
        return names

    @classmethod
    def _numbers(cls, group: dict[str, Any], variant: Any) -> dict[str, Any]:
        names = ("lr", "eps", "momentum", "maximize", *cls._terms)
        numbers = {name: group[name] for name in names}
        return {**numbers, "rho": group["alpha"], "l2": group["weight_decay"]}

    @classmethod
    def _make(cls, variant: Any, groups: Any, shared: Any, steps: Any, arrays: Any) -> Any:
        centered, momentum = variant
        state = fastopt.RMSpropState(steps, **{"avg": None, "buf": None, **arrays})
        starts = float(momentum)  # with a buffer, if any group has momentum
        return fastopt.RMSprop(groups, state=state, momentum=starts, centered=centered, **shared)
