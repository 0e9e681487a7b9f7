"""Cautious rules: what they subtract, of what the share is, and how they are asked for."""

from __future__ import annotations

import copy
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from cases import assert_same_bits
from test_conventions import LR, run
from test_conventions_of_rules import from_timm

import fastopt
from fastopt import reference

NAMES = ["adam", "lion", "nadam"]


def init(name: str, params: Any) -> Any:
    return getattr(fastopt, f"{name}_init")(params)


def step(name: str, *arguments: Any, **options: Any) -> Any:
    return getattr(fastopt, f"{name}_step")(*arguments, **options)


TIMM = {
    "adam": ("adamw", "AdamWLegacy", {"eps": 1e-3}),
    "lion": ("lion", "Lion", {}),
}


@pytest.mark.parametrize("foreach", [False, True])
@pytest.mark.parametrize("name", TIMM)
def test_timm(name: str, foreach: bool, monkeypatch: pytest.MonkeyPatch) -> None:
    module, kind, more = TIMM[name]
    torch, timm = pytest.importorskip("torch"), from_timm(monkeypatch, module)
    state, held = init(name, np.zeros(50)), []

    def theirs(p: Any, g: Any, t: int) -> Any:
        if not held:
            parameter = torch.nn.Parameter(torch.from_numpy(p.copy()))
            options = {"betas": (0.8, 0.7), "weight_decay": 0.1, "foreach": foreach, **more}
            held[:] = parameter, getattr(timm, kind)([parameter], LR, caution=True, **options)
        parameter, optimizer = held
        parameter.grad = torch.from_numpy(g.copy())
        optimizer.step()
        return parameter.detach().numpy()

    options = {"lr": LR, "beta1": 0.8, "beta2": 0.7, "weight_decay": 0.1, "cautious": True, **more}
    run(lambda p, g: step(name, p, g, state, **options), theirs)


@pytest.mark.parametrize("masked", [False, True])
@pytest.mark.parametrize("name", NAMES)
def test_the_line_of_the_paper(name: str, masked: bool, rng: np.random.Generator) -> None:
    """What the rule subtracts is found by letting it step from 0."""
    params = [rng.standard_normal(shape) for shape in [(70, 60), (), (0,), (5,)]]
    expected = [p.copy() for p in params]
    state, of_plain = init(name, params), init(name, params)
    for _ in range(6):
        grads = [rng.standard_normal(p.shape) for p in params]
        masks = [np.asarray(rng.random(p.shape) < 0.3) for p in params] if masked else None
        updates = [np.zeros_like(p) for p in params]
        step(name, updates, grads, of_plain, lr=0.1, update_mask=masks)
        for p, g, minus_u, part in zip(
            expected, grads, updates, masks or [np.True_] * 4, strict=True
        ):
            agrees = part & (minus_u * g < 0)
            count = np.count_nonzero(part) if masked else p.size
            share = np.count_nonzero(agrees) / count if count else 0.0
            p[...] += np.where(agrees, minus_u * (1 / max(share, 1e-3)), 0.0)
        if masks:
            for g, part in zip(grads, masks, strict=True):
                g[~part] = np.nan  # which must not be looked at
        step(name, params, grads, state, lr=0.1, cautious=True, threads=2, update_mask=masks)
        assert_same_bits(params, expected)


def test_a_share_is_one_in_a_thousand_at_least() -> None:
    w, state = np.zeros(5000), fastopt.lion_init(np.zeros(5000))
    g = np.zeros(5000)
    g[7] = -1.0
    fastopt.lion_step(w, g, state, lr=0.25, cautious=True)
    assert w[7] == 250.0
    assert np.count_nonzero(w) == 1


@pytest.mark.parametrize("name", NAMES)
def test_signs_of_small_numbers_and_of_nan(name: str) -> None:
    w, state = np.zeros(3, np.float32), init(name, np.zeros(3, np.float32))
    g = np.array([1e-30, np.nan, 0.0], np.float32)
    step(name, w, g, state, lr=1.0, **({} if name == "lion" else {"eps": 1e-30}), cautious=True)
    assert w[0] < -0.1
    assert np.isnan(w[1])
    assert w[2] == 0


@pytest.mark.parametrize("of", [fastopt, reference])
@pytest.mark.parametrize("name", NAMES)
def test_a_mean_that_is_nan_does_not_stay_hidden(name: str, of: Any) -> None:
    """Whatever signs the NaN and the gradient have."""
    p, g = np.ones(64), np.tile([1.0, -1.0], 32)
    state = init(name, p)
    state.m[:] = np.copysign(np.nan, np.repeat([1.0, -1.0], 32))
    getattr(of, f"cautious_{name}_step")(p, g, state)
    assert np.isnan(p).all()


