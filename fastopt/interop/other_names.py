"""What other libraries call their options: a message about one says what to use here instead."""

from __future__ import annotations

from collections.abc import Iterable

from fastopt import _core
from fastopt.optimizers.options import OF_EACH_STEP, SHARED_DEFAULTS, TERM_DEFAULTS
from fastopt.rules import RULES
from fastopt.rules.starts import NAME as START

LEARNING_RATE = ("lr",)
BETA1, BETA2 = ("beta1", "momentum"), ("beta2", "rho")
MEAN_SQUARE = ("rho", "beta2")
EPSILON = ("eps", "eps1 eps2")
L2 = ("l2",)
CLIP_NORM, CLIP_TENSOR_NORM, CLIP_VALUE = ("clip_norm",), ("clip_tensor_norm",), ("clip_value",)
AVERAGE = ("ema_decay",)
THREADS = ("threads",)

INSTEAD: dict[str, tuple[str, ...]] = {
    # Keras, TensorFlow, optax, JAX, scikit-learn, thinc, papers
    "learning_rate": LEARNING_RATE,
    "learning_rate_init": LEARNING_RATE,
    "learn_rate": LEARNING_RATE,
    "eta": LEARNING_RATE,
    "eta0": LEARNING_RATE,
    "step_size": LEARNING_RATE,
    "stepsize": LEARNING_RATE,
    # torch, Keras, optax, JAX, autograd
    "betas": ("beta1 beta2",),
    "beta_1": BETA1,
    "b1": BETA1,
    "beta_2": BETA2,
    "b2": BETA2,
    "momentum": ("momentum", "beta1"),
    "mass": ("momentum", "beta1"),
    "mu": ("momentum", "beta1"),
    "rho": MEAN_SQUARE,
    "alpha": ("rho",),
    "gamma": ("rho",),
    "nesterovs_momentum": ("nesterov",),
    "use_nesterov": ("nesterov",),
    "etas": ("eta_minus eta_plus",),
    "step_sizes": ("min_step_size max_step_size",),
    "epsilon": EPSILON,
    "eps": EPSILON,
    # Keras, transformers, timm, optax
    "epsilon_1": ("eps1",),
    "epsilon_2": ("eps2",),
    "eps_scale": ("eps2",),
    "beta_2_decay": ("beta2_decay",),
    "clip_threshold": ("d",),
    "clipping_threshold": ("d",),
    "multiply_by_parameter_scale": ("scale_parameter",),
    "eps_root": ("eps_inside_sqrt",),
    "correct_bias": ("bias_correction",),
    # timm, apex, Keras, thinc, chainer, scikit-learn
    "L2": L2,
    "l2_reg": L2,
    "l2_regularization": L2,
    "l1_ratio": ("l1 l2",),
    "L1": ("l1",),
    "l1_reg": ("l1",),
    "l1_regularization": ("l1",),
    "l1_regularization_strength": ("lambda1", "l1"),
    "l2_regularization_strength": ("lambda2", "l2"),
    "l2_shrinkage_regularization_strength": ("l2_shrinkage",),
    # Keras, optax, thinc, Hugging Face, Lightning
    "global_clipnorm": CLIP_NORM,
    "max_norm": CLIP_NORM,
    "max_grad_norm": CLIP_NORM,
    "clip_grad_norm": CLIP_NORM,
    "gradient_clip_val": CLIP_NORM,
    "clipnorm": CLIP_TENSOR_NORM,
    "grad_clip": CLIP_TENSOR_NORM,
    "clipvalue": CLIP_VALUE,
    "clip_grad_value": CLIP_VALUE,
    "max_delta": CLIP_VALUE,
    "use_ema": AVERAGE,
    "use_averages": AVERAGE,
    "ema_momentum": AVERAGE,
    "loss_scale": ("grad_scale",),
    "loss_scale_factor": ("grad_scale",),
    "n_jobs": THREADS,
    "num_threads": THREADS,
}
"""Their name, and ours: the first of these that the step has. Of several, a space is between."""

