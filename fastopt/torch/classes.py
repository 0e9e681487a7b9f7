"""The classes: torch's signatures, and which options of ours they stand for."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor
from torch.optim.optimizer import ParamsT

import fastopt
from fastopt.docstrings import append
from fastopt.torch.optimizer import TERMS, Optimizer, OptimizerOptions

if TYPE_CHECKING:
    from typing_extensions import Unpack


OPTIONS = """
Parameters
----------
params : iterable of tensors, or of dicts with ``"params"``
    Dense tensors of float32 or float64 in the memory of the host, of any layout. Changed in place.
{torchs}, maximize
    As in ``torch.optim.{name}``. `foreach`, and `fused` where it is there, are taken and change
    nothing: every step is fused. `lr` may be a tensor without axes.
{refused}
    Refused where they are True.
{own}l1, l1_prox : float, default 0.0, >= 0
    L1 penalty, by subgradient or proximal, which makes exact zeros. Like the next two they may
    differ from group to group.
nonneg : bool, default False
    Keep the parameters non-negative.
clip_value : float or None, default None, > 0
    Elements of the gradient are kept within ``[-clip_value, clip_value]``.
clip_norm, clip_tensor_norm : float or None, default None, > 0
    The norm that all gradients together, or each by itself, may have at most. These and the
    following are common to all groups: ``opt.options["clip_norm"] = 1.0``.
clip_eps : float, default 1e-6, >= 0
    What is added to a norm before it divides.
skip_nonfinite : bool or "raise", default False
    Leave out steps whose gradients have an infinity or a NaN.
ema_decay : float or None, default None, in [0, 1]
    Keep averages of the parameters; `averaged` puts them in place of these. They are
    saved under ``"ema"`` in the state of each parameter.
flush_denormals, threads
    As in the steps of fastopt.

Raises
------
TypeError, ValueError
    If a parameter could not be updated in place, or a number is out of range.

Notes
-----
The formula and its source are those of :class:`fastopt.{ours}`. The result differs from that of
torch by rounding alone; the order of its operations is not torch's. Half, complex and sparse
tensors are refused.{notes}

Examples
--------
>>> import torch
>>> from fastopt.torch import {name}
>>> w = torch.nn.Parameter(torch.tensor([1.0, -2.0]))
>>> opt = {name}([w], lr=0.5)
>>> (w**2).sum().backward()
>>> opt.step()
>>> w.detach()
{result}
"""


SCALED = """\
scaled_prox : bool, default False
    The threshold of `l1_prox` is divided by the metric of the rule, element by element.
"""


ADAM = """\
epsilon_hat : bool, default False
    The form of Keras and TensorFlow, in which `eps` is added to the uncorrected root.
"""


RMSPROP = """\
eps_inside_sqrt : bool, default False
    Divide by ``sqrt(v + eps)``, as Keras and optax do.
"""


class ScaledOptions(OptimizerOptions, total=False):
    """What rules with a metric take besides."""

    scaled_prox: bool


class AdamOptions(ScaledOptions, total=False):
    epsilon_hat: bool


class RMSpropOptions(ScaledOptions, total=False):
    eps_inside_sqrt: bool


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


@append(
    OPTIONS,
    torchs="lr, alpha, eps, weight_decay, momentum, centered",
    refused="capturable, differentiable",
    ours="RMSprop",
    own=SCALED + RMSPROP,
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
        **options: Unpack[RMSpropOptions],
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
