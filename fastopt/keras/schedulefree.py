"""Schedule-Free AdamW, in whose mean Keras gives all steps the same weight."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

import fastopt
from fastopt.docstrings import append
from fastopt.keras.classes import NOTES, registered
from fastopt.keras.optimizer import Optimizer, keras_own


@registered
@append(
    NOTES,
    ours="ScheduleFreeAdamW",
    options="``weight_lr_power=0.0``",
    but=", and from Keras 3.15 on PyTorch, whose ``update_step`` has changed ``z`` in place where "
    "its formula has the one before",
    what_is_left="",
    result="tensor([ 0.5000, -1.5000])",
)
class ScheduleFreeAdamW(Optimizer, keras_own("ScheduleFreeAdamW")):  # type: ignore[misc]
    """Schedule-Free AdamW: ``keras.optimizers.ScheduleFreeAdamW``."""

    def _kind(self) -> Any:
        return "schedulefree_adamw"

    def _moments(self, kind: Any) -> list[Sequence[Any]]:
        return [self._momentums, self._velocities]

    def _numbers(self, kind: Any) -> dict[str, Any]:
        return {
            "beta1": self.beta_1,
            "beta2": self.beta_2,
            "eps": self.epsilon,
            "warmup_steps": self.warmup_steps,
        }

    def _make(self, kind: Any, params: list[Any], moments: list[list[Any]]) -> Any:
        sums, rates = ([np.zeros(()) for _ in params] for _ in range(2))
        z, v = moments
        state = fastopt.ScheduleFreeAdamWState(0, z, v, sums, rates)
        return fastopt.ScheduleFreeAdamW(params, state=state, weight_lr_power=0.0)

    def _step(self, bound: Any, grads: list[Any], params: list[Any], *numbers: Any) -> None:
        updates = self._updates()
        for total in bound.group._arrays()["weight_sum"]:
            total[...] = updates  # each had the weight 1
        # Keras starts from its z, wherever the variables are by now; so does the step that Keras
        # makes should this one be refused.
        if updates == 0:
            for p, z in zip(params, bound.tensors[len(params) :], strict=False):
                p.detach().copy_(z.detach())
        super()._step(bound, grads, params, *numbers)
