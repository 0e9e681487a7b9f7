"""Sophia: a mean of gradients over a mean of the Hessian's diagonal, clipped."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Literal

import numpy as np

from fastopt import _core
from fastopt.docstrings import document_class, document_init, document_step
from fastopt.optimizers import Optimizer, Scheduled
from fastopt.options import StepOptions
from fastopt.result import MaybeNone, StepResult
from fastopt.tree import LikeParams, PartialTree, Steps, Tree, unflatten, zeros_like

if TYPE_CHECKING:
    from typing_extensions import Unpack

    from fastopt.optimizers import OptimizerOptions, Params

_step = _core.rules["sophia"].step


@dataclass(slots=True, eq=False)
class SophiaState:
    """State of :func:`fastopt.sophia_step`."""

    step: Steps
    """Updates made so far; a tree with one count for each array where they differ."""
    m: LikeParams
    """Running mean of the gradients."""
    h: LikeParams
    """Running mean of the estimates of the Hessian's diagonal. Steps leave it as it is."""


@document_init
def sophia_init(params: Tree) -> SophiaState:
    """Make the state of Sophia: ``step = 0``, ``m`` and ``h`` of zeros.

    Returns
    -------
    SophiaState
        ``m`` and ``h`` have the structure, shapes, dtypes and memory order of `params`.

    Examples
    --------
    >>> import numpy as np, fastopt
    >>> fastopt.sophia_init([np.ones(2)])
    SophiaState(step=0, m=[array([0., 0.])], h=[array([0., 0.])])
    """
    return SophiaState(0, zeros_like("sophia_init", params), zeros_like("sophia_init", params))


def formula(T: Any, t: int, o: Any, p: Any, g: Any, m: Any, h: Any) -> None:
    least, outside = (T(0), T(o.eps)) if o.eps_outside_max else (T(o.eps), T(0))
    correction = T(1 / (1 - o.beta1**t)) if o.bias_correction else T(1)
    m[...] = T(o.beta1) * m + T(1 - o.beta1) * g
    scaled = T(o.rho) * h
    curvature = np.where(scaled < least, least, scaled) + outside
    p -= T(o.lr) * np.clip(m * correction / curvature, T(-1), T(1))


@document_step
def sophia_step(
    params: Tree,
    grads: PartialTree,
    state: SophiaState,
    *,
    lr: float = 1e-4,
    beta1: float = 0.965,
    rho: float = 0.04,
    eps: float = 1e-15,
    eps_outside_max: bool = True,
    bias_correction: bool = False,
    **options: Unpack[StepOptions],
) -> StepResult | MaybeNone:
    """Update `params` and `state` in place by one step of Sophia.

    ::

        m = beta1*m + (1 - beta1)*g
        p -= lr * clip(m / (max(rho*h, 0) + eps), -1, 1)

        eps_outside_max=False: p -= lr * clip(m / max(rho*h, eps), -1, 1)
        bias_correction: m/(1 - beta1**t) in place of m in the second line

    where ``t`` is the count of the state after the step, so 1 in the first one, and ``h`` is the
    mean of the estimates that :func:`sophia_update_hessian` was given.

    Parameters
    ----------
    state : SophiaState
        From :func:`sophia_init`. ``m`` and ``step`` are changed in place.
    lr : float, default 0.0001, >= 0
        The learning rate: how far an element moves at most. The default is that of the authors'
        code, and low: begin with that of AdamW, 1e-3.
    beta1 : float, default 0.965, in [0, 1)
        Decay rate of the mean of the gradients.
    rho : float, default 0.04, >= 0
        How much of the curvature counts, the paper's ``gamma``. It decides how many elements are
        clipped: the authors tune it until 0.1 to 0.5 of them are not.
    eps : float, default 1e-15, >= 0
        Keeps the denominator from zero.
    eps_outside_max : bool, default True
        Add `eps` to the curvature, as the authors' code does. With False it is what the curvature
        is at least, as in the paper and in optax.
    bias_correction : bool, default False
        Correct the start of ``m`` at zero, as optax does.

    Notes
    -----
    Where ``h`` is zero or negative, as before the first estimate, an element moves by `lr` in the
    direction of the sign of ``m``, but for one smaller than `eps`: the step is that of
    :func:`signum_step`. So update the Hessian before the first step, and every ten steps or so.
    Estimates of the diagonal are

    - Gauss-Newton-Bartlett: for a batch of ``B`` examples draw labels from what the model predicts,
      and take ``B * g*g`` of the gradient ``g`` of their mean loss;
    - Hutchinson: ``u * (H @ u)``, with a random vector ``u`` of independent normal numbers or
      signs, and the product with the Hessian from differentiating twice.

    The same as the authors' ``SophiaG(betas=(beta1, beta2), rho=rho)`` with ``weight_decay=0.1``,
    which is decoupled as here; the ``bs`` of its ``step`` is ``B`` above. With
    ``rho=0.01, eps=1e-8, eps_outside_max=False, bias_correction=True`` as ``optax.contrib.sophia``
    with ``gamma=0.01``, which updates ``h`` after a step; but its ``weight_decay`` is taken of the
    parameters before the step. The paper has ``gamma`` 0.05 for Gauss-Newton-Bartlett and 0.01 for
    Hutchinson.

    Source: Liu et al. 2023, "Sophia: a scalable stochastic second-order optimizer for language
    model pre-training", algorithm 3.

    Examples
    --------
    >>> import numpy as np, fastopt
    >>> w = np.ones(3)
    >>> state = fastopt.sophia_init(w)
    >>> fastopt.sophia_update_hessian(state, np.array([0.0, 1.0, 4.0]), beta2=0.0)
    >>> fastopt.sophia_step(w, np.array([0.5, 0.5, 0.5]), state, lr=0.5, beta1=0.0, rho=1.0)
    >>> w
    array([0.5   , 0.75  , 0.9375])
    """
    rule = (lr, beta1, rho, eps, eps_outside_max, bias_correction)
    return _step(SophiaState, params, grads, state, *rule, options)


