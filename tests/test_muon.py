"""Muon: what is not element by element, and its companion rule."""

from __future__ import annotations

import copy
import pickle
from typing import Any

import numpy as np
import pytest
from cases import assert_same_bits, random_like

import fastopt
from fastopt import reference
from fastopt.rules import orthogonal

OTHER = {"lr": 0.1, "beta1": 0.8, "beta2": 0.95, "eps": 1e-3, "weight_decay": 0.1}


def mixed(rng: np.random.Generator, dtype: Any = np.float64) -> dict[str, Any]:
    shapes = {"a": (5, 7), "b": (7,), "c": (5, 7), "d": (9, 2), "e": (3, 2, 2), "f": ()}
    return random_like({name: np.empty(shape, dtype) for name, shape in shapes.items()}, rng)


def orthogonalized(x: Any, a: float, b: float, c: float, steps: int, eps: float) -> Any:
    return orthogonalized_as_is(x / max(np.linalg.norm(x), eps), a, b, c, steps)


def orthogonalized_as_is(x: Any, a: float, b: float, c: float, steps: int) -> Any:
    """The paper's iteration."""
    tall = x.shape[0] > x.shape[1]
    x = x.T if tall else x
    for _ in range(steps):
        y = x @ x.T
        x = a * x + (b * y + c * y @ y) @ x
    return x.T if tall else x


@pytest.mark.parametrize("nesterov", [True, False])
@pytest.mark.parametrize("match_rms_adamw", [True, False])
@pytest.mark.parametrize("shape", [(6, 6), (4, 9), (9, 4), (1, 5), (5, 1), (1, 1)])
def test_formula(
    shape: tuple[int, int], match_rms_adamw: bool, nesterov: bool, rng: np.random.Generator
) -> None:
    p, m = rng.standard_normal((2, *shape))
    state = fastopt.MuonState(3, m.copy(), None)
    w, lr, momentum = p.copy(), 0.3, 0.7
    rows, columns = shape
    ratio = 0.2 * max(shape) ** 0.5 if match_rms_adamw else max(1, rows / columns) ** 0.5
    for _ in range(20):
        g = rng.standard_normal(shape)
        options = {"lr": lr, "momentum": momentum, "nesterov": nesterov, "weight_decay": 0.1}
        fastopt.muon_step(w, g, state, match_rms_adamw=match_rms_adamw, **options)
        m = momentum * m + (1 - momentum) * g
        u = momentum * m + (1 - momentum) * g if nesterov else m
        u = orthogonalized(u, 3.4445, -4.775, 2.0315, 5, 1e-7)
        p = p - lr * 0.1 * p - lr * ratio * u
        np.testing.assert_allclose(w, p, rtol=1e-9, atol=1e-9)
        np.testing.assert_allclose(state.m, m, rtol=1e-12, atol=1e-12)


@pytest.mark.parametrize("outside", [True, False])
def test_a_norm_as_small_as_eps(outside: bool, rng: np.random.Generator) -> None:
    g, eps = rng.standard_normal((4, 9)), 0.3
    g *= 2 * eps / np.linalg.norm(g)
    w, state = np.zeros((4, 9)), fastopt.MuonState(0, np.zeros((4, 9)), None)
    options = {"momentum": 0.0, "match_rms_adamw": True, "eps": eps, "eps_outside_max": outside}
    fastopt.muon_step(w, g, state, lr=1.0, **options)
    scaled = g / (3 * eps if outside else 2 * eps)
    expected = -0.2 * 3 * orthogonalized_as_is(scaled, 3.4445, -4.775, 2.0315, 5)
    np.testing.assert_allclose(w, expected, rtol=1e-12, atol=1e-12)


def test_singular_values_come_close_to_one(rng: np.random.Generator) -> None:
    g = rng.standard_normal((40, 60)).astype(np.float32)
    w = np.zeros_like(g)
    fastopt.muon_step(w, g, fastopt.muon_init(w), lr=1.0)
    left, values, right = np.linalg.svd(-w, full_matrices=False)
    assert values.min() > 0.68
    assert values.max() < 1.21
    of_g = np.linalg.svd(g, full_matrices=False)
    np.testing.assert_allclose(left @ right, of_g[0] @ of_g[2], atol=1e-3)


