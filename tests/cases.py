"""The tables that the tests are made of: rules, options, terms, sizes. A new rule adds its rows."""

from __future__ import annotations

import copy
from dataclasses import dataclass, field
from itertools import product
from typing import Any

import numpy as np
import pytest
from terms import name_of_terms

import fastopt
from fastopt import _core, reference
from fastopt.rules import RULES
from fastopt.tree import map_tree, zip_trees

DTYPES = [np.float32, np.float64]
ISAS = fastopt.info()["available_isas"]

# Around the width of every vector: 4, 8 and 16 elements, unrolled and not, and a few thousand.
SIZES = [0, 1, 2, 3, 7, 8, 9, 15, 16, 17, 31, 32, 33, 63, 64, 65, 127, 129, 1023, 1025, 4099]


@dataclass(frozen=True)
class Case:
    """One rule with one choice of options."""

    rule: str
    options: dict[str, Any] = field(default_factory=dict)
    init: dict[str, Any] = field(default_factory=dict)

    def __str__(self) -> str:
        words = [self.rule, *(f"{k}={v}" for k, v in {**self.init, **self.options}.items())]
        return "-".join(words)

    @property
    def has_state(self) -> bool:
        return hasattr(fastopt, f"{self.rule}_init")

    def new_state(self, params: Any) -> Any:
        if not self.has_state:
            return None
        return getattr(fastopt, f"{self.rule}_init")(params, **self.init)

    def step(self, params: Any, grads: Any, state: Any, **more: Any) -> Any:
        step = getattr(fastopt, f"{self.rule}_step")
        return step(params, grads, state, **{**self.options, **more})

    def reference_step(self, params: Any, grads: Any, state: Any, **more: Any) -> Any:
        step = getattr(reference, f"{self.rule}_step")
        return step(params, grads, state, **{**self.options, **more})


def rmsprop_cases(**options: Any) -> list[Case]:
    return [
        Case(
            "rmsprop",
            {"eps_inside_sqrt": inside, "rho": 0.9}
            | ({"momentum": 0.8} if momentum else {})
            | options,
            {"centered": centered, "momentum": momentum},
        )
        for centered, momentum, inside in product([False, True], repeat=3)
    ]


