"""States of torch's optimizers that are refused, and ours that torch has no place for."""

from __future__ import annotations

import re
from collections.abc import Callable
from typing import Any

import pytest
from torch_states import SHAPES, Options, arrays, torch, torch_state

import fastopt
from fastopt.interop import from_torch_state, to_torch_state


def changed(state: dict[str, Any], change: Callable[[dict[str, Any]], Any]) -> dict[str, Any]:
    change(state)
    return state


NAMES = list(SHAPES)

# What is given, the error, and its message.
REFUSED: list[tuple[Callable[[], Any], type[Exception], str]] = [
    (lambda: ([], NAMES), TypeError, "state_dict must be a dict, not list"),
    (lambda: ({"state": {}}, NAMES), ValueError, "state_dict has no 'param_groups'"),
    (
        lambda: (
            changed(
                torch_state("Adam", amsgrad=True),
                lambda s: s["param_groups"].append({**s["param_groups"][0], "amsgrad": False}),
            ),
            NAMES,
        ),
        ValueError,
        "amsgrad must hold for all groups or none: [True, False]",
    ),
    (
        lambda: (changed(torch_state("ASGD"), lambda s: s["param_groups"][0].pop("t0")), NAMES),
        ValueError,
        "this is no state of torch's SGD, Adam, AdamW, NAdam, RAdam, RMSprop, Adagrad, Adadelta, "
        "Adamax, Adafactor, Muon, Rprop or ASGD; param_groups[0] has lr, lambd",
    ),
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
    ("RAdam", {"epsilon_hat": False}, "groups[0]: torch's optimizer has no epsilon_hat=False"),
    ("Adam", {"epsilon_hat": True}, "groups[0]: torch's optimizer has no epsilon_hat=True"),
    ("Adam", {"bias_correction": False}, "groups[0]: torch's optimizer has no bias_correction=F"),
    ("AMSGrad", {"max_of_corrected": True}, "groups[0]: torch's optimizer has no max_of_corr"),
    ("Momentum", {"lr_inside": True}, "groups[0]: torch's optimizer has no lr_inside=True; set"),
    ("RMSprop", {"eps_inside_sqrt": True}, "groups[0]: torch's optimizer has no eps_inside_sqrt"),
    ("SGD", {"weight_decay": 0.1}, "groups[0]: torch has no decoupled weight_decay=0.1 but for"),
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
