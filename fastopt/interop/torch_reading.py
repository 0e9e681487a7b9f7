"""What the state of a torch optimizer says, in our words."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import Any

import numpy as np

from fastopt.interop.names import checked_names
from fastopt.interop.new_state import new_options

FROM = "from_torch_state"

TORCH_NAMES: dict[str, dict[str, str]] = {
    "sgd": {},
    "momentum": {"buf": "momentum_buffer"},
    "adam": {"m": "exp_avg", "v": "exp_avg_sq"},
    "rmsprop": {"v": "square_avg", "avg": "grad_avg", "buf": "momentum_buffer"},
}
"""What torch calls the arrays of each rule."""

KEYS = {
    "adam": ("lr", "betas", "eps", "weight_decay", "amsgrad"),
    "rmsprop": ("lr", "alpha", "eps", "weight_decay", "momentum", "centered"),
    "sgd": ("lr", "momentum", "dampening", "weight_decay", "nesterov"),
}
"""What torch's groups have, by which we know them. NAdam, RAdam, ASGD and others lack some."""


class TorchState:
    """Reads a state, checks it, and turns it group by group."""

    def __init__(
        self,
        state_dict: Any,
        names: Sequence[str] | Mapping[str, Any] | None,
        decoupled_weight_decay: bool | None,
    ) -> None:
        self.groups, self.states = _parts(state_dict)
        self.rule = _rule_of(self.groups, self.states)
        self.params = names if isinstance(names, Mapping) else {}
        named = _names_in_groups(self.groups) if names is None else names
        self.names = checked_names(FROM, "names", named)
        ids = [key for group in self.groups for key in group["params"]]
        if len(self.names) != len(ids):
            raise ValueError(f"{FROM}: there are {len(self.names)} names for {len(ids)} parameters")
        for key in self.states:
            if key not in ids:
                raise ValueError(f"{FROM}: state[{key!r}] belongs to no group")
        self.name_of = dict(zip(ids, self.names, strict=True))
        self.arrays = {key: _arrays_of(self.rule, key, state) for key, state in self.states.items()}
        self.slots = _slots(self.rule, self.groups, self.arrays)
        self.decoupled_weight_decay = decoupled_weight_decay

    def group(self, number: int, step_count: int | None) -> dict[str, Any]:
        """Return a group as our state has it."""
        group = self.groups[number]
        own = {key: self.name_of[key] for key in group["params"]}
        options = _options_of(self.rule, number, group, self.decoupled_weight_decay)
        step = _step_of(self.rule, number, own, self.states, step_count)
        # What torch makes later: all before the first update, RMSprop's buffer with momentum.
        to_come: Iterable[str] = ()
        if step == 0:
            to_come = self.slots
        elif self.rule == "rmsprop" and options["momentum"] == 0:
            to_come = ("buf",)
        state: dict[str, Any] = dict.fromkeys(TORCH_NAMES[self.rule])
        for slot in self.slots:
            state[slot] = {
                name: self._array_of(key, name, slot, slot in to_come) for key, name in own.items()
            }
        return {
            "names": list(own.values()),
            "options": options,
            "step": None if self.rule == "sgd" else step,
            "state": state,
            "ema_weight": 0.0,
        }

    def _array_of(self, key: Any, name: str, slot: str, may_be_zeros: bool) -> Any:
        arrays = self.arrays.get(key, {})
        if slot in arrays:
            return arrays[slot]
        if not may_be_zeros:
            torch_name = TORCH_NAMES[self.rule][slot]
            raise ValueError(f"{FROM}: state[{key!r}] of {name!r} has no {torch_name!r}")
        for array in arrays.values():
            return np.zeros_like(array)
        if name not in self.params:
            raise ValueError(
                f"{FROM}: {name!r} has no state yet; give names as a dict with the parameters, for "
                "its shape"
            )
        return np.zeros_like(_array(f"names[{name!r}]", self.params[name]))


def _parts(state_dict: Any) -> tuple[list[Mapping[str, Any]], Mapping[Any, Any]]:
    if not isinstance(state_dict, Mapping):
        raise TypeError(f"{FROM}: state_dict must be a dict, not {type(state_dict).__name__}")
    for key in ("state", "param_groups"):
        if key not in state_dict:
            raise ValueError(f"{FROM}: state_dict has no {key!r}")
    groups, states = state_dict["param_groups"], state_dict["state"]
    if not isinstance(groups, (list, tuple)) or not all(isinstance(g, Mapping) for g in groups):
        raise TypeError(f"{FROM}: param_groups must be a list of dicts")
    if not isinstance(states, Mapping) or not all(isinstance(s, Mapping) for s in states.values()):
        raise TypeError(f"{FROM}: state must be a dict of dicts")
    if not groups:
        raise ValueError(f"{FROM}: param_groups is empty")
    for i, group in enumerate(groups):
        if "params" not in group:
            raise ValueError(f"{FROM}: param_groups[{i}] has no 'params'")
    return list(groups), states