CASES = [
    Case("sgd"),
    Case("momentum"),
    Case("momentum", {"momentum": 0.5, "dampening": 0.5}),
    Case("momentum", {"nesterov": True}),
    Case("momentum", {"nesterov": True, "dampening": 0.9, "lr": 0.3}),
    Case("momentum", {"lr_inside": True}),
    Case("momentum", {"lr_inside": True, "nesterov": True, "dampening": 0.9, "lr": 0.3}),
    Case("adam"),
    Case("adam", {"epsilon_hat": True, "eps": 1e-3}),
    Case("adam", {"beta1": 0.0, "beta2": 0.0}),
    Case("adam", {"lr": 0.1, "beta1": 0.5, "beta2": 0.99}),
    Case("adam", {"bias_correction": False}),
    Case("adam", {"bias_correction": False, "epsilon_hat": True, "eps": 1e-3}),
    *rmsprop_cases(),
    Case("adagrad"),
    Case("adagrad", {"lr": 0.5, "lr_decay": 0.1, "eps": 1e-3}, {"initial_accumulator_value": 0.1}),
    Case("adagrad", {"eps_inside_sqrt": True, "eps": 1e-3}),
    Case("adadelta"),
    Case("adadelta", {"lr": 0.5, "rho": 0.5, "eps": 1e-3}),
    Case("adamax"),
    Case("adamax", {"lr": 0.1, "beta1": 0.5, "beta2": 0.9, "eps": 1e-3}),
    Case("adamax", {"eps_outside_max": True, "eps": 1e-3}),
    Case("lion"),
    Case("lion", {"lr": 0.1, "beta1": 0.5, "beta2": 0.7}),
    Case("cautious_adam"),
    Case("cautious_adam", {"lr": 0.1, "beta1": 0.5, "epsilon_hat": True, "eps": 1e-3}),
    Case("cautious_lion"),
    Case("cautious_lion", {"lr": 0.1, "beta1": 0.5, "beta2": 0.7}),
    Case("cautious_nadam"),
    Case("cautious_nadam", {"lr": 0.1, "beta1": 0.5, "eps": 1e-3, "momentum_decay": 1.0}),
    Case("signum"),
    Case("signum", {"lr": 0.1, "momentum": 0.0}),
    Case("amsgrad"),
    Case("amsgrad", {"epsilon_hat": True, "eps": 1e-3, "beta2": 0.9}),
    Case("amsgrad", {"max_of_corrected": True, "beta2": 0.9}),
    Case("amsgrad", {"max_of_corrected": True, "epsilon_hat": True, "eps": 1e-3}),
    Case("radam"),
    Case("radam", {"epsilon_hat": False, "beta2": 0.8, "eps": 1e-3}),
    Case("lamb"),
    Case("lamb", {"lr": 0.1, "trust_decay": 0.0, "bias_correction": False, "trust_clip": True}),
    Case("lamb", {"lr": 0.1, "trust_decay": 0.0, "always_adapt": False, "eps": 1e-3}),
    Case("nadam"),
    Case("nadam", {"lr": 0.1, "beta1": 0.5, "beta2": 0.9, "eps": 1e-3, "momentum_decay": 1.0}),
    Case("nadam", {"warm_up": False}),
    Case("ademamix"),
    Case("ademamix", {"alpha": 2.0, "beta3": 0.99, "alpha_warmup": 3.0, "beta3_warmup": 4.0}),
    Case("ademamix", {"beta1": 0.0, "beta3": 0.0, "beta3_warmup": 9.0, "eps": 1e-3}),
    Case("adopt"),
    Case("adopt", {"update_clip": False, "beta1": 0.5, "beta2": 0.9, "eps": 1e-3}),
    Case("adabelief"),
    Case("adabelief", {"lr": 0.1, "beta1": 0.5, "beta2": 0.9, "eps": 1e-3}),
    Case("yogi"),
    Case("yogi", {"lr": 0.1, "beta1": 0.5, "beta2": 0.9}, {"initial_accumulator_value": 0.25}),
    Case("yogi", {"bias_correction": False, "eps": 0.1}),
    Case("adan"),
    Case("adan", {"lr": 0.1, "beta1": 0.5, "beta2": 0.9, "beta3": 0.8, "eps": 1e-3}),
    Case("adan", {"bias_correction": False, "eps": 0.1}),
    Case("ftrl"),
    Case(
        "ftrl",
        {"lr": 0.1, "lambda1": 0.5, "lambda2": 0.25, "beta": 1.0, "l2_shrinkage": 0.125},
        {"initial_accumulator_value": 0.0},
    ),
    Case("rprop"),
    Case("rprop", {"lr": 0.3, "eta_minus": 0.25, "min_step_size": 0.1, "max_step_size": 0.4}),
    Case("adafactor"),
    Case("adafactor", {"beta1": 0.5, "lr": 0.3, "d": 0.5}, {"beta1": True}),
    Case("adafactor", {"clamp": True, "eps1": 0.3, "relative_step": False, "eps2": 10.0}),
    Case("adafactor", {"clamp": True, "eps1": 0.0, "scale_parameter": False, "beta2_decay": -0.5}),
    Case("rowwise_adagrad"),
    Case("rowwise_adagrad", {"lr": 0.5, "lr_decay": 0.1, "eps": 1e-3}),
    Case("lars"),
    Case("lars", {"trust_coeff": 0.5, "trust_decay": 0.1, "nesterov": True, "dampening": 0.5}),
    Case("lars", {"trust_decay": 0.1, "norm_of_sum": True, "lr_inside": True, "eps": 0.1}),
    Case("lars", {"trust_coeff": 0.5, "trust_clip": True, "lr": 0.1, "lr_inside": True}),
    Case("lars", {"always_adapt": False, "momentum": 0.0}),
    Case("asgd"),
    Case("asgd", {"lr": 0.1, "lambd": 0.5, "alpha": 0.5, "t0": 1.0}),
    Case("schedulefree_sgd", {"lr": 0.1}),
    Case("schedulefree_sgd", {"momentum": 0.5, "warmup_steps": 2.5, "r": 0.5}),
    Case("schedulefree_sgd", {"lr": 0.0, "momentum": 1.0}),
    Case("schedulefree_adamw"),
    Case("schedulefree_adamw", {"lr": 0.1, "beta1": 0.5, "y_decay": 0.1, "eps": 1e-3}),
    Case(
        "schedulefree_adamw",
        {"beta1": 1.0, "beta2": 0.0, "warmup_steps": 4.0, "r": 1.5, "weight_lr_power": 0.0},
    ),
    Case("prodigy"),
    Case("prodigy", {"d_decay": 0.1, "use_bias_correction": True, "growth_rate": 1.5, "d0": 0.1}),
    Case("prodigy", {"beta1": 0.0, "beta3": 0.5, "safeguard_warmup": True, "d0": 1e-3, "lr": 0.5}),
    Case("prodigy", {"per_array": True, "d0": 0.01, "d_coef": 2.0, "eps": 1e-3, "beta2": 0.9}),
    Case("sophia"),
    Case("sophia", {"lr": 0.1, "beta1": 0.5, "rho": 2.0, "eps": 1e-3, "eps_outside_max": False}),
    Case("sophia", {"bias_correction": True, "rho": 1.0, "eps": 0.1}),
    Case("muon", {"flatten": True}),
    Case("muon", {"flatten": True, "nesterov": False, "momentum": 0.5, "match_rms_adamw": True}),
    Case("muon", {"flatten": True, "eps_outside_max": True, "eps": 0.1}),
    Case(
        "muon", {"flatten": True, "lr": 0.1, "ns_steps": 2, "ns_a": 1.5, "ns_b": -0.5, "ns_c": 0.0}
    ),
    Case("muon", {"lr": 0.1, "beta1": 0.5, "beta2": 0.99, "eps": 1e-3}, {"other": True}),
]

