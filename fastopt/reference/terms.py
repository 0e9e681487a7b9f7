"""What every step does around its rule: to the gradient before, to the parameter around it."""

from __future__ import annotations

from collections.abc import Iterator
from types import SimpleNamespace
from typing import Any

import numpy as np

from fastopt.reference.dropout import as_bools, keep_mask, keep_prob
from fastopt.reference.norms import global_norm, norm_of
from fastopt.result import StepResult
from fastopt.tree import Tree, paths, zip_trees

OF_ENTRIES = ("l1", "l2", "weight_decay", "l1_prox", "mask", "update_mask", "ema")
"""Options that every array of parameters may have for itself."""


def measure(o: SimpleNamespace, params: Tree, grads: Tree) -> StepResult | None:
    """Look at all gradients first, where an option asks for it; clip them by `o.grad_scale`."""
    if not (o.clip_norm or o.clip_tensor_norm or o.skip_nonfinite):
        return None
    named = zip(paths(params), zip_trees(params, grads), strict=True)
    there = {path: g for path, (_, g) in named if g is not None}
    norm = norm_of(list(there.values()), list(there))
    result = StepResult(
        skipped=o.skip_nonfinite and not norm.finite,
        grad_norm=abs(o.grad_scale) * norm,
        nonfinite=norm.nonfinite,
    )
    if o.clip_norm and not result.skipped:
        o.grad_scale *= _clip_factor(o.clip_norm, result.grad_norm, o.clip_eps)
    return result


def _clip_factor(max_norm: float, norm: float, eps: float) -> float:
    """Pascanu et al. 2013, algorithm 1; a norm that is NaN gives NaN."""
    if norm + float(eps) == 0:
        return 1.0
    factor = float(max_norm) / (norm + float(eps))
    return 1.0 if factor >= 1 else factor


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
        entry = Entry(**vars(o) | dict(zip(OF_ENTRIES, own, strict=True)), p=p, g=g, arrays=arrays)
        entry.mask, entry.update_mask = as_bools(entry.mask, p), as_bools(entry.update_mask, p)
        if drop is not None:
            offset = (drop.offset + number) % 2**64
            entry.mask = keep_mask(p.size, drop.p, seed=drop.seed, offset=offset).reshape(p.shape)
            entry.keep_prob = keep_prob(drop.p)
        yield number, entry, p, *arrays
    if drop is not None:
        drop.offset = (drop.offset + len(paths(params))) % 2**64


class Entry(SimpleNamespace):
    """One array `p` of the parameters, its gradient `g`, its state in `arrays`, its options."""

    def before_rule(self) -> Any:
        """Return the gradient that the rule sees; decay ``p`` if that comes first."""
        p, g = self.p, self.g
        T = p.dtype.type
        self.written = [x for x in (p, self.ema, *self.arrays) if x is not None]
        self.before = [x.copy() for x in self.written] if self.update_mask is not None else []
        scale = -self.grad_scale if self.maximize else self.grad_scale
        if self.clip_tensor_norm:
            norm = abs(self.grad_scale) * global_norm(g)
            scale *= _clip_factor(self.clip_tensor_norm, norm, self.clip_eps)
        if T(scale) != 1:
            g = g * T(scale)
        if self.clip_value is not None:
            g = np.clip(g, T(-self.clip_value), T(self.clip_value))
        if self.mask is not None:  # DropConnect, Wan et al. 2013
            g = np.where(self.mask, g * T(1 / (self.keep_prob or 1.0)), T(0))
        if (l2 := T(self.l2)) != 0:  # the gradient of (l2/2) * sum(p**2)
            g = g + l2 * p
        if (l1 := T(self.l1)) != 0:  # a subgradient of l1 * sum(abs(p))
            g = g + l1 * np.sign(p)
        if not self.decay_after:
            self._decay()
        return g

    def after_rule(self, metric: Any = None, metric_lr: float = 0.0) -> None:
        """Finish ``p``; a ``metric`` scales the threshold of proximal L1."""
        p, ema = self.p, self.ema
        T = p.dtype.type
        if self.decay_after:
            self._decay()
        threshold: Any = T((self.lr if metric is None else metric_lr) * float(self.l1_prox))
        if threshold != 0:  # soft thresholding
            if metric is not None:
                threshold = threshold / metric
            p[...] = np.sign(p) * np.maximum(np.abs(p) - threshold, T(0))
        if self.nonneg:
            p[p < 0] = 0
        if ema is not None:
            d = float(self.ema_decay)
            ema[...] = T(d) * ema + T(1 - d) * p
        if self.update_mask is not None:
            for array, before in zip(self.written, self.before, strict=True):
                array[~self.update_mask] = before[~self.update_mask]
        if self.zero_grads:
            self.g[...] = 0

    def _decay(self) -> None:
        rate = self.p.dtype.type(self.lr * float(self.weight_decay))
        if rate != 0:
            self.p -= rate * self.p
