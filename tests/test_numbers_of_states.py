"""Numbers of a state, one for each array: they advance, stay, are saved and refused like arrays."""

from __future__ import annotations

import copy
import pickle
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from cases import assert_same_bits

import fastopt


def momentum(t: int) -> float:
    return 0.9 * (1 - 0.5 * 0.96 ** (t * 4e-3))


def product(steps: int) -> float:
    made = 1.0
    for t in range(1, steps + 1):
        made *= momentum(t)
    return made


def params() -> dict[str, Any]:
    return {"w": np.ones((2, 3)), "b": np.ones(2, np.float32), "none": np.ones(0)}


def grads(**missing: None) -> dict[str, Any]:
    return {**params(), **missing}


def products(opt: fastopt.NAdam) -> dict[str, float]:
    (group,) = opt.groups
    return dict(zip(group.names, map(float, group.state.mu_product), strict=True))


def test_each_array_has_its_own() -> None:
    p, state = params(), fastopt.nadam_init(params())
    fastopt.nadam_step(p, grads(b=None), state)
    fastopt.nadam_step(p, grads(), state)
    assert {k: float(v) for k, v in state.mu_product.items()} == {
        "w": product(2),
        "b": product(1),
        "none": product(2),  # also without an element
    }
    assert state.step == {"w": 2, "b": 1, "none": 2}


def test_what_is_frozen_or_skipped_or_accumulated_leaves_them() -> None:
    opt = fastopt.NAdam(params(), skip_nonfinite=True)
    opt.freeze("b")
    opt.step(grads())
    assert products(opt) == {"w": product(1), "b": 1.0, "none": product(1)}
    opt.step({**grads(), "w": np.full((2, 3), np.nan)})
    opt.accumulate(grads())
    opt.accumulate(grads())
    assert products(opt)["w"] == product(1)
    opt.step()
    assert products(opt)["w"] == product(2)


def test_a_step_that_is_refused_leaves_them() -> None:
    p, state = params(), fastopt.nadam_init(params())
    with pytest.raises(ValueError, match="lr must be finite"):
        fastopt.nadam_step(p, grads(), state, lr=-1.0)
    with pytest.raises(ValueError, match="is infinite in float32"):
        fastopt.nadam_step(p, grads(), state, lr=1e39)
    assert all(float(number) == 1 for number in state.mu_product.values())


@pytest.mark.parametrize("name", ["w", "b"])
def test_a_number_that_makes_a_step_too_long_is_refused(name: str) -> None:
    """Of each array by itself: 1/(1 - product) is infinite where the product is 1."""
    p, state = params(), fastopt.nadam_init(params())
    state.mu_product[name][...] = 2
    before = copy.deepcopy((p, state.mu_product))
    said = rf"a number that the rule makes of lr=0\.002 is infinite in .*params\['{name}'\]"
    with pytest.raises(ValueError, match=said):
        fastopt.nadam_step(p, grads(), state, beta1=0.5, warm_up=False)
    opt = fastopt.NAdam(p, state=state, beta1=0.5, warm_up=False)
    with pytest.raises(ValueError, match=said):
        opt.step(grads())
    assert_same_bits([p, state.mu_product], list(before))


@pytest.mark.parametrize(
    "copied",
    [copy.deepcopy, lambda opt: pickle.loads(pickle.dumps(opt))],
    ids=["deepcopy", "pickle"],
)
def test_copies_go_on_by_themselves(copied: Callable[[Any], Any]) -> None:
    opt = fastopt.NAdam(params())
    opt.step(grads(b=None))
    other = copied(opt)
    opt.step(grads())
    assert products(other) == {"w": product(1), "b": 1.0, "none": product(1)}
    other.step(grads())
    assert products(other) == products(opt)
    assert_same_bits(other.params, opt.params)


def test_checkpoints_have_them(tmp_path: Path) -> None:
    p, q = params(), params()
    opt, other = fastopt.NAdam(p), fastopt.NAdam(q)
    opt.step(grads(b=None))
    fastopt.save(tmp_path / "a.npz", params=p, optimizer=opt)
    fastopt.load(tmp_path / "a.npz", params=q, optimizer=other)
    for each in (opt, other):
        each.step(grads())
    assert (
        products(other) == products(opt) == {"w": product(2), "b": product(1), "none": product(2)}
    )
    assert_same_bits(q, p)


def test_other_arrays_keep_them_and_new_ones_begin() -> None:
    opt = fastopt.NAdam(params())
    opt.step(grads())
    opt.step({**grads(), "new": np.ones(2)}, params={**params(), "new": np.ones(2)})
    assert products(opt) == dict.fromkeys(("w", "b", "none"), product(2)) | {"new": product(1)}


@pytest.mark.parametrize(
    ("number", "error", "message"),
    [
        (1.0, TypeError, "must be a NumPy array, not float"),
        (np.float64(1), TypeError, "must be a NumPy array, not numpy.float64"),
        (np.ones((), np.float32), TypeError, "has dtype float32, it must be float64"),
        (np.ones((), int), TypeError, "has dtype int64, it must be float64"),
        (np.ones((), ">f8"), TypeError, "has dtype >f8, it must be float64"),
        (np.ones(1), ValueError, r"has shape \(1,\), it must have \(\), as it is one number"),
        (np.broadcast_to(1.0, ()), ValueError, "is read-only"),
        (None, TypeError, "must be a NumPy array, not NoneType"),
    ],
)
def test_what_is_no_number_of_a_state(number: Any, error: type[Exception], message: str) -> None:
    p, state = params(), fastopt.nadam_init(params())
    state.mu_product["b"] = number
    before = copy.deepcopy(p)
    with pytest.raises(error, match=rf"^nadam_step: state\.mu_product\['b'\] {message}"):
        fastopt.nadam_step(p, grads(), state)
    if number is not None:
        with pytest.raises(error, match=rf"state\.mu_product.* {message}"):
            fastopt.NAdam(p, state=state)
    assert_same_bits(p, before)
    assert float(state.mu_product["w"]) == 1


def test_a_number_that_is_shared_is_refused() -> None:
    p, state = params(), fastopt.nadam_init(params())
    state.mu_product["b"] = state.mu_product["w"]
    with pytest.raises(ValueError, match="overlap in memory"):
        fastopt.nadam_step(p, grads(), state)
    state.mu_product["b"] = p["w"][0, 0:1].reshape(())
    with pytest.raises(ValueError, match="overlap in memory"):
        fastopt.nadam_step(p, grads(), state)


def test_a_number_that_was_replaced_is_noticed() -> None:
    opt = fastopt.NAdam({"w": np.ones(2)})
    opt.groups[0].state.mu_product = np.ones(())
    with pytest.raises(ValueError, match=r"state\.mu_product is another object"):
        opt.step({"w": np.ones(2)})


@pytest.mark.parametrize("number", [np.nan, np.inf, -np.inf])
@pytest.mark.parametrize(
    ("rule", "name"),
    [("nadam", "mu_product"), ("prodigy", "d_max"), ("schedulefree_sgd", "lr_max")],
)
def test_numbers_that_are_not_finite_are_refused(rule: str, name: str, number: float) -> None:
    w = np.ones(2)
    state = getattr(fastopt, f"{rule}_init")(w)
    getattr(state, name)[...] = number
    said = rf"^{rule}_step: {name}={number} is no finite number of the state in float64, .* params$"
    with pytest.raises(ValueError, match=said):
        getattr(fastopt, f"{rule}_step")(w, np.ones(2), state)
    assert state.step == 0
    assert w.tolist() == [1, 1]
