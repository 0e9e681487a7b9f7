"""The tables that the tests of `fastopt.keras` are made of."""

from __future__ import annotations

from typing import Any

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
    ("Lamb", {}),
    ("Lamb", {"learning_rate": 0.1, "beta_1": 0.8, "beta_2": 0.9, "epsilon": 1e-3}),
    ("Nadam", {}),
    ("Nadam", {"learning_rate": 0.1, "beta_1": 0.8, "beta_2": 0.9, "epsilon": 1e-3}),
    ("Lion", {}),
    ("Lion", {"learning_rate": 0.1, "beta_1": 0.8, "beta_2": 0.7}),
]
REFUSED: list[tuple[str, dict[str, Any]]] = [
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
    "Lamb": {"beta_1": 0.5, "beta_2": 0.9, "epsilon": 1e-2},
    "Nadam": {"beta_1": 0.5, "beta_2": 0.9, "epsilon": 1e-2},
    "Lion": {"beta_1": 0.5, "beta_2": 0.9},
}
NAMES = list(NUMBERS)
