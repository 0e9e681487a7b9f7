"""What a step has to say, and the norm of gradients."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, TypeAlias

from fastopt import _core
from fastopt.docstrings import document
from fastopt.tree import Tree

MaybeNone: TypeAlias = Any
"""Stands for None in ``StepResult | MaybeNone``: whether a step returns a result depends on its
options. Who asked for one writes ``sgd_step(..., clip_norm=1.0).grad_norm``, and need not tell type
checkers first that it is not None; a misspelt attribute they still find. (typeshed's "Any trick")
"""


@dataclass(frozen=True, slots=True)
class StepResult:
    """What a step found out about its gradients.

    Steps return it where they look at all gradients first: with ``clip_norm``,
    ``clip_tensor_norm`` or ``skip_nonfinite``.
    """

    skipped: bool
    """True if the step was not made, because of ``skip_nonfinite``."""
    grad_norm: float
    """Global norm of the gradients after masks and ``grad_scale``, not yet clipped."""
    nonfinite: str | None
    """Name of the first gradient that is not finite, such as ``"grads['w']"``, or None."""


@dataclass(frozen=True, slots=True)
class Loaded:
    """What ``strict=False`` could not load."""

    missing: tuple[str, ...]
    """Names of what has stayed as it was: the state has nothing that fits."""
    left_over: tuple[str, ...]
    """Names of what the state has and nothing took."""
    extra: Any = None
    """Of :func:`fastopt.load`: what was saved besides."""


class GlobalNorm(float):
    """A norm, which is a float, and the name of what is not finite in it."""

    nonfinite: str | None
    """Name of the first array with an infinity or a NaN, such as ``"grads['w']"``, or None."""

    def __new__(cls, value: float, nonfinite: str | None = None) -> GlobalNorm:
        norm = super().__new__(cls, value)
        norm.nonfinite = nonfinite
        return norm

    def __getnewargs__(self) -> tuple[float, str | None]:  # type: ignore[override]
        return float(self), self.nonfinite

    @property
    def finite(self) -> bool:
        """True if every element is finite."""
        return self.nonfinite is None


@document
def global_norm(grads: Tree, *, threads: int | None = None) -> GlobalNorm:
    """Return the Euclidean norm of all elements of all arrays.

    ::

        sqrt(sum(g**2))

    Returns
    -------
    GlobalNorm
        A float with two attributes: ``finite``, and ``nonfinite``, the name of the first array with
        an infinity or a NaN in it. The sum is taken in double precision, also of float32 arrays.

    Raises
    ------
    TypeError, ValueError
        If an entry is no array of float32 or float64, is misaligned, or a number is out of range.

    Notes
    -----
    What ``torch.nn.utils.clip_grad_norm_`` and ``optax.global_norm`` compute, but summed in double
    precision. Squares that are too large for a double do not make it infinite, nor are those lost
    that are too small. An entry that is None has no gradient, and is left out.

    Examples
    --------
    >>> import numpy as np, fastopt
    >>> fastopt.global_norm({"w": np.array([3.0, 0.0]), "b": np.array([4.0])})
    5.0
    >>> fastopt.global_norm([np.ones(3), np.array([np.inf])]).nonfinite
    'grads[1]'
    """
    return GlobalNorm(*_core.global_norm(grads, threads))