def _rule_of(groups: list[Mapping[str, Any]], states: Mapping[Any, Any]) -> str:
    fitting = [
        rule for rule, keys in KEYS.items() if all(key in group for group in groups for key in keys)
    ]
    if not fitting:
        raise ValueError(
            f"{FROM}: this is no state of torch's SGD, Adam, AdamW or RMSprop; param_groups[0] has "
            f"{', '.join(map(str, groups[0]))}"
        )
    buffers = any(state.get("momentum_buffer") is not None for state in states.values())
    if fitting == ["sgd"] and (buffers or any(group["momentum"] != 0 for group in groups)):
        return "momentum"
    return fitting[0]


def _names_in_groups(groups: list[Mapping[str, Any]]) -> list[str]:
    for i, group in enumerate(groups):
        if "param_names" not in group:
            raise ValueError(f"{FROM}: names is None, and param_groups[{i}] has no 'param_names'")
    return [name for group in groups for name in group["param_names"]]


def _array(place: str, tensor: Any) -> Any:
    array = tensor
    if hasattr(tensor, "detach"):
        tensor = tensor.detach().cpu()
        # bfloat16, which NumPy has not, cannot be turned
        array = tensor.numpy() if str(tensor.dtype) != "torch.bfloat16" else tensor
    if not hasattr(array, "dtype"):
        raise TypeError(f"{FROM}: {place} must be a tensor or array, not {tensor!r:.60}")
    if array.dtype not in (np.float32, np.float64):
        raise TypeError(f"{FROM}: {place} must be float32 or float64, not {array.dtype}")
    return array


def _arrays_of(rule: str, key: Any, state: Mapping[str, Any]) -> dict[str, Any]:
    return {
        slot: _array(f"state[{key!r}][{name!r}]", state[name])
        for slot, name in TORCH_NAMES[rule].items()
        if state.get(name) is not None
    }


def _slots(
    rule: str, groups: list[Mapping[str, Any]], arrays: dict[Any, dict[str, Any]]
) -> list[str]:
    """Return which arrays of the rule the whole optimizer has."""
    slots = dict.fromkeys(TORCH_NAMES[rule])
    if rule == "rmsprop":
        centered = [bool(group["centered"]) for group in groups]
        if any(centered) != all(centered):
            raise ValueError(f"{FROM}: RMSprop is centered for all groups or none, not {centered}")
        if not centered[0]:
            del slots["avg"]
        has_buf = any("buf" in own for own in arrays.values())
        if not has_buf and all(group["momentum"] == 0 for group in groups):
            del slots["buf"]
    return list(slots)


def _step_of(
    rule: str,
    number: int,
    own: dict[Any, str],
    states: Mapping[Any, Any],
    step_count: int | None,
) -> int:
    """Return how many updates all parameters of a group have seen."""
    steps: dict[str, int] = {}
    for key, name in own.items():
        state = states.get(key, {})
        if rule == "momentum":
            has_buf = state.get("momentum_buffer") is not None
            # Step 0 would overwrite the buffer; more than 1 it need not be.
            steps[name] = max(1, int(step_count or 0)) if has_buf else 0
        elif rule != "sgd" and state:
            if "step" not in state:
                raise ValueError(f"{FROM}: state[{key!r}] of {name!r} has no 'step'")
            step = float(state["step"])
            if not 0 <= step < 2**53 or step != int(step):
                raise ValueError(
                    f"{FROM}: state[{key!r}]['step'] of {name!r} must count updates, it is {step}"
                )
            steps[name] = int(step)
        else:
            steps[name] = 0
    (first, step), *others = steps.items() or [("", 0)]
    for name, other in others:
        if other != step:
            raise ValueError(
                f"{FROM}: all parameters of param_groups[{number}] must be at one step; {first!r} "
                f"is at {step}, {name!r} at {other}"
            )
    return step


def _options_of(
    rule: str, number: int, group: Mapping[str, Any], decoupled: bool | None
) -> dict[str, Any]:
    decay = float(group["weight_decay"])
    options = new_options(float(group["lr"]))
    options["maximize"] = bool(group.get("maximize", False))
    options["l2"] = decay
    if rule == "momentum":
        momentum = float(group["momentum"])
        options["momentum"], options["nesterov"] = momentum, bool(group["nesterov"])
        options["dampening"] = float(group["dampening"]) if momentum != 0 else 0.0
    elif rule == "rmsprop":
        options["momentum"], options["rho"] = float(group["momentum"]), float(group["alpha"])
        options |= {"eps": float(group["eps"]), "eps_inside_sqrt": False, "scaled_prox": False}
    elif rule == "adam":
        if group["amsgrad"]:
            raise ValueError(f"{FROM}: param_groups[{number}] has amsgrad=True; fastopt has none")
        beta1, beta2 = map(float, group["betas"])
        options |= {"beta1": beta1, "beta2": beta2, "eps": float(group["eps"])}
        options |= {"epsilon_hat": False, "scaled_prox": False}
        decoupled = group.get("decoupled_weight_decay", decoupled)
        if decoupled is None and decay != 0:
            raise ValueError(
                f"{FROM}: param_groups[{number}] does not say whether its weight_decay={decay} is "
                "that of AdamW: give decoupled_weight_decay=True for AdamW, False for Adam"
            )
        if decoupled:
            options["l2"], options["weight_decay"] = 0.0, decay
    return options
