"""Schedule-Free SGD and AdamW, which torch has not: names are those of their authors' package."""

from __future__ import annotations

from contextlib import AbstractContextManager
from typing import TYPE_CHECKING, Any

from torch import Tensor
from torch.optim.optimizer import ParamsT

from fastopt.docstrings import append
from fastopt.interop.torch_rules import OTHERS
from fastopt.torch.optimizer import TERMS, OptimizerOptions
from fastopt.torch.tabled import Tabled, torchs_init

if TYPE_CHECKING:
    from typing_extensions import Unpack

OPTIONS = """
Parameters
----------
params : iterable of tensors, or of dicts with ``"params"``
    Dense tensors of float32 or float64 in the memory of the host, of any layout. Changed in place.
{own}warmup_steps : float, default 0.0, >= 0
    Over how many steps the learning rate grows to `lr`.
r : float, default 0.0, >= 0
    The mean weighs step ``t`` by this power of ``t``.
weight_lr_power : float, default 2.0, >= 0
    And by this power of the largest rate so far.
maximize : bool, default False
    Ascend.
l1, l1_prox, nonneg, clip_value, clip_norm, clip_tensor_norm, clip_eps, skip_nonfinite, \
ema_decay, flush_denormals, threads
    As in :class:`fastopt.torch.Adam`.

Raises
------
TypeError, ValueError
    If a parameter could not be updated in place, or a number is out of range.

Notes
-----
The formula and its source are those of :class:`fastopt.{name}`. Where the authors' ``{theirs}``
has ``optimizer.eval()`` before what is evaluated or saved, and ``optimizer.train()`` after it, here
a block does both: ``with opt.evaluation():``. The states and ``param_groups`` of the two differ.

Examples
--------
>>> import torch
>>> from fastopt.torch import {name}
>>> w = torch.nn.Parameter(torch.tensor([1.0, -2.0]))
>>> opt = {name}([w], lr=0.25)
>>> for _ in range(2):
...     opt.zero_grad()
...     (w**2).sum().backward()
...     opt.step()
>>> with opt.evaluation():
...     print(w.detach())
{result}
"""


class Evaluated:
    """What both have besides."""

    def evaluation(self: Any) -> AbstractContextManager[None]:
        """Put what is to be evaluated in place of the parameters, within a ``with`` block.

        At the end of the block they are as they were before; a step within it is refused. See
        :meth:`fastopt.ScheduleFreeSGD.evaluation`.
        """
        block: AbstractContextManager[None] = self._swapped("evaluation")
        return block


@append(
    OPTIONS,
    own="""\
lr : float or tensor without axes, default 1.0, >= 0
    The learning rate. It needs no schedule, and is larger than that of SGD.
momentum : float, default 0.9, in (0, 1]
    How far between the two sequences gradients are taken.
weight_decay : float, default 0.0, >= 0
    L2 penalty, where gradients are taken: `l2` of :class:`fastopt.ScheduleFreeSGD`.
""",
    theirs="SGDScheduleFree",
    result="tensor([ 0.3750, -0.7500])",
)
class ScheduleFreeSGD(Evaluated, Tabled):
    """Schedule-Free SGD, on tensors in the memory of the host."""

    _row = OTHERS["schedulefree_sgd"]
    _terms = TERMS | {"maximize": False}

    def __init__(
        self,
        params: ParamsT,
        lr: float | Tensor = 1.0,
        momentum: float = 0.9,
        weight_decay: float = 0.0,
        warmup_steps: float = 0.0,
        r: float = 0.0,
        weight_lr_power: float = 2.0,
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
            warmup_steps=warmup_steps,
            r=r,
            weight_lr_power=weight_lr_power,
        )


@append(
    OPTIONS,
    own="""\
lr : float or tensor without axes, default 0.0025, >= 0
    The learning rate. It needs no schedule, and is larger than that of AdamW.
betas : tuple of two floats, default (0.9, 0.999), in (0, 1] and in [0, 1)
    How far between the two sequences gradients are taken; decay rate of the second moment.
eps : float, default 1e-8, >= 0
    Keeps the denominator from zero.
weight_decay : float, default 0.0, >= 0
    Decay where gradients are taken: `y_decay` of :class:`fastopt.ScheduleFreeAdamW`.
""",
    theirs="AdamWScheduleFree",
    result="tensor([ 0.6439, -1.6336])",
)
class ScheduleFreeAdamW(Evaluated, Tabled):
    """Schedule-Free AdamW, on tensors in the memory of the host."""

    _row = OTHERS["schedulefree_adamw"]
    _terms = TERMS | {"maximize": False}

    def __init__(
        self,
        params: ParamsT,
        lr: float | Tensor = 2.5e-3,
        betas: tuple[float, float] = (0.9, 0.999),
        eps: float = 1e-8,
        weight_decay: float = 0.0,
        warmup_steps: float = 0.0,
        r: float = 0.0,
        weight_lr_power: float = 2.0,
        *,
        maximize: bool = False,
        **options: Unpack[OptimizerOptions],
    ) -> None:
        self._begin(
            torchs_init,
            {**options, "maximize": maximize},
            params=params,
            lr=lr,
            betas=betas,
            eps=eps,
            weight_decay=weight_decay,
            warmup_steps=warmup_steps,
            r=r,
            weight_lr_power=weight_lr_power,
        )
