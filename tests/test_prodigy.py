"""Prodigy: what its authors' package does, and the numbers that arrays have in common."""

from __future__ import annotations

import copy
import re
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from c_functions import OK, COptimizer
from cases import Case, all_of, assert_same_bits, check_against_reference, copied, random_like
from terms import TERMS

import fastopt
from fastopt import reference

NUMBERS = ("d_now", "d_max", "d_numerator")


def tree(rng: np.random.Generator) -> dict[str, Any]:
    """Return arrays of both dtypes and many layouts, some of which have several blocks."""
    return {
        "w": np.asfortranarray(rng.standard_normal((30, 40))),
        "strided": rng.standard_normal((60, 80)).astype(np.float32)[::2, ::-2],
        "b": [rng.standard_normal(()), np.ones(0), rng.standard_normal(7).astype(np.float32)],
    }


def numbers_of(group: Any) -> list[list[float]]:
    """Return the numbers of each array of a group, or of a state."""
    held = group._arrays()
    return [[float(held[name][k]) for name in NUMBERS] for k in range(len(held["d_now"]))]


# The authors' package

PEERS: list[tuple[dict[str, Any], dict[str, Any]]] = [
    ({}, {}),
    ({"d0": 1e-3, "d_decay": 0.1}, {"d0": 1e-3, "weight_decay": 0.1}),
    ({"d0": 1e-3, "l2": 0.1}, {"d0": 1e-3, "weight_decay": 0.1, "decouple": False}),
    ({"d0": 1e-3, "growth_rate": 1.02}, {"d0": 1e-3, "growth_rate": 1.02}),
    ({"d_coef": 2.0, "lr": 0.5}, {"d_coef": 2.0, "lr": 0.5}),
    ({"safeguard_warmup": True, "lr": 0.3}, {"safeguard_warmup": True, "lr": 0.3}),
    ({"use_bias_correction": True}, {"use_bias_correction": True}),
    ({"beta1": 0.0, "d0": 1e-3}, {"betas": (0.0, 0.999), "d0": 1e-3}),
    (
        {"beta1": 0.5, "beta2": 0.9, "beta3": 0.8, "eps": 1e-3},
        {"betas": (0.5, 0.9), "beta3": 0.8, "eps": 1e-3},
    ),
]


@pytest.mark.parametrize("groups", [False, True])
@pytest.mark.parametrize(("own", "its"), PEERS)
def test_it_is_that_of_the_package(
    own: dict[str, Any], its: dict[str, Any], groups: bool, rng: np.random.Generator
) -> None:
    torch = pytest.importorskip("torch")
    package = pytest.importorskip("prodigyopt")
    arrays = [rng.standard_normal(50), rng.standard_normal((3, 4)), rng.standard_normal(7)]
    tensors = [torch.nn.Parameter(torch.from_numpy(array.copy())) for array in arrays]
    given, taken = [{"params": arrays[:1]}, {"params": arrays[1:]}], arrays
    ours_params: Any = given if groups else taken
    theirs_params: Any = tensors
    if groups:
        theirs_params = [{"params": tensors[:1]}, {"params": tensors[1:], "eps": 0.1}]
        given[1]["eps"] = 0.1  # type: ignore[assignment]
    ours, theirs = fastopt.Prodigy(ours_params, **own), package.Prodigy(theirs_params, **its)
    for step in range(20):
        grads = [a - 3 + 0.1 * rng.standard_normal(a.shape) for a in arrays]
        if step in (2, 3, 7) and "use_bias_correction" not in own:
            grads[1] = None
        for tensor, grad in zip(tensors, grads, strict=True):
            tensor.grad = None if grad is None else torch.from_numpy(grad.copy())
        theirs.step()
        ours.step([grads[:1], grads[1:]] if groups else grads)
        for array, tensor in zip(arrays, tensors, strict=True):
            np.testing.assert_allclose(array, tensor.detach().numpy(), rtol=1e-12, atol=1e-12)
        held = theirs.param_groups[0]
        numbers = [held["d"], held["d_max"], held["d_numerator"]]
        np.testing.assert_allclose(numbers_of(ours.groups[0])[0], numbers, rtol=1e-12)
    assert held["d"] > its.get("d0", 1e-6)


