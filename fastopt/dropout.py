"""Dropout from a counter: masks that are a function of seed and offset, and need not be kept."""

from __future__ import annotations

from dataclasses import dataclass
from math import prod
from operator import index
from typing import Any

import numpy as np

from fastopt import _core
from fastopt.arguments import Remembered
from fastopt.docstrings import document
from fastopt.tree import as_array


@document
def dropout(
    x: Any,
    p: float,
    *,
    seed: int,
    offset: int = 0,
    out: Any = None,
    mask_out: Any = None,
    threads: int | None = None,
) -> Any:
    """Set a random share `p` of the elements to zero and scale the others up (inverted dropout).

    ::

        out = x * (1/keep_prob)  where kept,  0  where dropped          (keep_prob = 1 - p)

    Parameters
    ----------
    x : array of float32 or float64, any shape
        The activations. Not changed unless `out` is `x`.
    mask_out : array of uint8, or None
        Receives the mask in packed bits: shape ``((x.size + 7) // 8,)``. Seldom needed, since seed
        and offset bring it back.

    Returns
    -------
    array
        `out`. What is dropped is exactly 0, also where `x` is infinite or NaN.

    Raises
    ------
    TypeError, ValueError
        If `x` is no such array, `out` differs from it in shape or dtype or overlaps it in part,
        `mask_out` has not a bit for each element, or a number is out of range. Nothing has been
        changed then.

    Notes
    -----
    Element ``i`` (in C order) is decided by Philox4x32-10 with the key `seed`: by one 16-bit piece
    of the counter ``(32*(i//256) + i%32, offset)``, as :mod:`fastopt.reference` writes out. So the
    mask does not depend on threads, instruction set, memory layout or dtype, and a longer array
    begins with the mask of a shorter one. ``torch.nn.functional.dropout`` has another generator,
    hence other masks, and the same scale; Keras' ``Dropout(rate)`` too.

    Sources: Srivastava et al. 2014, "Dropout: a simple way to prevent neural networks from
    overfitting"; Salmon et al. 2011, "Parallel random numbers: as easy as 1, 2, 3".

    Examples
    --------
    >>> import numpy as np, fastopt
    >>> fastopt.dropout(np.ones(8), 0.5, seed=1)
    array([0., 0., 2., 2., 0., 2., 0., 2.])
    """
    x, to, name = _from_to("dropout", "x", x, out)
    if hasattr(type(mask_out), "__dlpack__"):
        mask_out = as_array("dropout", "mask_out", mask_out)
    _core.dropout("dropout", "x", x, p, seed, offset, name, to, None, mask_out, threads)
    return to if out is None else out


@document
def dropout_backward(
    dy: Any,
    p: float,
    *,
    seed: int | None = None,
    offset: int = 0,
    mask: Any = None,
    out: Any = None,
    threads: int | None = None,
) -> Any:
    """Return the gradient of :func:`dropout` with respect to its input.

    ::

        out = dy * (1/keep_prob)  where kept,  0  where dropped

    Parameters
    ----------
    dy : array of float32 or float64, any shape
        The gradient with respect to the result. Not changed unless `out` is `dy`.
    p, seed, offset : float, int and int
        As in the forward pass: the mask is made again.
    mask : array of uint8, or None
        In place of a seed: the mask in packed bits, as ``mask_out`` or :func:`dropout_mask` give it
        (an array of bool or uint8 like `dy` will do too).

    Returns
    -------
    array
        `out`.

    Raises
    ------
    TypeError, ValueError
        As :func:`dropout`; if neither or both of `seed` and `mask` are given; if the mask has not
        one element, or one bit, for each of `dy`.

    Examples
    --------
    >>> import numpy as np, fastopt
    >>> fastopt.dropout_backward(np.ones(3), 0.5, mask=np.packbits([1, 0, 1], bitorder="little"))
    array([2., 0., 2.])
    """
    if (seed is None) == (mask is None):
        raise ValueError("dropout_backward: give either seed or mask")
    dy, to, name = _from_to("dropout_backward", "dy", dy, out)
    key = 0 if seed is None else seed
    _core.dropout("dropout_backward", "dy", dy, p, key, offset, name, to, mask, None, threads)
    return to if out is None else out