# Rules that divide by a metric, which can scale the threshold of proximal L1.
SCALED_CASES = [
    Case("adam", {"scaled_prox": True, "lr": 0.3}),
    Case("adam", {"scaled_prox": True, "lr": 0.3, "epsilon_hat": True, "eps": 1e-3}),
    Case("adam", {"scaled_prox": True, "lr": 0.3, "beta1": 0.0, "beta2": 0.0}),
    Case("adam", {"scaled_prox": True, "lr": 0.3, "bias_correction": False}),
    *rmsprop_cases(scaled_prox=True, lr=0.3),
    Case("adagrad", {"scaled_prox": True, "lr": 0.3}),
    Case("adagrad", {"scaled_prox": True, "lr": 0.3, "lr_decay": 0.1, "eps_inside_sqrt": True}),
    Case("adamax", {"scaled_prox": True, "lr": 0.3}),
    Case("adamax", {"scaled_prox": True, "lr": 0.3, "eps_outside_max": True, "eps": 1e-3}),
    Case("amsgrad", {"scaled_prox": True, "lr": 0.3, "max_of_corrected": True}),
    Case("radam", {"scaled_prox": True, "lr": 0.3, "beta2": 0.8}),
    Case("lamb", {"scaled_prox": True, "lr": 0.3}),
    Case("nadam", {"scaled_prox": True, "lr": 0.3}),
    Case("cautious_adam", {"scaled_prox": True, "lr": 0.3}),
    Case("cautious_nadam", {"scaled_prox": True, "lr": 0.3}),
    Case("ademamix", {"scaled_prox": True, "lr": 0.3}),
    Case("adabelief", {"scaled_prox": True, "lr": 0.3, "eps": 1e-8}),
    Case("yogi", {"scaled_prox": True, "lr": 0.3}),
    Case("adan", {"scaled_prox": True, "lr": 0.3}),
    Case("adafactor", {"scaled_prox": True, "lr": 0.3}),
    Case("rowwise_adagrad", {"scaled_prox": True, "lr": 0.3}),
]

PLAIN_CASES = [
    Case(name, {**rule.of_any_shape, **({"per_array": True} if name == "prodigy" else {})})
    for name, rule in RULES.items()
]
"""Of each rule one whose arrays know nothing of each other."""