SCHEDULE = "use lr= with a schedule, such as those of fastopt.schedules"
DECAY = "use weight_decay= for decoupled decay, l2= for a penalty"
COMPUTES = "leave it out: it says how torch computes, not what"
CAUTIOUS = "Adam, AdamW, Lion, NAdam and their steps have it, for all groups: cautious=True"
SAID = {
    "alpha": "use lr= for that of papers, l2= for that of scikit-learn",
    **dict.fromkeys(
        ("decay", "lr_decay", "lr_schedule", "lr_scheduler", "schedule", "power_t"), SCHEDULE
    ),
    **dict.fromkeys(("wd", "weight_decay_rate", "decoupled_weight_decay"), DECAY),
    "L2_is_weight_decay": DECAY,
    "amsgrad": "it is for all groups: use AMSGrad, Adam(params, amsgrad=True) or amsgrad_step",
    **dict.fromkeys(("caution", "cautious"), CAUTIOUS),
    "centered": "use RMSprop(params, centered=True), or rmsprop_init(params, centered=True)",
    "gradient_accumulation_steps": "use accumulate(grads) of the optimizer",
    "reduction": 'use accumulation="mean" or "sum" of the optimizer',
    **dict.fromkeys(("foreach", "fused", "capturable", "differentiable", "jit_compile"), COMPUTES),
}
"""Names for which no option stands, and what to do."""

STARTING = ("adagrad", "yogi", "ftrl", "rowwise_adagrad")
"""Rules whose states start with a number that may be given."""

OF_RULES: dict[tuple[str | None, str], str] = {
    ("rmsprop", "decay"): "use rho=",  # of optax and TensorFlow; in older Keras, that of the rate
    **{
        ("sophia", name): "use beta1=, and beta2= of update_hessian()"
        for name in ("betas", "beta2", "beta_2", "b2")
    },
}
"""Names that say something else in one rule."""


def instead_of(rule: str | None, name: str) -> str:
    """Return what a message about an option that is not there shall add, or "".

    `rule` is that of the step; None stands for the options that all groups have in common.
    """
    if rule is None and name in TERM_DEFAULTS.keys() | {"frozen", *_options_of_rules()}:
        return f"; {name} is an option of groups: opt.groups[0][{name!r}]"
    if rule is not None and name in SHARED_DEFAULTS:
        return f"; {name} is an option of the whole optimizer: opt.options[{name!r}]"
    if name in (*OF_EACH_STEP, "mask", "update_mask"):
        return f"; give {name}= to step()"
    if (rule, name) in OF_RULES:
        return f"; {OF_RULES[rule, name]}"
    if name == START:
        by = rule if rule in STARTING else STARTING[0]
        cls = RULES[by].optimizers[0].__name__
        return f"; use {cls} or {by}_init, which have {name}="
    return _said(rule, name, INSTEAD.get(name, (name,) if name else ()))


def _said(rule: str | None, name: str, alternatives: Iterable[str]) -> str:
    own = _core.rules[rule].options if rule else {}
    known = {*own, *TERM_DEFAULTS, *SHARED_DEFAULTS, *OF_EACH_STEP}
    found = [ours for ours in map(str.split, alternatives) if known.issuperset(ours)]
    if found:
        return f"; use {_written(found[0])}"
    if name in SAID:
        return f"; {SAID[name]}"
    for ours in map(str.split, alternatives):
        for other, has in RULES.items():
            if _core.rules[other].options.keys() >= set(ours):
                names = f"{has.optimizers[0].__name__} or {other}_step"
                return f"; use {names}, which have {_written(ours)}"
    return ""


def _written(names: Iterable[str]) -> str:
    return " and ".join(f"{name}=" for name in names)


def _options_of_rules() -> set[str]:
    return {option for options, *_ in _core.rules.values() for option in options}
