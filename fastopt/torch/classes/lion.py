"""Lion and Sophia, which torch has not: as in lion-pytorch and in the code of the authors."""

from __future__ import annotations

from collections.abc import Callable
from math import inf
from numbers import Real
from typing import TYPE_CHECKING, Any

from torch import Tensor
from torch.optim.optimizer import ParamsT

from fastopt.interop.torch_rules import OTHERS
from fastopt.rules import CautiousLion
from fastopt.torch.optimizer import TERMS, OptimizerOptions
from fastopt.torch.tabled import Tabled, torchs_init

if TYPE_CHECKING:
    from typing_extensions import Unpack

    from fastopt.result import StepResult


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
    cautious : bool, default False
        As in :class:`fastopt.Lion`. The same in all groups.
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
    _cautious = CautiousLion
    _terms = TERMS | {"maximize": False, "cautious": False}  # which lion-pytorch has not

    def __init__(
        self,
        params: ParamsT,
        lr: float | Tensor = 1e-4,
        betas: tuple[float, float] = (0.9, 0.99),
        weight_decay: float = 0.0,
        *,
        maximize: bool = False,
        cautious: bool = False,
        **options: Unpack[OptimizerOptions],
    ) -> None:
        self._begin(
            torchs_init,
            {**options, "maximize": maximize, "cautious": cautious},
            params=params,
            lr=lr,
            betas=betas,
            weight_decay=weight_decay,
        )

    @classmethod
    def _steps_of(cls, state: dict[str, Any]) -> int:
        return int(state.get("exp_avg") is not None)


class SophiaG(Tabled):
    """Sophia, on tensors in the memory of the host, with the names of its authors' code.

    Parameters
    ----------
    params : iterable of tensors, or of dicts with ``"params"``
        Dense tensors of float32 or float64 in the memory of the host, of any layout. Changed in
        place.
    lr : float or tensor without axes, default 0.0001, >= 0
        How far each element moves at most.
    betas : tuple of two floats, default (0.965, 0.99), in [0, 1)
        Decay rates of the means of the gradient and of the Hessian's diagonal.
    rho : float, default 0.04, >= 0
        How much of the curvature counts.
    weight_decay : float, default 0.1, >= 0
        Decoupled weight decay: ``p -= lr * weight_decay * p``, before the rule.
    maximize : bool, default False
        Ascend.
    bs : float, default 5120.0, >= 0
        By what squares of gradients are multiplied to be estimates of the Hessian: the examples of
        a batch that they are the mean of.
    l1, l1_prox, nonneg, clip_value, clip_norm, clip_tensor_norm, clip_eps, skip_nonfinite, \
ema_decay, flush_denormals, threads
        As in :class:`fastopt.torch.Adam`.

    Raises
    ------
    TypeError, ValueError
        If a parameter could not be updated in place, or a number is out of range.

    Notes
    -----
    The formula and its source are those of :class:`fastopt.Sophia`, with ``rho*bs`` as its `rho`.
    States have ``exp_avg``, ``hessian`` and ``step``; there are some from the start.

    Examples
    --------
    >>> import torch
    >>> from fastopt.torch import SophiaG
    >>> w = torch.nn.Parameter(torch.tensor([1.0, -2.0]))
    >>> opt = SophiaG([w], lr=0.5, betas=(0.0, 0.0), rho=1.0, weight_decay=0.0, bs=1)
    >>> (w**2).sum().backward()          # for a Hessian: of a loss with labels from the model
    >>> opt.update_hessian()
    >>> opt.zero_grad()
    >>> (w**2).sum().backward()
    >>> opt.step()
    >>> w.detach()
    tensor([ 0.7500, -1.8750])
    """

    _row = OTHERS["sophia"]
    _eager = True
    _terms = TERMS | {"maximize": False, "bs": 5120.0}

    def __init__(
        self,
        params: ParamsT,
        lr: float | Tensor = 1e-4,
        betas: tuple[float, float] = (0.965, 0.99),
        rho: float = 0.04,
        weight_decay: float = 1e-1,
        *,
        maximize: bool = False,
        bs: float = 5120.0,
        **options: Unpack[OptimizerOptions],
    ) -> None:
        self._begin(
            torchs_init,
            {**options, "maximize": maximize, "bs": bs},
            params=params,
            lr=lr,
            betas=betas,
            rho=rho,
            weight_decay=weight_decay,
        )

    @classmethod
    def _numbers(cls, group: dict[str, Any], variant: Any) -> dict[str, Any]:
        numbers = super()._numbers(group, variant)
        del numbers["beta2"]  # which is that of the Hessian
        bs = numbers.pop("bs")
        if isinstance(bs, bool) or not isinstance(bs, Real):
            raise TypeError(f"{cls.__name__}: bs must be a number, not {type(bs).__name__}")
        batch_size = float(bs)
        if not 0 <= batch_size < inf:
            raise ValueError(f"{cls.__name__}: bs must be finite and >= 0, it is {bs}")
        numbers["rho"] *= batch_size
        return numbers

    def step(self, closure: Callable[[], Any] | None = None, bs: float | None = None) -> Any:
        """Update the parameters in place.

        Parameters
        ----------
        closure : callable, or None
            Evaluates the model again and returns the loss.
        bs : float, >= 0, or None
            What `bs` of all groups is from now on; None leaves it as it is.

        Returns
        -------
        object
            What the closure returned, else None.

        Raises
        ------
        TypeError, ValueError
            As :meth:`fastopt.torch.Adam.step`. Nothing has been changed then.
        """
        if bs is None:
            return super().step(closure)
        before = [group["bs"] for group in self.param_groups]
        try:
            for group in self.param_groups:
                group["bs"] = bs
            return super().step(closure)
        except BaseException:
            for group, old in zip(self.param_groups, before, strict=True):
                group["bs"] = old
            raise

    step.hooked = True  # type: ignore[attr-defined]  # as that of all classes

    def update_hessian(self) -> StepResult | None:
        """Take squares of the gradients over into the means of the Hessian's diagonal, in place.

        The gradients should be those of a loss whose labels are drawn from what the model predicts.
        A parameter without one keeps its mean.

        Returns
        -------
        StepResult or None
            None, or with `skip_nonfinite` what was found out about the squares; if some were not
            finite, nothing has been changed.

        Raises
        ------
        TypeError, ValueError
            If a number in a group is out of range, a gradient could not be used, or parameters with
            gradients are of groups with different ``betas[1]``. Nothing has been changed then.
        """
        bound = self._bound_now()
        rates = [group["betas"][1] for group in self.param_groups for _ in group["params"]]
        of_grads = [
            rates[place]
            for place, p in zip(bound.places, bound.params, strict=True)
            if p.grad is not None
        ]
        for beta2 in of_grads:
            if beta2 != of_grads[0]:
                raise ValueError(
                    f"{type(self).__name__}.update_hessian: groups have betas[1]={of_grads[0]} and "
                    f"{beta2}; with those of one at a time, leave out the gradients of the others"
                )
        if not of_grads:
            return None
        estimates = [None if p.grad is None else p.grad.detach() ** 2 for p in bound.params]
        found: StepResult | None = bound.optimizer.update_hessian(
            bound._named(estimates),
            beta2=of_grads[0],
            skip_nonfinite=self.options["skip_nonfinite"],
        )
        return found
