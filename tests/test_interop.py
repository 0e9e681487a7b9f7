"""States from torch's optimizers and back: 10 steps here and 10 there are 20 of torch."""

from __future__ import annotations

import copy
import subprocess
import sys
from typing import Any

import numpy as np
import pytest
from torch_states import SHAPES, Options, arrays, run_torch, tensors, torch, torch_state

import fastopt
from fastopt.interop import from_torch_state, to_torch_state

# States bring the options of torch's optimizers; that those of ours give way is meant here.
pytestmark = pytest.mark.filterwarnings("ignore:.*the saved options replace:UserWarning")

# Our class, torch's, and torch's options.
PAIRS: list[tuple[str, str, Options]] = [
    ("SGD", "SGD", {"lr": 0.1}),
    ("SGD", "SGD", {"lr": 0.1, "weight_decay": 0.01, "maximize": True}),
    ("Momentum", "SGD", {"lr": 0.1, "momentum": 0.9}),
    ("Momentum", "SGD", {"lr": 0.1, "momentum": 0.9, "dampening": 0.3, "weight_decay": 0.01}),
    ("Momentum", "SGD", {"lr": 0.1, "momentum": 0.8, "nesterov": True, "maximize": True}),
    ("Adam", "Adam", {"lr": 0.01}),
    ("Adam", "Adam", {"lr": 0.01, "betas": (0.8, 0.95), "eps": 1e-3, "weight_decay": 0.1}),
    ("Adam", "Adam", {"lr": 0.01, "weight_decay": 0.1, "decoupled_weight_decay": True}),
    ("Adam", "Adam", {"lr": 0.01, "maximize": True}),
    ("AdamW", "AdamW", {"lr": 0.01}),
    ("AdamW", "AdamW", {"lr": 0.01, "weight_decay": 0.3, "betas": (0.5, 0.9)}),
    ("RMSprop", "RMSprop", {"lr": 0.01}),
    ("RMSprop", "RMSprop", {"lr": 0.01, "alpha": 0.9, "eps": 1e-4, "weight_decay": 0.1}),
    ("RMSprop", "RMSprop", {"lr": 0.01, "momentum": 0.9}),
    ("RMSprop", "RMSprop", {"lr": 0.01, "centered": True}),
    ("RMSprop", "RMSprop", {"lr": 0.01, "centered": True, "momentum": 0.5, "maximize": True}),
    ("Adagrad", "Adagrad", {"lr": 0.1, "initial_accumulator_value": 0.5}),
    ("Adagrad", "Adagrad", {"lr": 0.1, "lr_decay": 0.1, "eps": 1e-3, "weight_decay": 0.1}),
    ("Adadelta", "Adadelta", {"rho": 0.7, "eps": 1e-3, "weight_decay": 0.1, "maximize": True}),
    ("Adafactor", "Adafactor", {"lr": 0.1}),
    ("Adafactor", "Adafactor", {"eps": (0.3, 0.1), "weight_decay": 0.1, "maximize": True}),
    ("Rprop", "Rprop", {"lr": 0.1, "etas": (0.3, 1.5), "step_sizes": (1e-3, 0.2)}),
    ("Rprop", "Rprop", {"maximize": True}),
    ("ASGD", "ASGD", {"lambd": 0.1, "alpha": 0.5, "t0": 3, "weight_decay": 0.1}),
    ("ASGD", "ASGD", {"lr": 0.1, "maximize": True}),
    ("Adamax", "Adamax", {"betas": (0.8, 0.95), "eps": 1e-3, "weight_decay": 0.1}),
    ("AMSGrad", "Adam", {"amsgrad": True, "betas": (0.8, 0.7), "weight_decay": 0.1}),
    ("AMSGrad", "AdamW", {"amsgrad": True}),
    ("RAdam", "RAdam", {"betas": (0.8, 0.9), "weight_decay": 0.1, "maximize": True}),
    ("RAdam", "RAdam", {"weight_decay": 0.1, "decoupled_weight_decay": True}),
    ("NAdam", "NAdam", {"betas": (0.8, 0.9), "momentum_decay": 0.1, "maximize": True}),
    ("NAdam", "NAdam", {"weight_decay": 0.1, "decoupled_weight_decay": True}),
]
for_every_pair = pytest.mark.parametrize(("ours", "theirs", "options"), PAIRS)


