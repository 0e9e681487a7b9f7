"""What every step does around its rule: to the gradient before, to the parameter around it."""

from __future__ import annotations

from collections.abc import Iterator
from math import isfinite, sqrt
from types import SimpleNamespace
from typing import Any

import numpy as np

from fastopt.reference.dropout import as_bools, keep_mask, keep_prob
from fastopt.reference.norms import Wide, clipped, norm_of, squares_of
from fastopt.result import StepResult
from fastopt.tree import Tree, paths, zip_trees

OF_ENTRIES = ("l1", "l2", "weight_decay", "l1_prox", "mask", "update_mask", "ema")
"""Options that every array of parameters may have for itself."""


def measure(o: SimpleNamespace, params: Tree, grads: Tree) -> StepResult | None:
    """Look at all gradients first, where an option asks for it; clip them by `o.grad_scale`."""
    o.clipped = Wide(o.grad_scale)
    if not (o.clip_norm or o.clip_tensor_norm or o.skip_nonfinite):
        return None
    names = paths(params)
    there = {names[number]: entry for number, entry, *_ in entries(o, params, grads)}
    squares = [entry.squares() for entry in there.values()]
    norm = norm_of(squares, [entry.kept() for entry in there.values()])
    bad = [name for name, s in zip(there, squares, strict=True) if not isfinite(s.value)]
    problem = "is not finite"
    if o.clip_norm and not (bad and o.skip_nonfinite):
        o.clipped = clipped(o.grad_scale, norm, o.clip_norm, o.clip_eps)
    if not bad and o.skip_nonfinite:
        bad = [name for name, entry in there.items() if entry.is_too_large(o.clipped)]
        problem = "has a number that is too large to be squared"
    if bad and o.skip_nonfinite == "raise":
        raise FloatingPointError(f"grads{bad[0]} {problem}")
    if bad and o.skip_nonfinite and o.zero_grads:
        for entry in there.values():
            entry.g[...] = 0
    return StepResult(
        skipped=bool(bad and o.skip_nonfinite),
        grad_norm=norm.times(abs(o.grad_scale)),
        nonfinite=f"grads{bad[0]}" if bad else None,
    )


def as_gradient(p: Any, g: Any) -> Any:
    """Return a gradient as an array: that of a parameter without axes may be a number."""
    return g if isinstance(g, np.ndarray) else np.array(g, p.dtype)


def entries(
    o: SimpleNamespace, params: Tree, grads: Tree, *state: Tree | None
) -> Iterator[tuple[Any, ...]]:
    """Yield every entry that has a gradient: its number, options, parameter, and state."""
    drop = o.drop if o.drop is not None and o.drop.training else None
    trees = zip_trees(params, grads, *state, *(getattr(o, name) for name in OF_ENTRIES))
    for number, (p, g, *rest) in enumerate(trees):
        if g is None:
            continue
        arrays, own = rest[: len(state)], rest[len(state) :]
        own_options = dict(zip(OF_ENTRIES, own, strict=True))
        entry = Entry(**vars(o) | own_options, p=p, g=as_gradient(p, g), arrays=arrays)
        entry.mask, entry.update_mask = as_bools(entry.mask, p), as_bools(entry.update_mask, p)
        if drop is not None:
            offset = (drop.offset + number) % 2**64
            entry.mask = keep_mask(p.size, drop.p, seed=drop.seed, offset=offset).reshape(p.shape)
            entry.keep_prob = keep_prob(drop.p)
        yield number, entry, p, *arrays


def advance(drop: Any, params: Tree) -> None:
    """Let the next step draw other decisions."""
    if drop is not None and drop.training:
        drop.offset = (drop.offset + len(paths(params))) % 2**64


