"""AdEMAMix, ADOPT and AdaBelief, which torch has not: names are those of their papers' own code."""

from __future__ import annotations

from typing import TYPE_CHECKING

from torch import Tensor
from torch.optim.optimizer import ParamsT

from fastopt.docstrings import append
from fastopt.interop.torch_reading import OTHERS
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