@pytest.mark.parametrize("nesterov", [True, False])
@pytest.mark.parametrize("adjust", [None, "original", "match_rms_adamw"])
def test_torch(
    adjust: str | None, nesterov: bool, rng: np.random.Generator, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Torch computes the iteration in bfloat16; here it keeps the dtype."""
    torch: Any = pytest.importorskip("torch")
    monkeypatch.setattr(torch.Tensor, "bfloat16", lambda self: self.clone())
    params = [rng.standard_normal(shape) for shape in ((6, 6), (4, 9), (9, 4), (4, 9))]
    theirs = [torch.tensor(p, requires_grad=True) for p in params]
    options = {"lr": 0.1, "weight_decay": 0.1, "momentum": 0.9, "nesterov": nesterov, "eps": 1e-3}
    opt = torch.optim.Muon(
        theirs, ns_coefficients=(3.4, -4.7, 2.0), ns_steps=4, adjust_lr_fn=adjust, **options
    )
    numbers = {"ns_a": 3.4, "ns_b": -4.7, "ns_c": 2.0, "ns_steps": 4}
    ours = fastopt.Muon(params, match_rms_adamw=adjust == "match_rms_adamw", **numbers, **options)
    for step in range(20):
        grads = [1e-4**step * rng.standard_normal(p.shape) for p in params]  # until eps decides
        for p, g in zip(theirs, grads, strict=True):
            p.grad = torch.tensor(g)
        opt.step()
        ours.step(grads)
        for p, q in zip(params, theirs, strict=True):
            np.testing.assert_allclose(p, q.detach().numpy(), rtol=1e-9, atol=1e-9)


# Bits


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
def test_alone_or_in_stacks(
    dtype: Any, rng: np.random.Generator, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Also where a stack is made orthogonal in parts, and shapes and groups alternate."""
    shapes = [(5, 7), (9, 2), (5, 7), (5, 7), (2, 9), (9, 2), (5, 7), (35, 1)]
    params = [np.asarray(rng.standard_normal(shape), dtype) for shape in shapes]
    groups = [{"params": params[:3]}, {"params": params[3:], "momentum": 0.5}]
    alone, expected = copy.deepcopy(params), copy.deepcopy(params)
    states = [fastopt.muon_init(p) for p in alone]
    of_reference = [fastopt.muon_init(p) for p in expected]
    opt = fastopt.Muon(groups, lr=0.1)
    monkeypatch.setattr(orthogonal, "CHUNK", 2 * 5 * 7 + 1)
    for _ in range(3):
        grads = [np.asarray(rng.standard_normal(shape), dtype) for shape in shapes]
        opt.step([grads[:3], grads[3:]])
        for k, g in enumerate(grads):
            options = {"lr": 0.1, "momentum": 0.95 if k < 3 else 0.5}
            fastopt.muon_step(alone[k], g, states[k], **options)
            reference.muon_step(expected[k], g, of_reference[k], **options)
    assert_same_bits(params, alone)
    assert_same_bits(params, expected)


@pytest.mark.parametrize("axes", [(0, 1, 2, 3), (3, 2, 1, 0), (1, 0, 3, 2), (2, 3, 0, 1)])
@pytest.mark.parametrize("steps", [(1, 1, 1, 1), (-1, 1, -2, 1), (1, -1, 1, -1), (2, 2, 2, 2)])
def test_flattened_in_any_layout(axes: Any, steps: Any, rng: np.random.Generator) -> None:
    shape = (6, 5, 4, 3)
    big = np.zeros([shape[a] * 2 for a in axes])
    view = big[tuple(slice(None, None, 2) for _ in axes)].transpose(np.argsort(axes))
    view = view[tuple(slice(None, None, s // abs(s)) for s in steps)]
    values, g = rng.standard_normal((2, *shape))
    view[...] = values
    matrix, of_view = values.reshape(6, -1).copy(), fastopt.muon_init(view)
    of_matrix = fastopt.muon_init(matrix)
    mask = rng.random(shape) < 0.7
    for _ in range(2):
        fastopt.muon_step(view, g, of_view, lr=0.1, flatten=True, update_mask=mask)
        fastopt.muon_step(
            matrix, g.reshape(6, -1), of_matrix, lr=0.1, update_mask=mask.reshape(6, -1)
        )
    assert_same_bits(np.array(view).reshape(6, -1), matrix)
    assert_same_bits(np.array(of_view.m).reshape(6, -1), of_matrix.m)


# The companion rule


def test_others_are_updated_as_by_adamw(rng: np.random.Generator) -> None:
    params = mixed(rng)
    twin = copy.deepcopy(params)
    opt = fastopt.Muon(params, lr=0.02, l1_prox=0.01, other=OTHER)
    assert [group.names for group in opt.groups] == [("a", "c", "d"), ("b", "e", "f")]
    matrices, others = ({name: twin[name] for name in group.names} for group in opt.groups)
    of_matrices, of_others = fastopt.muon_init(matrices), fastopt.adam_init(others)
    for _ in range(3):
        grads = random_like(params, rng)
        opt.step(grads)
        own, rest = ({k: grads[k] for k in each} for each in (matrices, others))
        fastopt.muon_step(matrices, own, of_matrices, lr=0.02, l1_prox=0.01)
        fastopt.adam_step(others, rest, of_others, l1_prox=0.01, **OTHER)
    assert_same_bits(params, twin)
    state = opt.groups[1].state
    assert_same_bits([*state.m, *state.v], [*of_others.m.values(), *of_others.v.values()])
    assert opt.groups[0].state.v is None


def test_flattened_matrices_are_no_others(rng: np.random.Generator) -> None:
    opt = fastopt.Muon(mixed(rng), flatten=True, other={})
    assert [group.names for group in opt.groups] == [("a", "c", "d", "e"), ("b", "f")]
    other = opt.groups[1]
    assert [other[name] for name in OTHER] == [1e-3, 0.9, 0.999, 1e-8, 0.01]
    groups = [{"params": np.ones((2, 2, 2)), "flatten": flatten} for flatten in (True, False)]
    of_groups = fastopt.Muon(groups, other={})
    assert [group.state.v is None for group in of_groups.groups] == [True, False]
    of_groups.step([np.ones((2, 2, 2))] * 2)


def test_whole_groups_of_others(rng: np.random.Generator) -> None:
    params = mixed(rng)
    patterns = {"[ab]": {"other": True, "lr": 0.5}, "[bc]": {"l2": 0.25, "lr": 0.3}}
    opt = fastopt.Muon(fastopt.groups(params, patterns), lr=0.02, other=OTHER)
    found = {group.names: (group["lr"], group["l2"], group["eps"]) for group in opt.groups}
    assert found == {
        ("d",): (0.02, 0.0, 1e-7),
        ("c",): (0.3, 0.25, 1e-7),
        ("e", "f"): (0.1, 0.0, 1e-3),
        ("a",): (0.5, 0.0, 1e-3),
        ("b",): (0.3, 0.25, 1e-3),
    }
    opt.groups["[bc]"]["l2"] = 0.125
    assert sum(group["l2"] == 0.125 for group in opt.groups) == 2


def test_penalties_of_entries(rng: np.random.Generator) -> None:
    decay = {"a": 0.1, "b": 0.1, "c": 0.2, "d": 0.1, "e": 0.0, "f": 0.3}
    opt = fastopt.Muon(mixed(rng), weight_decay=decay, other=OTHER)
    found = {name: (g["weight_decay"], g["lr"]) for g in opt.groups for name in g.names}
    assert found == {name: (decay[name], 1e-3 if name in "acd" else 0.1) for name in decay}


def test_what_joins_finds_its_kind(rng: np.random.Generator) -> None:
    params = mixed(rng)
    opt = fastopt.Muon({"a": params["a"]}, other=OTHER)
    grads = random_like(params, rng)
    opt.step({"a": grads["a"]})
    opt.step(grads, params=params)
    assert [group.names for group in opt.groups] == [("a", "c", "d"), ("b", "e", "f")]
    assert [tuple(group.state.step) for group in opt.groups[:1]] == [(2, 1, 1)]
    assert opt.groups[1].state.step == 1
    opt.step(grads)

    listed = fastopt.Muon([{"params": np.ones((2, 2))}], other=OTHER)
    listed.add_group({"params": [np.ones(3), np.ones((3, 3))], "l1": 0.5})
    assert [(g["lr"], g["l1"]) for g in listed.groups] == [(1e-3, 0), (1e-3, 0.5), (0.1, 0.5)]
    listed.step([np.ones((2, 2)), [np.ones(3), np.ones((3, 3))]])


@pytest.mark.parametrize("copied", [copy.deepcopy, lambda x: pickle.loads(pickle.dumps(x))])
def test_copies_and_states(copied: Any, rng: np.random.Generator) -> None:
    params = mixed(rng)
    opt = fastopt.Muon(params, lr=0.02, other=OTHER, ema_decay=0.5)
    new = mixed(rng)
    third = fastopt.Muon(new, lr=0.02, other=OTHER, ema_decay=0.5)
    grads = [random_like(params, rng) for _ in range(4)]
    for g in grads[:2]:
        opt.step(g)
    twin = copied(opt)
    for name, array in params.items():
        new[name][...] = array
    third.load_state_dict(copied(opt.state_dict()))
    for g in grads[2:]:
        for each in (opt, twin, third):
            each.step(g)
    for other in (twin, third):
        assert_same_bits([other.params, other.ema], [opt.params, opt.ema])
    other = fastopt.Muon({"b": np.ones(3)}, other={}).state_dict()
    with pytest.raises(ValueError, match=r"the optimizer has no .*'v'.*, the state has"):
        fastopt.Muon({"b": np.ones((1, 3))}).load_state_dict(other)


def test_refusals() -> None:
    vector, matrix, images = np.ones(3), np.ones((2, 2)), np.ones((2, 2, 2))

    def step(p: Any) -> None:
        fastopt.muon_step({"x": p}, {"x": p.copy()}, fastopt.muon_init({"x": p}))

    of_others = [{"params": matrix, "other": True}]
    for wrong, said in (
        (
            lambda: fastopt.Muon({"b": vector}),
            r"Muon: b has shape \(3,\), and is no matrix",
        ),
        (lambda: fastopt.Muon([images]), r"Muon: 0 has shape \(2, 2, 2\).* flatten=True"),
        (
            lambda: step(vector),
            r"^muon_step: params\['x'\] has 1 axis, and is no matrix",
        ),
        (lambda: step(images), r"^muon_step: params\['x'\] has 3 axes, .*; flatten=True takes"),
        (
            lambda: fastopt.Muon(of_others),
            r"Muon: groups\[0\] has other=True, and Muon has no other=, the options of AdamW",
        ),
    ):
        with pytest.raises(ValueError, match=said):
            wrong()
    for wrong, said in (
        (lambda: fastopt.Muon(matrix, other=0.1), "other must be a dict of options, not 0.1"),
        (lambda: fastopt.Muon(matrix, other={"momentum": 0.5}), "other has no option 'momentum'"),
        (lambda: fastopt.Muon([{"params": matrix, "other": 1.5}], other={}), "True or False"),
        (lambda: fastopt.Muon(matrix, flatten=None), "flatten must be True or False, not None"),
        (
            lambda: fastopt.Muon(matrix, flatten=np.ones(2)),
            "flatten must be True or False",
        ),
        (
            lambda: fastopt.Muon([matrix, vector], other={}, state=fastopt.muon_init([matrix])),
            "state must be None where arrays are of two kinds",
        ),
    ):
        with pytest.raises(TypeError, match=said):
            wrong()
    with pytest.raises(ValueError, match=r"^Muon: other: lr must be finite"):
        fastopt.Muon([matrix, vector], other={"lr": -1.0})


def test_groups_with_options_of_their_own_shape() -> None:
    """Whether arrays are flattened is known when the optimizer is made."""
    images = np.ones((2, 2, 2))
    opt = fastopt.Muon([images], flatten=True)
    opt.groups[0]["flatten"] = False
    with pytest.raises(ValueError, match=r"Muon.step: params\[0\] has 3 axes"):
        opt.step([images.copy()])
    assert (images == 1).all()
    assert opt.step_count == 0


@pytest.mark.parametrize(
    ("dtype", "factors"),
    [(np.float32, [1e-40, 1e38, 3e38]), (np.float64, [1e-150, 1e-180, 1e-300, 1e180, 1e307])],
)
def test_norms_over_the_whole_range(dtype: Any, factors: list[float]) -> None:
    """Also where squares, or the norm itself, are too large or too small for the dtype."""
    g = np.random.default_rng(0).standard_normal((20, 20))
    g /= np.abs(g).max()
    steps = []
    for factor in (1.0, *factors):
        w = np.zeros(g.shape, dtype)
        state = fastopt.muon_init(w)
        fastopt.muon_step(w, (g * factor).astype(dtype), state, lr=1.0, eps=0.0, momentum=0.0)
        steps.append(w)
    for step, factor in zip(steps, (1.0, *factors), strict=True):
        digits = 1e-3 if factor < np.finfo(dtype).tiny else 1e-5
        np.testing.assert_allclose(step, steps[0], rtol=0, atol=digits)


def test_options_of_others_are_checked_at_once() -> None:
    """Also where no array needs them yet."""
    w = {"w": np.ones((2, 2))}
    for bad, said in (({"lr": -1.0}, "lr must be"), ({"eps": "abc"}, "eps must be a number")):
        with pytest.raises((TypeError, ValueError), match=f"^Muon: other: {said}"):
            fastopt.Muon(w, other=bad)
    fastopt.Muon(w, other={"lr": lambda step: 0.1})