def back(of: dict[str, Any]) -> dict[str, Any]:
    return {name: p.detach().numpy().copy() for name, p in of.items()}


def run_ours(optimizer: Any, params: dict[str, Any], steps: range) -> None:
    dtype = params["scale"].dtype.name
    for step in steps:
        optimizer.step(arrays(100 + step, dtype))


def make_ours(ours: str, options: Options, params: Any) -> Any:
    """Make ours with other numbers than torch's: the state brings them."""
    kwargs: Options = {"lr": 0.5}
    if ours == "RMSprop":
        kwargs |= {name: options[name] for name in ("centered", "momentum") if name in options}
    return getattr(fastopt, ours)(params, **kwargs)


def check_equal(ours: dict[str, Any], theirs: dict[str, Any], tolerance: float) -> None:
    for name, p in theirs.items():
        np.testing.assert_allclose(
            ours[name], p.detach().numpy(), rtol=tolerance, atol=tolerance, err_msg=name
        )


for_every_dtype = pytest.mark.parametrize(
    ("dtype", "tolerance"), [("float64", 1e-12), ("float32", 1e-5)]
)


@pytest.mark.usefixtures("exact_numbers")
@for_every_dtype
@for_every_pair
def test_from_torch(ours: str, theirs: str, options: Options, dtype: str, tolerance: float) -> None:
    reference = tensors(arrays(1, dtype))
    optimizer = getattr(torch.optim, theirs)(reference.values(), **options)
    run_torch(optimizer, reference, range(10))
    params = back(reference)
    opt = make_ours(ours, options, params)
    opt.load_state_dict(from_torch_state(optimizer.state_dict(), list(reference)))
    assert opt.step_count == {"SGD": 0, "Momentum": 1}.get(ours, 10)
    run_torch(optimizer, reference, range(10, 20))
    run_ours(opt, params, range(10, 20))
    check_equal(params, reference, tolerance)


@pytest.mark.usefixtures("exact_numbers")
@for_every_dtype
@for_every_pair
def test_to_torch(ours: str, theirs: str, options: Options, dtype: str, tolerance: float) -> None:
    reference = tensors(arrays(1, dtype))
    optimizer = getattr(torch.optim, theirs)(reference.values(), **options)
    fresh = copy.deepcopy(from_torch_state(optimizer.state_dict(), reference))
    run_torch(optimizer, reference, range(20))

    params = arrays(1, dtype)
    opt = make_ours(ours, options, params)
    opt.load_state_dict(fresh)
    assert opt.step_count == 0
    run_ours(opt, params, range(10))
    moved = tensors(params)
    other = getattr(torch.optim, theirs)(moved.values(), lr=0.5)
    other.load_state_dict(to_torch_state(opt.state_dict()))
    run_torch(other, moved, range(10, 20))
    check_equal(back(moved), reference, tolerance)
    # torch must not have trained in our arrays
    run_ours(opt, params, range(10, 20))
    check_equal(params, reference, tolerance)


@for_every_pair
def test_there_and_back_is_what_it_was(ours: str, theirs: str, options: Options) -> None:
    reference = tensors(arrays(1))
    optimizer = getattr(torch.optim, theirs)(reference.values(), **options)
    run_torch(optimizer, reference, range(3))
    before = optimizer.state_dict()
    again = to_torch_state(from_torch_state(before, list(reference)))
    assert again["state"].keys() == before["state"].keys()
    for key, state in before["state"].items():
        assert again["state"][key].keys() == state.keys()
        for name, tensor in state.items():
            assert again["state"][key][name].dtype == tensor.dtype
            assert torch.equal(again["state"][key][name], tensor)
    lost = {"initial_accumulator_value": 0.0} if theirs == "Adagrad" else {}  # the sum has it
    assert again["param_groups"] == [group | lost for group in before["param_groups"]]


