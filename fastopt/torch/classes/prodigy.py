"""Prodigy, which torch has not: names are those of prodigyopt."""

from __future__ import annotations

from math import inf
from typing import TYPE_CHECKING, Any

from torch import Tensor
from torch.optim.optimizer import ParamsT

from fastopt.interop.torch_rules import OTHERS
from fastopt.torch.optimizer import TERMS, OptimizerOptions
from fastopt.torch.tabled import Tabled, torchs_init

if TYPE_CHECKING:
    from typing_extensions import Unpack


class Prodigy(Tabled):
    """Prodigy, on tensors in the memory of the host.

    Parameters
    ----------
    params : iterable of tensors, or of dicts with ``"params"``
        Dense tensors of float32 or float64 in the memory of the host, of any layout. Changed in
        place.
    lr : float or tensor without axes, default 1.0, >= 0
        A factor of ``d`` in the length of steps. It is to stay 1, or to fall from there: with the
        rate of an Adam, ``d`` may stay `d0` for thousands of steps.
    betas : tuple of two floats, default (0.9, 0.999), in [0, 1)
        Decay rates of the running means of the gradient and of its square.
    beta3 : float or None, default None, in (0, 1)
        Decay rate of the sums that ``d`` is found by; None stands for the root of ``betas[1]``.
    eps : float, default 1e-8, >= 0
        Keeps the denominator from zero.
    weight_decay : float, default 0.0, >= 0
        Decoupled weight decay by ``weight_decay*lr*d``: `d_decay` of :class:`fastopt.Prodigy`.
    use_bias_correction : bool, default False
        Begin with the lengths of Adam's steps.
    safeguard_warmup : bool, default False
        Leave `lr` out of the estimate, where a schedule of it begins with small ones.
    d0 : float, default 1e-6, > 0
        Where ``d`` begins.
    d_coef : float, default 1.0, > 0
        Factor of the estimate, by which to tune the rule.
    growth_rate : float, default infinity, > 0
        By what factor ``d`` grows in a step at most, after the first time.
    per_array : bool, default False
        Let each parameter have a ``d`` of its own.
    maximize : bool, default False
        Ascend.
    l1, l1_prox, nonneg, clip_value, clip_norm, clip_tensor_norm, clip_eps, skip_nonfinite, \
ema_decay, flush_denormals, threads
        As in :class:`fastopt.torch.Adam`.

    Raises
    ------
    TypeError, ValueError
        If a parameter could not be updated in place, a number is out of range, or groups differ in
        what must be the same in all: ``betas[1]``, `beta3`, `d0`, `d_coef` and `growth_rate`.

    Notes
    -----
    The formula and its source are those of :class:`fastopt.Prodigy`. The state of every parameter
    has ``d``, ``d_max`` and ``d_numerator``, which prodigyopt has in ``param_groups``; its states
    are refused. It has ``decouple=True`` and ``slice_p=1`` alone.

    Examples
    --------
    >>> import torch
    >>> from fastopt.torch import Prodigy
    >>> w = torch.nn.Parameter(torch.tensor([3.0, -2.0]))
    >>> opt = Prodigy([w], d0=0.5)
    >>> (w**2).sum().backward()
    >>> opt.step()
    >>> w.detach()
    tensor([ 1.4189, -0.4189])
    """

    _row = OTHERS["prodigy"]
    _terms = TERMS | {
        **{"use_bias_correction": False, "safeguard_warmup": False, "per_array": False},
        "maximize": False,
    }

    def __init__(
        self,
        params: ParamsT,
        lr: float | Tensor = 1.0,
        betas: tuple[float, float] = (0.9, 0.999),
        beta3: float | None = None,
        eps: float = 1e-8,
        weight_decay: float = 0.0,
        *,
        use_bias_correction: bool = False,
        safeguard_warmup: bool = False,
        d0: float = 1e-6,
        d_coef: float = 1.0,
        growth_rate: float = inf,
        per_array: bool = False,
        maximize: bool = False,
        **options: Unpack[OptimizerOptions],
    ) -> None:
        flags = {
            "use_bias_correction": use_bias_correction,
            "safeguard_warmup": safeguard_warmup,
            "per_array": per_array,
            "maximize": maximize,
        }
        self._begin(
            torchs_init,
            {**options, **flags},
            params=params,
            lr=lr,
            betas=betas,
            beta3=beta3,
            eps=eps,
            weight_decay=weight_decay,
            d0=d0,
            d_coef=d_coef,
            growth_rate=growth_rate,
        )

    @classmethod
    def _steps_of(cls, state: dict[str, Any]) -> int:
        if "exp_avg_sq" in state and "d" not in state:
            raise ValueError("Prodigy: a state has no 'd'; that of prodigyopt is of whole groups")
        return super()._steps_of(state)