MOST_ARRAYS = rmsprop_cases()[-1]
STATE_CASES = [*PLAIN_CASES, MOST_ARRAYS]

# Those that C has, whose arrays are no matrices.
FLAT_CASES = [
    *(case for case in CASES + SCALED_CASES if "flatten" not in case.options),
    Case("muon", {}, {"other": True}),
]
FLAT_STATE_CASES = [
    *(case for case in STATE_CASES if "flatten" not in case.options),
    Case("muon", {}, {"other": True}),
]

# An array knows nothing of the others.
ALONE = [case for case in CASES if case.rule != "prodigy" or "per_array" in case.options]

# An element depends on no other of its array.
ELEMENTWISE = [
    case
    for case in CASES + SCALED_CASES
    if not (_core.rules[case.rule].sums or _core.rules[case.rule].factors)
    and "flatten" not in case.options
]

KINDS = [Case("sgd"), Case("momentum"), Case("adam"), Case("lamb"), MOST_ARRAYS]
"""A rule without a state, and with one array in it, two, two and two phases, three."""


def around(cases: list[Case], terms: list[dict[str, Any]]) -> list[Any]:
    """Return what a test of these cases and terms shall go through.

    Terms know no rule and no option of it: all of them come around a rule of each kind, and the
    last, which are many at once, around all others and the other choices of their options.
    """
    pairs = [*product([case for case in cases if case in KINDS], terms)]
    pairs += [(case, terms[-1]) for case in cases if case not in KINDS]
    return [pytest.param(*pair, id=f"{pair[0]}-{name_of_terms(pair[1])}") for pair in pairs]


def random_like(tree: Any, rng: np.random.Generator) -> Any:
    """Return normal random numbers with some zeros, large and tiny values among them."""

    def fill(array: Any) -> Any:
        values = rng.standard_normal(array.shape)
        values *= rng.choice([0.0, 1.0, 1.0, 1.0, 1e3, 1e-6], array.shape)
        return np.asarray(values, array.dtype)

    return map_tree(fill, tree)


def other_key_order(tree: Any) -> Any:
    """Reverse the order of every dict: entries belong together by their keys."""
    if isinstance(tree, dict):
        return {key: other_key_order(tree[key]) for key in reversed(tree)}
    if isinstance(tree, (list, tuple)):
        return type(tree)(map(other_key_order, tree))
    return tree


