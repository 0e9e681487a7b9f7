"""The rules, one file each: the state, the formula in plain NumPy, the step, the class.

Those that go on from Adam or from Adagrad stand beside it, in a folder with its name; what makes
rules cautious in `cautious/`. `orthogonal.py` and `starts.py` are parts of rules.

A rule adds its row to ``RULES``, from which the
reference, the tables of the documentation, the benchmarks and the tests are made.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any

from fastopt.optimizers import Optimizer
from fastopt.rules import (
    adagrad,
    adam,
    asgd,
    lars,
    lion,
    momentum,
    muon,
    rmsprop,
    rprop,
    schedulefree,
    sgd,
    signum,
    sophia,
)
from fastopt.rules.adagrad import (
    Adagrad,
    AdagradState,
    adadelta,
    adafactor,
    adagrad_init,
    adagrad_step,
    ftrl,
    rowwise_adagrad,
)
from fastopt.rules.adagrad.adadelta import Adadelta, AdadeltaState, adadelta_init, adadelta_step
from fastopt.rules.adagrad.adafactor import (
    Adafactor,
    AdafactorState,
    adafactor_init,
    adafactor_step,
)
from fastopt.rules.adagrad.ftrl import FTRL, FTRLState, ftrl_init, ftrl_step
from fastopt.rules.adagrad.rowwise_adagrad import (
    RowWiseAdagrad,
    RowWiseAdagradState,
    rowwise_adagrad_init,
    rowwise_adagrad_step,
)
from fastopt.rules.adam import (
    Adam,
    AdamState,
    AdamW,
    adabelief,
    adam_init,
    adam_step,
    adamax,
    adan,
    ademamix,
    adopt,
    amsgrad,
    lamb,
    nadam,
    prodigy,
    radam,
    schedulefree_adamw,
    yogi,
)
from fastopt.rules.adam.adabelief import (
    AdaBelief,
    AdaBeliefState,
    adabelief_init,
    adabelief_step,
)
from fastopt.rules.adam.adamax import Adamax, AdamaxState, adamax_init, adamax_step
from fastopt.rules.adam.adan import Adan, AdanState, adan_init, adan_step
from fastopt.rules.adam.ademamix import AdEMAMix, AdEMAMixState, ademamix_init, ademamix_step
from fastopt.rules.adam.adopt import ADOPT, ADOPTState, adopt_init, adopt_step
from fastopt.rules.adam.amsgrad import AMSGrad, AMSGradState, amsgrad_init, amsgrad_step
from fastopt.rules.adam.lamb import LAMB, LAMBState, lamb_init, lamb_step
from fastopt.rules.adam.nadam import NAdam, NAdamState, nadam_init, nadam_step
from fastopt.rules.adam.prodigy import Prodigy, ProdigyState, prodigy_init, prodigy_step
from fastopt.rules.adam.radam import RAdam, RAdamState, radam_init, radam_step
from fastopt.rules.adam.schedulefree_adamw import (
    ScheduleFreeAdamW,
    ScheduleFreeAdamWState,
    schedulefree_adamw_init,
    schedulefree_adamw_step,
)
from fastopt.rules.adam.yogi import Yogi, YogiState, yogi_init, yogi_step
from fastopt.rules.asgd import ASGD, ASGDState, asgd_init, asgd_step
from fastopt.rules.cautious import adam as cautious_adam
from fastopt.rules.cautious import lion as cautious_lion
from fastopt.rules.cautious import nadam as cautious_nadam
from fastopt.rules.cautious.adam import CautiousAdam, cautious_adam_init, cautious_adam_step
from fastopt.rules.cautious.lion import CautiousLion, cautious_lion_init, cautious_lion_step
from fastopt.rules.cautious.nadam import (
    CautiousNAdam,
    cautious_nadam_init,
    cautious_nadam_step,
)
from fastopt.rules.lars import LARS, LARSState, lars_init, lars_step
from fastopt.rules.lion import Lion, LionState, lion_init, lion_step
from fastopt.rules.momentum import Momentum, MomentumState, momentum_init, momentum_step
from fastopt.rules.muon import Muon, MuonState, muon_init, muon_step
from fastopt.rules.rmsprop import RMSprop, RMSpropState, rmsprop_init, rmsprop_step
from fastopt.rules.rprop import Rprop, RpropState, rprop_init, rprop_step
from fastopt.rules.schedulefree import (
    ScheduleFreeSGD,
    ScheduleFreeSGDState,
    schedulefree_sgd_init,
    schedulefree_sgd_step,
)
from fastopt.rules.sgd import SGD, sgd_step
from fastopt.rules.signum import Signum, SignumState, signum_init, signum_step
from fastopt.rules.sophia import (
    Sophia,
    SophiaState,
    sophia_init,
    sophia_step,
    sophia_update_hessian,
)


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
    goes with it. One whose arrays have sums in common yields those over its array and gets what
    holds for it: those over all.
    """
    optimizers: tuple[type[Optimizer], ...]
    of_any_shape: Mapping[str, Any] = field(default_factory=dict)
    """Options without which it does not take arrays of any shape."""
    more: tuple[Callable[..., Any], ...] = ()
    """What else there is for its state."""


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
    "signum": Rule(signum_step, signum_init, SignumState, signum.formula, (Signum,)),
    "yogi": Rule(yogi_step, yogi_init, YogiState, yogi.formula, (Yogi,)),
    "adan": Rule(adan_step, adan_init, AdanState, adan.formula, (Adan,)),
    "ftrl": Rule(ftrl_step, ftrl_init, FTRLState, ftrl.formula, (FTRL,)),
    "muon": Rule(muon_step, muon_init, MuonState, muon.formula, (Muon,), {"flatten": True}),
    "rprop": Rule(rprop_step, rprop_init, RpropState, rprop.formula, (Rprop,)),
    "lars": Rule(lars_step, lars_init, LARSState, lars.formula, (LARS,)),
    "asgd": Rule(asgd_step, asgd_init, ASGDState, asgd.formula, (ASGD,)),
    "schedulefree_sgd": Rule(
        schedulefree_sgd_step,
        schedulefree_sgd_init,
        ScheduleFreeSGDState,
        schedulefree.formula,
        (ScheduleFreeSGD,),
    ),
    "schedulefree_adamw": Rule(
        schedulefree_adamw_step,
        schedulefree_adamw_init,
        ScheduleFreeAdamWState,
        schedulefree_adamw.formula,
        (ScheduleFreeAdamW,),
    ),
    "prodigy": Rule(prodigy_step, prodigy_init, ProdigyState, prodigy.formula, (Prodigy,)),
    "sophia": Rule(
        sophia_step,
        sophia_init,
        SophiaState,
        sophia.formula,
        (Sophia,),
        more=(sophia_update_hessian,),
    ),
    "rowwise_adagrad": Rule(
        rowwise_adagrad_step,
        rowwise_adagrad_init,
        RowWiseAdagradState,
        rowwise_adagrad.formula,
        (RowWiseAdagrad,),
    ),
    "cautious_adam": Rule(
        cautious_adam_step, cautious_adam_init, AdamState, cautious_adam.formula, (CautiousAdam,)
    ),
    "cautious_lion": Rule(
        cautious_lion_step, cautious_lion_init, LionState, cautious_lion.formula, (CautiousLion,)
    ),
    "cautious_nadam": Rule(
        *(cautious_nadam_step, cautious_nadam_init, NAdamState),
        *(cautious_nadam.formula, (CautiousNAdam,)),
    ),
}

