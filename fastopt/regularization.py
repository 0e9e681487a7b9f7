"""What penalties amount to, what they have made zero, and the constraint on norms."""

from __future__ import annotations

from dataclasses import dataclass, field

import numpy as np

from fastopt import _core
from fastopt.docstrings import document
from fastopt.options import Penalty
from fastopt.tree import Tree, as_array, paths, zip_trees


@document
def penalty(
    params: Tree,
    *,
    l1: Penalty = 0.0,
    l2: Penalty = 0.0,
    l1_prox: Penalty = 0.0,
    threads: int | None = None,
) -> float:
    """Return the penalty that ``l1``, ``l2`` and ``l1_prox`` of the steps minimise, for your loss.

    ::

        sum over all elements of  l1*abs(p) + l2/2*p**2 + l1_prox*abs(p)

    Parameters
    ----------
    l1, l2, l1_prox : float >= 0, or such numbers in the structure of `params`, default 0.0
        Under the name that the step has it: ``l2={"w": 1e-4, "b": 0.0}`` leaves biases out. A
        number may stand for a whole branch. `l1_prox` has the value of `l1`; with `l2` they are
        the elastic net. (Decoupled ``weight_decay`` is the gradient of no loss.)

    Returns
    -------
    float
        Summed in double precision, also for float32.

    Raises
    ------
    TypeError, ValueError
        If an entry is no array of float32 or float64, or a penalty is negative or missing.

    Notes
    -----
    scikit-learn's ``ElasticNet(alpha, l1_ratio)`` has ``l1 = alpha*l1_ratio`` and
    ``l2 = alpha*(1 - l1_ratio)``. Keras' ``L1(a)`` is ``l1=a``, its ``L2(a)`` is ``l2=2*a``. In
    rules that have `scaled_prox` (LAMB: without `trust_decay`) `l1_prox` minimises this with
    ``scaled_prox=True`` alone, in Adadelta, ADOPT, ASGD, FTRL, LARS, Lion (also cautious), Muon,
    Prodigy, Rprop, Schedule-Free rules, Signum and Sophia not at all.

    Examples
    --------
    >>> import numpy as np, fastopt
    >>> params = {"w": np.array([3.0, -4.0]), "b": np.array([10.0])}
    >>> fastopt.penalty(params, l1={"w": 0.5, "b": 0.0})
    3.5
    >>> fastopt.penalty(params, l2={"w": 0.5, "b": 0.0})
    6.25
    """
    total = _core.penalty(params, "l1", l1, l2, threads)
    if type(l1_prox) is float and l1_prox == 0:  # the default: another pass is spared
        return total
    return total + _core.penalty(params, "l1_prox", l1_prox, 0.0, threads)


@dataclass(frozen=True)
class Sparsity:
    """How many elements are exactly zero."""

    zeros: int
    """Elements that are 0 (or -0)."""
    size: int
    """All elements."""
    entries: dict[str, Sparsity] = field(default_factory=dict, repr=False)
    """The same of every array, by its name, such as ``"params['w']"``."""

    @property
    def fraction(self) -> float:
        """The share of zeros; 0 where there are no elements."""
        return self.zeros / self.size if self.size else 0.0


@document
def sparsity(params: Tree, *, threads: int | None = None) -> Sparsity:
    """Count the zeros, in total and in every array.

    Returns
    -------
    Sparsity
        ``zeros``, ``size``, ``fraction``, and ``entries`` with those of every array.

    Raises
    ------
    TypeError, ValueError
        If an entry is no array of float32 or float64, or is misaligned.

    Examples
    --------
    >>> import numpy as np, fastopt
    >>> found = fastopt.sparsity({"w": np.array([0.0, 2.0, 0.0]), "b": np.array([1.0])})
    >>> found, found.fraction
    (Sparsity(zeros=2, size=4), 0.5)
    >>> found.entries["params['w']"].zeros
    2
    """
    zeros = _core.count_zeros(params, threads)
    names = ["params" + path for path in paths(params)]
    leaves = zip(names, zip_trees(params), strict=True)
    sizes = [as_array("sparsity", name, leaf).size for name, (leaf,) in leaves]
    entries = {name: Sparsity(*found) for name, *found in zip(names, zeros, sizes, strict=True)}
    return Sparsity(sum(zeros), sum(sizes), entries)


@document
def max_norm(
    params: Tree, limit: float, *, axis: int | tuple[int, ...] = 0, threads: int | None = None
) -> None:
    """Shorten, in place, vectors of weights that are longer than `limit`.

    ::

        norm = sqrt(sum(p**2, axis));  p *= limit / norm  where norm > limit

    Parameters
    ----------
    params : array, or nested lists, tuples, dicts and dataclass instances of arrays
        float32 or float64, any shape that has `axis`, writeable. Changed in place.
        All entries are limited: one of a single axis, such as a bias or the scales of a layer, is
        one vector and is shortened as a whole. Where that shall not be, pass the weights alone:
        ``[layer["w"] for layer in layers]``.
    limit : float, > 0
        The greatest Euclidean norm that a vector may have.
    axis : int or tuple of int, default 0
        The axes that a vector lies along. A weight matrix of shape (inputs, outputs) has the
        incoming weights of a unit in a column: ``axis=0``. torch's ``Linear.weight`` is (outputs,
        inputs): ``axis=1``. Convolution kernels of shape (rows, columns, inputs, outputs):
        ``axis=(0, 1, 2)``.

    Raises
    ------
    TypeError, ValueError
        If an entry could not be updated in place, or lacks an axis. Nothing has been changed then.

    Notes
    -----
    Call it after the step. Norms are taken in double precision. A vector within the limit keeps its
    bits; Keras' ``MaxNorm`` multiplies it by ``norm / (norm + 1e-7)``. A vector
    whose norm is not finite stays as it is.

    Source: Srivastava et al. 2014, "Dropout: a simple way to prevent neural networks from
    overfitting", section 5.1.

    Examples
    --------
    >>> import numpy as np, fastopt
    >>> w = np.array([[3.0, 0.5], [4.0, 0.5]])
    >>> fastopt.max_norm(w, 1.0)
    >>> w
    array([[0.6, 0.5],
           [0.8, 0.5]])
    """
    _core.check_params("max_norm", params)
    views, vector_axes = [], []
    for (leaf,), path in zip(zip_trees(params), paths(params), strict=True):
        array = as_array("max_norm", "params" + path, leaf)
        axes = _normalized(axis, array.ndim, "params" + path)
        views.append(np.moveaxis(array, axes, range(len(axes))))
        vector_axes.append(len(axes))
    _core.max_norm(views, vector_axes, limit, threads)


def _normalized(axis: int | tuple[int, ...], ndim: int, name: str) -> list[int]:
    given = axis if isinstance(axis, tuple) else (axis,)
    for one in given:
        if not isinstance(one, (int, np.integer)) or isinstance(one, bool):
            raise TypeError(f"max_norm: axis must be an int or a tuple of ints, not {axis!r}")
        if not -ndim <= one < ndim:
            raise ValueError(f"max_norm: {name} has {ndim} axes, there is no axis {one}")
    axes = [int(one) % ndim for one in given]
    if len(set(axes)) < len(axes):
        raise ValueError(f"max_norm: axis {axis} names an axis of {name} twice")
    return axes
