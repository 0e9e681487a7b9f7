"""Optimizer updates on NumPy arrays: in place, in one pass over memory, bit for bit the formula.

>>> import numpy as np, fastopt
>>> params = {"w": np.ones((3, 2)), "b": np.zeros(2)}
>>> grads = {"w": np.full((3, 2), 0.5), "b": np.ones(2)}
>>> state = fastopt.adam_init(params)
>>> fastopt.adam_step(params, grads, state, lr=1e-3, l2=1e-4)
>>> state.step
1
"""

from fastopt import _core, _threadpoolctl, interop, reference, schedules
from fastopt._info import info
from fastopt._version import __version__
from fastopt.checkpoint import load, save
from fastopt.dropout import Dropout, dropout, dropout_backward, dropout_mask
from fastopt.functional import adam_step, momentum_step, rmsprop_step, sgd_step
from fastopt.optimizers import (
    SGD,
    Adam,
    AdamW,
    LossScaler,
    Momentum,
    Optimizer,
    RMSprop,
    groups,
)
from fastopt.regularization import Sparsity, max_norm, penalty, sparsity
from fastopt.result import GlobalNorm, StepResult, global_norm
from fastopt.state import (
    AdamState,
    MomentumState,
    RMSpropState,
    adam_init,
    momentum_init,
    rmsprop_init,
)
from fastopt.threads import default_num_threads, get_num_threads, set_num_threads

_core.use_classes(StepResult, Dropout)
_core.set_num_threads(default_num_threads())
_threadpoolctl.register()
del default_num_threads

__all__ = [
    "SGD",
    "Adam",
    "AdamState",
    "AdamW",
    "Dropout",
    "GlobalNorm",
    "LossScaler",
    "Momentum",
    "MomentumState",
    "Optimizer",
    "RMSprop",
    "RMSpropState",
    "Sparsity",
    "StepResult",
    "__version__",
    "adam_init",
    "adam_step",
    "dropout",
    "dropout_backward",
    "dropout_mask",
    "get_num_threads",
    "global_norm",
    "groups",
    "info",
    "interop",
    "load",
    "max_norm",
    "momentum_init",
    "momentum_step",
    "penalty",
    "reference",
    "rmsprop_init",
    "rmsprop_step",
    "save",
    "schedules",
    "set_num_threads",
    "sgd_step",
    "sparsity",
]
