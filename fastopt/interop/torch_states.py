"""The state of torch's optimizers, turned into ours and back."""

from __future__ import annotations

import importlib
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

import numpy as np

from fastopt.interop.names import is_int, ranks
from fastopt.interop.new_state import new_state
from fastopt.interop.refusals import refuse_what_would_be_lost
from fastopt.interop.torch_reading import FROM, TORCH_NAMES, TorchState

TO = "to_torch_state"


def from_torch_state(
    state_dict: Mapping[str, Any],
    names: Sequence[str] | Mapping[str, Any] | None = None,
    *,
    order: Iterable[str] | None = None,
    step_count: int | None = None,
    decoupled_weight_decay: bool | None = None,
) -> dict[str, Any]:
    """Turn the state of a torch optimizer into one for ``load_state_dict`` of ours.

    The class is known by what the groups hold: ``torch.optim.Adam`` and ``AdamW`` become
    :class:`fastopt.Adam` and :class:`fastopt.AdamW` (which have the same state), ``RMSprop``
    becomes :class:`fastopt.RMSprop`, and ``SGD`` becomes :class:`fastopt.Momentum` if a group has
    momentum or a buffer, else :class:`fastopt.SGD`.

    Parameters
    ----------
    state_dict : dict
        ``torch_optimizer.state_dict()``. Its tensors may be NumPy arrays too.
    names : list of str, dict of str to tensor or array, or None
        The dotted names that the parameters have in our optimizer, in the order in which torch's
        was given them, group after group: for one group
        ``[name for name, _ in model.named_parameters()]``. A dict such as
        ``dict(model.named_parameters())`` has the parameters too; it is needed where a
        parameter has no state yet, whose shape is unknown otherwise. None: the ``param_names`` of
        the groups, which are there if torch's optimizer was given names (torch 2.6 and later).
    order : list of str, or None
        ``opt.names`` of our optimizer, where it has another order than torch's. The groups
        themselves must have the same order in both.
    step_count : int or None, default None, >= 0
        ``opt.step_count``, which schedules see. By default the largest step of a parameter.
        torch's SGD counts no steps: by default it is 1 where there is a momentum buffer, else 0.
    decoupled_weight_decay : bool or None
        Only for states without ``decoupled_weight_decay`` in their groups, as older torch wrote
        them, where nothing tells AdamW from Adam: True for AdamW, False for Adam.

    Returns
    -------
    dict
        For ``opt.load_state_dict``. Its arrays share the memory of tensors that are on the CPU.

    Raises
    ------
    TypeError
        If something is no dict, list, number or array of float32 or float64. (Nothing is cast:
        the state must have the dtype of our parameters.)
    ValueError
        If it is the state of another optimizer or has ``amsgrad=True``; if names are too few, too
        many or missing; if the parameters of one group are not at the same step, or those of
        RMSprop not all centered or not.

    Notes
    -----
    ``lr, eps, momentum, dampening, nesterov, maximize`` keep their names; ``betas`` are `beta1` and
    `beta2`, ``alpha`` is `rho`; ``weight_decay`` is `weight_decay` for AdamW and `l2` for all
    others. All other options get our defaults, also those that the optimizer was made with: set
    `clip_norm` and the like after loading. An optimizer with `ema_decay`, `drop` or a schedule
    refuses the state: make it without, and set `drop` and schedules after loading. RMSprop must be
    made with `centered` as it was, and with `momentum` if a group has it.

    Where the momentum of torch's SGD is 0, its dampening does nothing; it is 0 then.

    Examples
    --------
    >>> import numpy as np, fastopt
    >>> from fastopt.interop import from_torch_state
    >>> of_torch = {  # torch_optimizer.state_dict()
    ...     "state": {0: {"momentum_buffer": np.array([0.5, 0.5])}},
    ...     "param_groups": [
    ...         {"lr": 0.1, "momentum": 0.9, "dampening": 0, "weight_decay": 0, "nesterov": False,
    ...          "params": [0]}
    ...     ],
    ... }
    >>> params = {"w": np.array([1.0, -2.0])}
    >>> opt = fastopt.Momentum(params)
    >>> opt.load_state_dict(from_torch_state(of_torch, ["w"], step_count=10))
    >>> opt.step({"w": np.array([0.05, 0.05])})
    >>> params["w"], opt.step_count
    (array([ 0.95, -2.05]), 11)
    """
    torch_state = TorchState(state_dict, names, decoupled_weight_decay)
    names = torch_state.names
    rank = ranks(FROM, "order", names if order is None else order, names)
    if step_count is not None and (isinstance(step_count, bool) or not is_int(step_count)):
        raise TypeError(f"{FROM}: step_count must be an int or None, not {step_count!r}")
    if step_count is not None and step_count < 0:
        raise ValueError(f"{FROM}: 0 <= step_count must hold, it is {step_count}")
    groups = [torch_state.group(i, step_count) for i in range(len(torch_state.groups))]
    for group in groups:
        group["names"].sort(key=rank.__getitem__)
    last = max(group["step"] or 0 for group in groups)
    return new_state(torch_state.rule, last if step_count is None else int(step_count), groups)


