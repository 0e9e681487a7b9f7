"""Muon, which is two rules in Keras: one of matrices, and AdamW."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import fastopt
from fastopt.docstrings import append
from fastopt.keras.classes import NOTES, registered
from fastopt.keras.optimizer import ON_TORCH, Optimizer, keras_own


@registered
@append(
    NOTES.replace("[1.0, -2.0]", "[[1.0, -2.0]]").replace("[2.0, -4.0]", "[[2.0, -4.0]]"),
    ours="Muon",
    options="``eps_outside_max=True, match_rms_adamw=True``, `lr` times ``rms_rate/0.2`` and "
    "gradients divided by ``1 - momentum``, or that of :class:`fastopt.AdamW` with "
    "``epsilon_hat=True`` and `lr` times `adam_lr_ratio`",
    but=", which the iteration makes larger",
    what_is_left="matrices where `rms_rate` is None, ",
    result="tensor([[ 0.9540, -1.9079]])",
)
class Muon(Optimizer, keras_own("Muon")):  # type: ignore[misc]
    """Muon for matrices, AdamW for all else: ``keras.optimizers.Muon``."""

    _updates_matrices = False
    """Of which of its variables the step is that is being made."""

    def _backend_update_step(self, grads: Any, trainable_variables: Any, learning_rate: Any) -> Any:
        if not ON_TORCH:
            super()._backend_update_step(grads, trainable_variables, learning_rate)
            return
        parts: dict[bool, list[Any]] = {True: [], False: []}
        for grad, variable in zip(grads, trainable_variables, strict=True):
            squares = self.adam_velocities[self._get_variable_index(variable)]
            parts[squares is None].append((grad, variable))
        for updates_matrices, part in parts.items():
            if part:
                self._updates_matrices = updates_matrices
                of_part, variables = map(list, zip(*part, strict=True))
                super()._backend_update_step(of_part, variables, learning_rate)

    def _kind(self) -> Any:
        if not self._updates_matrices:
            return "adamw"
        possible = self.rms_rate is not None and 0 <= self.momentum < 1
        return ("muon", bool(self.nesterov), self.ns_steps) if possible else None

    def _moments(self, kind: Any) -> list[Sequence[Any]]:
        return [self.momentums, self.adam_velocities] if kind == "adamw" else [self.momentums]

    def _numbers(self, kind: Any) -> dict[str, Any]:
        if kind == "adamw":
            return {"beta1": self.adam_beta_1, "beta2": self.adam_beta_2, "eps": self.epsilon}
        coefficients = {"ns_a": self.muon_a, "ns_b": self.muon_b, "ns_c": self.muon_c}
        return {"momentum": self.momentum, **coefficients}

    def _make(self, kind: Any, params: list[Any], moments: list[list[Any]]) -> Any:
        if kind == "adamw":
            return fastopt.Adam(params, state=fastopt.AdamState(0, *moments), epsilon_hat=True)
        _, nesterov, ns_steps = kind
        options = {"nesterov": nesterov, "ns_steps": ns_steps}
        (momentums,) = moments
        state = fastopt.MuonState(0, momentums, None)
        return fastopt.Muon(
            params, state=state, eps_outside_max=True, match_rms_adamw=True, **options
        )

    def _step(
        self, bound: Any, grads: list[Any], params: list[Any], numbers: dict[str, float]
    ) -> None:
        if bound.kind == "adamw":
            numbers["lr"] *= self.adam_lr_ratio
            grad_scale = 1.0
        else:
            numbers["lr"] *= self.rms_rate / 0.2
            grad_scale = 1 / (1 - self.momentum)  # Keras' momentum is a sum, no mean
        bound.step(grads, params, numbers, self._updates(), grad_scale)
