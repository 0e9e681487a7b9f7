"""States from torch's optimizers and back: 10 steps here and 10 there are 20 of torch."""

from __future__ import annotations

import copy
import re
import subprocess
import sys
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest

import fastopt
from fastopt.interop import from_torch_state, to_torch_state

torch = pytest.importorskip("torch")
# States bring the options of torch's optimizers; that those of ours give way is meant here.
pytestmark = pytest.mark.filterwarnings("ignore:.*the saved options replace:UserWarning")

SHAPES: dict[str, tuple[int, ...]] = {"a.weight": (5, 3), "a.bias": (3,), "scale": ()}
Options = dict[str, Any]

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
    ("Adamax", "Adamax", {"betas": (0.8, 0.95), "eps": 1e-3, "weight_decay": 0.1}),
]
for_every_pair = pytest.mark.parametrize(("ours", "theirs", "options"), PAIRS)


def arrays(seed: int, dtype: str = "float64") -> dict[str, Any]:
    rng = np.random.default_rng(seed)
    return {name: np.asarray(rng.normal(size=shape), dtype) for name, shape in SHAPES.items()}


def tensors(of: dict[str, Any]) -> dict[str, Any]:
    return {name: torch.nn.Parameter(torch.tensor(array)) for name, array in of.items()}


def back(of: dict[str, Any]) -> dict[str, Any]:
    return {name: p.detach().numpy().copy() for name, p in of.items()}


def run_torch(optimizer: Any, params: dict[str, Any], steps: range) -> None:
    for step in steps:
        for name, grad in arrays(100 + step).items():
            params[name].grad = torch.tensor(grad, dtype=params[name].dtype)
        optimizer.step()


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


def torch_state(name: str, **options: Any) -> dict[str, Any]:
    """Return the state of a torch optimizer after two steps."""
    params = tensors(arrays(1))
    optimizer = getattr(torch.optim, name)(params.values(), lr=0.1, **options)
    run_torch(optimizer, params, range(2))
    return copy.deepcopy(optimizer.state_dict())


def changed(state: dict[str, Any], change: Callable[[dict[str, Any]], Any]) -> dict[str, Any]:
    change(state)
    return state


NAMES = list(SHAPES)

# What is given, the error, and its message.
REFUSED: list[tuple[Callable[[], Any], type[Exception], str]] = [
    (lambda: ([], NAMES), TypeError, "state_dict must be a dict, not list"),
    (lambda: ({"state": {}}, NAMES), ValueError, "state_dict has no 'param_groups'"),
    (
        lambda: (torch_state("Adam", amsgrad=True), NAMES),
        ValueError,
        "param_groups[0] has amsgrad=True; fastopt has none",
    ),
    (
        lambda: (torch_state("NAdam"), NAMES),
        ValueError,
        "this is no state of torch's SGD, Adam, AdamW, RMSprop, Adagrad, Adadelta or Adamax; "
        "param_groups[0] has lr, betas",
    ),
    (lambda: (torch_state("ASGD"), NAMES), ValueError, "this is no state of torch's SGD, Adam"),
    (lambda: (torch_state("RAdam"), NAMES), ValueError, "this is no state of torch's SGD, Adam"),
    (lambda: (torch_state("Adam"), NAMES[:2]), ValueError, "there are 2 names for 3 parameters"),
    (lambda: (torch_state("Adam"), ["a", "b", "a"]), ValueError, "names has 'a' twice"),
    (lambda: (torch_state("Adam"), ["a", "b", 3]), TypeError, "names must be strings, not 3"),
    (
        lambda: (torch_state("Adam"), None),
        ValueError,
        "names is None, and param_groups[0] has no 'param_names'",
    ),
    (
        lambda: (changed(torch_state("SGD", momentum=0.9), lambda s: s["state"].pop(1)), NAMES),
        ValueError,
        "'a.bias' has no state yet; give names as a dict with the parameters, for its shape",
    ),
    (
        lambda: (changed(torch_state("Adam"), lambda s: s["state"][1]["step"].add_(0.5)), NAMES),
        ValueError,
        "state[1]['step'] of 'a.bias' must count updates, it is 2.5",
    ),
    (
        lambda: (changed(torch_state("Adam"), lambda s: s["state"][1].pop("exp_avg")), NAMES),
        ValueError,
        "state[1] of 'a.bias' has no 'exp_avg'",
    ),
    (
        lambda: (changed(torch_state("Adam"), lambda s: s["state"].update({9: {}})), NAMES),
        ValueError,
        "state[9] belongs to no group",
    ),
    (
        lambda: (changed(torch_state("Adam"), lambda s: s["state"].clear()), NAMES),
        ValueError,
        "'a.weight' has no state yet; give names as a dict with the parameters, for its shape",
    ),
    (
        lambda: (
            changed(
                torch_state("AdamW"), lambda s: s["param_groups"][0].pop("decoupled_weight_decay")
            ),
            NAMES,
        ),
        ValueError,
        "param_groups[0] does not say whether its weight_decay=0.01 is that of AdamW: give "
        "decoupled_weight_decay=True for AdamW, False for Adam",
    ),
    (
        lambda: (
            changed(
                torch_state("Adam"),
                lambda s: s["state"][0].update(exp_avg=torch.ones(5, 3, dtype=torch.bfloat16)),
            ),
            NAMES,
        ),
        TypeError,
        "state[0]['exp_avg'] must be float32 or float64, not torch.bfloat16",
    ),
]