def test_states_of_the_package_are_refused() -> None:
    """They have one d for each group, and flat arrays."""
    torch = pytest.importorskip("torch", minversion="2.10")
    package, ours = pytest.importorskip("prodigyopt"), pytest.importorskip("fastopt.torch")
    w = torch.nn.Parameter(torch.ones(3))
    theirs, opt = package.Prodigy([w]), ours.Prodigy([w])
    w.grad = torch.ones(3)
    theirs.step()
    before = w.detach().clone()
    with pytest.raises(ValueError, match="Prodigy: a state has no 'd'; that of prodigyopt is of"):
        opt.load_state_dict(theirs.state_dict())
    opt.step()  # as if nothing had been
    assert opt.state[w]["step"] == 1
    assert not torch.equal(w, before)


def test_it_begins_where_gradients_do(rng: np.random.Generator) -> None:
    """Without one there is nothing to find a length by: nothing decays, and d stays."""
    p = rng.standard_normal(5)
    before = p.copy()
    opt = fastopt.Prodigy(p, d_decay=0.5)
    for _ in range(3):
        opt.step(np.zeros(5))
    assert_same_bits(p, before)
    assert numbers_of(opt.groups[0]) == [[0.0, 0.0, 0.0]]


# Bits


@pytest.mark.usefixtures("isa")
@pytest.mark.parametrize("terms", [TERMS[0], TERMS[-1], {"update_mask": "mixed"}, {"mask": True}])
@pytest.mark.parametrize("per_array", [False, True])
def test_bits(per_array: bool, terms: dict[str, Any], rng: np.random.Generator) -> None:
    case = Case("prodigy", {"d0": 0.1, "d_decay": 0.01, "per_array": per_array})
    for threads in (1, 3):
        params = tree(rng) | {"large": rng.standard_normal(50_000).astype(np.float32)}
        check_against_reference(case, params, rng, terms, 2, threads=threads)


ONE, OTHER = [1, 2, 3, 4], [0, 2, 3, 4]


@pytest.mark.parametrize(
    "missing",
    [
        [[], [0], [0, 1], [2, 4], [1], [0, 2, 3, 4], []],
        [[0, 1], [], [], [2]],
        [ONE, ONE, OTHER, OTHER, [2, 3, 4], []],  # the same count, and other numbers
        [[1, 2, 4], [1, 2, 4], *[[0, 1, 2, 3]] * 2, [0, 1, 2]],  # those of an array of nothing
    ],
)
def test_gradients_that_are_missing(missing: list[list[int]], rng: np.random.Generator) -> None:
    """Of those of a step, the first array with the most updates has the numbers that hold."""
    params = tree(rng)
    expected = copied(params)
    state = fastopt.prodigy_init(params)
    wanted = copy.deepcopy(state)
    opts: dict[str, Any] = {"d0": 0.1, "growth_rate": 1.3, "use_bias_correction": True}
    for gaps in missing:
        grads = random_like(params, rng)
        leaves = [grads["w"], grads["strided"], *grads["b"]]
        leaves = [None if k in gaps else leaf for k, leaf in enumerate(leaves)]
        given = {"w": leaves[0], "strided": leaves[1], "b": leaves[2:]}
        fastopt.prodigy_step(params, given, state, **opts)
        reference.prodigy_step(expected, copy.deepcopy(given), wanted, **opts)
        assert_same_bits(params, expected)
        for array, other in zip(all_of(state), all_of(wanted), strict=True):
            assert_same_bits(array, other)
        assert state.step == wanted.step
        now = [state.d_now["w"], state.d_now["strided"], *state.d_now["b"]]
        assert len({float(d) for k, d in enumerate(now) if k not in gaps}) == 1


