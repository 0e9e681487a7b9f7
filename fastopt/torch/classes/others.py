"""Rules that torch has not, AdEMAMix and others: names are those of their papers' own code."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from torch import Tensor
from torch.optim.optimizer import ParamsT

from fastopt.docstrings import append
from fastopt.interop.torch_rules import OTHERS
from fastopt.rules.starts import NAME, checked_start
from fastopt.torch.optimizer import TERMS, OptimizerOptions
from fastopt.torch.options import SCALED, ScaledOptions
from fastopt.torch.tabled import Tabled, torchs_init

if TYPE_CHECKING:
    from typing_extensions import Unpack

OPTIONS = """
Parameters
----------
params : iterable of tensors, or of dicts with ``"params"``
    Dense tensors of float32 or float64 in the memory of the host, of any layout. Changed in place.
{own}weight_decay : float, default 0.0, >= 0
    Decoupled weight decay: ``p -= lr * weight_decay * p``, before the rule.
maximize : bool, default False
    Ascend.
{scaled}l1, l1_prox, nonneg, clip_value, clip_norm, clip_tensor_norm, clip_eps, skip_nonfinite, \
ema_decay, flush_denormals, threads
    As in :class:`fastopt.torch.Adam`.

Raises
------
TypeError, ValueError
    If a parameter could not be updated in place, or a number is out of range.

Notes
-----
The formula and its source, and more of the options, are those of :class:`fastopt.{name}`. States
have {states} and ``step``.

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


@append(
    OPTIONS,
    own="""\
lr : float or tensor without axes, default 0.001, >= 0
    The learning rate.
betas : tuple of three floats, default (0.9, 0.999, 0.9999), in [0, 1)
    Decay rates of the means of the gradient and of its square, and of the slow mean.
alpha : float, default 5.0, >= 0
    The weight of the slow mean. (The paper's own code has 2.)
beta3_warmup, alpha_warmup : float, default 0.0, >= 0
    Steps over which the memory of the slow mean and `alpha` grow.
eps : float, default 1e-8, >= 0
    Keeps the denominator from zero.
""",
    scaled=SCALED,
    states="``exp_avg_fast``, ``exp_avg_slow``, ``exp_avg_sq``",
    result="tensor([ 0.4998, -1.4998])",
)
class AdEMAMix(Tabled):
    """AdEMAMix, on tensors in the memory of the host."""

    _row = OTHERS["ademamix"]
    _terms = TERMS | {"scaled_prox": False, "maximize": False}

    def __init__(
        self,
        params: ParamsT,
        lr: float | Tensor = 1e-3,
        betas: tuple[float, float, float] = (0.9, 0.999, 0.9999),
        alpha: float = 5.0,
        beta3_warmup: float = 0.0,
        alpha_warmup: float = 0.0,
        eps: float = 1e-8,
        weight_decay: float = 0.0,
        *,
        maximize: bool = False,
        **options: Unpack[ScaledOptions],
    ) -> None:
        self._begin(
            torchs_init,
            {**options, "maximize": maximize},
            params=params,
            lr=lr,
            betas=betas,
            alpha=alpha,
            beta3_warmup=beta3_warmup,
            alpha_warmup=alpha_warmup,
            eps=eps,
            weight_decay=weight_decay,
        )


