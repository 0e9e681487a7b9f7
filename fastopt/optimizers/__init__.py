"""Optimizer objects: they hold parameters, state and options, and call the step of their rule.

Nothing is computed here that the functional steps do not compute: an object is their arguments,
checked once and kept.
"""

from fastopt.optimizers.base import Optimizer
from fastopt.optimizers.entries import Grouping, groups
from fastopt.optimizers.options import Group, Options
from fastopt.optimizers.rules import SGD, Adam, AdamW, Momentum, RMSprop
from fastopt.optimizers.scaling import LossScaler

__all__ = [
    "SGD",
    "Adam",
    "AdamW",
    "Group",
    "Grouping",
    "LossScaler",
    "Momentum",
    "Optimizer",
    "Options",
    "RMSprop",
    "groups",
]