@pytest.mark.usefixtures("isa")
def test_groups_are_as_one(rng: np.random.Generator) -> None:
    """In the order of the parameters, whatever group they are in; what is frozen takes no part."""
    params = tree(rng)
    expected = copied(params)
    state = fastopt.prodigy_init(expected)
    patterns = {"b*": {"eps": 1e-8}, "w": {"lr": 1.0}}
    opt = fastopt.Prodigy(fastopt.groups(params, patterns), d0=0.1)
    for step in range(6):
        grads = random_like(params, rng)
        if step == 3:
            opt.freeze("w")
        if step == 5:
            opt.unfreeze("w")
        opt.step(grads)
        if step in (3, 4):
            grads["w"] = None
        fastopt.prodigy_step(expected, grads, state, d0=0.1)
        assert_same_bits(params, expected)
    assert len({tuple(numbers) for group in opt.groups for numbers in numbers_of(group)}) == 1


def test_each_by_itself(rng: np.random.Generator) -> None:
    params = tree(rng)
    alone = copied(params)
    opt = fastopt.Prodigy(params, per_array=True, d0=0.1)
    leaves = [alone["w"], alone["strided"], *alone["b"]]
    each = [fastopt.Prodigy(leaf, d0=0.1) for leaf in leaves]
    for _ in range(3):
        grads = random_like(params, rng)
        opt.step(grads)
        for one, grad in zip(each, [grads["w"], grads["strided"], *grads["b"]], strict=True):
            one.step(grad)
        assert_same_bits(params, alone)
    assert len({tuple(numbers) for numbers in numbers_of(opt.groups[0])}) > 2


def test_a_group_may_be_by_itself(rng: np.random.Generator) -> None:
    a, b, c = rng.standard_normal((3, 40))
    alone = [fastopt.Prodigy([a.copy(), b.copy()]), fastopt.Prodigy(c.copy(), d0=0.1)]
    opt = fastopt.Prodigy([{"params": [a, b]}, {"params": c, "per_array": True, "d0": 0.1}])
    for _ in range(4):
        of_a, of_b, of_c = rng.standard_normal((3, 40))
        opt.step([[of_a, of_b], of_c])
        alone[0].step([of_a, of_b])
        alone[1].step(of_c)
    assert_same_bits([[a, b], c], [each.params for each in alone])


def test_it_is_that_of_an_optimizer_in_c(rng: np.random.Generator) -> None:
    case = Case("prodigy", {"d0": 0.1})
    params = [rng.standard_normal(n) for n in (300, 7, 20)]
    expected = copied(params)
    state, wanted = fastopt.prodigy_init(params), fastopt.prodigy_init(expected)
    opt = COptimizer(case, params, state)
    for missing in (None, 0, 1, None):
        grads = [None if k == missing else random_like(p, rng) for k, p in enumerate(params)]
        assert opt.step(grads) == OK
        case.step(expected, grads, wanted)
        assert_same_bits(params, expected)


# The numbers of the state


def test_it_starts_where_the_parameters_are_in_the_first_step(rng: np.random.Generator) -> None:
    p, q, g = rng.standard_normal((3, 5))
    opt = fastopt.Prodigy(p)
    p[:] = q
    opt.step(g)
    assert_same_bits(opt.groups[0].state.p0, q)
    fastopt.Prodigy(q).step(g)
    assert_same_bits(p, q)


def test_what_joins_later_has_the_length_of_all(rng: np.random.Generator) -> None:
    old, new, g = rng.standard_normal((3, 5))
    opt = fastopt.Prodigy({"old": old}, d0=0.1)
    for _ in range(3):
        opt.step({"old": old - 3})
    opt.step({"old": old - 3, "new": g}, params={"old": old, "new": new})
    first, second = numbers_of(opt.groups[0])
    assert first == second
    assert first[0] > 0.1


def test_a_skipped_step_leaves_them(rng: np.random.Generator) -> None:
    params = tree(rng)
    opt = fastopt.Prodigy(params, d0=0.1, skip_nonfinite=True)
    opt.step(random_like(params, rng))
    before = copy.deepcopy((params, [all_of(group.state) for group in opt.groups]))
    grads = random_like(params, rng)
    grads["w"][3, 4] = np.inf
    assert opt.step(grads).skipped
    assert_same_bits(params, before[0])
    for array, other in zip(all_of(opt.groups[0].state), before[1][0], strict=True):
        assert_same_bits(array, other)