@pytest.mark.parametrize("of", [fastopt, reference])
def test_what_does_not_agree_stays_however_long_its_step_is(of: Any) -> None:
    """Without ``eps`` a step may be infinite: a mean over a root of zero."""
    for sign in (1.0, -1.0):
        p = np.array([2.0, 2.0, 2.0, -0.0])
        state = fastopt.AdamState(1, np.full(4, sign), np.zeros(4))
        with np.errstate(all="ignore"):
            of.cautious_adam_step(p, np.array([0.0, -sign * 1e-170, np.nan, 0.0]), state, eps=0.0)
        assert_same_bits([p[[0, 1, 3]]], [np.array([2.0, 2.0, -0.0])])
        assert np.isnan(p[2])


@pytest.mark.parametrize("name", NAMES)
def test_what_is_the_same(name: str, rng: np.random.Generator) -> None:
    """The option of functions, of the reference and of classes, and the rule by its name."""
    w = [rng.standard_normal(40) for _ in range(2)]
    copies = [[p.copy() for p in w] for _ in range(5)]
    states = [init(name, w) for _ in range(3)]
    kind = {"adam": "Adam", "lion": "Lion", "nadam": "NAdam"}[name]
    opts = [
        getattr(fastopt, kind)(copies[3], lr=0.1, cautious=True, weight_decay=0.1),
        getattr(fastopt, f"Cautious{kind}")(copies[4], lr=0.1, weight_decay=0.1),
    ]
    assert repr(opts[0]).startswith(f"{kind}(80 parameters in 2 arrays, step_count=0, cautious_")
    for _ in range(4):
        grads = [rng.standard_normal(40) for _ in range(2)]
        own = {"lr": 0.1, "weight_decay": 0.1}
        step(name, copies[0], grads, states[0], **own, cautious=True)
        step(f"cautious_{name}", copies[1], grads, states[1], **own)
        reference_step = getattr(reference, f"{name}_step")
        reference_step(copies[2], grads, states[2], **own, cautious=True)
        for opt in opts:
            opt.step(grads)
        for other in copies[1:]:
            assert_same_bits(other, copies[0])


def test_of_adamw() -> None:
    w, other = np.ones(3), np.ones(3)
    opt, same = fastopt.AdamW(w, cautious=True), fastopt.CautiousAdam(other, weight_decay=1e-2)
    for sign in (1.0, -1.0, 1.0):
        for each in (opt, same):
            each.step(np.array([sign, 2.0, -1.0]))
    assert_same_bits(w, other)
    assert not np.array_equal(w, np.ones(3))


@pytest.mark.parametrize("name", ["Adam", "Lion", "NAdam"])
def test_checkpoints_go_on_with_and_without(name: str, tmp_path: Path) -> None:
    """The state is the same, and neither wants another."""
    grads = [np.array([sign, 2.0, -1.0]) for sign in (1.0, -1.0, 1.0, -1.0)]
    for first in (True, False):
        w = np.ones(3)
        opt = getattr(fastopt, name)(w, cautious=first)
        for grad in grads:
            opt.step(grad)
        other = w.copy()
        state = copy.deepcopy(opt.groups[0].state)
        expected = getattr(fastopt, name)(other, state=state, cautious=not first)
        path = tmp_path / f"{first}.npz"
        fastopt.save(path, params=w, optimizer=opt)
        from_file = np.zeros(3)
        loaded = getattr(fastopt, name)(from_file, cautious=not first)
        fastopt.load(path, params=from_file, optimizer=loaded)
        for grad in grads:
            expected.step(grad)
            loaded.step(grad)
        assert_same_bits(from_file, other)
    message = r"load_state_dict: the state is one of 'sgd', not of 'cautious_"
    with pytest.raises(ValueError, match=message):
        getattr(fastopt, name)(np.ones(3), cautious=True).load_state_dict(
            fastopt.SGD(np.ones(3)).state_dict()
        )


def test_refused() -> None:
    w = np.ones(3)
    for name, kinds in {"adam": ["Adam", "AdamW"], "lion": ["Lion"], "nadam": ["NAdam"]}.items():
        state = init(name, w)
        with pytest.raises(TypeError, match=f"{name}_step: cautious must be True or False, not 1"):
            step(name, w, w.copy(), state, cautious=1)
        assert state.step == 0
        for kind in kinds:
            with pytest.raises(TypeError, match=f"{kind}: cautious must be True or False, not 1"):
                getattr(fastopt, kind)(w, cautious=1)
    for cls in (fastopt.Adam, fastopt.AdamW):
        message = f"{cls.__name__}: amsgrad and cautious exclude each other"
        with pytest.raises(ValueError, match=message):
            cls(w, amsgrad=True, cautious=True)
    opt = fastopt.Adam(w, cautious=True)
    with pytest.raises(TypeError, match="cautious' of a step; Adam, AdamW, Lion, NAdam and their"):
        opt.step(np.ones(3), cautious=False)
    assert (w.tolist(), opt.step_count) == ([1, 1, 1], 0)


@pytest.mark.parametrize("name", ["CautiousAdam", "CautiousLion", "CautiousNAdam"])
def test_classes_that_are_cautious_have_no_such_option(name: str) -> None:
    for given in (True, False):
        with pytest.raises(TypeError, match=rf"^{name}: there is no option 'cautious'"):
            getattr(fastopt, name)(np.ones(2), cautious=given)