def to_torch_state(
    state_dict: Mapping[str, Any], names: Iterable[str] | None = None
) -> dict[str, Any]:
    """Turn the state of our optimizer into one for ``load_state_dict`` of torch's.

    That of SGD and Momentum is for ``torch.optim.SGD``, that of RMSprop for
    ``torch.optim.RMSprop``; that of Adam and AdamW is for ``torch.optim.AdamW`` if it has
    `weight_decay`, for ``torch.optim.Adam`` if it has `l2`. (AdamW would take an L2 penalty for
    decoupled decay.)

    Parameters
    ----------
    state_dict : dict
        ``opt.state_dict()``.
    names : list of str, or None
        Our names, in torch's order within each group; by default they are as in our groups.

    Returns
    -------
    dict
        With tensors on the CPU, which are copies of our arrays. torch moves them to the device and
        dtype of its parameters when it loads them.

    Raises
    ------
    ImportError
        Without torch.
    TypeError
        If `state_dict` is no dict, or a name no string.
    ValueError
        If `names` are not those of the state, or if something would be lost, that torch's
        optimizer has not: accumulated gradients, averages, schedules, `frozen`, and options such as
        `l1`, `nonneg`, `clip_norm` or `eps_inside_sqrt` that are not at their default.

    Notes
    -----
    Clipping, averages and schedules are not in torch's optimizers but beside them
    (``clip_grad_norm_``, ``AveragedModel``, ``lr_scheduler``). Set these options to their defaults
    before, and schedules to numbers.

    Examples
    --------
    >>> import numpy as np, fastopt
    >>> from fastopt.interop import to_torch_state
    >>> opt = fastopt.Adam({"w": np.ones(2)})
    >>> torch_optimizer.load_state_dict(to_torch_state(opt.state_dict()))  # doctest: +SKIP
    """
    if not isinstance(state_dict, Mapping):
        raise TypeError(f"{TO}: state_dict must be a dict, not {type(state_dict).__name__}")
    rule = state_dict.get("rule")
    if rule not in TORCH_NAMES:
        raise ValueError(f"{TO}: rule must be one of {', '.join(TORCH_NAMES)}, it is {rule!r}")
    groups = state_dict["groups"]
    known = [name for group in groups for name in group["names"]]
    rank = ranks(TO, "names", known if names is None else names, known)
    torch_only = {"epsilon_hat": False, "eps_inside_sqrt": False}
    refuse_what_would_be_lost(
        TO, "torch's", state_dict, {"l2", "weight_decay", "maximize"}, torch_only
    )
    torch: Any = importlib.import_module("torch")

    states: dict[int, dict[str, Any]] = {}
    param_groups, number = [], 0
    for i, group in enumerate(groups):
        own = sorted(group["names"], key=rank.__getitem__)
        ids = list(range(number, number + len(own)))
        number += len(own)
        for key, name in zip(ids, own, strict=True):
            state = {
                torch_name: torch.from_numpy(np.array(group["state"][slot][name], order="C"))
                for slot, torch_name in TORCH_NAMES[rule].items()
                if group["state"][slot] is not None
            }
            if rule == "momentum" and group["step"] > 0:
                states[key] = state
            elif rule in ("adam", "rmsprop"):
                states[key] = {"step": torch.tensor(float(group["step"]), dtype=torch.float32)}
                states[key] |= state
        param_groups.append({**_torch_options(rule, i, group), "params": ids})
    return {"state": states, "param_groups": param_groups}


def _torch_options(rule: str, number: int, group: Mapping[str, Any]) -> dict[str, Any]:
    ours = group["options"]
    l2, decay = ours["l2"], ours["weight_decay"]
    where = f"{TO}: groups[{number}]:"
    if decay != 0 and rule != "adam":
        raise ValueError(f"{where} torch has a decoupled weight_decay={decay} for Adam alone")
    if decay != 0 and l2 != 0:
        raise ValueError(f"{where} torch has weight_decay={decay} or l2={l2}, but not both")
    theirs = {"lr": ours["lr"], "weight_decay": l2 or decay, "maximize": ours["maximize"]}
    theirs |= {"foreach": None, "differentiable": False}
    if rule == "adam":
        theirs |= {"betas": (ours["beta1"], ours["beta2"]), "eps": ours["eps"], "amsgrad": False}
        theirs |= {"capturable": False, "fused": None, "decoupled_weight_decay": decay != 0}
    elif rule == "rmsprop":
        centered = group["state"]["avg"] is not None
        theirs |= {"alpha": ours["rho"], "eps": ours["eps"], "centered": centered}
        theirs |= {"momentum": ours["momentum"], "capturable": False}
    else:
        momentum = {name: ours.get(name, 0.0) for name in ("momentum", "dampening")}
        if momentum["momentum"] == 0 != momentum["dampening"]:
            raise ValueError(
                f"{where} without momentum, torch has no dampening={momentum['dampening']}"
            )
        theirs |= {**momentum, "nesterov": ours.get("nesterov", False), "fused": None}
    return theirs