def test_sums_that_are_not_finite_leave_them(rng: np.random.Generator) -> None:
    p, q = rng.standard_normal((2, 5))
    opt = fastopt.Prodigy([p, q], d0=0.1)
    opt.step([p - 3, q - 3])
    before = numbers_of(opt.groups[0])
    with np.errstate(all="ignore"):
        opt.step([np.full(5, np.nan), q - 3])
    assert numbers_of(opt.groups[0]) == before


def test_saved_and_loaded(tmp_path: Path, rng: np.random.Generator) -> None:
    """Also where an array is behind: it goes on as if nothing had been saved."""
    params = tree(rng)
    opt = fastopt.Prodigy(params, d0=0.1)
    grads = [random_like(params, rng) for _ in range(4)]
    opt.step(grads[0])
    opt.step(grads[1] | {"w": None})
    fastopt.save(tmp_path / "a.npz", params=params, optimizer=opt)
    loaded = tree(rng)
    other = fastopt.Prodigy(loaded, d0=0.1)
    fastopt.load(tmp_path / "a.npz", params=loaded, optimizer=other)
    for grad in grads[2:]:
        opt.step(grad)
        other.step(grad)
    assert_same_bits(loaded, params)
    assert numbers_of(other.groups[0]) == numbers_of(opt.groups[0])


# What is refused


@pytest.mark.parametrize("name", ["beta2", "beta3", "d0", "d_coef", "growth_rate"])
def test_groups_that_differ_in_what_they_have_in_common(name: str) -> None:
    params = [{"params": np.ones(2)}, {"params": np.ones(3), name: 0.25}]
    opt = fastopt.Prodigy(params)
    default = float(fastopt.Prodigy(np.ones(1)).groups[0][name])
    message = (
        f"Prodigy.step: groups[1] has {name}=0.25, groups[0] has {name}={default}; arrays have it "
        "in common, but for groups with per_array=True"
    )
    with pytest.raises(ValueError, match=f"^{re.escape(message)}$"):
        opt.step([np.ones(2), np.ones(3)])
    assert_same_bits(opt.params, [np.ones(2), np.ones(3)])
    assert opt.step_count == 0
    for change in ({"frozen": True}, {"frozen": False, "per_array": True}):
        opt.groups[1].update(change)
        opt.step([np.ones(2), np.ones(3)])


def test_a_length_that_the_dtype_has_not() -> None:
    """It is that of the array with the most updates which counts."""
    params = [np.ones(2), np.ones(2, np.float32)]
    opt = fastopt.Prodigy(params)
    opt.step([np.ones(2), np.ones(2, np.float32)])
    opt.step([np.ones(2), None])
    opt.groups[0].state.d_now[0][...] = 1e30
    before = copy.deepcopy(params)
    with pytest.raises(ValueError, match=r"that the rule makes of lr=1\.0 is infinite in float32"):
        opt.step([np.ones(2), np.ones(2, np.float32)])
    assert_same_bits(params, before)
    opt.groups[0].state.d_now[0][...], opt.groups[0].state.d_now[1][...] = 1e-3, 1e30
    opt.step([np.ones(2), np.ones(2, np.float32)])
    with pytest.raises(ValueError, match=r"d0 must be finite and > 0, it is 0"):
        opt.step([np.ones(2), None], d0=0.0)


def test_a_length_that_the_dtype_has_not_in_c() -> None:
    params, grads = ([np.ones(2, np.float32) for _ in range(2)] for _ in range(2))
    opt = COptimizer(Case("prodigy"), params, fastopt.prodigy_init(params))
    opt.call("set_scalar_of", 1, 0, 1e30)  # which that of the first replaces
    assert opt.step(grads) == OK
    opt.call("set_scalar_of", 0, 0, 1e30)
    with pytest.raises(ValueError, match=r"that the rule makes of lr=1\.0 is infinite in float32"):
        opt.step(grads)


def test_a_denominator_does_not_become_zero() -> None:
    """Where `d*eps` is too small for the dtype."""
    w = np.ones(3, np.float32)
    state = fastopt.prodigy_init(w)
    for _ in range(3):
        fastopt.prodigy_step(w, np.full(3, 1e-3, np.float32), state, d0=1e-20, eps=1e-30)
        assert np.isfinite(w).all()
