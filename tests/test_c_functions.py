"""The functions of fastopt.h: they make the steps of Python, bit for bit, and refuse as it does."""

from __future__ import annotations

import copy
import ctypes
import inspect
import math
import re
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from c_functions import (
    DTYPES,
    OK,
    REFUSED,
    SKIPPED,
    COptimizer,
    Numbers,
    address,
    all_in,
    arrays_in,
    functions,
    message,
    names_of,
    options_of,
    pointers,
    rule_number,
    signature,
)
from cases import (
    FLAT_CASES,
    FLAT_STATE_CASES,
    Case,
    all_of,
    around,
    assert_same_bits,
    filled_terms,
    random_like,
    randomize_state,
)
from terms import ENTRY_TERMS, TERMS

import fastopt
from fastopt import _core
from fastopt.rules import RULES

# They may be added to, never changed: extensions that were built with them are in use.
OPTIMIZER = "fastopt_optimizer *"
SIGNATURES = {
    "message": "char const * (void)",
    "find_rule": "int (char const *)",
    "rule_name": "char const * (int)",
    "option_name": "char const * (int, int)",
    "option_default": "double (int, int)",
    "array_name": "char const * (int, int)",
    "array_is_optional": "int (int, int)",
    "scalar_name": "char const * (int, int)",
    "scalar_start": "double (int, int)",
    "update": "int (int, int, int64_t, void *, void const *, void *const *, double *, int64_t, "
    "double const *)",
    "check_update": "int (int, int, int64_t, void *, void const *, void *const *, double *, "
    "int64_t, double const *)",
    "new_optimizer": "int (int, int, int64_t, fastopt_optimizer **)",
    "free_optimizer": f"void ({OPTIMIZER})",
    "set_array": f"int ({OPTIMIZER}, int64_t, int64_t, void *, void *const *)",
    "set_average": f"int ({OPTIMIZER}, int64_t, void *)",
    "set_mask": f"int ({OPTIMIZER}, int64_t, int, uint8_t const *, int)",
    "set_drop": f"int ({OPTIMIZER}, double, uint64_t, uint64_t)",
    "find_option": "int (fastopt_optimizer const *, char const *)",
    "set_option": f"int ({OPTIMIZER}, int, double)",
    "get_option": "double (fastopt_optimizer const *, int)",
    "set_penalty": f"int ({OPTIMIZER}, int64_t, int, double)",
    "set_count": f"int ({OPTIMIZER}, int64_t, int64_t)",
    "get_count": "int64_t (fastopt_optimizer const *, int64_t)",
    "set_scalar": f"int ({OPTIMIZER}, int, double)",
    "get_scalar": "double (fastopt_optimizer const *, int)",
    "step": f"int ({OPTIMIZER}, void *const *)",
    "check_step": f"int ({OPTIMIZER}, void *const *)",
    "grad_norm": "double (fastopt_optimizer const *)",
    "nonfinite_array": "int64_t (fastopt_optimizer const *)",
    "global_norm": "int (int, int64_t, int64_t const *, void const *const *, int, double *)",
    "dropout": "int (int, int64_t, void const *, void *, double, uint64_t, uint64_t, int)",
    "dropout_mask": "int (int64_t, double, uint64_t, uint64_t, int, uint8_t *, int)",
    "set_num_threads": "int (int)",
    "get_num_threads": "int (void)",
    "isa": "char const * (void)",
    "set_scalar_of": f"int ({OPTIMIZER}, int64_t, int, double)",
    "get_scalar_of": "double (fastopt_optimizer const *, int64_t, int)",
}


def test_signatures_stay_as_they_are() -> None:
    names = list(_core.c_capsules)
    assert names[: len(SIGNATURES)] == list(SIGNATURES)
    assert {name: signature(name) for name in SIGNATURES} == SIGNATURES


def declarations(path: Path, pattern: str) -> list[str]:
    text = re.sub(r"/\*.*?\*/", "", path.read_text(), flags=re.DOTALL)
    return re.findall(pattern, text)