def sophia_update_hessian(
    state: SophiaState,
    estimate: PartialTree,
    *,
    beta2: float = 0.99,
    skip_nonfinite: bool | Literal["raise"] = False,
    threads: int | None = None,
) -> StepResult | MaybeNone:
    """Let the mean of the Hessian's diagonal take over an estimate, in place, in one pass.

    ::

        w = 1 - beta2
        h = (h - w*h) + w*estimate

    Parameters
    ----------
    state : SophiaState
        From :func:`sophia_init`. ``h`` is changed in place, ``step`` and ``m`` stay.
    estimate : like `h`
        The estimate: arrays of the structure, shapes and dtypes of the parameters, in any layout.
        An entry may be None: its mean stays as it is.
    beta2 : float, default 0.99, in [0, 1)
        Decay rate of the mean.
    skip_nonfinite : bool or "raise", default False
        If an estimate is not finite, change nothing, and say so; with "raise" as
        FloatingPointError. Without it, an infinity or a NaN stays in the mean for ever.
    threads : int or None, default None
        The most threads to use; None means :func:`fastopt.get_num_threads`. The result has the
        same bits for any number.

    Returns
    -------
    StepResult or None
        None, or with `skip_nonfinite` what was found out: ``skipped``, ``nonfinite``, and the norm
        of the estimate as ``grad_norm``.

    Raises
    ------
    TypeError, ValueError
        If the state is that of another rule, a number is out of range, or the estimate does not
        fit; the message names the entry. Nothing has been changed then.
    FloatingPointError
        With ``skip_nonfinite="raise"``, if an estimate is not finite. Nothing has been changed
        then.

    Notes
    -----
    :func:`sophia_step` says what estimates are. As in the paper, the mean is not corrected for its
    start at zero: a first estimate counts a hundredth, so that at first most elements are clipped.

    Examples
    --------
    >>> import numpy as np, fastopt
    >>> state = fastopt.sophia_init({"w": np.ones(2), "b": np.ones(1)})
    >>> g = np.array([0.5, 2.0])
    >>> fastopt.sophia_update_hessian(state, {"w": 8 * g * g, "b": None}, beta2=0.5)
    >>> state.h
    {'w': array([ 1., 16.]), 'b': array([0.])}
    """
    if not isinstance(state, SophiaState):
        raise TypeError(
            f"sophia_update_hessian: state must be SophiaState, not {type(state).__name__}"
        )
    means = ("sophia_update_hessian", "h", state.h)
    return _core.advance_means(*means, "estimate", estimate, beta2, (), skip_nonfinite, threads)


