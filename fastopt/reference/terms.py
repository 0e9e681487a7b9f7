"""What every step does around its rule: to the gradient before, to the parameter around it."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import numpy as np

from fastopt.reference.dropout import as_bools, keep_mask, keep_prob
from fastopt.reference.norms import global_norm, norm_of
from fastopt.result import StepResult
from fastopt.tree import Tree, paths, zip_trees


class Terms:
    """The terms of one step."""

    def __init__(self, lr: float, options: dict[str, Any]) -> None:
        self.lr = lr
        self.options = options
        self.grad_scale = float(self.options["grad_scale"])

    def measure(self, params: Tree, grads: Tree) -> StepResult | None:
        """Look at all gradients first, where clipping or skipping asks for it."""
        clip_norm, clip_tensor_norm = self.options["clip_norm"], self.options["clip_tensor_norm"]
        skip_nonfinite = self.options["skip_nonfinite"]
        if not (clip_norm or clip_tensor_norm or skip_nonfinite):
            return None
        norm = norm_of([g for _, g in zip_trees(params, grads)], paths(params))
        result = StepResult(
            skipped=skip_nonfinite and not norm.finite,
            grad_norm=abs(self.grad_scale) * norm,
            nonfinite=norm.nonfinite,
        )
        if clip_norm and not result.skipped:
            self.grad_scale *= self.clip_factor(clip_norm, result.grad_norm)
        return result

    def clip_factor(self, max_norm: float, norm: float) -> float:
        """Pascanu et al. 2013, algorithm 1; a norm that is NaN gives NaN."""
        eps = float(self.options["clip_eps"])
        if norm + eps == 0:
            return 1.0
        factor = float(max_norm) / (norm + eps)
        return 1.0 if factor >= 1 else factor

    def entries(self, params: Tree, grads: Tree, *state: Tree | None) -> Iterator[tuple[Any, ...]]:
        """Yield the terms of every entry, its parameter, and what the state has for it."""
        drop = self.options["drop"]
        own = ("l1", "l2", "weight_decay", "l1_prox", "mask", "update_mask", "ema")
        trees = [self.options[name] for name in own]
        entries = zip_trees(params, grads, *state, *trees)
        for number, (p, g, *rest) in enumerate(entries):
            arrays = rest[: len(state)]
            terms = EntryTerms(
                self, p, g, [x for x in arrays if x is not None], *rest[len(state) :]
            )
            if drop is not None and drop.training:
                offset = (drop.offset + number) % 2**64
                keep = keep_mask(p.size, drop.p, seed=drop.seed, offset=offset)
                terms.mask, terms.keep_prob = keep.reshape(p.shape), keep_prob(drop.p)
            yield terms, p, *arrays
        if drop is not None and drop.training:
            drop.offset = (drop.offset + len(paths(params))) % 2**64


@dataclass
class EntryTerms:
    """The terms of one array of parameters."""

    step: Terms
    p: Any
    grad: Any
    state: list[Any]
    l1: float
    l2: float
    weight_decay: float
    l1_prox: float
    mask: Any
    update_mask: Any
    ema: Any

    def __post_init__(self) -> None:
        self.keep_prob = float(self.step.options["keep_prob"])
        self.mask = as_bools(self.mask, self.p)
        self.update_mask = as_bools(self.update_mask, self.p)

    def before_rule(self) -> Any:
        """Return the gradient that the rule sees; decay ``p`` if that comes first."""
        p, g, options = self.p, self.grad, self.step.options
        T = p.dtype.type
        self.written = [x for x in (p, self.ema, *self.state) if x is not None]
        self.before = [x.copy() for x in self.written] if self.update_mask is not None else []
        scale = -self.step.grad_scale if options["maximize"] else self.step.grad_scale
        if options["clip_tensor_norm"]:
            norm = abs(self.step.grad_scale) * global_norm(g)
            scale *= self.step.clip_factor(options["clip_tensor_norm"], norm)
        if T(scale) != 1:
            g = g * T(scale)
        if options["clip_value"] is not None:
            g = np.clip(g, T(-options["clip_value"]), T(options["clip_value"]))
        if self.mask is not None:  # DropConnect, Wan et al. 2013
            g = np.where(self.mask, g * T(1 / self.keep_prob if self.keep_prob else 1), T(0))
        if (l2 := T(self.l2)) != 0:  # the gradient of (l2/2) * sum(p**2)
            g = g + l2 * p
        if (l1 := T(self.l1)) != 0:  # a subgradient of l1 * sum(abs(p))
            g = g + l1 * np.sign(p)
        if not options["decay_after"]:
            self._decay()
        return g

    def after_rule(self, metric: Any = None, metric_lr: float = 0.0) -> None:
        """Finish ``p``; a ``metric`` scales the threshold of proximal L1."""
        p, ema, options = self.p, self.ema, self.step.options
        T = p.dtype.type
        if options["decay_after"]:
            self._decay()
        threshold: Any = T((self.step.lr if metric is None else metric_lr) * float(self.l1_prox))
        if threshold != 0:  # soft thresholding
            if metric is not None:
                threshold = threshold / metric
            p[...] = np.sign(p) * np.maximum(np.abs(p) - threshold, T(0))
        if options["nonneg"]:
            p[p < 0] = 0
        if ema is not None:
            d = float(options["ema_decay"])
            ema[...] = T(d) * ema + T(1 - d) * p
        if self.update_mask is not None:
            for array, before in zip(self.written, self.before, strict=True):
                array[~self.update_mask] = before[~self.update_mask]
        if options["zero_grads"]:
            self.grad[...] = 0

    def _decay(self) -> None:
        rate = self.p.dtype.type(self.step.lr * float(self.weight_decay))
        if rate != 0:
            self.p -= rate * self.p
