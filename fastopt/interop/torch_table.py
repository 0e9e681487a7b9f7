"""What torch calls the parts of our rules."""

from __future__ import annotations

from fastopt.interop.table import Row
from fastopt.rules import SGD, Adam, Momentum, RMSprop

OPTIONS = {"lr": "lr", "weight_decay": "l2", "maximize": "maximize"}
LOOPS = {"foreach": None, "differentiable": False}  # how torch computes, not what
FUSED = {**LOOPS, "fused": None}

TORCH = {
    "sgd": Row(SGD, {}, OPTIONS, {**FUSED, "momentum": 0.0, "dampening": 0.0, "nesterov": False}),
    "momentum": Row(
        Momentum,
        {"buf": "momentum_buffer"},
        {**OPTIONS, "momentum": "momentum", "dampening": "dampening", "nesterov": "nesterov"},
        FUSED,
    ),
    "adam": Row(
        Adam,
        {"m": "exp_avg", "v": "exp_avg_sq"},
        {**OPTIONS, "betas": "beta1 beta2", "eps": "eps"},
        {**FUSED, "capturable": False, "amsgrad": False, "decoupled_weight_decay": False},
    ),
    "rmsprop": Row(
        RMSprop,
        {"v": "square_avg", "avg": "grad_avg", "buf": "momentum_buffer"},
        {**OPTIONS, "alpha": "rho", "eps": "eps", "momentum": "momentum", "centered": "centered"},
        {**LOOPS, "capturable": False},
    ),
}
ADAMW = TORCH["adam"]._replace(
    options={**TORCH["adam"].options, "weight_decay": "weight_decay"},
    theirs={**TORCH["adam"].theirs, "decoupled_weight_decay": True},
)
COUNTING = TORCH.keys() - {"sgd", "momentum"}
"""Rules of which torch counts the steps, parameter by parameter."""

NEWER = {*FUSED, "maximize", "capturable", "decoupled_weight_decay"}
"""What the groups of older torch have not."""
