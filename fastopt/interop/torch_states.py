"""The state of torch's optimizers, turned into ours and back."""

from __future__ import annotations

import importlib
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

import numpy as np

from fastopt.interop.table import Row, checked_order, ensure, rule_in, steps_of
from fastopt.interop.torch_reading import FROM, TorchState
from fastopt.interop.torch_rules import COUNTING, EAGER, TORCH, WITH_DECAY

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
    :class:`fastopt.Adam` and :class:`fastopt.AdamW` (which have the same state; with `amsgrad` if
    it is true there), ``RAdam``, ``NAdam``, ``RMSprop``, ``Adagrad``, ``Adadelta``, ``Adafactor``
    (with `clamp`), ``Adamax``, ``Rprop``, ``Muon``
    and ``ASGD`` become ours of that name, and ``SGD`` becomes
    :class:`fastopt.Momentum` if a group has momentum or a buffer, else :class:`fastopt.SGD`.

    Parameters
    ----------
    state_dict : dict
        ``torch_optimizer.state_dict()``. Its tensors may be NumPy arrays too.
    names : list of str, dict of str to tensor or array, or None
        The dotted names that the parameters have in our optimizer, in the order in which torch's
        was given them, group after group: for one group
        ``[name for name, _ in model.named_parameters()]``. A dict such as
        ``dict(model.named_parameters())`` has the parameters too; it is needed where a
        parameter never had a gradient, which has no state then that tells its shape. None: the
        ``param_names`` of the groups, which are there if torch's optimizer was given names
        (torch 2.6 and later).
    order : list of str, or None
        ``opt.names`` of our optimizer, where it has another order than torch's. The groups
        themselves must have the same order in both.
    step_count : int or None, default None, >= 0
        ``opt.step_count``, which schedules see: torch's schedulers know it. By default the largest
        step of a parameter, which is less where some steps gave it no gradient. torch's SGD counts
        no steps: by default it is 1 where there is a momentum buffer, else 0.
    decoupled_weight_decay : bool or None
        Only for states of Adam and AdamW without ``decoupled_weight_decay`` in their groups, as
        older torch wrote them, where nothing tells one from the other: True for AdamW, False for
        Adam. (RAdam's without it are refused: their groups are those of Adamax.)

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
        If it is the state of another optimizer; if names are too few, too many or missing; if
        RMSprop is centered, or Adam has `amsgrad`, for some groups and not for others.

    Notes
    -----
    torch counts the updates of each parameter by itself: one without a gradient stays behind, here
    too. One that never had a gradient is at step 0, with zeros, or with what Adagrad starts with.
    SGD counts nothing: parameters with a momentum buffer are at `step_count`, and at 1 at least;
    those without are at 0, and the first gradient makes their buffer.

    ``lr, lr_decay, eps, rho, momentum, dampening, nesterov, maximize`` keep their names, and
    ``beta2_decay`` and ``d``, too; ``eps`` of Adafactor is `eps1`, 0 where it is None, and `eps2`;
    ``betas`` are `beta1` and `beta2`, ``alpha`` is `rho`; ``etas`` and ``step_sizes`` of Rprop are
    `eta_minus`, `eta_plus`, `min_step_size` and `max_step_size`; ``ns_coefficients`` of Muon are
    `ns_a`, `ns_b` and `ns_c`, ``adjust_lr_fn`` is `match_rms_adamw`; ``weight_decay`` is
    `weight_decay` where it is decoupled, as in AdamW and Muon, and `l2` elsewhere. All other
    options get our defaults, also those that the optimizer was made with: set `clip_norm` and the
    like after loading. Or load with ``options="keep"``: then all options are those that the
    optimizer was made with. What
    :meth:`~fastopt.Optimizer.freeze` has frozen stays frozen. Without "keep" an optimizer with
    schedules refuses the state, and with `drop` it always does: set them after loading. Averages
    begin as copies of the parameters.
    RMSprop must be made with `centered` as it was, and with `momentum` if a group has it; Adam and
    AdamW with `amsgrad` as it was; Adafactor without `beta1`.

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
    >>> opt = fastopt.Momentum(params, lr=0.1)
    >>> opt.load_state_dict(from_torch_state(of_torch, ["w"], step_count=10))
    >>> opt.step({"w": np.array([0.05, 0.05])})
    >>> params["w"], opt.step_count
    (array([ 0.95, -2.05]), 11)
    """
    torch_state = TorchState(state_dict, names)
    ranked = checked_order(FROM, "order", order, torch_state.names)
    if step_count is not None:
        is_int = isinstance(step_count, (int, np.integer)) and not isinstance(step_count, bool)
        ensure(FROM, is_int, f"step_count must be an int or None, not {step_count!r}", TypeError)
        ensure(FROM, step_count >= 0, f"0 <= step_count must hold, it is {step_count}")
    groups = [
        torch_state.group(i, int(step_count or 0), decoupled_weight_decay)
        for i in range(len(torch_state.groups))
    ]
    for group in groups:
        group["names"].sort(key=ranked.index)
    steps = [step or 0 for group in groups for step in steps_of(group).values()]
    last = max(steps, default=0)
    return torch_state.row.state(last if step_count is None else int(step_count), groups)


def to_torch_state(
    state_dict: Mapping[str, Any], names: Iterable[str] | None = None
) -> dict[str, Any]:
    """Turn the state of our optimizer into one for ``load_state_dict`` of torch's.

    That of SGD and Momentum is for ``torch.optim.SGD``, that of RAdam, NAdam, RMSprop, Adagrad,
    Adadelta, Adamax, Rprop, ASGD, Muon and Adafactor (with `clamp`) for torch's class of that name;
    that of Adam, AdamW and AMSGrad is for ``torch.optim.AdamW`` if it has `weight_decay`, for
    ``torch.optim.Adam`` if it has `l2`. (AdamW would take an L2 penalty for decoupled decay.)

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
        dtype of its parameters when it loads them. As in torch, each parameter has its own step,
        of float32, or of float64 where float32 would round it (from 2**24 + 1 on); and one that was
        never updated has no state, but in Adagrad.

    Raises
    ------
    ImportError
        Without torch.
    TypeError
        If `state_dict` is no dict, or a name no string.
    ValueError
        If `names` are not those of the state, or if something would be lost, that torch's
        optimizer has not: accumulated gradients, averages, schedules, what is frozen, and options
        such as `l1`, `nonneg`, `clip_norm` or `eps_inside_sqrt` that are not at their default.

    Notes
    -----
    Clipping, averages and schedules are not in torch's optimizers but beside them
    (``clip_grad_norm_``, ``AveragedModel``, ``lr_scheduler``). Set these options to their defaults
    before, and schedules to numbers. What is frozen here has no gradient there
    (``requires_grad_(False)``).

    Examples
    --------
    >>> import numpy as np, fastopt
    >>> from fastopt.interop import to_torch_state
    >>> opt = fastopt.Adam({"w": np.ones(2)})
    >>> torch_optimizer.load_state_dict(to_torch_state(opt.state_dict()))  # doctest: +SKIP
    """
    rule = rule_in(TORCH, TO, state_dict)
    row, groups = TORCH[rule], state_dict["groups"]
    ranked = checked_order(TO, "names", names, [name for g in groups for name in g["names"]])
    row.refuse_what_would_be_lost(TO, "torch's", state_dict, {"weight_decay"})
    torch: Any = importlib.import_module("torch")

    states: dict[int, dict[str, Any]] = {}
    param_groups, key = [], 0
    for i, group in enumerate(groups):
        ours = {**group["options"], "centered": group["state"].get("avg") is not None}
        theirs = _row_of(rule, f"groups[{i}]:", ours).write(ours)
        for slot, arrays in group["state"].items():
            lost = arrays is not None and slot not in {**row.arrays, **row.numbers}
            ensure(TO, not lost, f"groups[{i}]: torch's state of {rule} has no {slot}")
        theirs["params"] = list(range(key, key + len(group["names"])))
        steps = steps_of(group)
        for name in sorted(group["names"], key=ranked.index):
            state = {
                torch_name: torch.from_numpy(np.array(group["state"][slot][name], order="C"))
                for slot, torch_name in _names_in(row, group["state"], name)
            }
            # torch makes zeros at the first update, so what never saw one may have no state.
            filled = rule in COUNTING and any(map(torch.any, state.values()))
            for slot, torch_name in row.numbers.items():
                number = float(group["state"][slot][name])
                state[torch_name] = torch.tensor(number, dtype=_dtype_of(number))
            if steps[name] or filled or rule in EAGER:
                states[key] = state
                if rule in COUNTING:
                    state["step"] = torch.tensor(float(steps[name]), dtype=_dtype_of(steps[name]))
            key += 1
        param_groups.append(theirs)
    return {"state": states, "param_groups": param_groups}


def _names_in(row: Row, state: Mapping[str, Any], name: str) -> list[tuple[str, str]]:
    """Return the arrays that a state of ours has for a parameter, with torch's names."""
    slots = [slot for slot in row.arrays if state[slot] is not None]
    axes = max((state[slot][name].ndim for slot in row.flat), default=2)
    named = [(slot, row.name_of(slot, axes)) for slot in slots]
    return [(slot, theirs) for slot, theirs in named if theirs]


def _dtype_of(number: float) -> Any:
    """Return torch's own dtype of numbers, float32, or float64 where that would round it."""
    torch: Any = importlib.import_module("torch")
    return torch.float32 if float(np.float32(number)) == number else torch.float64


def _row_of(rule: str, place: str, ours: Mapping[str, Any]) -> Row:
    """Return the row of a group, if torch has one for it."""
    l2, decay = ours["l2"], ours["weight_decay"]
    decoupled = f"{place} torch has no decoupled weight_decay={decay} but for Adam, NAdam and RAdam"
    if "weight_decay" in TORCH[rule].options.values():  # it has no other
        return TORCH[rule]
    ensure(TO, decay == 0 or rule in WITH_DECAY, decoupled)
    both = f"{place} torch has weight_decay={decay} or l2={l2}, but not both"
    ensure(TO, decay == 0 or l2 == 0, both)
    if rule == "momentum":
        alone = f"{place} without momentum, torch has no dampening={ours['dampening']}"
        ensure(TO, ours["momentum"] != 0 or ours["dampening"] == 0, alone)
    return WITH_DECAY[rule] if decay != 0 else TORCH[rule]
