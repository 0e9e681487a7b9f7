"""fastopt.torch.Muon against torch's, and its states in both directions.

torch computes the iteration in bfloat16; here it is made to keep the dtype.
"""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

import fastopt
from fastopt.interop import from_torch_state, to_torch_state

torch: Any = pytest.importorskip("torch", minversion="2.10")
ours: Any = pytest.importorskip("fastopt.torch")
pairs: Any = pytest.importorskip("test_torch_optimizers")

OPTIONS: list[dict[str, Any]] = [
    {"lr": 0.1},
    {"lr": 0.1, "ns_coefficients": (3.4, -4.7, 2.0), "ns_steps": 3, "eps": 0.1},
    {"nesterov": False, "momentum": 0.5, "weight_decay": 0.0, "adjust_lr_fn": "original"},
    {"adjust_lr_fn": "match_rms_adamw", "weight_decay": 0.3},
]
every_choice = pytest.mark.parametrize("options", OPTIONS, ids="-".join)


@pytest.fixture(autouse=True)
def no_bfloat16(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(torch.Tensor, "bfloat16", torch.Tensor.clone)


def matrices(seed: int = 0, dtype: Any = torch.float64) -> list[Any]:
    generator = torch.Generator().manual_seed(seed)
    shapes = [(3, 4), (4, 3), (1, 5), (6, 5), (3, 3), (0, 2)]
    new = [torch.randn(shape, generator=generator, dtype=dtype) for shape in shapes]
    new[3] = new[3].t().contiguous().t()
    return [torch.nn.Parameter(p) for p in new]


class Pair(pairs.Pair):  # type: ignore[misc]
    parameters = staticmethod(matrices)
    tolerance = 1e-9


@every_choice
def test_all_mixed(options: dict[str, Any]) -> None:
    pairs.check_all_mixed("Muon", options, Pair)


def test_options_of_ours() -> None:
    options = {"l1": 0.01, "clip_norm": 0.5, "ema_decay": 0.9, "clip_value": 0.3, "threads": 1}
    p = torch.nn.Parameter(torch.linspace(-1, 1, 6, dtype=torch.float64).reshape(2, 3))
    q = p.detach().numpy().copy()
    opt = ours.Muon([p], weight_decay=0.0, maximize=True, **options)
    other = fastopt.Muon(q, maximize=True, **options)
    for _ in range(3):
        p.grad = torch.cos(p.detach())
        other.step(np.cos(q))
        opt.step()
    np.testing.assert_array_equal(p.detach().numpy(), q)
    np.testing.assert_array_equal(opt.state[p]["ema"].numpy(), other.ema)


def test_refusals() -> None:
    p = torch.nn.Parameter(torch.ones(2, 2))
    with pytest.raises(ValueError, match="2D parameters"):
        ours.Muon([torch.nn.Parameter(torch.ones(2))])
    opt = ours.Muon([p])
    opt.param_groups[0]["adjust_lr_fn"] = "other"
    p.grad = torch.ones(2, 2)
    with pytest.raises(ValueError, match=r"Muon: param_groups\[0\]: adjust_lr_fn must be one of"):
        opt.step()
    assert (p == 1).all()
    opt.param_groups[0]["adjust_lr_fn"] = None
    with pytest.raises(ValueError, match=r"^Muon: params\[1\] has shape \(3,\); it is for"):
        opt.add_param_group({"params": [torch.nn.Parameter(torch.ones(3))]})
    opt.step()
    with pytest.raises(ValueError, match="ns_coefficients must be 3 numbers, not 3"):
        ours.Muon([p], ns_coefficients=3)


def run(opt: Any, params: list[Any], steps: range) -> None:
    for step in steps:
        for p, g in zip(params, matrices(100 + step), strict=True):
            p.grad = g.detach()
        opt.step()


@every_choice
def test_states_of_torch_and_back(options: dict[str, Any]) -> None:
    theirs = matrices()
    opt = torch.optim.Muon(theirs, **options)
    run(opt, theirs, range(10))
    names = list("abcdef")
    params = {name: p.detach().numpy().copy() for name, p in zip(names, theirs, strict=True)}
    before = opt.state_dict()
    state = from_torch_state(before, names)
    (group,) = before["param_groups"]
    as_ours = {"adjust_lr_fn": None} if group["adjust_lr_fn"] == "original" else {}
    assert to_torch_state(state)["param_groups"] == [group | as_ours]
    own = fastopt.Muon(params, lr=0.7)
    with pytest.warns(UserWarning, match="lr"):
        own.load_state_dict(state)
    for step in range(10, 20):
        gradients = [g.detach().numpy() for g in matrices(100 + step)]
        own.step(dict(zip(names, gradients, strict=True)))
    run(opt, theirs, range(10, 20))
    moved = [torch.nn.Parameter(torch.tensor(p)) for p in params.values()]
    other = torch.optim.Muon(moved, lr=0.7)
    other.load_state_dict(to_torch_state(own.state_dict()))
    run(other, moved, range(20, 25))
    run(opt, theirs, range(20, 25))
    for p, q in zip(moved, theirs, strict=True):
        torch.testing.assert_close(p, q, rtol=1e-9, atol=1e-9)


def test_what_torch_has_not() -> None:
    for state, said in (
        (fastopt.Muon([np.ones(3)], other={}).state_dict(), "torch's state of muon has no v"),
        (fastopt.Muon([np.ones((2, 2))], l2=0.1).state_dict(), "torch's optimizer has no l2=0.1"),
        (fastopt.Muon([np.ones((2, 2))], flatten=True).state_dict(), "no flatten=True"),
    ):
        with pytest.raises(ValueError, match=said):
            to_torch_state(state)