__all__ = [
    "ADOPT",
    "ASGD",
    "FTRL",
    "LAMB",
    "LARS",
    "SGD",
    "ADOPTState",
    "AMSGrad",
    "AMSGradState",
    "ASGDState",
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
    "Adan",
    "AdanState",
    "CautiousAdam",
    "CautiousLion",
    "CautiousNAdam",
    "FTRLState",
    "LAMBState",
    "LARSState",
    "Lion",
    "LionState",
    "Momentum",
    "MomentumState",
    "Muon",
    "MuonState",
    "NAdam",
    "NAdamState",
    "Prodigy",
    "ProdigyState",
    "RAdam",
    "RAdamState",
    "RMSprop",
    "RMSpropState",
    "RowWiseAdagrad",
    "RowWiseAdagradState",
    "Rprop",
    "RpropState",
    "ScheduleFreeAdamW",
    "ScheduleFreeAdamWState",
    "ScheduleFreeSGD",
    "ScheduleFreeSGDState",
    "Signum",
    "SignumState",
    "Sophia",
    "SophiaState",
    "Yogi",
    "YogiState",
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
    "adan_init",
    "adan_step",
    "ademamix_init",
    "ademamix_step",
    "adopt_init",
    "adopt_step",
    "amsgrad_init",
    "amsgrad_step",
    "asgd_init",
    "asgd_step",
    "cautious_adam_init",
    "cautious_adam_step",
    "cautious_lion_init",
    "cautious_lion_step",
    "cautious_nadam_init",
    "cautious_nadam_step",
    "ftrl_init",
    "ftrl_step",
    "lamb_init",
    "lamb_step",
    "lars_init",
    "lars_step",
    "lion_init",
    "lion_step",
    "momentum_init",
    "momentum_step",
    "muon_init",
    "muon_step",
    "nadam_init",
    "nadam_step",
    "prodigy_init",
    "prodigy_step",
    "radam_init",
    "radam_step",
    "rmsprop_init",
    "rmsprop_step",
    "rowwise_adagrad_init",
    "rowwise_adagrad_step",
    "rprop_init",
    "rprop_step",
    "schedulefree_adamw_init",
    "schedulefree_adamw_step",
    "schedulefree_sgd_init",
    "schedulefree_sgd_step",
    "sgd_step",
    "signum_init",
    "signum_step",
    "sophia_init",
    "sophia_step",
    "sophia_update_hessian",
    "yogi_init",
    "yogi_step",
]