def test_header_and_declarations_for_cython_name_all() -> None:
    header = Path(fastopt.get_include(), "fastopt.h")
    in_table = declarations(header, r"\(\*(\w+)\)\(")
    assert in_table == list(_core.c_capsules)
    assert declarations(header, r"# *define fastopt_(\w+) FASTOPT_CALL\.\1\n") == in_table
    for_cython = declarations(header.parents[1] / "__init__.pxd", r'(\w+) "fastopt_\1"\(')
    assert for_cython == in_table


def test_rules_are_described() -> None:
    for number, (name, rule) in enumerate(RULES.items()):
        assert rule_number(name) == number
        assert functions.rule_name(number).decode() == name
        options, factors, arrays, scalars, *_ = _core.rules[name]
        arrays = dict.fromkeys(factors[:1], False) | arrays
        assert names_of("option", number) == list(options)
        assert names_of("array", number) == list(arrays)
        assert names_of("scalar", number) == list(scalars)
        parameters = inspect.signature(rule.step).parameters
        for i, option in enumerate(options):
            assert functions.option_default(number, i) == float(parameters[option].default)
        for i, optional in enumerate(arrays.values()):
            assert functions.array_is_optional(number, i) == (optional and "flatten" not in options)
        for i, start in enumerate(scalars.values()):
            assert functions.scalar_start(number, i) == start
    for number in (-1, len(RULES)):
        assert functions.rule_name(number) is None
        assert names_of("option", number) == []
    assert rule_number("nowhere") == -1


@pytest.mark.parametrize("dtype", DTYPES, ids=str)
@pytest.mark.parametrize("case", FLAT_CASES, ids=str)
def test_update(case: Case, dtype: Any) -> None:
    rng = np.random.default_rng(3)
    rule, options = rule_number(case.rule), options_of(case)
    for size in (0, 1, 15, 100, 257, 5000):
        p = random_like(np.zeros(size, dtype), rng)
        state = case.new_state(p)
        q, twin = p.copy(), copy.deepcopy(state)
        for step in range(3):
            g = random_like(p, rng)
            arrays = arrays_in(twin, rule) if state is not None else []
            numbers = Numbers(twin, rule)
            of_state = (pointers(arrays), address(numbers.values), step)
            call = (rule, DTYPES[dtype], size, address(q), address(g), *of_state)
            assert functions.check_update(*call, address(options)) == OK
            functions.update(*call, address(options))
            numbers.put_back()
            case.step(p, g, state)
            assert_same_bits(q, p)
            assert_same_bits(all_of(twin), all_of(state))


@pytest.mark.parametrize("case", [case for case in FLAT_STATE_CASES if not case.init], ids=str)
def test_no_elements(case: Case) -> None:
    """There may be no memory then."""
    rule, options, numbers = rule_number(case.rule), options_of(case), np.ones(4)
    nothing = pointers([None] * 6)
    call = (rule, DTYPES[np.dtype(np.float64)], 0, None, None, nothing, address(numbers), 0)
    assert functions.check_update(*call, address(options)) == OK
    assert functions.update(*call, address(options)) == OK


def lists_of(dtype: Any, rng: Any, sizes: tuple[int, ...] = (70, 1, 0, 5000)) -> list[Any]:
    return [random_like(np.zeros(size, dtype), rng) for size in sizes]


@pytest.mark.parametrize("dtype", DTYPES, ids=str)
@pytest.mark.parametrize(("case", "terms"), around(FLAT_STATE_CASES, [*TERMS, *ENTRY_TERMS]))
def test_step(case: Case, terms: dict[str, Any], dtype: Any) -> None:
    rng = np.random.default_rng(4)
    params = lists_of(dtype, rng)
    ours = filled_terms(terms, params, rng)
    state = case.new_state(params)
    if state is not None:
        randomize_state(state, rng)
    theirs, twin, their_terms = (copy.deepcopy(x) for x in (params, state, ours))
    opt = COptimizer(case, theirs, twin)
    opt.set_terms(their_terms)
    for step in range(3):
        grads = lists_of(dtype, rng)
        if step == 1 and "skip_nonfinite" in terms:
            grads[3][4321] = np.inf
        same = copy.deepcopy(grads)
        result = case.step(params, grads, state, **ours)
        code = opt.step(same)
        assert code == (SKIPPED if result is not None and result.skipped else OK)
        assert_same_bits(theirs, params)
        assert_same_bits(same, grads)
        assert_same_bits(their_terms.get("ema", []), ours.get("ema", []))
        assert_same_bits(all_in(twin, theirs), all_in(state, params))
        if state is not None:
            assert functions.get_count(opt.handle, 3) == state.step
        if result is not None:
            assert functions.grad_norm(opt.handle) == result.grad_norm
            nonfinite = functions.nonfinite_array(opt.handle)
            assert result.nonfinite == (f"grads[{nonfinite}]" if nonfinite >= 0 else None)


