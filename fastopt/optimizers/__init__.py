"""Optimizer objects: they hold parameters, state and options, and make the step of their rule.

Nothing is computed here that the functional steps do not compute: an object is their arguments,
checked once and kept. The classes of the rules are in :mod:`fastopt.rules`.
"""

from fastopt.optimizers.entries import Grouping, Params, groups
from fastopt.optimizers.group import Group
from fastopt.optimizers.optimizer import Optimizer
from fastopt.optimizers.options import (
    OptimizerOptions,
    Options,
    OptionsWithoutDecay,
    Scheduled,
)
from fastopt.optimizers.scaling import LossScaler

__all__ = [
    "Group",
    "Grouping",
    "LossScaler",
    "Optimizer",
    "OptimizerOptions",
    "Options",
    "OptionsWithoutDecay",
    "Params",
    "Scheduled",
    "groups",
]