GROUPS: list[tuple[str, str, Options, list[Options]]] = [
    ("SGD", "SGD", {}, [{"lr": 0.1}, {"lr": 0.2, "weight_decay": 0.1}]),
    ("Momentum", "SGD", {}, [{"momentum": 0.9}, {"momentum": 0.5, "nesterov": True}]),
    ("Momentum", "SGD", {}, [{"momentum": 0.9}, {"momentum": 0.0, "dampening": 0.5}]),
    ("Adam", "Adam", {}, [{"betas": (0.8, 0.9)}, {"weight_decay": 0.1}]),
    ("AdamW", "AdamW", {}, [{"weight_decay": 0.0}, {"weight_decay": 0.1}]),
    ("RMSprop", "RMSprop", {"centered": True}, [{"alpha": 0.9}, {"lr": 0.1}]),
    ("RMSprop", "RMSprop", {"momentum": 0.9}, [{"momentum": 0.0}, {"eps": 1e-3}]),
]


@pytest.mark.parametrize(("ours", "theirs", "options", "of_groups"), GROUPS)
def test_groups_and_another_order(
    ours: str, theirs: str, options: Options, of_groups: list[Options]
) -> None:
    reference = tensors(arrays(1))
    names = ["scale", "a.weight", "a.bias"]  # torch's order, ours is another
    parts = [["scale", "a.weight"], ["a.bias"]]
    optimizer = getattr(torch.optim, theirs)(
        [
            {"params": [reference[n] for n in part], **own}
            for part, own in zip(parts, of_groups, strict=True)
        ],
        lr=0.05,
        **options,
    )
    run_torch(optimizer, reference, range(10))
    params = back(reference)
    opt = make_ours(ours, options, fastopt.groups(params, {"*.bias": {}}))
    named = {name: reference[name] for name in names}
    opt.load_state_dict(from_torch_state(optimizer.state_dict(), named, order=opt.names))
    assert opt.groups[0].names == ("a.weight", "scale")
    run_torch(optimizer, reference, range(10, 20))
    run_ours(opt, params, range(10, 20))
    check_equal(params, reference, 1e-12)

    moved = tensors(params)
    other = getattr(torch.optim, theirs)(
        [{"params": [moved[n] for n in part]} for part in parts], lr=0.5
    )
    other.load_state_dict(to_torch_state(opt.state_dict(), names))
    run_torch(optimizer, reference, range(20, 30))
    run_torch(other, moved, range(20, 30))
    check_equal(back(moved), reference, 1e-12)


def test_names_that_torch_knows() -> None:
    reference = tensors(arrays(1))
    optimizer = torch.optim.Adam(list(reference.items()))
    run_torch(optimizer, reference, range(1))
    assert from_torch_state(optimizer.state_dict())["groups"][0]["names"] == list(SHAPES)


def test_step_count_of_schedules() -> None:
    state = from_torch_state(torch_state("SGD", momentum=0.9), list(SHAPES), step_count=7)
    assert state["step_count"] == state["groups"][0]["step"] == 7
    state = from_torch_state(torch_state("SGD", momentum=0.9), list(SHAPES), step_count=0)
    assert (state["step_count"], state["groups"][0]["step"]) == (0, 1)
    state = from_torch_state(torch_state("Adam"), list(SHAPES), step_count=7)
    assert (state["step_count"], state["groups"][0]["step"]) == (7, 2)


def test_states_of_older_torch() -> None:
    state = torch_state("AdamW")
    del state["param_groups"][0]["decoupled_weight_decay"], state["param_groups"][0]["maximize"]
    for of_param in state["state"].values():
        of_param["step"] = int(of_param["step"])
    for decoupled in (True, False):
        moved = from_torch_state(state, list(SHAPES), decoupled_weight_decay=decoupled)
        options = moved["groups"][0]["options"]
        assert options["weight_decay" if decoupled else "l2"] == 0.01
        assert options["l2" if decoupled else "weight_decay"] == 0.0
    state = torch_state("SGD")
    state["state"] = {key: {"momentum_buffer": None} for key in range(3)}
    assert from_torch_state(state, list(SHAPES))["rule"] == "sgd"


def test_nothing_is_cast() -> None:
    state = from_torch_state(torch_state("Adam"), list(SHAPES))
    with pytest.raises(TypeError, match="has dtype float64, ours float32"):
        fastopt.Adam(arrays(1, "float32")).load_state_dict(state)


def test_torch_is_imported_only_when_it_is_needed() -> None:
    code = "import sys, fastopt.interop; sys.exit('torch' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0
