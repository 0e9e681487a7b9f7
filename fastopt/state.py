"""What an optimizer remembers between steps: plain dataclasses that the user holds.

A state can be pickled, copied and changed; ``step`` counts the updates made so far and may be set.
Nothing about it is hidden in C++.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from fastopt import _core
from fastopt.tree import Tree, map_tree


@dataclass(slots=True, eq=False)
class MomentumState:
    """State of :func:`fastopt.momentum_step`."""

    step: int
    """Updates made so far."""
    buf: Tree
    """The momentum buffer; overwritten, not read, by the step that finds ``step`` at 0."""


@dataclass(slots=True, eq=False)
class AdamState:
    """State of :func:`fastopt.adam_step`."""

    step: int
    """Updates made so far."""
    m: Tree
    """Running mean of the gradients (first moment)."""
    v: Tree
    """Running mean of the squared gradients (second moment)."""


@dataclass(slots=True, eq=False)
class RMSpropState:
    """State of :func:`fastopt.rmsprop_step`."""

    step: int
    """Updates made so far."""
    v: Tree
    """Running mean of the squared gradients."""
    avg: Tree | None
    """Running mean of the gradients where the rule is centered, else None."""
    buf: Tree | None
    """The momentum buffer where there is momentum, else None."""


def momentum_init(params: Tree) -> MomentumState:
    """Make the state of Momentum: ``step = 0`` and ``buf`` of zeros.

    Parameters
    ----------
    params : array, or nested lists, tuples and dicts of arrays
        The parameters to be optimized: float32 or float64, of any shape. They are not changed.

    Returns
    -------
    MomentumState
        ``buf`` has the structure, shapes, dtypes and memory order of `params`.

    Raises
    ------
    TypeError, ValueError
        If an entry of `params` could not be updated in place; the message names it.

    Examples
    --------
    >>> import numpy as np, fastopt
    >>> fastopt.momentum_init({"w": np.ones(2)})
    MomentumState(step=0, buf={'w': array([0., 0.])})
    """
    return MomentumState(0, _zeros_like("momentum_init", params))


def adam_init(params: Tree) -> AdamState:
    """Make the state of Adam: ``step = 0``, ``m`` and ``v`` of zeros.

    Parameters
    ----------
    params : array, or nested lists, tuples and dicts of arrays
        The parameters to be optimized: float32 or float64, of any shape. They are not changed.

    Returns
    -------
    AdamState
        ``m`` and ``v`` have the structure, shapes, dtypes and memory order of `params`.

    Raises
    ------
    TypeError, ValueError
        If an entry of `params` could not be updated in place; the message names it.

    Examples
    --------
    >>> import numpy as np, fastopt
    >>> fastopt.adam_init([np.ones(2)])
    AdamState(step=0, m=[array([0., 0.])], v=[array([0., 0.])])
    """
    return AdamState(0, _zeros_like("adam_init", params), _zeros_like("adam_init", params))


def rmsprop_init(params: Tree, *, centered: bool = False, momentum: bool = False) -> RMSpropState:
    """Make the state of RMSprop: ``step = 0``, ``v`` of zeros, and what the options need.

    Parameters
    ----------
    params : array, or nested lists, tuples and dicts of arrays
        The parameters to be optimized: float32 or float64, of any shape. They are not changed.
    centered : bool, default False
        Keep ``avg``, the running mean of the gradients: steps with this state are centered.
    momentum : bool, default False
        Keep ``buf``, the momentum buffer: steps with this state have momentum.

    Returns
    -------
    RMSpropState
        ``v``, and ``avg`` and ``buf`` unless None, have the structure, shapes, dtypes and memory
        order of `params`.

    Raises
    ------
    TypeError, ValueError
        If an entry of `params` could not be updated in place; the message names it.

    Examples
    --------
    >>> import numpy as np, fastopt
    >>> fastopt.rmsprop_init(np.ones(2), centered=True)
    RMSpropState(step=0, v=array([0., 0.]), avg=array([0., 0.]), buf=None)
    """
    return RMSpropState(
        0,
        _zeros_like("rmsprop_init", params),
        _zeros_like("rmsprop_init", params) if centered else None,
        _zeros_like("rmsprop_init", params) if momentum else None,
    )


def _zeros_like(function: str, params: Tree) -> Tree:
    _core.check_params(function, params)
    return map_tree(lambda array: np.zeros_like(array, subok=False), params)
