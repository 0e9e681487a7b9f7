"""Numbers for one step: they arrive, in all groups, and are gone afterwards."""

from __future__ import annotations

import copy
from typing import Any

import numpy as np
import pytest
from cases import PLAIN_CASES, Case, all_of, arrays_of, assert_same_bits, random_like
from optimizer_options import OPTIONS, Alternating
from test_optimizers import CLASSES, make, tree

import fastopt
from fastopt import _core
from fastopt.optimizers.options import SHARED_DEFAULTS, TERM_DEFAULTS, StepArguments
from fastopt.rules import RULES

OF_GRADIENTS = {"params", "grad_scale", "mask", "keep_prob", "update_mask"}
NOT_OF_A_STEP = {"drop", "ema_debias", "accumulation"}

# Of each option a value that makes a difference to a step.
VALUES: dict[str, Any] = {
    "lr": 0.3,
    "momentum": 0.5,
    "dampening": 0.5,
    "nesterov": True,
    "lr_inside": True,
    "beta1": 0.5,
    "beta2": 0.5,
    "eps": 0.1,
    "epsilon_hat": True,
    "bias_correction": False,
    "rho": 0.5,
    "eps_inside_sqrt": True,
    "eps_outside_max": True,
    "max_of_corrected": True,
    "beta3": 0.5,
    "alpha": 1.0,
    "alpha_warmup": 100.0,
    "beta3_warmup": 100.0,
    "update_clip": False,
    "momentum_decay": 0.5,
    "warm_up": False,
    "trust_decay": 0.5,
    "always_adapt": False,
    "trust_clip": True,
    "lr_decay": 0.5,
    "beta2_decay": -0.1,
    "eps1": 10.0,
    "eps2": 10.0,
    "d": 0.01,
    "relative_step": False,
    "scale_parameter": False,
    "clamp": True,
    "lambda1": 0.1,
    "lambda2": 10.0,
    "beta": 1.0,
    "l2_shrinkage": 0.5,
    "trust_coeff": 0.5,
    "norm_of_sum": True,
    "lambd": 0.5,
    "t0": 0.0,
    "y_decay": 0.5,
    "warmup_steps": 20.0,
    "r": 2.0,
    "weight_lr_power": 0.0,
    "d_decay": 0.5,
    "use_bias_correction": True,
    "safeguard_warmup": True,
    "d0": 1e-3,
    "d_coef": 0.5,
    "growth_rate": 1.02,
    "per_array": False,
    "ns_steps": 2,
    "ns_a": 2.0,
    "ns_b": -2.0,
    "ns_c": 1.0,
    "match_rms_adamw": True,
    "flatten": True,
    "eta_minus": 0.25,
    "eta_plus": 2.0,
    "min_step_size": 1.0,
    "max_step_size": 1e-3,
    "l1": 0.1,
    "l2": 0.1,
    "weight_decay": 0.1,
    "l1_prox": 0.1,
    "nonneg": True,
    "maximize": True,
    "clip_value": 0.01,
    "clip_norm": 0.01,
    "clip_tensor_norm": 0.01,
    "zero_grads": True,
    "ema_decay": 0.25,
    "skip_nonfinite": True,
}


INITS: dict[str, dict[str, Any]] = {
    "rmsprop": {"momentum": 0.9},
    "adafactor": {"beta1": 0.1, "lr": 0.9, "eps1": 1.0},
    "radam": {"epsilon_hat": False},
    "lamb": {"trust_decay": 0.0},  # or it always adapts
    "lars trust_clip": {"lr": 0.5},
    "lars norm_of_sum": {"trust_decay": 0.1},
    "muon": {"nesterov": False, "other": {}},
    "schedulefree_sgd": {"lr": 0.5},  # or all weights are the same
    "prodigy": {"lr": 0.5, "weight_decay": 0.2},  # or d stays what it is
    "sophia": {"eps_outside_max": False, "bias_correction": True, "eps": 0.2},
    "rprop": {"weight_decay": 0.2},  # for which alone there is a rate after the first step
}