@pytest.mark.parametrize("case", FLAT_STATE_CASES, ids=str)
def test_arrays_without_gradients_stay_behind(case: Case) -> None:
    rng = np.random.default_rng(5)
    params = lists_of(np.float32, rng)
    state = case.new_state(params)
    theirs, twin = copy.deepcopy(params), copy.deepcopy(state)
    opt = COptimizer(case, theirs, twin)
    for missing in ([], [0], [0, 3], [1], []):
        grads = lists_of(np.float32, rng)
        for i in missing:
            grads[i] = None
        case.step(params, grads, state)
        assert opt.step(grads) == OK
        assert_same_bits(theirs, params)
        assert_same_bits(all_in(twin, theirs), all_in(state, params))
    if state is not None:
        assert [functions.get_count(opt.handle, i) for i in (0, 1, 3)] == [3, 4, 4]
        opt.call("set_count", 0, 4)
        state.step = [4, 4, 5, 4]
        grads = lists_of(np.float32, rng)
        case.step(params, grads, state)
        opt.step(grads)
        assert_same_bits(theirs, params)


def test_numbers_that_change_between_steps() -> None:
    p, q = np.ones(10), np.ones(10)
    state = fastopt.adam_init([p])
    case, twin = Case("adam"), copy.deepcopy(state)
    opt = COptimizer(case, [q], twin)
    for lr in (0.1, 0.2, 0.05):
        opt.set("lr", lr)
        assert functions.get_option(opt.handle, opt.number("lr")) == lr
        opt.step([np.full(10, 0.3)])
        fastopt.adam_step([p], [np.full(10, 0.3)], state, lr=lr)
    assert_same_bits(q, p)
    opt.call("set_drop", 0.5, 7, 9)
    opt.call("set_drop", -1.0, 0, 0)
    opt.set("clip_norm", 0.1)
    opt.set("clip_norm", math.inf)
    opt.step([np.full(10, 0.3)])
    fastopt.adam_step([p], [np.full(10, 0.3)], state, lr=0.05)
    assert_same_bits(q, p)
    assert math.isnan(functions.get_option(opt.handle, 99))
    assert opt.number("nowhere") == -1


def test_norm_and_dropout() -> None:
    rng = np.random.default_rng(6)
    for dtype, number in DTYPES.items():
        arrays = lists_of(dtype, rng)
        sizes, norm = np.array([a.size for a in arrays]), ctypes.c_double()
        call = (number, len(arrays), address(sizes), pointers(arrays))
        assert functions.global_norm(*call, 0, ctypes.byref(norm)) == OK
        assert norm.value == fastopt.global_norm(arrays)
        x = arrays[3]
        out = np.empty_like(x)
        assert functions.dropout(number, x.size, address(x), address(out), 0.3, 5, 6, 2) == OK
        assert_same_bits(out, fastopt.dropout(x, 0.3, seed=5, offset=6))
        assert functions.dropout(number, x.size, address(x), address(x), 0.3, 5, 6, 0) == OK
        assert_same_bits(x, out)
        for packed in (True, False):
            wanted = fastopt.dropout_mask(5000, 0.3, seed=5, offset=6, packed=packed)
            mask = np.empty(wanted.size, np.uint8)
            functions.dropout_mask(5000, 0.3, 5, 6, packed, address(mask), 1)
            assert_same_bits(mask, wanted.view(np.uint8).ravel())
    assert functions.get_num_threads() == fastopt.get_num_threads()
    assert functions.set_num_threads(fastopt.get_num_threads()) == OK
    assert functions.isa().decode() == fastopt.info()["isa"]


def refusal_of(call: Any) -> str:
    with pytest.raises((ValueError, TypeError)) as refused:
        call()
    return str(refused.value)