@append(
    OPTIONS,
    own="""\
lr : float or tensor without axes, default 0.001, >= 0
    The learning rate.
betas : tuple of two floats, default (0.9, 0.9999), in [0, 1)
    Decay rates of the means of the divided gradient and of the squared gradient.
eps : float, default 1e-6, >= 0
    The least that a gradient is divided by.
update_clip : bool, default True
    Keep the divided gradient within a bound that grows.
""",
    scaled="",
    states="``exp_avg``, ``exp_avg_sq``",
    result="tensor([ 1., -2.])",
)
class ADOPT(Tabled):
    """ADOPT, on tensors in the memory of the host; in its first step the rule moves nothing."""

    _row = OTHERS["adopt"]
    _terms = TERMS | {"update_clip": True, "maximize": False}

    def __init__(
        self,
        params: ParamsT,
        lr: float | Tensor = 1e-3,
        betas: tuple[float, float] = (0.9, 0.9999),
        eps: float = 1e-6,
        weight_decay: float = 0.0,
        *,
        update_clip: bool = True,
        maximize: bool = False,
        **options: Unpack[OptimizerOptions],
    ) -> None:
        self._begin(
            torchs_init,
            {**options, "update_clip": update_clip, "maximize": maximize},
            params=params,
            lr=lr,
            betas=betas,
            eps=eps,
            weight_decay=weight_decay,
        )


@append(
    OPTIONS,
    own="""\
lr : float or tensor without axes, default 0.001, >= 0
    The learning rate.
betas : tuple of two floats, default (0.9, 0.999), in [0, 1)
    Decay rates of the means of the gradient and of its squared distance from that.
eps : float, default 1e-16, >= 0
    Keeps the denominator from zero.
""",
    scaled=SCALED,
    states="``exp_avg``, ``exp_avg_var``",
    result="tensor([ 0.4444, -1.4444])",
)
class AdaBelief(Tabled):
    """AdaBelief, on tensors in the memory of the host."""

    _row = OTHERS["adabelief"]
    _terms = TERMS | {"scaled_prox": False, "maximize": False}

    def __init__(
        self,
        params: ParamsT,
        lr: float | Tensor = 1e-3,
        betas: tuple[float, float] = (0.9, 0.999),
        eps: float = 1e-16,
        weight_decay: float = 0.0,
        *,
        maximize: bool = False,
        **options: Unpack[ScaledOptions],
    ) -> None:
        self._begin(
            torchs_init,
            {**options, "maximize": maximize},
            params=params,
            lr=lr,
            betas=betas,
            eps=eps,
            weight_decay=weight_decay,
        )


@append(
    OPTIONS,
    own="""\
lr : float or tensor without axes, default 0.001, >= 0
    How far each element moves.
momentum : float, default 0.9, in [0, 1)
    Decay rate of the mean; with 0 it is SignSGD.
""",
    scaled="",
    states="``momentum_buffer``",
    result="tensor([ 0.5000, -1.5000])",
)
class Signum(Tabled):
    """Signum, on tensors in the memory of the host."""

    _row = OTHERS["signum"]
    _terms = TERMS | {"maximize": False}

    def __init__(
        self,
        params: ParamsT,
        lr: float | Tensor = 1e-3,
        momentum: float = 0.9,
        weight_decay: float = 0.0,
        *,
        maximize: bool = False,
        **options: Unpack[OptimizerOptions],
    ) -> None:
        self._begin(
            torchs_init,
            {**options, "maximize": maximize},
            params=params,
            lr=lr,
            momentum=momentum,
            weight_decay=weight_decay,
        )


@append(
    OPTIONS,
    own="""\
lr : float or tensor without axes, default 0.001, >= 0
    The learning rate.
betas : tuple of three floats, default (0.98, 0.92, 0.99), in [0, 1)
    Decay rates of the means of the gradient, of the differences, and of the square.
eps : float, default 1e-8, >= 0
    Keeps the denominator from zero.
bias_correction : bool, default True
    Correct the start of the means at zero.
""",
    scaled=SCALED,
    states="``exp_avg``, ``exp_avg_diff``, ``exp_avg_sq``, ``pre_grad``",
    result="tensor([ 0.5000, -1.5000])",
)
class Adan(Tabled):
    """Adan, on tensors in the memory of the host; decay is that of ``no_prox=True`` elsewhere."""

    _row = OTHERS["adan"]
    _terms = TERMS | {"scaled_prox": False, "bias_correction": True, "maximize": False}

    def __init__(
        self,
        params: ParamsT,
        lr: float | Tensor = 1e-3,
        betas: tuple[float, float, float] = (0.98, 0.92, 0.99),
        eps: float = 1e-8,
        weight_decay: float = 0.0,
        *,
        bias_correction: bool = True,
        maximize: bool = False,
        **options: Unpack[ScaledOptions],
    ) -> None:
        self._begin(
            torchs_init,
            {**options, "bias_correction": bias_correction, "maximize": maximize},
            params=params,
            lr=lr,
            betas=betas,
            eps=eps,
            weight_decay=weight_decay,
        )


