"""The tables that the tests of `fastopt.keras` are made of."""

from __future__ import annotations

from typing import Any

import pytest

RULES: list[tuple[str, dict[str, Any]]] = [
    ("SGD", {}),
    ("SGD", {"momentum": 0.9}),
    ("SGD", {"momentum": 0.8, "nesterov": True, "learning_rate": 0.1}),
    ("SGD", {"momentum": 1.0}),
    ("SGD", {"nesterov": True}),
    ("Adam", {}),
    ("Adam", {"learning_rate": 0.1, "beta_1": 0.8, "beta_2": 0.9, "epsilon": 1e-3}),
    ("Adam", {"amsgrad": True, "beta_2": 0.7}),
    ("AdamW", {}),
    ("AdamW", {"amsgrad": True, "weight_decay": 0.1}),
    ("AdamW", {"learning_rate": 0.1, "weight_decay": 0.1}),
    ("RMSprop", {}),
    ("RMSprop", {"learning_rate": 0.1, "rho": 0.7, "epsilon": 1e-3}),
    ("RMSprop", {"centered": True, "epsilon": 1e-2}),
    ("Adagrad", {}),
    ("Adagrad", {"learning_rate": 0.1, "initial_accumulator_value": 0.5, "epsilon": 1e-3}),
    ("Adadelta", {}),
    ("Adadelta", {"learning_rate": 0.5, "rho": 0.7, "epsilon": 1e-3}),
    ("Adamax", {}),
    ("Adamax", {"learning_rate": 0.1, "beta_1": 0.8, "beta_2": 0.9, "epsilon": 1e-3}),
    ("Adafactor", {"learning_rate": 0.1}),
    ("Adafactor", {"epsilon_1": 1e-3, "epsilon_2": 0.1, "beta_2_decay": -0.5}),
    ("Adafactor", {"clip_threshold": 0.5}),
    ("Adafactor", {"learning_rate": 1.0, "relative_step": False}),
    ("Ftrl", {}),
    (
        "Ftrl",
        {
            **{"learning_rate": 0.1, "l1_regularization_strength": 0.1, "beta": 0.5},
            **{"l2_regularization_strength": 0.2, "l2_shrinkage_regularization_strength": 0.3},
            "initial_accumulator_value": 0.5,
        },
    ),
    ("Lamb", {}),
    ("Lamb", {"learning_rate": 0.1, "beta_1": 0.8, "beta_2": 0.9, "epsilon": 1e-3}),
    ("Muon", {}),
    ("Muon", {"learning_rate": 0.1, "adam_beta_1": 0.8, "adam_beta_2": 0.9, "epsilon": 1e-3}),
    ("Muon", {"momentum": 0.5, "nesterov": False, "ns_steps": 3, "muon_a": 3.0, "rms_rate": 0.5}),
    ("Muon", {"adam_lr_ratio": 0.1, "exclude_layers": ["v0"], "adam_weight_decay": 0.1}),
    ("Nadam", {}),
    ("Nadam", {"learning_rate": 0.1, "beta_1": 0.8, "beta_2": 0.9, "epsilon": 1e-3}),
    ("ScheduleFreeAdamW", {}),
    (
        "ScheduleFreeAdamW",
        {
            **{"learning_rate": 0.1, "beta_1": 0.8, "beta_2": 0.9, "epsilon": 1e-3},
            **{"warmup_steps": 3, "weight_decay": 0.1},
        },
    ),
    ("Lion", {}),
    ("Lion", {"learning_rate": 0.1, "beta_1": 0.8, "beta_2": 0.7}),
]
REFUSED: list[tuple[str, dict[str, Any]]] = [
    ("Ftrl", {"learning_rate_power": -0.4}),
    ("RMSprop", {"momentum": 0.9}),
    ("RMSprop", {"momentum": 0.9, "centered": True, "epsilon": 1e-2}),
]

# Numbers that are set between steps.
NUMBERS = {
    "SGD": {"momentum": 0.5, "nesterov": True},
    "Adam": {"beta_1": 0.5, "beta_2": 0.9, "epsilon": 1e-2},
    "AdamW": {"beta_1": 0.5, "beta_2": 0.9, "epsilon": 1e-2, "weight_decay": 0.3},
    "RMSprop": {"rho": 0.5, "epsilon": 1e-2},
    "Adagrad": {"epsilon": 1e-2},
    "Adadelta": {"rho": 0.5, "epsilon": 1e-2},
    "Adamax": {"beta_1": 0.5, "beta_2": 0.9, "epsilon": 1e-2},
    "Adafactor": {"epsilon_1": 1e-2, "beta_2_decay": -0.5, "clip_threshold": 0.5},
    "Ftrl": {"l1_regularization_strength": 0.2, "l2_regularization_strength": 0.1, "beta": 0.3},
    "Lamb": {"beta_1": 0.5, "beta_2": 0.9, "epsilon": 1e-2},
    "Muon": {"momentum": 0.5, "muon_b": -4.5, "adam_beta_1": 0.5, "epsilon": 1e-2, "rms_rate": 0.3},
    "Nadam": {"beta_1": 0.5, "beta_2": 0.9, "epsilon": 1e-2},
    "Lion": {"beta_1": 0.5, "beta_2": 0.9},
    "ScheduleFreeAdamW": {"beta_1": 0.5, "beta_2": 0.9, "epsilon": 1e-2, "warmup_steps": 20},
}
NAMES = list(NUMBERS)


def compute_as_meant(monkeypatch: pytest.MonkeyPatch) -> None:
    """Mend what Keras 3.15 does otherwise than its formulas say, on PyTorch.

    Adafactor and Muon round to float32 on the way; let them do all in float64. Schedule-Free AdamW
    changes z in place, and goes on with that where it means the one before.
    """
    torch, keras = pytest.importorskip("torch"), pytest.importorskip("keras")

    def tensor(x: Any) -> Any:
        return torch.as_tensor(keras.ops.convert_to_tensor(x), dtype=torch.float64)

    def mean(x: Any, axis: Any = None, keepdims: bool = False) -> Any:
        return tensor(x).mean() if axis is None else tensor(x).mean(dim=axis, keepdim=keepdims)

    def norm(x: Any, axis: Any, keepdims: bool) -> Any:
        return torch.linalg.norm(tensor(x), dim=axis, keepdim=keepdims)

    where = "keras.src.ops"
    monkeypatch.setattr(f"{where}.sqrt", lambda x: tensor(x).sqrt())
    monkeypatch.setattr(f"{where}.norm", norm)
    monkeypatch.setattr(f"{where}.mean", mean)
    monkeypatch.setattr(f"{where}.maximum", lambda x, y: torch.maximum(tensor(x), tensor(y)))
    monkeypatch.setattr(f"{where}.minimum", lambda x, y: torch.minimum(tensor(x), tensor(y)))

    def assign_sub(self: Any, variable: Any, value: Any) -> None:
        variable._value = torch.nn.Parameter((variable.value - value).detach())

    monkeypatch.setattr(keras.optimizers.ScheduleFreeAdamW, "assign_sub", assign_sub)
