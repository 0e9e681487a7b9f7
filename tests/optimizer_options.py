"""The options of optimizers, each with a strategy for what it may be."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
from hypothesis import strategies as st

import fastopt
from fastopt.schedules import Constant, Cosine, Linear, ReduceOnPlateau


@dataclass(frozen=True)
class Alternating:
    """A schedule of the user's own."""

    even: float
    odd: float

    def __call__(self, step: int) -> float:
        return self.odd if step % 2 else self.even


def is_schedule(value: Any) -> bool:
    return callable(value) and not isinstance(value, fastopt.Dropout)


@dataclass(frozen=True)
class Numbers:
    """What a number may be, and which schedules may stand for it: they stay between its values."""

    values: tuple[Any, ...]
    schedules: tuple[Any, ...]

    def strategy(self, scheduled: bool) -> Any:
        values = st.sampled_from(self.values)
        return values | st.sampled_from(self.schedules) if scheduled else values


def numbers(*values: Any, more: tuple[Any, ...] = ()) -> Numbers:
    given = [value for value in values if value is not None]
    low, high = min(given), max(given)
    schedules = (
        Alternating(low, high),
        Linear(low, high, steps=5),
        Cosine(high, low, steps=9),
        Constant(high).then(Constant(low), at=3),
    )
    return Numbers(values, schedules + more)


def strategies(options: dict[str, Any], scheduled: bool) -> dict[str, Any]:
    """Return a strategy for each option, which gives schedules only if there shall be some."""
    return {
        name: each.strategy(scheduled) if isinstance(each, Numbers) else each
        for name, each in options.items()
    }


# The one schedule that remembers something comes as often as the others together.
PLATEAU = ReduceOnPlateau(0.4, factor=0.5, patience=0)
RATES = numbers(0.5, 0.1, 1e-3, np.float32(0.3), more=(PLATEAU,) * 4)

# None of them makes a number infinite, NaN or denormal within some forty steps.
TERMS = {
    "l1": numbers(0.0, 0.02, np.float32(0.1)),
    "l2": numbers(0.0, 0.01, 0.3),
    "weight_decay": numbers(0.0, 0.01, 0.5),
    "decay_after": st.booleans(),
    "l1_prox": numbers(0.0, 0.01, 0.2),
    "nonneg": st.booleans(),
    "maximize": st.booleans(),
    "clip_value": numbers(None, 0.1, 1, 100.0),
}

ADAM = {
    "lr": RATES,
    "beta1": numbers(0.0, 0.5, 0.9),
    "beta2": numbers(0.0, 0.9, 0.999),
    "eps": numbers(1e-8, 1e-3, 0.1),
    "epsilon_hat": st.booleans(),
    "scaled_prox": st.booleans(),
    "bias_correction": st.booleans(),
}

