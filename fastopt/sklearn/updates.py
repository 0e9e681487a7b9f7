"""What a perceptron of scikit-learn expects of its optimizer, done by one of fastopt."""

from __future__ import annotations

import copy
import pickle
from collections.abc import Sequence
from typing import Any

from numpy.typing import NDArray

from fastopt.optimizers.optimizer import Optimizer


def named(arrays: Sequence[NDArray[Any]]) -> dict[str, list[NDArray[Any]]]:
    """Return the arrays of a network, all weights first, as a tree with names."""
    half = len(arrays) // 2
    return {"coefs": [*arrays[:half]], "intercepts": [*arrays[half:]]}


class Updates:
    """Stands in the place of scikit-learn's own optimizer, with the methods that it calls.

    What it replaces goes on to decide about the learning rate and about the end of training.
    """

    def __init__(self, optimizer: Optimizer, replaced: Any, *, follows: bool) -> None:
        """Take the place of `replaced`, and its learning rates if `follows`."""
        self._optimizer: Optimizer | bytes = optimizer
        self._replaced, self._follows = replaced, follows
        for moments in ("velocities", "ms", "vs"):  # which would only take memory
            if hasattr(replaced, moments):
                setattr(replaced, moments, [])

    @property
    def optimizer(self) -> Optimizer:
        """What makes the updates."""
        if isinstance(self._optimizer, bytes):
            unpacked: Optimizer = pickle.loads(self._optimizer)
            self._optimizer = unpacked
        return self._optimizer

    def __getstate__(self) -> dict[str, Any]:
        """Pickle the optimizer apart: joblib may load arrays that are read-only, which it refuses.

        Such a network predicts; to go on training, it needs arrays that can be written.
        """
        packed = self._optimizer
        if not isinstance(packed, bytes):
            packed = pickle.dumps(packed)
        return {**vars(self), "_optimizer": packed}

    def __deepcopy__(self, memo: dict[int, Any]) -> Updates:
        optimizer, replaced = copy.deepcopy((self.optimizer, self._replaced), memo)
        return Updates(optimizer, replaced, follows=self._follows)

    @property
    def learning_rate(self) -> float:
        """The learning rate of the next update."""
        return float(self.optimizer.current()[0]["lr"])

    def update_params(self, params: Sequence[NDArray[Any]], grads: Sequence[NDArray[Any]]) -> None:
        """Change `params` in place, which may be other arrays than before.

        Where examples have weights, scikit-learn's gradients are float64 whatever `params` are.
        """
        fitting = [g.astype(p.dtype, copy=False) for p, g in zip(params, grads, strict=True)]
        self.optimizer.step(named(fitting), params=named(params))

    def iteration_ends(self, time_step: int) -> None:
        """Turn to the learning rate of the next epoch, after so many examples."""
        self._replaced.iteration_ends(time_step)
        self._follow()

    def trigger_stopping(self, msg: str, verbose: bool) -> bool:
        """Tell whether training is to end where it no longer helps; else go on more slowly."""
        ends = bool(self._replaced.trigger_stopping(msg, verbose))
        self._follow()
        return ends

    def _follow(self) -> None:
        if self._follows:
            for group in self.optimizer.groups:
                group["lr"] = self._replaced.learning_rate