class Entry(SimpleNamespace):
    """One array `p` of the parameters, its gradient `g`, its state in `arrays`, its options."""

    def kept(self) -> float:
        """Return the factor of what the mask keeps."""
        return 1.0 if self.mask is None else 1 / (self.keep_prob or 1.0)

    def taking_part(self) -> Any:
        """Return where the gradient is used at all; None for everywhere."""
        masks = [mask for mask in (self.mask, self.update_mask) if mask is not None]
        return np.logical_and.reduce(masks) if masks else None

    def squares(self) -> Wide:
        return squares_of(self.g, self.taking_part())

    def scale(self) -> Wide:
        """Return what the gradient is multiplied by; its sign comes later."""
        if not self.clip_tensor_norm:
            return self.clipped
        norm = norm_of([self.squares()], [self.kept()])
        return clipped(self.grad_scale, norm, self.clip_tensor_norm, self.clip_eps)

    def is_too_large(self, scale: Wide) -> bool:
        """Tell whether the dtype cannot hold the square of an element."""
        self.clipped = scale
        limits = np.finfo(self.p.dtype)  # less a little: scales round on the way
        largest = sqrt(limits.max) * (1 - 4 * float(limits.eps))
        if self.clip_value is not None and self.clip_value <= largest:
            return False
        factor = abs(self.scale().times(1.0)) / largest * self.kept()
        keep = self.taking_part()
        g = np.float64(self.g) if keep is None else np.where(keep, np.float64(self.g), 0.0)
        with np.errstate(all="ignore"):
            return bool((np.abs(g * factor) > 1).any())

    def before_rule(self) -> Any:
        """Return the gradient that the rule sees; decay ``p`` if that comes first."""
        p, g = self.p, self.g
        T = p.dtype.type
        self.written = [x for x in (p, self.ema, *self.arrays) if x is not None]
        self.before = [x.copy() for x in self.written] if self.update_mask is not None else []
        wide = self.scale()
        scale, tiny = wide.times(-1.0 if self.maximize else 1.0), np.finfo(T)
        if wide.value != 0 and abs(scale) < tiny.tiny:  # few digits in T, or none
            first = Wide(wide.value, wide.exponent - tiny.minexp)
            g = g * T(first.times(-1.0 if self.maximize else 1.0))
            scale = float(tiny.tiny)
        if T(scale) != 1:
            g = g * T(scale)
        if self.clip_value is not None:
            g = np.clip(g, T(-self.clip_value), T(self.clip_value))
        if self.mask is not None:  # DropConnect, Wan et al. 2013
            g = np.where(self.mask, g * T(self.kept()), T(0))
        if (l2 := T(self.l2)) != 0:  # the gradient of (l2/2) * sum(p**2)
            g = g + l2 * p
        if (l1 := T(self.l1)) != 0:  # a subgradient of l1 * sum(abs(p))
            g = g + l1 * np.sign(p)
        if not self.decay_after:
            self._decay()
        return g

    def after_rule(self, metric: Any = None, metric_lr: float = 0.0) -> None:
        """Finish state and ``p``; a ``metric`` of the state scales the threshold of proximal L1."""
        p, ema = self.p, self.ema
        T = p.dtype.type
        for array, is_stored in zip(self.arrays, self.is_stored, strict=True):
            if array is not None and is_stored:
                leave_normal_or_zero(array)
        if self.decay_after:
            self._decay()
        threshold: Any = T((self.lr if metric is None else metric_lr) * float(self.l1_prox))
        if threshold != 0:  # soft thresholding
            if metric is not None:
                threshold = threshold / metric()
            p[...] = np.sign(p) * np.maximum(np.abs(p) - threshold, T(0))
        if self.nonneg:
            p[p < 0] = 0
        if ema is not None and T(1 - float(self.ema_decay)) != 0:
            ema[...] = self._averaged(T)
            leave_normal_or_zero(ema)
        if self.update_mask is not None:
            for array, before in zip(self.written, self.before, strict=True):
                array[~self.update_mask] = before[~self.update_mask]
        if self.zero_grads:
            self.g[...] = 0

    def _averaged(self, T: Any) -> Any:
        """Return ``ema + w*(p - ema)``, rounded so that the average of a constant is exact."""
        p, ema = self.p, self.ema
        w = 1 - float(self.ema_decay)
        if T(w) < 0.5:
            return ema + T(w) * (p - ema)
        return p - T(1 - w) * (p - ema) if T(1 - w) != 0 else p

    def _decay(self) -> None:
        rate = self.p.dtype.type(self.lr * float(self.weight_decay))
        if rate != 0:
            self.p -= rate * self.p


def leave_normal_or_zero(array: Any) -> None:
    """Put zero in the place of what is smaller than the smallest normal number, and of -0."""
    array[np.abs(array) < np.finfo(array.dtype).tiny] = 0