# The options of every class that a group can have for itself.
OPTIONS: dict[str, dict[str, Any]] = {
    "SGD": {"lr": RATES} | TERMS,
    "Momentum": {
        "lr": RATES,
        "momentum": numbers(0.0, 0.5, 0.9),
        "dampening": numbers(0.0, 0.5, 0.9),
        "nesterov": st.booleans(),
        "lr_inside": st.booleans(),
    }
    | TERMS,
    "Adam": ADAM | TERMS,
    "AdamW": ADAM | TERMS,
    "AMSGrad": ADAM | {"max_of_corrected": st.booleans()} | TERMS,
    "LAMB": {
        "lr": RATES,
        "beta1": numbers(0.0, 0.5, 0.9),
        "beta2": numbers(0.0, 0.9, 0.999),
        "eps": numbers(1e-8, 1e-3, 0.1),
        "trust_decay": numbers(0.0, 0.01, 0.3),
        "bias_correction": st.booleans(),
        "always_adapt": st.booleans(),
        "trust_clip": st.booleans(),
        "scaled_prox": st.booleans(),
    }
    | TERMS,
    "AdEMAMix": {
        "lr": RATES,
        "beta1": numbers(0.0, 0.5, 0.9),
        "beta2": numbers(0.0, 0.9, 0.999),
        "beta3": numbers(0.0, 0.99, 0.9999),
        "eps": numbers(1e-8, 1e-3, 0.1),
        "alpha": numbers(0.0, 2.0, 5.0),
        "alpha_warmup": numbers(0.0, 3.0, 100.0),
        "beta3_warmup": numbers(0.0, 3.0, 100.0),
        "scaled_prox": st.booleans(),
    }
    | TERMS,
    "ADOPT": {
        "lr": RATES,
        "beta1": numbers(0.0, 0.5, 0.9),
        "beta2": numbers(0.0, 0.9, 0.999),
        "eps": numbers(1e-8, 1e-3, 0.1),
        "update_clip": st.booleans(),
    }
    | TERMS,
    "Adafactor": {
        "lr": RATES,
        "beta2_decay": numbers(-0.8, -0.5, 0.0),
        "eps1": numbers(1e-30, 1e-8, 0.1),
        "eps2": numbers(1e-3, 0.1, 0.0),
        "d": numbers(1.0, 0.5, 2.0),
        "relative_step": st.booleans(),
        "scale_parameter": st.booleans(),
        "clamp": st.booleans(),
        "scaled_prox": st.booleans(),
    }
    | TERMS,
    "AdaBelief": {
        "lr": RATES,
        "beta1": numbers(0.0, 0.5, 0.9),
        "beta2": numbers(0.0, 0.9, 0.999),
        "eps": numbers(1e-16, 1e-8, 1e-3),
        "scaled_prox": st.booleans(),
    }
    | TERMS,
    "Yogi": {
        "lr": RATES,
        "beta1": numbers(0.0, 0.5, 0.9),
        "beta2": numbers(0.0, 0.9, 0.999),
        "eps": numbers(1e-8, 1e-3, 0.1),
        "scaled_prox": st.booleans(),
        "bias_correction": st.booleans(),
    }
    | TERMS,
    "Adan": {
        "lr": RATES,
        "beta1": numbers(0.0, 0.5, 0.98),
        "beta2": numbers(0.0, 0.5, 0.92),
        "beta3": numbers(0.0, 0.9, 0.99),
        "eps": numbers(1e-8, 1e-3, 0.1),
        "scaled_prox": st.booleans(),
        "bias_correction": st.booleans(),
    }
    | TERMS,
    "FTRL": {
        "lr": RATES,
        "lambda1": numbers(0.0, 0.01, 0.5),
        "lambda2": numbers(0.0, 0.01, 0.5),
        "beta": numbers(0.0, 0.1, 1.0),
        "l2_shrinkage": numbers(0.0, 0.01, 0.3),
    }
    | TERMS,
    "NAdam": {
        "lr": RATES,
        "beta1": numbers(0.0, 0.5, 0.9),
        "beta2": numbers(0.0, 0.9, 0.999),
        "eps": numbers(1e-8, 1e-3, 0.1),
        "momentum_decay": numbers(0.0, 4e-3, 1.0),
        "warm_up": st.booleans(),
        "scaled_prox": st.booleans(),
    }
    | TERMS,
    "RAdam": {name: each for name, each in ADAM.items() if name != "bias_correction"} | TERMS,
    "RMSprop": {
        "lr": RATES,
        "rho": numbers(0.5, 0.9, 0.99),
        "eps": numbers(1e-8, 1e-3, 0.1),
        "eps_inside_sqrt": st.booleans(),
        "momentum": numbers(0.0, 0.5, 0.9),
        "scaled_prox": st.booleans(),
    }
    | TERMS,
    "Adagrad": {
        "lr": RATES,
        "lr_decay": numbers(0.0, 0.1, 1.0),
        "eps": numbers(1e-10, 1e-3, 0.1),
        "eps_inside_sqrt": st.booleans(),
        "scaled_prox": st.booleans(),
    }
    | TERMS,
    "Adadelta": {
        "lr": RATES,
        "rho": numbers(0.5, 0.9, 0.99),
        "eps": numbers(1e-6, 1e-3, 0.1),
    }
    | TERMS,
    "Adamax": {
        "lr": RATES,
        "beta1": numbers(0.0, 0.5, 0.9),
        "beta2": numbers(0.0, 0.9, 0.999),
        "eps": numbers(1e-8, 1e-3, 0.1),
        "eps_outside_max": st.booleans(),
        "scaled_prox": st.booleans(),
    }
    | TERMS,
    "LARS": {
        "lr": RATES,
        "momentum": numbers(0.0, 0.5, 0.9),
        "dampening": numbers(0.0, 0.5, 0.9),
        "nesterov": st.booleans(),
        "lr_inside": st.booleans(),
        "trust_coeff": numbers(1e-3, 0.1, 1.0),
        "trust_decay": numbers(0.0, 0.01, 0.3),
        "eps": numbers(1e-8, 1e-3, 0.1),
        "norm_of_sum": st.booleans(),
        "always_adapt": st.booleans(),
        "trust_clip": st.booleans(),
    }
    | TERMS,
    "ASGD": {
        "lr": RATES,
        "lambd": numbers(0.0, 1e-4, 0.1),
        "alpha": numbers(0.0, 0.75, 1.0),
        "t0": numbers(0.0, 2.0, 1e6),
    }
    | TERMS,
    "ScheduleFreeSGD": {
        "lr": RATES,
        "momentum": numbers(0.5, 0.9, 1.0),
        "warmup_steps": numbers(0.0, 2.5, 4.0),
        "r": numbers(0.0, 0.5, 2.0),
        "weight_lr_power": numbers(0.0, 1.0, 2.0),
    }
    | TERMS,
    "ScheduleFreeAdamW": {
        "lr": RATES,
        "beta1": numbers(0.5, 0.9, 1.0),
        "beta2": numbers(0.0, 0.5, 0.999),
        "eps": numbers(1e-8, 1e-3, 0.1),
        "y_decay": numbers(0.0, 0.01, 0.3),
        "warmup_steps": numbers(0.0, 2.5, 4.0),
        "r": numbers(0.0, 0.5, 2.0),
        "weight_lr_power": numbers(0.0, 1.0, 2.0),
    }
    | TERMS,
    "Prodigy": {
        "lr": RATES,
        "beta1": numbers(0.0, 0.5, 0.9),
        "beta2": numbers(0.0, 0.9, 0.999),
        "beta3": numbers(0.0, 0.5, 0.99),
        "eps": numbers(1e-8, 1e-3, 0.1),
        "d_decay": numbers(0.0, 0.01, 0.3),
        "use_bias_correction": st.booleans(),
        "safeguard_warmup": st.booleans(),
        "d0": numbers(1e-6, 1e-3, 0.1),
        "d_coef": numbers(0.5, 1.0, 2.0),
        "growth_rate": numbers(0.0, 1.02, 1.5),
        "per_array": st.just(True),
    }
    | TERMS,
    "Muon": {
        "lr": RATES,
        "momentum": numbers(0.0, 0.5, 0.95),
        "nesterov": st.booleans(),
        "ns_steps": st.sampled_from([1, 3, 5]),
        "ns_a": numbers(3.4445, 3.4),  # few are such that all of their mixtures stay finite
        "ns_b": numbers(-4.775, -4.7),
        "ns_c": numbers(2.0315, 2.0),
        "eps": numbers(1e-7, 1e-3, 0.1),
        "eps_outside_max": st.booleans(),
        "match_rms_adamw": st.booleans(),
        "flatten": st.just(True),
        "beta1": numbers(0.0, 0.5, 0.9),
        "beta2": numbers(0.0, 0.9, 0.999),
    }
    | TERMS,
    "Lion": {
        "lr": RATES,
        "beta1": numbers(0.0, 0.5, 0.9),
        "beta2": numbers(0.0, 0.9, 0.99),
    }
    | TERMS,
    "Rprop": {
        "lr": RATES,
        "eta_minus": numbers(0.3, 0.5, 1.0),
        "eta_plus": numbers(1.0, 1.2, 1.5),
        "min_step_size": numbers(1e-6, 1e-3, 0.01),
        "max_step_size": numbers(0.01, 0.5, 50.0),
    }
    | TERMS,
    "Signum": {"lr": RATES, "momentum": numbers(0.0, 0.5, 0.9)} | TERMS,
    "RowWiseAdagrad": {
        "lr": RATES,
        "lr_decay": numbers(0.0, 0.1, 1.0),
        "eps": numbers(1e-10, 1e-3, 0.1),
        "scaled_prox": st.booleans(),
    }
    | TERMS,
    "Sophia": {
        "lr": RATES,
        "beta1": numbers(0.0, 0.5, 0.965),
        "rho": numbers(0.01, 0.04, 1.0),
        "eps": numbers(1e-15, 1e-3, 0.1),
        "eps_outside_max": st.booleans(),
        "bias_correction": st.booleans(),
    }
    | TERMS,
}
OPTIONS |= {f"Cautious{name}": OPTIONS[name] for name in ("Adam", "Lion", "NAdam")}