def test_types_name_all_options() -> None:
    of_rules = {option for rule in RULES for option in _core.rules[rule].options}
    of_steps = {*of_rules, *TERM_DEFAULTS, *SHARED_DEFAULTS} - NOT_OF_A_STEP
    assert set(StepArguments.__annotations__) - OF_GRADIENTS == of_steps


def has(case: Case, name: str) -> bool:
    return name in {**_core.rules[case.rule].options, **TERM_DEFAULTS, **SHARED_DEFAULTS}


@pytest.mark.parametrize("case", PLAIN_CASES, ids=str)
def test_what_is_no_option_of_a_rule(case: Case, rng: np.random.Generator) -> None:
    params = [tree(np.float64, rng)]
    opt = make(case, params)
    for name in (name for name in VALUES if not has(case, name)):
        with pytest.raises(TypeError, match=rf"step: there is no option '{name}' of a step"):
            opt.step(random_like(params, rng), **{name: VALUES[name]})


@pytest.mark.parametrize(
    ("case", "name"),
    [(case, name) for case in PLAIN_CASES for name in VALUES if has(case, name)],
    ids=str,
)
def test_an_option_arrives(case: Case, name: str, rng: np.random.Generator) -> None:
    """As if it had been set before the step and set back after it."""
    init = INITS.get(case.rule, {}) | INITS.get(f"{case.rule} {name}", {})
    params = [tree(np.float64, rng), tree(np.float64, rng)]
    given = [{"params": p, "l2": 0.01 * i} for i, p in enumerate(params)]
    opts = [make(case, copy.deepcopy(given), ema_decay=0.75, **init) for _ in range(3)]
    for group in (group for each in opts for group in each.groups if group.state):
        group.state.step = 9  # from which RAdam divides
        for size in arrays_of(getattr(group.state, "size", [])):
            size[...] = 0.5  # which the first step of Rprop makes
        for curvature in arrays_of(getattr(group.state, "h", [])):
            curvature[...] = 1.0  # which Sophia is given
    opt, other, without = opts
    targets = [other.options] if name in other.options else list(other.groups)
    differed = False
    for turn in range(4):
        grads = random_like(params, rng)
        grads_of = [copy.deepcopy(grads) for _ in opts]
        before = [target[name] for target in targets]
        now = {name: VALUES[name]} if turn in (1, 2) else {}
        for target in targets:
            target.update(now)
        result = opt.step(grads_of[0], **now)
        assert result == other.step(grads_of[1])
        without.step(grads_of[2])
        for target, value in zip(targets, before, strict=True):
            target[name] = value
        assert_same_bits([opt.params, opt.ema, grads_of[0]], [other.params, other.ema, grads_of[1]])
        assert [dict(group) for group in opt.groups] == [dict(group) for group in other.groups]
        ours = [opt.params, opt.ema, grads_of[0], [all_of(g.state) for g in opt.groups]]
        theirs = [
            *(without.params, without.ema, grads_of[2]),
            [all_of(g.state) for g in without.groups],
        ]
        pairs = zip(arrays_of(ours), arrays_of(theirs), strict=True)
        differed = differed or any((a != b).any() for a, b in pairs)
    no_difference = {"skip_nonfinite", *case.options}
    assert differed or name in no_difference


def test_a_schedule_that_is_replaced_is_not_asked() -> None:
    asked = []

    def lr(step: int) -> float:
        asked.append(step)
        return 0.5

    w = np.zeros(1)
    opt = fastopt.SGD(w, lr=lr, clip_norm=Alternating(1.0, 2.0))
    asked.clear()
    opt.step(np.ones(1), lr=1.0)
    assert (asked, w.tolist()) == ([], [-1.0 / (1 + 1e-6)])
    opt.step(np.ones(1))
    assert asked == [1]


def test_threads_and_flags_arrive() -> None:
    w = np.zeros(10**6, np.float32)
    opt = fastopt.SGD(w)
    opt.step(w.copy(), threads=1, flush_denormals=True)
    assert (_core.told()["threads"], _core.told()["flush_denormals"]) == (1, True)
    opt.step(w.copy())
    assert (_core.told()["threads"], _core.told()["flush_denormals"]) == (
        fastopt.get_num_threads(),
        False,
    )


