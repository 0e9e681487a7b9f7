"""Optimizer updates on NumPy arrays: in place, in one pass over memory, bit for bit the formula.

>>> import numpy as np, fastopt
>>> params = {"w": np.ones((3, 2)), "b": np.zeros(2)}
>>> grads = {"w": np.full((3, 2), 0.5), "b": np.ones(2)}
>>> state = fastopt.adam_init(params)
>>> fastopt.adam_step(params, grads, state, lr=1e-3, l2=1e-4)
>>> state.step
1
"""

from fastopt import _core, interop, reference, rules, schedules
from fastopt._info import __version__, get_include, info
from fastopt.checkpoint import load, save
from fastopt.dropout import Dropout, dropout, dropout_backward, dropout_mask
from fastopt.interop.other_names import instead_of
from fastopt.optimizers import LossScaler, Optimizer, groups
from fastopt.regularization import Sparsity, max_norm, penalty, sparsity
from fastopt.result import GlobalNorm, Loaded, StepResult, global_norm
from fastopt.rules import *  # noqa: F403  (its own list of public names says which)
from fastopt.threads import (
    default_num_threads,
    get_num_threads,
    register_with_threadpoolctl,
    set_num_threads,
)

_core.use_classes(StepResult, Dropout)
_core.use_other_names(instead_of)
_core.set_num_threads(default_num_threads())
register_with_threadpoolctl()
del default_num_threads, instead_of, register_with_threadpoolctl

__all__ = [
    "Dropout",
    "GlobalNorm",
    "Loaded",
    "LossScaler",
    "Optimizer",
    "Sparsity",
    "StepResult",
    "__version__",
    "dropout",
    "dropout_backward",
    "dropout_mask",
    "get_include",
    "get_num_threads",
    "global_norm",
    "groups",
    "info",
    "interop",
    "load",
    "max_norm",
    "penalty",
    "reference",
    "save",
    "schedules",
    "set_num_threads",
    "sparsity",
]
__all__ += rules.__all__
