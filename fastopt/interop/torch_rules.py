"""What torch calls the parts of our rules."""

from __future__ import annotations

from math import inf
from typing import Any

from fastopt.interop import table
from fastopt.interop.table import Row, Turned
from fastopt.rules import (
    ADOPT,
    ASGD,
    FTRL,
    LAMB,
    LARS,
    SGD,
    AdaBelief,
    Adadelta,
    Adafactor,
    Adagrad,
    Adam,
    Adamax,
    Adan,
    AdEMAMix,
    AMSGrad,
    Lion,
    Momentum,
    Muon,
    NAdam,
    Prodigy,
    RAdam,
    RMSprop,
    RowWiseAdagrad,
    Rprop,
    ScheduleFreeAdamW,
    ScheduleFreeSGD,
    Signum,
    Sophia,
    Yogi,
)

OPTIONS = {"lr": "lr", "weight_decay": "l2", "maximize": "maximize"}
LOOPS = {"foreach": None, "differentiable": False}  # how torch computes, not what
FUSED = {**LOOPS, "fused": None}
DECOUPLED = "decoupled_weight_decay"
"""Whether ``weight_decay`` is ours, or `l2`."""
OF_ADAM = {**FUSED, "capturable": False, DECOUPLED: False}


def _eps_of_adafactor(where: str, place: str, eps: Any) -> tuple[Any, Any]:
    """Return that of torch with 0 in place of None, as ours is."""
    is_pair = isinstance(eps, (tuple, list)) and len(eps) == 2
    said = f"{place}eps must be two numbers, not {eps!r:.60}"
    table.ensure(where, is_pair, said, TypeError)
    first, second = (0.0 if i == 0 and x is None else x for i, x in enumerate(eps))
    for x in (first, second):
        table.ensure(where, hasattr(type(x), "__float__"), said, TypeError)
    said = f"{place}eps[0] must be None, for the machine epsilon, or > 0, it is {first!r:.60}"
    table.ensure(where, eps[0] is None or float(first) > 0, said)
    return first, second


def _matches_rms(where: str, place: str, adjust: Any) -> bool:
    """Return whether Muon's steps are made as long as those of AdamW."""
    known = (None, "original", "match_rms_adamw")
    said = f"{place}adjust_lr_fn must be one of {known}, not {adjust!r:.60}"
    table.ensure(where, adjust in known, said)
    return bool(adjust == known[-1])