@append(
    OPTIONS,
    own="""\
lr : float or tensor without axes, default 0.01, >= 0
    The learning rate.
betas : tuple of two floats, default (0.9, 0.999), in [0, 1)
    Decay rate of the mean of the gradient, and what is left out of the square that comes in.
eps : float, default 1e-3, >= 0
    Keeps the denominator from zero.
initial_accumulator_value : float, default 1e-6, >= 0
    What moments start with.
bias_correction : bool, default True
    Correct the moments as Adam does.
""",
    scaled=SCALED,
    states="``exp_avg``, ``exp_avg_sq``",
    result="tensor([ 0.5003, -1.5001])",
)
class Yogi(Tabled):
    """Yogi, on tensors in the memory of the host."""

    _row = OTHERS["yogi"]
    _terms = TERMS | {"scaled_prox": False, "bias_correction": True, "maximize": False}

    def __init__(
        self,
        params: ParamsT,
        lr: float | Tensor = 1e-2,
        betas: tuple[float, float] = (0.9, 0.999),
        eps: float = 1e-3,
        initial_accumulator_value: float = 1e-6,
        weight_decay: float = 0.0,
        *,
        bias_correction: bool = True,
        maximize: bool = False,
        **options: Unpack[ScaledOptions],
    ) -> None:
        self._begin(
            torchs_init,
            {**options, "bias_correction": bias_correction, "maximize": maximize},
            params=params,
            lr=lr,
            betas=betas,
            eps=eps,
            initial_accumulator_value=initial_accumulator_value,
            weight_decay=weight_decay,
        )

    @classmethod
    def _start(cls, group: dict[str, Any], ours: str) -> float:
        return checked_start(cls.__name__, group[NAME])


@append(
    OPTIONS,
    own="""\
lr : float or tensor without axes, default 0.001, >= 0
    The learning rate.
lambda1, lambda2 : float, default 0.0, >= 0
    The penalties of the rule.
beta : float, default 0.0, >= 0
    Shortens the first steps.
l2_shrinkage : float, default 0.0, >= 0
    The L2 penalty of the loss.
initial_accumulator_value : float, default 0.1, >= 0
    What the sum of the squared gradients starts with.
""",
    scaled="",
    states="``accumulator``, ``linear``",
    result="tensor([ 0.3500, -1.3439])",
)
class FTRL(Tabled):
    """FTRL, on tensors in the memory of the host, which should be zeros at the start."""

    _row = OTHERS["ftrl"]
    _terms = TERMS | {"maximize": False}

    def __init__(
        self,
        params: ParamsT,
        lr: float | Tensor = 1e-3,
        lambda1: float = 0.0,
        lambda2: float = 0.0,
        beta: float = 0.0,
        l2_shrinkage: float = 0.0,
        initial_accumulator_value: float = 0.1,
        weight_decay: float = 0.0,
        *,
        maximize: bool = False,
        **options: Unpack[OptimizerOptions],
    ) -> None:
        self._begin(
            torchs_init,
            {**options, "maximize": maximize},
            params=params,
            lr=lr,
            lambda1=lambda1,
            lambda2=lambda2,
            beta=beta,
            l2_shrinkage=l2_shrinkage,
            initial_accumulator_value=initial_accumulator_value,
            weight_decay=weight_decay,
        )

    @classmethod
    def _start(cls, group: dict[str, Any], ours: str) -> float:
        return checked_start(cls.__name__, group[NAME]) if ours == "n" else 0.0