def test_numbers_of_a_step_of_sums() -> None:
    w = np.zeros(2)
    opt = fastopt.SGD(w, lr=1.0)
    opt.accumulate(np.ones(2))
    opt.step(lr=0.25)
    assert w.tolist() == [-0.25, -0.25]


@pytest.mark.parametrize(
    ("given", "error", "message"),
    [
        ({"lrr": 0.1}, TypeError, "there is no option 'lrr' of a step; there are those of opt.gr"),
        ({"lr": -1}, ValueError, "lr must be finite and >= 0, it is -1"),
        ({"lr": None}, TypeError, "lr must be a number, not NoneType"),
        ({"lr": lambda step: 0.1}, TypeError, "lr must be a number, not function"),
        ({"lr": {"w": 0.1}}, TypeError, "lr must be a number, not dict"),
        ({"l2": [0.1]}, TypeError, "l2 must be a number, not list; groups have numbers of their"),
        ({"nonneg": 1}, TypeError, "nonneg must be True or False, not 1"),
        ({"clip_norm": 0.0}, ValueError, "clip_norm must be finite and > 0"),
        (
            {"clip_norm": 1.0, "clip_tensor_norm": 1.0},
            ValueError,
            "clip_norm and clip_tensor_norm ",
        ),
        ({"threads": 0}, ValueError, "1 <= threads"),
        ({"frozen": True}, TypeError, "frozen cannot be given for one step"),
        ({"drop": fastopt.Dropout(0.5, 1)}, TypeError, "drop cannot be given for one step"),
        ({"accumulation": "sum"}, TypeError, "accumulation cannot be given for one step"),
        ({"ema_debias": True}, TypeError, "ema_debias cannot be given for one step"),
        ({"ema_decay": 0.5}, ValueError, "whether there is an ema_decay is fixed when it is made"),
        ({"momentum": 0.5}, ValueError, r"momentum=0\.5 needs state\.buf, which the optimizer has"),
    ],
)
def test_wrong_numbers(given: dict[str, Any], error: type[Exception], message: str) -> None:
    w = np.ones(2)
    opt = fastopt.RMSprop([{"params": w}, {"params": np.ones(2)}])
    with pytest.raises(error, match=rf"^RMSprop\.step: {message}"):
        opt.step([np.ones(2)] * 2, **given)
    assert (w.tolist(), opt.step_count, opt.groups[0].state.step) == ([1, 1], 0, 0)


def test_averages_cannot_be_left_out_for_one_step() -> None:
    opt = fastopt.SGD(np.ones(2), ema_decay=0.5)
    with pytest.raises(ValueError, match="whether there is an ema_decay is fixed"):
        opt.step(np.ones(2), ema_decay=None)  # type: ignore[arg-type]


def test_current_tells_what_the_next_step_uses() -> None:
    params = {"w": np.zeros(2), "b": np.zeros(2)}
    lr = Alternating(0.5, 0.25)
    opt = fastopt.SGD(
        fastopt.groups(params, {"b": {"lr": np.float32(0.75)}}), lr=lr, clip_norm=Alternating(1, 2)
    )
    for step in range(3):
        weights, biases = opt.current()
        assert weights["lr"] == lr(step)
        assert (biases["lr"], type(biases["lr"])) == (0.75, float)
        assert weights["clip_norm"] == biases["clip_norm"] == 1 + step % 2
        before = copy.deepcopy(params)
        opt.step({"w": np.full(2, 1e-3), "b": np.full(2, 1e-3)})
        for name, numbers in (("w", weights), ("b", biases)):
            np.testing.assert_allclose(before[name] - params[name], numbers["lr"] * 1e-3)
    assert "drop" not in weights
    opt.groups[0]["lr"] = Alternating(-1.0, 0.5)
    opt.step_count = 4
    with pytest.raises(ValueError, match=r"groups\[0\]: lr must be finite and >= 0, it is -1"):
        opt.current()


def test_all_options_of_the_state_machine_are_tried() -> None:
    for name, options in OPTIONS.items():
        tried = {*VALUES, "decay_after", "scaled_prox"}
        assert set(options) <= tried, name
        assert name in {cls.__name__ for cls in CLASSES.values()} | {"AdamW"}
