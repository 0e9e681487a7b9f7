"""The tables of what is done around a rule, which the tests are made of."""

from __future__ import annotations

from typing import Any

# What can be done around a rule. True stands for a tree like the parameters.
TERMS: list[dict[str, Any]] = [
    {},
    {"grad_scale": 0.125},
    {"maximize": True},
    {"l2": 0.01},
    {"l1": 0.01},
    {"weight_decay": 0.1},
    {"weight_decay": 0.1, "decay_after": True},
    {"l1_prox": 0.3},
    {"nonneg": True},
    {"nonneg": True, "l1_prox": 0.3, "weight_decay": 0.1, "decay_after": True},
    {"zero_grads": True},
    {"mask": True},
    {"mask": True, "keep_prob": 0.7},
    {"mask": True, "keep_prob": 0.7, "zero_grads": True, "l1": 0.01},
    {"clip_norm": 0.5},
    {"clip_norm": 1e9, "clip_eps": 0.0},
    {"clip_tensor_norm": 3.0, "grad_scale": -2.0},
    {"clip_value": 0.5},
    {"ema": True, "ema_decay": 0.75},
    {"ema": True, "ema_decay": 0.9, "mask": True, "keep_prob": 0.5},
    {"skip_nonfinite": True},
    {"clip_norm": 2.0, "weight_decay": 0.1, "ema": True, "ema_decay": 0.99, "skip_nonfinite": True},
    {
        "clip_tensor_norm": 10.0,
        "clip_value": 0.7,
        "ema": True,
        "ema_decay": 0.5,
        "grad_scale": 3.0,
        "maximize": True,
        "mask": True,
        "keep_prob": 0.3,
        "l2": 0.02,
        "l1": 0.03,
        "weight_decay": 0.2,
        "decay_after": True,
        "l1_prox": 0.2,
        "zero_grads": True,
    },
]

# The same for terms that may differ from entry to entry. Words stand for what `filled_terms` makes:
# masks in some form, penalties for "each" array or every "branch". Of drop, p is given.
ENTRY_TERMS: list[dict[str, Any]] = [
    {"mask": "uint8", "keep_prob": 0.7},
    {"mask": "mixed", "keep_prob": 0.7},
    {"mask": "packed", "keep_prob": 0.7, "zero_grads": True, "clip_value": 0.5},
    {"update_mask": "uint8", "weight_decay": 0.1, "zero_grads": True},
    {"update_mask": "packed", "l1_prox": 0.3, "ema": True, "ema_decay": 0.75},
    {"update_mask": "packed", "mask": "packed", "keep_prob": 0.7, "clip_norm": 0.5},
    {"update_mask": "bool", "mask": "uint8", "skip_nonfinite": True},
    {"drop": 0.0},
    {"drop": 0.3},
    {"drop": 1.0, "l1": 0.01},
    {"drop": 1 / 65536, "update_mask": "mixed", "grad_scale": 0.125},
    {"l1": "each"},
    {"l2": "each"},
    {"weight_decay": "each"},
    {"weight_decay": "branch", "decay_after": True},
    {"l1_prox": "each", "nonneg": True},
    {
        "clip_tensor_norm": 10.0,
        "clip_value": 0.7,
        "ema": True,
        "ema_decay": 0.5,
        "grad_scale": 3.0,
        "maximize": True,
        "drop": 0.7,
        "update_mask": "mixed",
        "l2": "branch",
        "l1": "each",
        "weight_decay": "each",
        "decay_after": True,
        "l1_prox": "branch",
        "zero_grads": True,
    },
]


def name_of_terms(terms: dict[str, Any]) -> str:
    words = (f"{k}={v}" if isinstance(v, str) or k == "drop" else k for k, v in terms.items())
    return ",".join(words) or "plain"
