"""Muon: momentum whose matrices are made orthogonal."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from functools import partial
from types import SimpleNamespace
from typing import TYPE_CHECKING, Any

import numpy as np

from fastopt import _core
from fastopt.arguments import flag
from fastopt.docstrings import document_class, document_init, document_step
from fastopt.optimizers import Optimizer, Scheduled
from fastopt.optimizers.by_kind import ByKind
from fastopt.options import StepOptions
from fastopt.result import MaybeNone, StepResult
from fastopt.rules import adam
from fastopt.rules.orthogonal import orthogonalize
from fastopt.tree import LikeParams, PartialTree, Steps, Tree, zeros_like

if TYPE_CHECKING:
    from typing_extensions import Unpack

    from fastopt.optimizers import OptimizerOptions, Params
    from fastopt.optimizers.entries import Grouping

_step = _core.rules["muon"].step

OTHER = {"lr": 1e-3, "beta1": 0.9, "beta2": 0.999, "eps": 1e-8, "weight_decay": 0.01}
"""The options of the companion rule where they are not given: those of AdamW."""


@dataclass(slots=True, eq=False)
class MuonState:
    """State of :func:`fastopt.muon_step`."""

    step: Steps
    """Updates made so far; a tree with one count for each array where they differ."""
    m: LikeParams
    """Running mean of the gradients (momentum)."""
    v: LikeParams
    """Running mean of the squared gradients, of what is updated as by AdamW; else None."""


@document_init
def muon_init(params: Tree, *, other: bool = False) -> MuonState:
    """Make the state of Muon: ``step = 0``, all else zeros.

    Parameters
    ----------
    other : bool, default False
        Keep ``v`` besides: steps with this state update these arrays as AdamW does, whatever their
        shape.

    Returns
    -------
    MuonState
        ``m`` and, unless None, ``v`` have the structure, shapes, dtypes and memory order of
        `params`.

    Examples
    --------
    >>> import numpy as np, fastopt
    >>> fastopt.muon_init(np.ones((1, 2)))
    MuonState(step=0, m=array([[0., 0.]]), v=None)
    """
    zeros = partial(zeros_like, "muon_init", params)
    return MuonState(0, zeros(), zeros() if flag("muon_init", "other", other) else None)


def formula(T: Any, t: int, o: Any, p: Any, g: Any, m: Any, v: Any) -> Any:
    if v is not None:
        of_adam = SimpleNamespace(**vars(o), epsilon_hat=False, bias_correction=True)
        return adam.formula(T, t, of_adam, p, g, m, v)
    average = T(o.momentum) * m + T(1 - o.momentum) * g
    x = T(o.momentum) * average + T(1 - o.momentum) * g if o.nesterov else average
    if o.takes_part is not None:
        x = np.where(o.takes_part, x, T(0))
    if p.size > 0:
        matrix = np.array(x, order="C").reshape(1, p.shape[0] if p.ndim else 1, -1)
        orthogonalize(matrix, o, np.empty(0, np.uint8))
        x = matrix.reshape(p.shape)
    m[...] = average
    p -= T(o.lr) * x
    return None


@document_step
def muon_step(
    params: Tree,
    grads: PartialTree,
    state: MuonState,
    *,
    lr: float = 1e-3,
    momentum: float = 0.95,
    nesterov: bool = True,
    ns_steps: int = 5,
    ns_a: float = 3.4445,
    ns_b: float = -4.775,
    ns_c: float = 2.0315,
    eps: float = 1e-7,
    eps_outside_max: bool = False,
    match_rms_adamw: bool = False,
    flatten: bool = False,
    beta1: float = 0.9,
    beta2: float = 0.999,
    **options: Unpack[StepOptions],
) -> StepResult | MaybeNone:
    """Update `params` and `state` in place by one step of Muon.

    ::

        m = momentum*m + (1 - momentum)*g
        x = m                                       (nesterov: x = momentum*m + (1 - momentum)*g)
        x = x / max(norm(x), eps)
        ns_steps times: y = x @ x.T;  x = ns_a*x + (ns_b*y + ns_c*y@y) @ x
        p -= lr * sqrt(max(1, rows/columns)) * x

        eps_outside_max: x = x / (norm(x) + eps)
        match_rms_adamw: p -= lr * 0.2*sqrt(max(rows, columns)) * x
        state with v: AdamW, with beta1, beta2 and eps, in place of all this

    where ``norm`` is the root of the sum of squares of a matrix. The iteration, of Newton and
    Schulz, makes the matrix nearly orthogonal: of its singular value decomposition
    ``u @ s @ w.T`` it leaves ``u @ w.T``, but for singular values within [0.68, 1.21] in place of
    1, and less where they are below 0.002 of the norm. So all directions of a weight matrix move
    about equally far in a step. Of a tall matrix it works on the transposed one.

    Parameters
    ----------
    state : MuonState
        From :func:`muon_init`. ``m``, ``v`` and ``step`` are changed in place.
    lr : float, default 0.001, >= 0
        The learning rate: about how long (by its norm) the step of a row is.
    momentum : float, default 0.95, in [0, 1)
        The decay rate of the mean of gradients.
    nesterov : bool, default True
        Nesterov's momentum: look ahead by one step of the mean.
    ns_steps : int, default 5, in [1, 99]
        How often the iteration is repeated.
    ns_a : float, default 3.4445, finite
        The coefficient of ``x`` in the iteration.
    ns_b : float, default -4.775, finite
        The coefficient of ``x @ x.T @ x``.
    ns_c : float, default 2.0315, finite
        The coefficient of the fifth power.
    eps : float, default 1e-7, >= 0
        Keeps the norm from zero; with ``v`` the denominator, as that of AdamW.
    eps_outside_max : bool, default False
        Add `eps` to the norm, as Keras, optax and the paper's own code do.
    match_rms_adamw : bool, default False
        Make steps as long as AdamW's are, so that its learning rate and decay can be kept.
    flatten : bool, default False
        Take every array as a matrix of its first axis by all others, as of convolutions; a vector
        has one column. Else arrays must have two axes.
    beta1, beta2 : float, default 0.9 and 0.999, in [0, 1)
        The decay rates of the moments where the state has ``v``.

    Raises
    ------
    ValueError
        If an array has not two axes, without `flatten` and ``v``.

    Notes
    -----
    Muon is for the weight matrices of hidden layers. Embeddings, the last layer, and what is no
    matrix are better updated as by AdamW: by the option `other` of :class:`Muon`, or by steps of
    their own.

    The products of matrices are NumPy's, in the dtype of the parameters, and so are their threads:
    `threads` is about all else. Results equal :mod:`fastopt.reference` bit for bit on one machine;
    another BLAS, or another number of its threads, may round otherwise. Memory for a copy of all
    matrices, and for three times the largest (or 2**19 elements, where that is more), is kept from
    step to step, for each thread.

    With `update_mask` what takes no part is zero in ``x``. The penalties `l1` and `l2` go through
    the iteration with the gradient; `weight_decay` and `l1_prox` do not.

    As ``torch.optim.Muon``, which computes the iteration in bfloat16, has ``ns_coefficients`` in
    place of ``ns_a, ns_b, ns_c``, ``adjust_lr_fn="match_rms_adamw"``, and `weight_decay` of 0.1.
    Others keep a sum ``m = momentum*m + g``, which is in proportion, and has the same direction.

    Sources: Jordan et al. 2024, "Muon: An optimizer for hidden layers in neural networks"; Liu et
    al. 2025, "Muon is scalable for LLM training", equation 4 (match_rms_adamw).

    Examples
    --------
    >>> import numpy as np, fastopt
    >>> w = np.zeros((2, 2))
    >>> state = fastopt.muon_init(w)
    >>> fastopt.muon_step(w, np.array([[100.0, 0.0], [0.0, 1.0]]), state, lr=0.1, ns_steps=9)
    >>> (np.abs(np.diag(w)) > 0.06).all()
    np.True_
    """
    return _step(
        MuonState,
        params,
        grads,
        state,
        lr,
        momentum,
        nesterov,
        ns_steps,
        ns_a,
        ns_b,
        ns_c,
        eps,
        eps_outside_max,
        match_rms_adamw,
        flatten,
        beta1,
        beta2,
        options,
    )


@document_class(muon_step)
class Muon(Optimizer):
    """Muon for matrices, AdamW for all else.

    Parameters
    ----------
    other : dict, default None
        The options of the companion rule, AdamW, that updates what is no matrix:
        ``{"lr": 3e-4, "weight_decay": 0.0}``. What it does not name has the defaults of
        :class:`AdamW`: ``lr=1e-3, beta1=0.9, beta2=0.999, eps=1e-8, weight_decay=0.01``; other
        options, such as `l1_prox`, are those of the matrices. Such arrays are groups of their own,
        behind those of the matrices. A group with ``"other": True`` among its options belongs to
        them as a whole: that is the way for embeddings and the last layer. What a group of others
        has of its own goes first; one that has both kinds may not have any of these options.

    Examples
    --------
    >>> import numpy as np, fastopt
    >>> params = {"w": np.zeros((2, 2)), "b": np.zeros(2), "out": np.zeros((2, 2))}
    >>> groups = fastopt.groups(params, {"out": {"other": True}})
    >>> opt = fastopt.Muon(groups, lr=0.02, other={"lr": 0.1})
    >>> [(group.names, group["lr"]) for group in opt.groups]
    [(('w',), 0.02), (('b',), 0.1), (('out',), 0.1)]
    >>> opt.step({"w": np.eye(2), "b": np.ones(2), "out": np.ones((2, 2))})
    >>> params["b"]
    array([-0.1, -0.1])
    """

    rule = "muon"
    _never_negative = ("v",)
    _new_state = staticmethod(muon_init)

    def __init__(
        self,
        params: Params,
        *,
        state: MuonState | None = None,
        other: Mapping[str, Any] | None = None,
        lr: Scheduled = 1e-3,
        momentum: Scheduled = 0.95,
        nesterov: bool = True,
        ns_steps: int = 5,
        ns_a: Scheduled = 3.4445,
        ns_b: Scheduled = -4.775,
        ns_c: Scheduled = 2.0315,
        eps: Scheduled = 1e-7,
        eps_outside_max: bool = False,
        match_rms_adamw: bool = False,
        flatten: bool = False,
        beta1: Scheduled = 0.9,
        beta2: Scheduled = 0.999,
        **options: Unpack[OptimizerOptions],
    ) -> None:
        self._other, self._flatten = _checked(other), flatten
        super().__init__(
            params,
            state=state,
            lr=lr,
            momentum=momentum,
            nesterov=nesterov,
            ns_steps=ns_steps,
            ns_a=ns_a,
            ns_b=ns_b,
            ns_c=ns_c,
            eps=eps,
            eps_outside_max=eps_outside_max,
            match_rms_adamw=match_rms_adamw,
            flatten=flatten,
            beta1=beta1,
            beta2=beta2,
            **options,
        )

    def _divided(self, grouping: Grouping) -> Grouping:
        return ByKind.of(type(self).__name__, grouping, self._other, self._flatten)


def _checked(other: Mapping[str, Any] | None) -> dict[str, Any] | None:
    if other is None:
        return None
    if not isinstance(other, Mapping):
        raise TypeError(f"Muon: other must be a dict of options, not {other!r:.60}")
    known = {**OTHER, **_core.term_defaults, "frozen": False}
    for name in other:
        if name not in known:
            raise TypeError(f"Muon: other has no option {name!r}; there are {', '.join(known)}")
    options = {**OTHER, **other}
    numbers = {name: x for name, x in options.items() if name != "frozen" and not callable(x)}
    try:
        adam.AdamW(np.zeros(1), **numbers)
    except (TypeError, ValueError) as error:
        said = str(error).replace("AdamW:", "Muon: other:", 1)
        raise type(error)(said) from None
    return options
