"""Lion, which torch has not: its form is that of lion-pytorch."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from torch import Tensor
from torch.optim.optimizer import ParamsT

from fastopt.interop.torch_reading import OTHERS
from fastopt.torch.optimizer import TERMS, OptimizerOptions
from fastopt.torch.tabled import Tabled, torchs_init

if TYPE_CHECKING:
    from typing_extensions import Unpack


class Lion(Tabled):
    """Lion: ``lion_pytorch.Lion``, on tensors in the memory of the host.

    Parameters
    ----------
    params : iterable of tensors, or of dicts with ``"params"``
        Dense tensors of float32 or float64 in the memory of the host, of any layout. Changed in
        place.
    lr : float or tensor without axes, default 0.0001, >= 0
        How far each element moves.
    betas : tuple of two floats, default (0.9, 0.99), in [0, 1)
        The share of the mean in the direction of a step, and the decay rate of the mean.
    weight_decay : float, default 0.0, >= 0
        Decoupled weight decay: ``p -= lr * weight_decay * p``, before the rule.
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
    The formula and its source are those of :class:`fastopt.Lion`. States have the name of
    lion-pytorch, ``exp_avg``, and no count. Its ``use_triton`` and its ``decoupled_weight_decay``,
    which divides `weight_decay` by the first `lr`, are not taken.

    Examples
    --------
    >>> import torch
    >>> from fastopt.torch import Lion
    >>> w = torch.nn.Parameter(torch.tensor([1.0, -2.0]))
    >>> opt = Lion([w], lr=0.5)
    >>> (w**2).sum().backward()
    >>> opt.step()
    >>> w.detach()
    tensor([ 0.5000, -1.5000])
    """

    _row = OTHERS["lion"]
    _counts = False
    _terms = TERMS | {"maximize": False}  # which lion-pytorch has not

    def __init__(
        self,
        params: ParamsT,
        lr: float | Tensor = 1e-4,
        betas: tuple[float, float] = (0.9, 0.99),
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
            betas=betas,
            weight_decay=weight_decay,
        )

    @classmethod
    def _steps_of(cls, state: dict[str, Any]) -> int:
        return int(state.get("exp_avg") is not None)