def test_optimizers_refuse_as_python_does() -> None:
    p, g = ([np.ones(8, np.float32), np.ones(4, np.float32)] for _ in range(2))
    state = fastopt.adam_init(p)
    case = Case("adam")

    def python(**options: Any) -> str:
        return refusal_of(lambda: fastopt.adam_step(p, g, state, **options))

    before = copy.deepcopy([p, state.m, state.v])
    for options in (
        {"lr": -1.0},
        {"lr": math.nan},
        {"beta1": 1.0},
        {"beta2": -0.5},
        {"eps": 1e-60},
        {"lr": 1e40},
        {"l1": -1e-5},
        {"weight_decay": 1e39, "lr": 1.0},
        {"grad_scale": 1e300},
        {"clip_norm": 0.0},
        {"ema_decay": 2.0},
        {"clip_norm": 1.0, "clip_tensor_norm": 2.0},
    ):
        opt = COptimizer(case, p, state)

        def c(opt: COptimizer = opt, options: dict[str, Any] = options) -> None:
            for name, value in options.items():
                opt.set(name, value)
            opt.step(g, check=False)

        assert refusal_of(c) == python(**options)
    opt = COptimizer(case, p, state)
    assert refusal_of(lambda: opt.step([g[0], p[1]])) == refusal_of(
        lambda: fastopt.adam_step(p, [g[0], p[1]], state)
    )
    mixed = fastopt.AdamState(0, [state.m[0], p[1]], state.v)
    assert refusal_of(lambda: COptimizer(case, p, mixed).step(g)) == refusal_of(
        lambda: fastopt.adam_step(p, g, mixed)
    )
    opt.call("set_count", 0, 3)
    for count in (-1, 2**53):
        text = refusal_of(lambda count=count: opt.call("set_count", 0, count))
        assert text == f"adam_step: 0 <= state.step[0] < 2**53 must hold, it is {count}"
    assert_same_bits([p, state.m, state.v], before)
    assert functions.get_count(opt.handle, 0) == 3


def test_the_checking_update_refuses_as_python_does() -> None:
    rng = np.random.default_rng(0)
    p, g = rng.random(9, np.float32), rng.random(9, np.float32)
    state = fastopt.rmsprop_init(p)
    rule, case = rule_number("rmsprop"), Case("rmsprop")

    def check(options: dict[str, float], **other: Any) -> str:
        case = Case("rmsprop", options)
        own = arrays_in(other.get("state", state), rule)
        given = (other.get("p", p), other.get("g", g))
        code = functions.check_update(
            other.get("rule", rule),
            other.get("dtype", 0),
            other.get("n", given[0].size),
            address(given[0]),
            address(given[1]),
            pointers(own),
            None,
            other.get("step", 0),
            address(options_of(case)),
        )
        assert code == REFUSED
        return message()

    for options in ({"lr": -2.5}, {"rho": 1.0}, {"eps": 1e-70}, {"lr": 1e39}, {"lr": math.inf}):
        python = refusal_of(lambda o=options: fastopt.rmsprop_step(p, g, state, **o))
        assert check(options) == python
    assert check({"momentum": 0.5}).startswith(
        "rmsprop_step: momentum=0.5 needs state.buf, which is "
    )
    overlapping = np.concatenate([p, p])
    for name, other in (
        ("params and grads", {"p": overlapping[:9], "g": overlapping[8:17]}),
        ("params and state.v", {"p": state.v}),
    ):
        assert check({}, **other) == f"rmsprop_step: {name} overlap in memory"
    bytes_of = np.zeros(41, np.uint8)[1:37].view(np.float32)
    text = refusal_of(lambda: case.step(bytes_of, g, state))
    assert check({}, p=bytes_of) == text
    assert text == "rmsprop_step: params is not aligned in memory for its dtype"
    assert check({}, step=-1) == "rmsprop_step: 0 <= state.step < 2**53 must hold, it is -1"
    assert check({}, n=-1) == "rmsprop_step: 0 <= n <= 2**48 must hold, it is -1"
    assert check({}, rule=99) == "fastopt_update: there is no rule 99"
    assert check({}, dtype=7) == (
        "rmsprop_step: the dtype must be FASTOPT_FLOAT32 or FASTOPT_FLOAT64, it is 7"
    )
