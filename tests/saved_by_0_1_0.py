"""A run that version 0.1.0 saved in the middle, so that each later one can show that it goes on."""

from __future__ import annotations

from typing import Any

import numpy as np

import fastopt
from fastopt.schedules import Cosine, ReduceOnPlateau, Warmup


def new_run() -> tuple[dict[str, Any], Any, Any]:
    rng = np.random.default_rng(7)
    params = {
        "layer": {
            "w": rng.standard_normal((5, 3)).astype(np.float32),
            "bias": np.zeros(3, np.float32),
        },
        "head": rng.standard_normal(4),
    }
    plateau = ReduceOnPlateau(0.01, patience=1)
    opt = fastopt.AdamW(
        fastopt.groups(params, {"*.bias": {"weight_decay": 0.0, "lr": plateau}}),
        lr=Warmup(Cosine(0.1, steps=20), steps=3),
        clip_norm=1.0,
        skip_nonfinite=True,
        ema_decay=0.9,
        ema_debias=True,
        drop=fastopt.Dropout(0.25, seed=3),
    )
    return params, opt, plateau


def gradients(step: int) -> dict[str, Any]:
    rng = np.random.default_rng(100 + step)
    return {
        "layer": {
            "w": rng.standard_normal((5, 3)).astype(np.float32),
            "bias": rng.standard_normal(3).astype(np.float32),
        },
        "head": rng.standard_normal(4),
    }


def go_on(opt: Any) -> None:
    opt.accumulate(gradients(6))
    opt.step()
    for k in range(7, 10):
        opt.step(gradients(k), grad_scale=0.5)


# Made by version 0.1.0: saved after five steps and one accumulated gradient, then gone on with.