@document
def dropout_mask(
    shape: int | tuple[int, ...],
    p: float,
    *,
    seed: int,
    offset: int = 0,
    packed: bool = True,
    threads: int | None = None,
) -> Any:
    """Return the mask that :func:`dropout` uses for this seed and offset.

    Parameters
    ----------
    shape : int or tuple of int
        The shape of the array that the mask is for.
    packed : bool, default True
        Return one bit for each element, or an array of bool.

    Returns
    -------
    array
        Packed: uint8 of shape ``((n + 7) // 8,)`` for n elements; element i (in C order) is bit
        ``i % 8`` of byte ``i // 8``, as ``np.packbits(..., bitorder="little")`` has it. Else bool
        of `shape`. True, or 1, where the element is kept. Both can be ``mask=`` of a step.

    Raises
    ------
    TypeError, ValueError
        If a number is out of range, `shape` is no shape, or `packed` is neither True nor False.

    Examples
    --------
    >>> import fastopt
    >>> fastopt.dropout_mask((2, 4), 0.5, seed=1, packed=False)
    array([[False, False,  True,  True],
           [False,  True, False,  True]])
    """
    lengths = tuple(shape) if isinstance(shape, (tuple, list)) else (shape,)
    for length in lengths:
        if not isinstance(length, (int, np.integer)) or isinstance(length, bool):
            raise TypeError(f"dropout_mask: shape must be ints, not {shape!r}")
        if length < 0:
            raise ValueError(f"dropout_mask: shape must not be negative, it is {shape}")
    _check_flag("dropout_mask", "packed", packed)
    size = prod(int(length) for length in lengths)
    mask = np.empty((size + 7) // 8, np.uint8) if packed else np.empty(lengths, np.bool_)
    _core.dropout_mask(mask, size, p, seed, offset, bool(packed), threads)
    return mask


@dataclass(slots=True)
class Dropout(Remembered):
    """Dropout that counts: every forward pass has a mask of its own.

    Parameters
    ----------
    p : float, in [0, 1]
        The share that is dropped, rounded to a multiple of 1/65536.
    seed : int, 0 <= seed < 2**64
        The key of the generator. Give every layer a seed of its own: two layers with one seed
        drop the same units.
    offset : int, default 0
        The number of the next mask. With seed and p it is all there is to save.
    training : bool, default True
        If False, nothing is dropped and nothing counted: a call returns `x` itself.

    Notes
    -----
    As ``drop=`` of a step it is DropConnect (Wan et al. 2013): entry k of the parameters has the
    mask of ``offset + k``, made block by block and never stored whole, and the step adds the
    number of entries to ``offset``. A step that is refused or skipped leaves it. An object is for
    one thread, and for one of both uses: :meth:`backward` is about the latest forward pass.

    Examples
    --------
    >>> import numpy as np, fastopt
    >>> drop = fastopt.Dropout(0.5, seed=1)
    >>> hidden = np.ones((2, 4))
    >>> dropped = drop(hidden)                      # forward
    >>> gradient = drop.backward(np.ones((2, 4)))   # backward, with the same mask
    >>> bool((dropped == gradient).all()), drop.offset
    (True, 1)
    """

    p: float
    seed: int
    offset: int = 0
    training: bool = True

    def __post_init__(self) -> None:
        _core.check_dropout("Dropout", self.p, self.seed, self.offset)
        _check_flag("Dropout", "training", self.training)

    def __call__(self, x: Any, *, out: Any = None) -> Any:
        """Return :func:`dropout` of `x` with the next mask; in evaluation `x` itself."""
        if not self._drops():
            return x if out is None else dropout(x, 0.0, seed=0, out=out)
        offset = index(self.offset)
        dropped = dropout(x, self.p, seed=self.seed, offset=offset, out=out)
        self.offset = (offset + 1) % 2**64
        return dropped

    def backward(self, dy: Any, *, offset: int | None = None, out: Any = None) -> Any:
        """Return the gradient for the latest forward pass.

        With `offset`, for the forward pass before which ``drop.offset`` was that: to be given
        where a layer is called several times before the backward pass. Without it, `training`
        must be what it was in the forward pass.
        """
        if offset is None:
            if not self._drops():
                return dy if out is None else dropout_backward(dy, 0.0, seed=0, out=out)
            if self.offset == 0:
                raise ValueError(
                    "Dropout.backward: no forward pass yet (offset is 0); give an offset"
                )
            offset = index(self.offset) - 1
        return dropout_backward(dy, self.p, seed=self.seed, offset=offset, out=out)

    def state_dict(self) -> dict[str, Any]:
        """Return all that is needed to go on, as plain numbers; ``Dropout(**state_dict)`` does."""
        return {
            "p": float(self.p),
            "seed": int(self.seed),
            "offset": int(self.offset),
            "training": bool(self.training),
        }

    def _drops(self) -> bool:
        self.__post_init__()  # attributes may have been set since
        return self.training


def _from_to(function: str, name: str, x: Any, out: Any) -> tuple[Any, Any, str]:
    """Return the array of `x`, where the result goes, and what messages call that."""
    x = as_array(function, name, x)
    if out is not None:
        return x, as_array(function, "out", out), "out"
    return x, np.empty_like(x, subok=False), name


def _check_flag(function: str, name: str, given: Any) -> None:
    if not isinstance(given, (bool, np.bool_)):
        raise TypeError(f"{function}: {name} must be True or False, not {given!r}")
