"""Muon."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor
from torch.optim.optimizer import ParamsT

from fastopt.interop.torch_rules import TORCH
from fastopt.rules import Muon as Own
from fastopt.rules import MuonState
from fastopt.torch.optimizer import TERMS, OptimizerOptions
from fastopt.torch.tabled import Tabled
from fastopt.tree import arrays_of, paths

if TYPE_CHECKING:
    from typing_extensions import Unpack


class Muon(Tabled, torch.optim.Muon):
    """Muon: ``torch.optim.Muon``.

    Parameters
    ----------
    params : iterable of tensors, or of dicts with ``"params"``
        Dense tensors of float32 or float64 with two axes, in the memory of the host, of any layout.
        Changed in place.
    lr, weight_decay, momentum, nesterov, ns_coefficients, eps, ns_steps, adjust_lr_fn
        As in ``torch.optim.Muon``. `lr` may be a tensor without axes.
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
    The formula and its source are those of :class:`fastopt.Muon`. The iteration is computed in the
    dtype of the parameters, that of torch in bfloat16, from which it differs in the third digit.
    Biases, embeddings and what has other than two axes are for :class:`fastopt.torch.AdamW`.

    Examples
    --------
    >>> import torch
    >>> from fastopt.torch import Muon
    >>> w = torch.nn.Parameter(torch.tensor([[1.0, -2.0]]))
    >>> opt = Muon([w], lr=0.5, weight_decay=0.0)
    >>> (w**2).sum().backward()
    >>> opt.step()
    >>> w.detach()
    tensor([[ 0.8443, -1.6885]])
    """

    _row = TORCH["muon"]
    _counts = False
    _terms = TERMS | {"maximize": False}  # which torch's has not

    def __init__(
        self,
        params: ParamsT,
        lr: float | Tensor = 1e-3,
        weight_decay: float = 0.1,
        momentum: float = 0.95,
        nesterov: bool = True,
        ns_coefficients: tuple[float, float, float] = (3.4445, -4.775, 2.0315),
        eps: float = 1e-7,
        ns_steps: int = 5,
        adjust_lr_fn: str | None = None,
        *,
        maximize: bool = False,
        **options: Unpack[OptimizerOptions],
    ) -> None:
        self._begin(
            torch.optim.Muon.__init__,
            {**options, "maximize": maximize},
            params=params,
            lr=lr,
            weight_decay=weight_decay,
            momentum=momentum,
            nesterov=nesterov,
            ns_coefficients=ns_coefficients,
            eps=eps,
            ns_steps=ns_steps,
            adjust_lr_fn=adjust_lr_fn,
        )

    @classmethod
    def _steps_of(cls, state: dict[str, Any]) -> int:
        return int(state.get("momentum_buffer") is not None)

    @classmethod
    def _make(cls, variant: Any, groups: Any, shared: Any, steps: Any, arrays: Any) -> Any:
        for path, p in zip(paths(groups.tree), arrays_of(groups.tree), strict=True):
            if p.dim() != 2:
                raise ValueError(
                    f"Muon: params{path} has shape {tuple(p.shape)}; it is for matrices, AdamW is "
                    "for all else"
                )
        return Own(groups, state=MuonState(steps, **arrays, v=None), **shared)
