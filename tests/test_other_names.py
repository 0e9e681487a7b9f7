"""Messages about the options of other libraries say what to use here."""

from __future__ import annotations

import re
from typing import Any

import numpy as np
import pytest

import fastopt
from fastopt import _core
from fastopt.interop.other_names import INSTEAD, SAID, instead_of
from fastopt.optimizers.options import OF_EACH_STEP, SHARED_DEFAULTS, TERM_DEFAULTS
from fastopt.options import DEFAULTS
from fastopt.rules import RULES

CASES = [
    ("adam", "betas", "use beta1= and beta2="),
    ("adam", "beta_1", "use beta1="),
    ("adam", "momentum", "use beta1="),
    ("adam", "alpha", "use lr= for that of papers, l2= for that of scikit-learn"),
    ("adam", "wd", "use weight_decay= for decoupled decay, l2= for a penalty"),
    (
        "momentum",
        "amsgrad",
        "it is for all groups: use AMSGrad, Adam(params, amsgrad=True) or amsgrad_step",
    ),
    (
        "rmsprop",
        "caution",
        "Adam, AdamW, Lion, NAdam and their steps have it, for all groups: cautious=True",
    ),
    ("adam", "rho", "use beta2="),
    ("adam", "correct_bias", "use bias_correction="),
    ("adam", "max_grad_norm", "use clip_norm="),
    ("sgd", "learning_rate", "use lr="),
    ("sgd", "momentum", "use Momentum or momentum_step, which have momentum="),
    ("sgd", "nesterov", "use Momentum or momentum_step, which have nesterov="),
    ("sgd", "betas", "use Adam or adam_step, which have beta1= and beta2="),
    ("sgd", "lr_decay", "use lr= with a schedule, such as those of fastopt.schedules"),
    ("sgd", "decay", "use lr= with a schedule, such as those of fastopt.schedules"),
    ("sgd", "clipnorm", "use clip_tensor_norm="),
    ("sgd", "global_clipnorm", "use clip_norm="),
    ("sgd", "fused", "leave it out: it says how torch computes, not what"),
    ("momentum", "beta_1", "use momentum="),
    ("momentum", "use_nesterov", "use nesterov="),
    ("rmsprop", "alpha", "use rho="),
    ("rmsprop", "decay", "use rho="),
    ("rmsprop", "beta_2", "use rho="),
    ("rmsprop", "epsilon", "use eps="),
    ("sophia", "beta2", "use beta1=, and beta2= of update_hessian()"),
    ("sophia", "betas", "use beta1=, and beta2= of update_hessian()"),
    ("sophia", "gamma", "use rho="),
    (
        "sgd",
        "initial_accumulator_value",
        "use Adagrad or adagrad_init, which have initial_accumulator_value=",
    ),
]
every_case = pytest.mark.parametrize(("rule", "name", "said"), CASES)


def refused(message: str, call: Any, *arguments: Any, **options: Any) -> None:
    with pytest.raises(TypeError, match=f"^{re.escape(message)}$"):
        call(*arguments, **options)


@every_case
def test_in_functions(rule: str, name: str, said: str) -> None:
    init = RULES[rule].init
    w = np.ones(2)
    message = f"{rule}_step() got an unexpected keyword argument {name!r}; {said}"
    refused(message, RULES[rule].step, w, np.ones(2), init(w) if init else None, **{name: 0.5})
    assert w.tolist() == [1, 1]


@every_case
def test_in_classes_groups_and_steps(rule: str, name: str, said: str) -> None:
    given, missing = {name: 0.5}, f"there is no option {name!r}"
    for cls in RULES[rule].optimizers:
        w = np.ones(2)
        opt, message = cls(w), f"{cls.__name__}: {missing}; {said}"
        refused(message, cls, w, **given)
        refused(message, opt.groups[0].update, given)
        refused(message, cls, [{"params": w, **given}])
        message = f"{cls.__name__}.step: {missing} of a step; {said}"
        refused(message, opt.step, np.ones(2), **given)
        assert w.tolist() == [1, 1]


def test_what_a_state_starts_with_is_said_of_the_rule() -> None:
    said = "use Yogi or yogi_init, which have initial_accumulator_value=$"
    w = np.ones(2)
    with pytest.raises(TypeError, match=said):
        fastopt.yogi_step(w, w, fastopt.yogi_init(w), initial_accumulator_value=0.1)  # type: ignore[call-arg]


def test_of_groups_and_of_all() -> None:
    opt = fastopt.Adam(np.ones(2))
    missing = "Adam: there is no option {!r}; "
    of_groups = missing + "{} is an option of groups: opt.groups[0][{!r}]"
    of_all = missing + "{} is an option of the whole optimizer: opt.options[{!r}]"
    for name in ("lr", "l2", "frozen", "beta1"):
        refused(of_groups.format(name, name, name), opt.options.update, {name: 1})
    for name in ("clip_norm", "threads"):
        refused(of_all.format(name, name, name), opt.groups[0].update, {name: 1})
    refused(missing.format("max_norm") + "use clip_norm=", opt.options.update, max_norm=1)
    for name in ("mask", "grad_scale"):
        said = missing.format(name) + f"give {name}= to step()"
        refused(said, fastopt.Adam, np.ones(2), **{name: 1})
        refused(said, opt.groups[0].update, {name: 1})


def test_what_nobody_knows_has_the_list() -> None:
    for name in ("lrr", "", "schr\u00f6dinger"):
        assert instead_of("adam", name) == ""
        with pytest.raises(TypeError, match=f"there is no option '{name}'; there are lr, beta1"):
            fastopt.Adam(np.ones(2), **{name: 1})


def test_the_table_names_what_there_is() -> None:
    of_rules = {option for options, *_ in _core.rules.values() for option in options}
    ours = {*of_rules, *TERM_DEFAULTS, *SHARED_DEFAULTS, *OF_EACH_STEP}
    assert {name for each in INSTEAD.values() for some in each for name in some.split()} <= ours
    assert not INSTEAD.keys() & {*DEFAULTS, *SHARED_DEFAULTS}, "theirs is ours"
    for name in (*INSTEAD, *SAID):
        for rule in RULES:
            assert name in _core.rules[rule].options or instead_of(rule, name)