# What new optimizers are given, too: otherwise many arrays have no step, or not one alone.
REQUIRED = {"flatten": True, "per_array": True}

# Offsets from which counting goes round the end.
DROPS = st.builds(
    fastopt.Dropout,
    st.sampled_from([0.0, 0.3, 1.0]),
    st.integers(0, 2**64 - 1),
    st.sampled_from([0, 2**64 - 3]),
)

# Those of the whole optimizer,
SHARED = {
    "skip_nonfinite": st.sampled_from([True, True, False]),
    "zero_grads": st.booleans(),
    "drop": st.none() | DROPS,
    "clip_eps": numbers(0.0, 1e-6, 0.1),
    "threads": st.sampled_from([None, 1, 2, 3]),
    "flush_denormals": st.booleans(),
    "accumulation": st.sampled_from(["mean", "sum"]),
}

# and those of it that are set together, because they depend on each other.
LIMITS = numbers(None, 0.5, 3, 1e3)
DECAYS = numbers(0.5, 0.75, np.float32(0.9), 0.99, more=(Constant(0.0), Constant(1.0)))


def together(scheduled: bool) -> dict[str, Any]:
    """Return strategies for clipping by norms and for averages."""
    names = ("clip_norm", "clip_tensor_norm")
    return {
        "clipping": st.builds(
            lambda name, limit: dict.fromkeys(names) | {name: limit},
            st.sampled_from(names),
            LIMITS.strategy(scheduled),
        ),
        "averaging": st.fixed_dictionaries(
            {
                "ema_decay": DECAYS.strategy(scheduled),
                "ema_debias": st.sampled_from([True, True, False]),
            }
        ),
    }
