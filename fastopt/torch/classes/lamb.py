"""LAMB and LARS, which torch has not: names are those of timm."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from torch import Tensor
from torch.optim.optimizer import ParamsT

from fastopt.interop.torch_rules import OTHERS
from fastopt.torch.optimizer import TERMS, OptimizerOptions
from fastopt.torch.options import ScaledOptions
from fastopt.torch.tabled import Tabled, torchs_init

if TYPE_CHECKING:
    from typing_extensions import Unpack


class LAMB(Tabled):
    """LAMB, on tensors in the memory of the host.

    Parameters
    ----------
    params : iterable of tensors, or of dicts with ``"params"``
        Dense tensors of float32 or float64 in the memory of the host, of any layout. Changed in
        place.
    lr : float or tensor without axes, default 0.001, >= 0
        The learning rate: how long a step is, as a share of the norm of the tensor.
    betas : tuple of two floats, default (0.9, 0.999), in [0, 1)
        Decay rates of the running means of the gradient and of its square.
    eps : float, default 1e-6, >= 0
        Keeps the denominator from zero.
    weight_decay : float, default 0.01, >= 0
        Weight decay within the direction whose norm is taken: `trust_decay` of
        :class:`fastopt.LAMB`.
    bias_correction : bool, default True
        Divide the means by ``1 - beta**t``.
    always_adapt : bool, default True
        With False the ratio of norms is 1 where `weight_decay` is 0.
    trust_clip : bool, default False
        Let the ratio of norms be 1 at most.
    maximize : bool, default False
        Ascend.
    scaled_prox : bool, default False
        The threshold of `l1_prox` is divided by the metric of the rule, element by element.
    l1, l1_prox, nonneg, clip_value, clip_norm, clip_tensor_norm, clip_eps, skip_nonfinite, \
ema_decay, flush_denormals, threads
        As in :class:`fastopt.torch.Adam`.

    Raises
    ------
    TypeError, ValueError
        If a parameter could not be updated in place, or a number is out of range.

    Notes
    -----
    The formula and its source are those of :class:`fastopt.LAMB`. timm's ``Lamb(params)`` is
    ``LAMB(params, always_adapt=False, clip_norm=1.0, clip_eps=0.0)`` here. States have the names of
    timm's, but a count for each parameter, where timm has one for each group: its states are
    refused.

    Examples
    --------
    >>> import torch
    >>> from fastopt.torch import LAMB
    >>> w = torch.nn.Parameter(torch.tensor([3.0, -4.0]))
    >>> opt = LAMB([w], lr=0.1, weight_decay=0.0)
    >>> (w**2).sum().backward()
    >>> opt.step()
    >>> w.detach()
    tensor([ 2.6464, -3.6464])
    """

    _row = OTHERS["lamb"]
    _terms = TERMS | {
        **{"bias_correction": True, "always_adapt": True, "trust_clip": False},
        **{"scaled_prox": False, "maximize": False},
    }

    def __init__(
        self,
        params: ParamsT,
        lr: float | Tensor = 1e-3,
        betas: tuple[float, float] = (0.9, 0.999),
        eps: float = 1e-6,
        weight_decay: float = 1e-2,
        *,
        bias_correction: bool = True,
        always_adapt: bool = True,
        trust_clip: bool = False,
        maximize: bool = False,
        **options: Unpack[ScaledOptions],
    ) -> None:
        flags = {
            "bias_correction": bias_correction,
            "always_adapt": always_adapt,
            "trust_clip": trust_clip,
            "maximize": maximize,
        }
        self._begin(
            torchs_init,
            {**options, **flags},
            params=params,
            lr=lr,
            betas=betas,
            eps=eps,
            weight_decay=weight_decay,
        )

    @classmethod
    def _steps_of(cls, state: dict[str, Any]) -> int:
        if "exp_avg" in state and "step" not in state:
            raise ValueError("LAMB: a state has no 'step'; timm's Lamb counts for whole groups")
        return super()._steps_of(state)


class LARS(Tabled):
    """LARS, on tensors in the memory of the host.

    Parameters
    ----------
    params : iterable of tensors, or of dicts with ``"params"``
        Dense tensors of float32 or float64 in the memory of the host, of any layout. Changed in
        place.
    lr : float or tensor without axes, default 1.0, >= 0
        The learning rate: by what the ratio of norms is multiplied.
    momentum : float, default 0.9, in [0, 1]
        The share of the buffer that is kept.
    dampening : float, default 0.0, in [0, 1]
        What is withheld of a direction.
    weight_decay : float, default 0.0, >= 0
        Weight decay within the direction: `trust_decay` of :class:`fastopt.LARS`.
    nesterov : bool, default False
        Look ahead by one step of the buffer.
    trust_coeff : float, default 0.001, >= 0
        How long a gradient becomes, as a share of the norm of the tensor.
    eps : float, default 1e-8, >= 0
        Keeps the denominator from zero.
    trust_clip : bool, default False
        Let the rate of a tensor be `lr` at most.
    always_adapt : bool, default True
        With False the ratio is 1 where `weight_decay` is 0.
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
    The formula and its source are those of :class:`fastopt.LARS`. timm's ``Lars(params)`` is
    ``LARS(params, momentum=0.0, always_adapt=False)`` here, and its states are taken.

    Examples
    --------
    >>> import torch
    >>> from fastopt.torch import LARS
    >>> w = torch.nn.Parameter(torch.tensor([3.0, -4.0]))
    >>> opt = LARS([w], trust_coeff=0.1)
    >>> (w**2).sum().backward()
    >>> opt.step()
    >>> w.detach()
    tensor([ 2.7000, -3.6000])
    """

    _row = OTHERS["lars"]
    _terms = TERMS | {"always_adapt": True, "trust_clip": False, "maximize": False}

    def __init__(
        self,
        params: ParamsT,
        lr: float | Tensor = 1.0,
        momentum: float = 0.9,
        dampening: float = 0.0,
        weight_decay: float = 0.0,
        nesterov: bool = False,
        trust_coeff: float = 1e-3,
        eps: float = 1e-8,
        *,
        trust_clip: bool = False,
        always_adapt: bool = True,
        maximize: bool = False,
        **options: Unpack[OptimizerOptions],
    ) -> None:
        flags = {"trust_clip": trust_clip, "always_adapt": always_adapt, "maximize": maximize}
        self._begin(
            torchs_init,
            {**options, **flags},
            params=params,
            lr=lr,
            momentum=momentum,
            dampening=dampening,
            weight_decay=weight_decay,
            nesterov=nesterov,
            trust_coeff=trust_coeff,
            eps=eps,
        )

    @classmethod
    def _steps_of(cls, state: dict[str, Any]) -> int:
        return int(state.get("step", "momentum_buffer" in state))