@pytest.mark.parametrize(("given", "error", "message"), REFUSED)
def test_refused_from_torch(given: Callable[[], Any], error: type[Exception], message: str) -> None:
    with pytest.raises(error, match=re.escape(f"from_torch_state: {message}")):
        from_torch_state(*given())


def test_states_of_others_like_adam() -> None:
    """RAdam of older torch has the groups of Adamax."""
    of_adam = torch_state("Adam")
    for key in ("amsgrad", "decoupled_weight_decay"):
        del of_adam["param_groups"][0][key]
    with pytest.raises(ValueError, match=r"this is no state of torch's"):
        from_torch_state(of_adam, NAMES)


def test_refused_keywords() -> None:
    state = torch_state("SGD")
    with pytest.raises(ValueError, match="0 <= step_count must hold, it is -1"):
        from_torch_state(state, NAMES, step_count=-1)
    with pytest.raises(TypeError, match=r"step_count must be an int or None, not 1\.5"):
        from_torch_state(state, NAMES, step_count=1.5)  # type: ignore[arg-type]
    with pytest.raises(ValueError, match=r"order has no 'a\.bias'"):
        from_torch_state(state, NAMES, order=["a.weight", "scale"])


LOST: list[tuple[str, Options, str]] = [
    ("Adam", {"l1": 0.1}, "groups[0]: torch's optimizer has no l1=0.1; set it to 0.0 before"),
    ("SGD", {"nonneg": True}, "groups[0]: torch's optimizer has no nonneg=True"),
    ("SGD", {"clip_norm": 1.0}, "torch's optimizer has no clip_norm=1.0; set it to None before"),
    ("Adam", {"epsilon_hat": True}, "groups[0]: torch's optimizer has no epsilon_hat=True"),
    ("Adam", {"bias_correction": False}, "groups[0]: torch's optimizer has no bias_correction=F"),
    ("Momentum", {"lr_inside": True}, "groups[0]: torch's optimizer has no lr_inside=True; set"),
    ("RMSprop", {"eps_inside_sqrt": True}, "groups[0]: torch's optimizer has no eps_inside_sqrt"),
    ("SGD", {"weight_decay": 0.1}, "groups[0]: torch has a decoupled weight_decay=0.1 for Adam"),
    ("AdamW", {"l2": 0.1}, "groups[0]: torch has weight_decay=0.01 or l2=0.1, but not both"),
    (
        "Momentum",
        {"momentum": 0.0, "dampening": 0.5},
        "groups[0]: without momentum, torch has no dampening=0.5",
    ),
    ("SGD", {"ema_decay": 0.9}, "torch's optimizer has no ema_decay=0.9"),
    (
        "SGD",
        {"lr": fastopt.schedules.Constant(0.1)},
        "groups[0]: lr is a schedule; set it to a number before",
    ),
    (
        "SGD",
        {"drop": fastopt.Dropout(0.5, seed=1)},
        "torch's optimizer has no drop; set the state's 'drop' to None",
    ),
]


@pytest.mark.parametrize(("ours", "options", "message"), LOST)
def test_refused_to_torch(ours: str, options: Options, message: str) -> None:
    opt = getattr(fastopt, ours)(arrays(1), **options)
    with pytest.raises(ValueError, match=re.escape(f"to_torch_state: {message}")):
        to_torch_state(opt.state_dict())


def test_what_waits_or_is_frozen_is_refused() -> None:
    opt = fastopt.SGD(arrays(1))
    opt.freeze("a.*")
    message = "torch's optimizer freezes nothing; unfreeze a.weight, a.bias before"
    with pytest.raises(ValueError, match=f"^to_torch_state: {message}"):
        to_torch_state(opt.state_dict())
    opt.unfreeze("*")
    opt.accumulate(arrays(2))
    with pytest.raises(ValueError, match="1 accumulated gradients are waiting"):
        to_torch_state(opt.state_dict())


def test_torch_is_imported_only_when_it_is_needed() -> None:
    code = "import sys, fastopt.interop; sys.exit('torch' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0