@document_class(sophia_step)
class Sophia(Optimizer):
    """Sophia.

    Examples
    --------
    >>> import numpy as np, fastopt
    >>> w = np.ones(3)
    >>> opt = fastopt.Sophia(w, lr=0.5, beta1=0.0, rho=1.0)
    >>> opt.update_hessian(np.array([0.0, 1.0, 4.0]), beta2=0.0)
    >>> opt.step(np.array([0.5, 0.5, 0.5]))
    >>> w
    array([0.5   , 0.75  , 0.9375])
    """

    rule = "sophia"
    _new_state = staticmethod(sophia_init)

    def __init__(
        self,
        params: Params,
        *,
        state: SophiaState | None = None,
        lr: Scheduled = 1e-4,
        beta1: Scheduled = 0.965,
        rho: Scheduled = 0.04,
        eps: Scheduled = 1e-15,
        eps_outside_max: bool = True,
        bias_correction: bool = False,
        **options: Unpack[OptimizerOptions],
    ) -> None:
        super().__init__(
            params,
            state=state,
            lr=lr,
            beta1=beta1,
            rho=rho,
            eps=eps,
            eps_outside_max=eps_outside_max,
            bias_correction=bias_correction,
            **options,
        )

    def update_hessian(
        self,
        estimate: PartialTree,
        *,
        beta2: float = 0.99,
        skip_nonfinite: bool | Literal["raise"] = False,
    ) -> StepResult | MaybeNone:
        """Let the means of the Hessian's diagonal take over an estimate, in place, in one pass.

        It is :func:`fastopt.sophia_update_hessian` for the states of all groups, with `threads` of
        the options. Counts of updates, and so schedules, stay where they are.

        Parameters
        ----------
        estimate : like `params`
            The estimate: for a list of groups a list with a tree for each. An entry may be None:
            its mean stays as it is, as that of a frozen one does in any case.
        beta2 : float, default 0.99, in [0, 1)
            Decay rate of the mean.
        skip_nonfinite : bool or "raise", default False
            If an estimate is not finite, change nothing, and say so; with "raise" as
            FloatingPointError. That of `options` is about gradients.

        Returns
        -------
        StepResult or None
            None, or with `skip_nonfinite` what was found out: ``skipped``, ``nonfinite``, and the
            norm of the estimate as ``grad_norm``.

        Raises
        ------
        TypeError, ValueError
            If a number is out of range, or the estimate does not fit; the message names the entry.
            Nothing has been changed then.
        FloatingPointError
            With ``skip_nonfinite="raise"``, if an estimate is not finite. Nothing has been changed
            then.
        RuntimeError
            Within :meth:`averaged`, where estimates would be those of other parameters; while
            another call of the same optimizer is under way.

        Examples
        --------
        >>> import numpy as np, fastopt
        >>> params = {"w": np.ones(2), "b": np.zeros(1)}
        >>> opt = fastopt.Sophia(params, lr=0.1)
        >>> g = np.array([0.5, 2.0])
        >>> opt.update_hessian({"w": 8 * g * g, "b": None}, beta2=0.5)
        >>> opt.groups[0].state.h
        (array([ 1., 16.]), array([0.]))
        """
        where = f"{type(self).__name__}.update_hessian"
        plan, names = self._held.plan, self.names
        with plan.turn(where):
            plan.check_not_swapped(where)
            self._held.check_arrays(where)
            means: dict[str, Any] = {}
            for group in self.groups:
                means |= group._named_arrays("h")
            tree = unflatten(self.params, iter([means[name] for name in names]))
            frozen = set(self.frozen)
            left_out = [int(name in frozen) for name in names] if frozen else ()
            arguments = (beta2, left_out, skip_nonfinite, self.options["threads"])
            return _core.advance_means(where, "h", tree, "estimate", estimate, *arguments)
