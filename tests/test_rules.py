"""Python says of each rule what the core declares: names, order, ranges, defaults, arrays."""

from __future__ import annotations

import dataclasses
import inspect
import re
from pathlib import Path

import numpy as np
import pytest
from cases import PLAIN_CASES

import fastopt
from fastopt import _core, rules
from fastopt.optimizers.options import (
    SHARED_DEFAULTS,
    TERM_DEFAULTS,
    OptimizerOptions,
    OptionsWithoutDecay,
)
from fastopt.options import DEFAULTS, StepOptions
from fastopt.rules import RULES, Rule
from fastopt.rules.adam import AdamOptions

TOP = Path(__file__).parents[1]


def own_parameters(rule: Rule) -> dict[str, inspect.Parameter]:
    parameters = list(inspect.signature(rule.step).parameters.items())
    own = dict(parameters[3 : -len(DEFAULTS)])
    own.pop("cautious", None)  # which says that it is another rule
    return own


def test_one_list() -> None:
    assert list(RULES) == list(_core.rules)
    assert {case.rule for case in PLAIN_CASES} == set(RULES), "tests/cases.py has a row for each"
    for name, rule in RULES.items():
        assert rule.step is getattr(fastopt, f"{name}_step")
        assert rule.init is getattr(fastopt, f"{name}_init", None)
        assert all(kind is getattr(fastopt, kind.__name__) for kind in rule.optimizers)
        assert all(kind.rule == name for kind in rule.optimizers)
    public = {f"{name}_step" for name in RULES}
    public |= {rule.init.__name__ for rule in RULES.values() if rule.init}
    public |= {
        inspect.signature(rule.init).return_annotation for rule in RULES.values() if rule.init
    }
    for rule in RULES.values():
        public |= {each.__name__ for each in (*rule.optimizers, *rule.more)}
    assert set(rules.__all__) == public


@pytest.mark.parametrize("name", RULES)
def test_options(name: str) -> None:
    rule, ranges = RULES[name], _core.rules[name].options
    parameters = own_parameters(rule)
    assert list(parameters) == list(ranges), "the order in which they are passed to the core"
    of_class = inspect.signature(rule.optimizers[0]).parameters
    for kind in rule.optimizers:
        for option, parameter in parameters.items():
            assert of_class[option].default == parameter.default
            assert kind(np.zeros((2, 2))).groups[0][option] == parameter.default


@pytest.mark.parametrize("name", RULES)
def test_ranges_and_defaults_in_docstrings(name: str) -> None:
    text, ranges = inspect.getdoc(RULES[name].step) or "", _core.rules[name].options
    said: dict[str, tuple[str, str]] = {}
    for names, kind, default, of in re.findall(
        r"^([\w, ]+) : (float|int|bool), defaults? (.+?)(?:, ((?:in|>|<|finite).*))?$",
        text,
        re.MULTILINE,
    ):
        each = names.split(", ")
        for option, value in zip(each, default.split(" and ") * len(each), strict=False):
            said[option] = ("bool" if kind == "bool" else of, value)
    for option, parameter in own_parameters(RULES[name]).items():
        assert said[option][0] == ranges[option], option
        assert float(eval(said[option][1])) == float(parameter.default), option


@pytest.mark.parametrize("name", RULES)
def test_arrays_of_the_state(name: str) -> None:
    rule, has = RULES[name], _core.rules[name]
    if rule.init is None:
        assert not has.arrays
        return
    state = rule.init(np.zeros(2))
    parts = ["step", *has.factors, *has.arrays, *has.numbers]
    assert [field.name for field in dataclasses.fields(state)] == parts
    for array, may_be_none in has.arrays.items():
        assert may_be_none or getattr(state, array) is not None
    for scalar, start in has.numbers.items():
        assert getattr(state, scalar) == start


def test_shared_options() -> None:
    of_core = {**_core.term_defaults, **_core.shared_defaults, **_core.object_defaults}
    assert set(StepOptions.__annotations__) == set(of_core)
    assert {**TERM_DEFAULTS, **SHARED_DEFAULTS}.keys() == OptimizerOptions.__annotations__.keys()


def test_adamw_shows_the_options_of_adam() -> None:
    others = OptionsWithoutDecay.__annotations__.keys()
    assert others == OptimizerOptions.__annotations__.keys() - {"weight_decay"}
    of_adam = inspect.signature(fastopt.Adam).parameters.keys() - {"params", "options"}
    assert of_adam == AdamOptions.__annotations__.keys() - others


@pytest.mark.skipif(not (TOP / "csrc").is_dir(), reason="the tests are not in the repository")
@pytest.mark.parametrize("page", ["README.md", "docs/rules.md"])
def test_pages_name_every_step(page: str) -> None:
    text = (TOP / page).read_text()
    assert [name for name in RULES if f"{name}_step" not in text] == []
