"""Adagrad, row-wise Adagrad and Adafactor."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor
from torch.optim.optimizer import ParamsT

from fastopt.docstrings import append
from fastopt.interop.torch_rules import OTHERS, TORCH
from fastopt.rules import Adafactor as Own
from fastopt.rules import AdafactorState
from fastopt.rules.starts import NAME, checked_start
from fastopt.torch.optimizer import TERMS
from fastopt.torch.options import (
    EPS_INSIDE_SQRT,
    OPTIONS,
    SCALED,
    RootOptions,
    ScaledOptions,
)
from fastopt.torch.tabled import Tabled, torchs_init

if TYPE_CHECKING:
    from typing_extensions import Unpack


@append(
    OPTIONS,
    torchs="lr, lr_decay, weight_decay, initial_accumulator_value, eps",
    refused="differentiable",
    ours="Adagrad",
    own=SCALED + EPS_INSIDE_SQRT,
    notes=" Parameters of a group that is added later start with `initial_accumulator_value` too.",
    result="tensor([ 0.5000, -1.5000])",
)
class Adagrad(Tabled, torch.optim.Adagrad):
    """Adagrad: ``torch.optim.Adagrad``."""

    _row = TORCH["adagrad"]
    _eager = True
    _terms = TERMS | {"scaled_prox": False, "eps_inside_sqrt": False}

    def __init__(
        self,
        params: ParamsT,
        lr: float | Tensor = 1e-2,
        lr_decay: float = 0,
        weight_decay: float = 0,
        initial_accumulator_value: float = 0,
        eps: float = 1e-10,
        foreach: bool | None = None,
        *,
        maximize: bool = False,
        differentiable: bool = False,
        fused: bool | None = None,
        **options: Unpack[RootOptions],
    ) -> None:
        self._begin(
            torch.optim.Adagrad.__init__,
            dict(options),
            params=params,
            lr=lr,
            lr_decay=lr_decay,
            weight_decay=weight_decay,
            initial_accumulator_value=initial_accumulator_value,
            eps=eps,
            foreach=foreach,
            maximize=maximize,
            differentiable=differentiable,
            fused=fused,
        )

    @classmethod
    def _start(cls, group: dict[str, Any], ours: str) -> float:
        return float(group["initial_accumulator_value"])

    def share_memory(self) -> None:
        """Move the states into memory that processes share, as torch does."""
        super().share_memory()
        self._own.unbind()  # from the memory that they had


class RowWiseAdagrad(Tabled):
    """Row-wise Adagrad: torchrec's ``RowWiseAdagrad``, on tensors in the memory of the host.

    Parameters
    ----------
    params : iterable of tensors, or of dicts with ``"params"``
        Dense tensors of float32 or float64 in the memory of the host, of any layout. Changed in
        place.
    lr : float or tensor without axes, default 0.01, >= 0
        The learning rate.
    lr_decay : float, default 0.0, >= 0
        How fast it falls.
    weight_decay : float, default 0.0, >= 0
        The L2 penalty of the gradient: ``g += weight_decay * p``.
    initial_accumulator_value : float, default 0.0, >= 0
        What the sums of squares start with.
    eps : float, default 1e-10, >= 0
        Keeps the denominator from zero.
    maximize : bool, default False
        Ascend.
    scaled_prox, l1, l1_prox, nonneg, clip_value, clip_norm, clip_tensor_norm, clip_eps, \
skip_nonfinite, ema_decay, flush_denormals, threads
        As in :class:`fastopt.torch.Adam`.

    Raises
    ------
    TypeError, ValueError
        If a parameter could not be updated in place, or a number is out of range.

    Notes
    -----
    The formula and its source are those of :class:`fastopt.RowWiseAdagrad`. States have ``sum`` and
    ``step``, from the start as in torchrec; parameters may have any number of axes.

    Examples
    --------
    >>> import torch
    >>> from fastopt.torch import RowWiseAdagrad
    >>> table = torch.nn.Parameter(torch.ones(2, 2))
    >>> opt = RowWiseAdagrad([table], lr=0.5)
    >>> (table[0] * torch.tensor([1.0, -7.0])).sum().backward()
    >>> opt.step()
    >>> table.detach()
    tensor([[0.9000, 1.7000],
            [1.0000, 1.0000]])
    """

    _row = OTHERS["rowwise_adagrad"]
    _eager = True
    _terms = TERMS | {"scaled_prox": False, "maximize": False}

    def __init__(
        self,
        params: ParamsT,
        lr: float | Tensor = 1e-2,
        lr_decay: float = 0.0,
        weight_decay: float = 0.0,
        initial_accumulator_value: float = 0.0,
        eps: float = 1e-10,
        *,
        maximize: bool = False,
        **options: Unpack[ScaledOptions],
    ) -> None:
        self._begin(
            torchs_init,
            {**options, "maximize": maximize},
            params=params,
            lr=lr,
            lr_decay=lr_decay,
            weight_decay=weight_decay,
            initial_accumulator_value=initial_accumulator_value,
            eps=eps,
        )

    @classmethod
    def _start(cls, group: dict[str, Any], ours: str) -> float:
        return checked_start(cls.__name__, group[NAME])

    @classmethod
    def _shape_of(cls, ours: str, p: Tensor) -> tuple[int, ...] | None:
        return (*p.shape[:-1], 1) if p.dim() > 1 else tuple(p.shape)


@append(
    OPTIONS.replace("{refused}\n    Refused where they are True.\n", ""),
    torchs="lr, beta2_decay, eps, d, weight_decay",
    ours="Adafactor",
    own=SCALED,
    notes=" ``eps[0]`` is None, for the machine epsilon of the dtype, or greater than 0.",
    result="tensor([ 0.2094, -1.2094])",
)
class Adafactor(Tabled, torch.optim.Adafactor):
    """Adafactor: ``torch.optim.Adafactor``."""

    _row = TORCH["adafactor"]
    _terms = TERMS | {"scaled_prox": False}

    def __init__(
        self,
        params: ParamsT,
        lr: float | Tensor = 1e-2,
        beta2_decay: float = -0.8,
        eps: tuple[float | None, float] = (None, 1e-3),
        d: float = 1.0,
        weight_decay: float = 0.0,
        *,
        foreach: bool | None = None,
        maximize: bool = False,
        **options: Unpack[ScaledOptions],
    ) -> None:
        self._begin(
            torch.optim.Adafactor.__init__,
            dict(options),
            params=params,
            lr=lr,
            beta2_decay=beta2_decay,
            eps=eps,
            d=d,
            weight_decay=weight_decay,
            foreach=foreach,
            maximize=maximize,
        )

    @classmethod
    def _name_of(cls, ours: str, theirs: str, p: Tensor) -> str | None:
        return cls._row.name_of(ours, p.dim())

    @classmethod
    def _shape_of(cls, ours: str, p: Tensor) -> tuple[int, ...] | None:
        shape = list(p.shape)
        if len(shape) < 2:
            return (0,) if ours == "v_col" else tuple(shape)
        shape[-1 if ours == "v_row" else -2] = 1
        return tuple(shape)

    @classmethod
    def _check_state(cls, where: str, p: Tensor, state: dict[str, Any]) -> None:
        others = ("variance",) if p.dim() > 1 else ("row_var", "col_var")
        for name in others:
            if state.get(name) is not None:
                raise ValueError(f"{where} has {name}, and the parameter {p.dim()} axes")

    @classmethod
    def _make(cls, variant: Any, groups: Any, shared: Any, steps: Any, arrays: Any) -> Any:
        return Own(groups, state=AdafactorState(steps, **arrays, m=None), clamp=True, **shared)