def random_mask(tree: Any, rng: np.random.Generator, form: str = "bool") -> Any:
    """Return a mask like the tree. What is not zero counts as true, and padding bits not at all."""
    forms = ["bool", "uint8", "packed", *(["none"] if isinstance(tree, (dict, list)) else [])]

    def fill(array: Any) -> Any:
        own = rng.choice(forms) if form == "mixed" else form
        if own == "packed":
            return rng.integers(256, size=(array.size + 7) // 8, dtype=np.uint8)
        if own == "uint8":
            return np.asarray(rng.choice(np.uint8([0, 1, 2, 128]), array.shape))
        return None if own == "none" else np.asarray(rng.random(array.shape) < 0.6)

    return map_tree(fill, tree)


def random_penalties(tree: Any, rng: np.random.Generator, form: str) -> Any:
    """Return a number for each array of the tree, or for all arrays of every branch of its root."""
    numbers = [0, 0.0, 0.02, 0.3, np.float32(0.1), 1]
    if form == "branch" and isinstance(tree, (dict, list)):
        tree = dict.fromkeys(tree) if isinstance(tree, dict) else [None] * len(tree)
    return map_tree(lambda _: numbers[rng.integers(len(numbers))], tree)


def filled_terms(terms: dict[str, Any], params: Any, rng: np.random.Generator) -> dict[str, Any]:
    """Put random trees like the parameters where the tables of terms have True or a word."""
    filled = dict(terms)
    for name, given in terms.items():
        if name in ("mask", "update_mask"):
            filled[name] = random_mask(params, rng, "bool" if given is True else given)
        elif name == "ema":
            filled[name] = random_like(params, rng)
        elif name == "drop":  # so that counting goes round the end
            filled[name] = fastopt.Dropout(given, int(rng.integers(2**63)), 2**64 - 2)
        elif given in ("each", "branch"):
            filled[name] = random_penalties(params, rng, given)
    return filled


NEVER_NEGATIVE = {rule.state: rule.optimizers[0]._never_negative for rule in RULES.values()}
"""Of each class of states the arrays of squares and magnitudes."""


NUMBERS = {name for rule in _core.rules.values() for name in rule.numbers}
"""What states have one of for each array: arrays without axes."""

FACTORS = {name for rule in _core.rules.values() for name in rule.factors}
"""What states have of rows and columns."""

COLUMNS = {name for rule in _core.rules.values() for name in rule.factors[1:]}
"""What of it flat arrays have not."""


def state_arrays(state: Any, but: set[str] = NUMBERS | FACTORS) -> list[Any]:
    """Return every tree of arrays like the parameters in a state."""
    if state is None:
        return []
    names = [name for name in type(state).__slots__ if name != "step" and name not in but]
    return [getattr(state, name) for name in names if getattr(state, name) is not None]


def all_of(state: Any) -> list[Any]:
    """Return every tree of arrays in a state."""
    return state_arrays(state, but=set())


def randomize_state(state: Any, rng: np.random.Generator) -> None:
    """Fill a new state with what a state in use may hold: second moments are not negative."""
    for tree in state_arrays(state, but=NUMBERS):
        for (array,) in zip_trees(tree):
            array[...] = rng.random(array.shape) + 0.01


def arrays_of(*trees: Any) -> list[Any]:
    arrays = [array for tree in trees for (array,) in zip_trees(tree)]
    return [array for array in arrays if array is not None]


def assert_same_bits(actual: Any, expected: Any) -> None:
    """Compare trees of arrays exactly: zeros by their sign too, NaN with NaN."""
    for got, want in zip(arrays_of(actual), arrays_of(expected), strict=True):
        assert got.dtype == want.dtype
        assert got.shape == want.shape
        same = (got == want) & (np.signbit(got) == np.signbit(want)) | np.isnan(got) & np.isnan(
            want
        )
        if not np.all(same):
            at = tuple(int(i) for i in np.argwhere(~same)[0])
            raise AssertionError(
                f"{np.count_nonzero(~same)} of {got.size} elements differ, "
                f"the first at {at}: {got[at]!r}, not {want[at]!r}"
            )


def copied(tree: Any) -> Any:
    """Return copies that lie as the arrays do: sums are in the order of memory."""

    def copy_of(array: Any) -> Any:
        forwards = (..., *(slice(None, None, -1 if s < 0 else 1) for s in array.strides))
        return array[forwards].copy(order="K")[forwards]

    return map_tree(copy_of, tree)


def check_against_reference(
    case: Case,
    params: Any,
    rng: np.random.Generator,
    terms: dict[str, Any] | None = None,
    steps: int = 3,
    threads: int | None = None,
) -> None:
    """Run kernels and reference side by side and compare every array after every step."""
    terms = filled_terms(terms or {}, params, rng)
    expected_terms = copy.deepcopy(terms)
    grads = other_key_order(random_like(params, rng))
    expected = copied(params)
    state = case.new_state(params)
    randomize_state(state, rng)
    expected_state = copy.deepcopy(state)
    for step in range(steps):
        for grad, fresh in zip(arrays_of(grads), arrays_of(random_like(grads, rng)), strict=True):
            grad[...] = fresh
        expected_grads = copy.deepcopy(grads)
        result = case.step(params, grads, state, **terms, threads=threads)
        with np.errstate(all="ignore"):
            wanted = case.reference_step(expected, expected_grads, expected_state, **expected_terms)
        assert result == wanted
        assert terms.get("drop") == expected_terms.get("drop")
        assert_same_bits(terms.get("ema", []), expected_terms.get("ema", []))
        assert_same_bits(params, expected)
        assert_same_bits(grads, expected_grads)
        for got, want in zip(all_of(state), all_of(expected_state), strict=True):
            assert_same_bits(got, want)
        if state is not None:
            assert state.step == expected_state.step == step + 1
