"""The rules, one file each: the state, the formula in plain NumPy, the step, the class.

Those that go on from Adam or from Adagrad stand beside it, in a folder with its name.

A rule adds its row to ``RULES``, from which the
reference, the tables of the documentation, the benchmarks and the tests are made.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from fastopt.optimizers import Optimizer
from fastopt.rules import adagrad, adam, lion, momentum, rmsprop, sgd
from fastopt.rules.adagrad import (
    Adagrad,
    AdagradState,
    adadelta,
    adafactor,
    adagrad_init,
    adagrad_step,
)
from fastopt.rules.adagrad.adadelta import Adadelta, AdadeltaState, adadelta_init, adadelta_step
from fastopt.rules.adagrad.adafactor import (
    Adafactor,
    AdafactorState,
    adafactor_init,
    adafactor_step,
)
from fastopt.rules.adam import (
    Adam,
    AdamState,
    AdamW,
    adabelief,
    adam_init,
    adam_step,
    adamax,
    ademamix,
    adopt,
    amsgrad,
    lamb,
    nadam,
    radam,
)
from fastopt.rules.adam.adabelief import (
    AdaBelief,
    AdaBeliefState,
    adabelief_init,
    adabelief_step,
)
from fastopt.rules.adam.adamax import Adamax, AdamaxState, adamax_init, adamax_step
from fastopt.rules.adam.ademamix import AdEMAMix, AdEMAMixState, ademamix_init, ademamix_step
from fastopt.rules.adam.adopt import ADOPT, ADOPTState, adopt_init, adopt_step
from fastopt.rules.adam.amsgrad import AMSGrad, AMSGradState, amsgrad_init, amsgrad_step
from fastopt.rules.adam.lamb import LAMB, LAMBState, lamb_init, lamb_step
from fastopt.rules.adam.nadam import NAdam, NAdamState, nadam_init, nadam_step
from fastopt.rules.adam.radam import RAdam, RAdamState, radam_init, radam_step
from fastopt.rules.lion import Lion, LionState, lion_init, lion_step
from fastopt.rules.momentum import Momentum, MomentumState, momentum_init, momentum_step
from fastopt.rules.rmsprop import RMSprop, RMSpropState, rmsprop_init, rmsprop_step
from fastopt.rules.sgd import SGD, sgd_step


@dataclass(frozen=True)
class Rule:
    """What there is of a rule."""

    step: Callable[..., Any]
    init: Callable[..., Any] | None
    """What makes its state; None where it has none."""
    state: type[Any] | None
    """The class of its state; None where it has none."""
    formula: Callable[..., Any]
    """The rule for one array, in plain NumPy: the specification.

    It takes ``T``, the type of the dtype, to round numbers to; ``t``, which counts steps from 1;
    ``o``, the options, whose ``total`` adds up a function of all elements as kernels do; then
    parameter, gradient and the arrays of the state, and changes them in place. One with a metric
    returns a function that gives that of the state as it is by then, and the learning rate that
    goes with it.
    """
    optimizers: tuple[type[Optimizer], ...]


RULES = {
    "sgd": Rule(sgd_step, None, None, sgd.formula, (SGD,)),
    "momentum": Rule(momentum_step, momentum_init, MomentumState, momentum.formula, (Momentum,)),
    "adam": Rule(adam_step, adam_init, AdamState, adam.formula, (Adam, AdamW)),
    "rmsprop": Rule(rmsprop_step, rmsprop_init, RMSpropState, rmsprop.formula, (RMSprop,)),
    "adagrad": Rule(adagrad_step, adagrad_init, AdagradState, adagrad.formula, (Adagrad,)),
    "adadelta": Rule(adadelta_step, adadelta_init, AdadeltaState, adadelta.formula, (Adadelta,)),
    "adamax": Rule(adamax_step, adamax_init, AdamaxState, adamax.formula, (Adamax,)),
    "lion": Rule(lion_step, lion_init, LionState, lion.formula, (Lion,)),
    "amsgrad": Rule(amsgrad_step, amsgrad_init, AMSGradState, amsgrad.formula, (AMSGrad,)),
    "radam": Rule(radam_step, radam_init, RAdamState, radam.formula, (RAdam,)),
    "lamb": Rule(lamb_step, lamb_init, LAMBState, lamb.formula, (LAMB,)),
    "nadam": Rule(nadam_step, nadam_init, NAdamState, nadam.formula, (NAdam,)),
    "ademamix": Rule(ademamix_step, ademamix_init, AdEMAMixState, ademamix.formula, (AdEMAMix,)),
    "adopt": Rule(adopt_step, adopt_init, ADOPTState, adopt.formula, (ADOPT,)),
    "adabelief": Rule(
        adabelief_step, adabelief_init, AdaBeliefState, adabelief.formula, (AdaBelief,)
    ),
    "adafactor": Rule(
        adafactor_step, adafactor_init, AdafactorState, adafactor.formula, (Adafactor,)
    ),
}

__all__ = [
    "ADOPT",
    "LAMB",
    "SGD",
    "ADOPTState",
    "AMSGrad",
    "AMSGradState",
    "AdEMAMix",
    "AdEMAMixState",
    "AdaBelief",
    "AdaBeliefState",
    "Adadelta",
    "AdadeltaState",
    "Adafactor",
    "AdafactorState",
    "Adagrad",
    "AdagradState",
    "Adam",
    "AdamState",
    "AdamW",
    "Adamax",
    "AdamaxState",
    "LAMBState",
    "Lion",
    "LionState",
    "Momentum",
    "MomentumState",
    "NAdam",
    "NAdamState",
    "RAdam",
    "RAdamState",
    "RMSprop",
    "RMSpropState",
    "adabelief_init",
    "adabelief_step",
    "adadelta_init",
    "adadelta_step",
    "adafactor_init",
    "adafactor_step",
    "adagrad_init",
    "adagrad_step",
    "adam_init",
    "adam_step",
    "adamax_init",
    "adamax_step",
    "ademamix_init",
    "ademamix_step",
    "adopt_init",
    "adopt_step",
    "amsgrad_init",
    "amsgrad_step",
    "lamb_init",
    "lamb_step",
    "lion_init",
    "lion_step",
    "momentum_init",
    "momentum_step",
    "nadam_init",
    "nadam_step",
    "radam_init",
    "radam_step",
    "rmsprop_init",
    "rmsprop_step",
    "sgd_step",
]