def _zero_for(name: str, theirs: float | None) -> Turned:
    """Return what turns this value of their option to 0, which they have not, and 0 back."""

    def read(where: str, place: str, given: Any) -> Any:
        table.ensure(where, given != 0, f"{place}{name} must be {theirs} or > 0, not {given!r:.60}")
        return 0.0 if given == theirs else given

    return Turned(read, lambda x: x or theirs)


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
        {**OF_ADAM, "amsgrad": False},
    ),
    "amsgrad": Row(
        AMSGrad,
        {"m": "exp_avg", "v": "exp_avg_sq", "v_max": "max_exp_avg_sq"},
        {**OPTIONS, "betas": "beta1 beta2", "eps": "eps"},
        {**OF_ADAM, "amsgrad": True},
    ),
    "rmsprop": Row(
        RMSprop,
        {"v": "square_avg", "avg": "grad_avg", "buf": "momentum_buffer"},
        {**OPTIONS, "alpha": "rho", "eps": "eps", "momentum": "momentum", "centered": "centered"},
        {**LOOPS, "capturable": False},
    ),
    "adagrad": Row(
        Adagrad,
        {"s": "sum"},
        {**OPTIONS, "lr_decay": "lr_decay", "eps": "eps"},
        {**FUSED, "initial_accumulator_value": 0.0},  # which the sum tells
    ),
    "adadelta": Row(
        Adadelta,
        {"s": "square_avg", "d": "acc_delta"},
        {**OPTIONS, "rho": "rho", "eps": "eps"},
        {**LOOPS, "capturable": False},
    ),
    "adamax": Row(
        Adamax,
        {"m": "exp_avg", "u": "exp_inf"},
        {**OPTIONS, "betas": "beta1 beta2", "eps": "eps"},
        {**LOOPS, "capturable": False},
    ),
    "radam": Row(
        RAdam,
        {"m": "exp_avg", "v": "exp_avg_sq"},
        {**OPTIONS, "betas": "beta1 beta2", "eps": "eps"},
        {**LOOPS, "capturable": False, DECOUPLED: False},
    ),
    "nadam": Row(
        NAdam,
        {"m": "exp_avg", "v": "exp_avg_sq"},
        {
            **OPTIONS,
            "betas": "beta1 beta2",
            "eps": "eps",
            "momentum_decay": "momentum_decay",
        },
        {**LOOPS, "capturable": False, DECOUPLED: False},
        numbers={"mu_product": "mu_product"},
    ),
    "adafactor": Row(
        Adafactor,
        {"v_row": "row_var", "v_col": "col_var"},
        {
            **{"lr": "lr", "weight_decay": "weight_decay", "maximize": "maximize"},
            **{"beta2_decay": "beta2_decay", "eps": "eps1 eps2", "d": "d"},
        },
        {"foreach": None},
        ours={"clamp": True},
        turned={"eps": Turned(_eps_of_adafactor, lambda eps: (eps[0] or None, eps[1]))},
        flat={"v_row": "variance"},
    ),
    "muon": Row(
        Muon,
        {"m": "momentum_buffer"},
        {
            **{"lr": "lr", "weight_decay": "weight_decay", "momentum": "momentum"},
            **{"nesterov": "nesterov", "ns_coefficients": "ns_a ns_b ns_c", "eps": "eps"},
            **{"ns_steps": "ns_steps", "adjust_lr_fn": "match_rms_adamw"},
        },
        turned={
            "adjust_lr_fn": Turned(_matches_rms, lambda rms: "match_rms_adamw" if rms else None),
            "ns_steps": Turned(lambda _where, _place, steps: steps, int),
        },
    ),
    "rprop": Row(
        Rprop,
        {"g_prev": "prev", "size": "step_size"},
        {
            **{"lr": "lr", "maximize": "maximize"},
            **{"etas": "eta_minus eta_plus", "step_sizes": "min_step_size max_step_size"},
        },
        {**LOOPS, "capturable": False},
    ),
    "asgd": Row(
        ASGD,
        {"ax": "ax"},
        {**OPTIONS, "lambd": "lambd", "alpha": "alpha", "t0": "t0"},
        {**LOOPS, "capturable": False},
        numbers={"eta": "eta", "mu": "mu"},
    ),
}
SCHEDULE_FREE = {name: name for name in ("lr", "warmup_steps", "r", "weight_lr_power")}
OTHERS = {
    "lion": Row(
        Lion,
        {"m": "exp_avg"},
        {"lr": "lr", "weight_decay": "weight_decay", "betas": "beta1 beta2"},
    ),
    "lamb": Row(
        LAMB,
        {"m": "exp_avg", "v": "exp_avg_sq"},
        {"lr": "lr", "weight_decay": "trust_decay", "betas": "beta1 beta2", "eps": "eps"},
    ),
    "lars": Row(
        LARS,
        {"buf": "momentum_buffer"},
        {
            **{"lr": "lr", "weight_decay": "trust_decay", "momentum": "momentum"},
            **{name: name for name in ("dampening", "nesterov", "trust_coeff", "eps")},
        },
    ),
    "ademamix": Row(
        AdEMAMix,
        {"m": "exp_avg_fast", "m_slow": "exp_avg_slow", "v": "exp_avg_sq"},
        {
            **{"lr": "lr", "weight_decay": "weight_decay", "betas": "beta1 beta2 beta3"},
            **{name: name for name in ("eps", "alpha", "alpha_warmup", "beta3_warmup")},
        },
    ),
    "adopt": Row(
        ADOPT,
        {"m": "exp_avg", "v": "exp_avg_sq"},
        {"lr": "lr", "weight_decay": "weight_decay", "betas": "beta1 beta2", "eps": "eps"},
    ),
    "adabelief": Row(
        AdaBelief,
        {"m": "exp_avg", "s": "exp_avg_var"},
        {"lr": "lr", "weight_decay": "weight_decay", "betas": "beta1 beta2", "eps": "eps"},
    ),
    "signum": Row(
        Signum,
        {"m": "momentum_buffer"},
        {"lr": "lr", "weight_decay": "weight_decay", "momentum": "momentum"},
    ),
    "rowwise_adagrad": Row(
        RowWiseAdagrad,
        {"s_row": "sum"},
        {"lr": "lr", "weight_decay": "l2", "lr_decay": "lr_decay", "eps": "eps"},
    ),
    "sophia": Row(
        Sophia,
        {"m": "exp_avg", "h": "hessian"},
        {"lr": "lr", "weight_decay": "weight_decay", "betas": "beta1 beta2", "rho": "rho"},
    ),
    "adan": Row(
        Adan,
        {"m": "exp_avg", "d": "exp_avg_diff", "n": "exp_avg_sq", "g_prev": "pre_grad"},
        {"lr": "lr", "weight_decay": "weight_decay", "betas": "beta1 beta2 beta3", "eps": "eps"},
    ),
    "ftrl": Row(
        FTRL,
        {"n": "accumulator", "z": "linear"},
        {
            **{"lr": "lr", "weight_decay": "weight_decay"},
            **{name: name for name in ("lambda1", "lambda2", "beta", "l2_shrinkage")},
        },
    ),
    "schedulefree_sgd": Row(
        ScheduleFreeSGD,
        {"z": "z"},
        {**SCHEDULE_FREE, "weight_decay": "l2", "momentum": "momentum"},
        numbers={"weight_sum": "weight_sum", "lr_max": "lr_max"},
    ),
    "schedulefree_adamw": Row(
        ScheduleFreeAdamW,
        {"z": "z", "v": "exp_avg_sq"},
        {**SCHEDULE_FREE, "weight_decay": "y_decay", "betas": "beta1 beta2", "eps": "eps"},
        numbers={"weight_sum": "weight_sum", "lr_max": "lr_max"},
    ),
    "prodigy": Row(
        Prodigy,
        {"m": "exp_avg", "v": "exp_avg_sq", "s": "s", "p0": "p0"},
        {
            **{"lr": "lr", "weight_decay": "d_decay", "betas": "beta1 beta2"},
            **{name: name for name in ("beta3", "eps", "d0", "d_coef", "growth_rate")},
        },
        numbers={"d_now": "d", "d_max": "d_max", "d_numerator": "d_numerator"},
        turned={
            "beta3": _zero_for("beta3", None),
            "growth_rate": _zero_for("growth_rate", inf),
        },
    ),
    "yogi": Row(
        Yogi,
        {"m": "exp_avg", "v": "exp_avg_sq"},
        {"lr": "lr", "weight_decay": "weight_decay", "betas": "beta1 beta2", "eps": "eps"},
    ),
}
"""Rules that torch has not, as other libraries and the papers' own code call their parts."""
WITH_DECAY = {
    rule: row._replace(
        options={**row.options, "weight_decay": "weight_decay"},
        theirs={**row.theirs, DECOUPLED: True},
    )
    for rule, row in TORCH.items()
    if DECOUPLED in row.theirs
}
"""The same, for groups with `weight_decay` instead of `l2`."""
COUNTING = TORCH.keys() - {"sgd", "momentum", "muon"}
"""Rules of which torch counts the steps, parameter by parameter."""
EAGER = {"adagrad"}
"""Rules whose states torch makes at once, and misses where they are not."""

NEWER = {*FUSED, "maximize", "capturable", DECOUPLED}
"""What the groups of older torch have not."""
TELLS_RADAM = {"radam": {DECOUPLED}}
"""What groups must have all the same, since nothing else tells them from Adamax's."""

TELLING = {key for row in TORCH.values() for key in row.options}
TELLING |= {
    "amsgrad",
    DECOUPLED,
    "correct_bias",
    "bias_correction",
}
"""What groups have of their own rule alone, if they have it."""
SECOND_MOMENT = "exp_avg_sq"
"""What states have of Adam and of all like it, but not of Adamax, whose groups are as theirs."""
