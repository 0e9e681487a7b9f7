"""The variables of Keras' optimizers, turned into our state and back."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import Any

import numpy as np

from fastopt.interop.table import (
    Row,
    checked_array,
    checked_names,
    checked_order,
    ensure,
    rule_in,
    steps_of,
)
from fastopt.rules import (
    FTRL,
    LAMB,
    SGD,
    Adadelta,
    Adagrad,
    Adam,
    Adamax,
    AMSGrad,
    Lion,
    Momentum,
    NAdam,
)

FROM, TO = "from_keras_variables", "to_keras_variables"

OPTIONAL = {
    "weight_decay": "weight_decay",
    "clipvalue": "clip_value",
    "global_clipnorm": "clip_norm",
    "clipnorm": "clip_tensor_norm",
}
OPTIONS = {"learning_rate": "lr", **OPTIONAL}
CLIPS = ("clip_norm", "clip_tensor_norm")

KERAS = {
    "sgd": Row(SGD, {}, OPTIONS),
    "momentum": Row(
        Momentum,
        {"buf": "momentum"},
        {**OPTIONS, "momentum": "momentum", "nesterov": "nesterov"},
        ours={"lr_inside": True},
    ),
    "adam": Row(
        Adam,
        {"m": "momentum", "v": "velocity"},
        {**OPTIONS, "beta_1": "beta1", "beta_2": "beta2", "epsilon": "eps"},
        ours={"epsilon_hat": True},
    ),
    "amsgrad": Row(
        AMSGrad,
        {"m": "momentum", "v": "velocity", "v_max": "velocity_hat"},
        {**OPTIONS, "beta_1": "beta1", "beta_2": "beta2", "epsilon": "eps"},
        ours={"epsilon_hat": True},
    ),
    "adagrad": Row(
        Adagrad,
        {"s": "accumulator"},
        {**OPTIONS, "epsilon": "eps"},
        ours={"eps_inside_sqrt": True},
    ),
    "adadelta": Row(
        Adadelta,
        {"s": "accumulated_grad", "d": "accumulated_delta_var"},
        {**OPTIONS, "rho": "rho", "epsilon": "eps"},
    ),
    "adamax": Row(
        Adamax,
        {"m": "momentum", "u": "norm"},
        {**OPTIONS, "beta_1": "beta1", "beta_2": "beta2", "epsilon": "eps"},
        ours={"eps_outside_max": True},
    ),
    "ftrl": Row(
        FTRL,
        {"n": "accumulator", "z": "linear"},
        {
            **OPTIONS,
            "l1_regularization_strength": "lambda1",
            "l2_regularization_strength": "lambda2",
            "l2_shrinkage_regularization_strength": "l2_shrinkage",
            "beta": "beta",
        },
        {"learning_rate_power": -0.5},
    ),
    "lamb": Row(
        LAMB,
        {"m": "momentum", "v": "velocity"},
        {**OPTIONS, "beta_1": "beta1", "beta_2": "beta2", "epsilon": "eps"},
        ours={"trust_decay": 0.0},
    ),
    "nadam": Row(
        NAdam,
        {"m": "momentum", "v": "velocity"},
        {**OPTIONS, "beta_1": "beta1", "beta_2": "beta2", "epsilon": "eps"},
        ours={"momentum_decay": 1.0},
        numbers={"mu_product": "u_product"},
    ),
    "lion": Row(
        Lion,
        {"m": "momentum"},
        {**OPTIONS, "beta_1": "beta1", "beta_2": "beta2"},
    ),
}
"""Keras has the arrays one after another, parameter by parameter, but for those of `LAST`; behind
them the numbers, each for all parameters together."""
LAST = {"v_max"}
HALVED = {"l2_regularization_strength", "l2_shrinkage_regularization_strength"}
"""Options of theirs that are half of ours."""

CLASSES = {
    "SGD": "momentum",
    "Adam": "adam",
    "AdamW": "adam",
    "Adagrad": "adagrad",
    "Adadelta": "adadelta",
    "Adamax": "adamax",
    "Ftrl": "ftrl",
    "Lamb": "lamb",
    "Lion": "lion",
    "Nadam": "nadam",
}


def from_keras_variables(
    variables: Sequence[Any],
    serialized: Mapping[str, Any],
    names: Iterable[str],
    *,
    order: Iterable[str] | None = None,
) -> dict[str, Any]:
    """Turn the variables of a Keras optimizer into a state for ``load_state_dict`` of ours.

    ``keras.optimizers.Adam`` and ``AdamW`` become :class:`fastopt.Adam` (and
    :class:`fastopt.AdamW`, which has the same state), with ``epsilon_hat=True``, as theirs is, and
    with `amsgrad` if it is true there.
    ``SGD`` becomes :class:`fastopt.Momentum` with ``lr_inside=True`` if it has momentum, else
    :class:`fastopt.SGD`. ``Adagrad``, ``Adadelta``, ``Adamax``, ``Ftrl``, ``Lamb``, ``Lion`` and
    ``Nadam`` become ours of that name, with ``eps_inside_sqrt=True``, ``eps_outside_max=True``,
    ``trust_decay=0.0`` and ``momentum_decay=1.0`` where these are options.

    Parameters
    ----------
    variables : list of variables or arrays
        ``optimizer.variables``, of an optimizer that was built: the iteration, the learning rate,
        and the arrays of all parameters.
    serialized : dict
        ``keras.optimizers.serialize(optimizer)``: its class and hyper-parameters.
    names : list of str
        The dotted names that the parameters have in our optimizer, in the order of
        ``model.trainable_variables``, with which Keras' optimizer was built.
    order : list of str, or None
        ``opt.names`` of our optimizer, where it has another order.

    Returns
    -------
    dict
        For ``opt.load_state_dict``, of an optimizer with one group.

    Raises
    ------
    TypeError
        If something is no dict, string or array of float32 or float64. (Nothing is cast: the state
        must have the dtype of our parameters.)
    ValueError
        If it is another optimizer than these, has ``use_ema``,
        ``gradient_accumulation_steps``, ``loss_scale_factor`` or a schedule as its learning rate;
        if the variables are too few or too many for the names.

    Notes
    -----
    Keras' momentum has the learning rate in it, as `buf` has with `lr_inside`: it is carried over
    as it is, and a schedule that is set after loading goes on as in Keras. ``clipnorm`` is
    `clip_tensor_norm`, ``global_clipnorm`` is `clip_norm`, both with ``clip_eps=0``, and
    ``clipvalue`` is `clip_value`. ``weight_decay`` is decoupled in all of Keras' optimizers, and is
    `weight_decay` here. What was excluded from it Keras does not tell; use groups.

    Examples
    --------
    >>> import numpy as np, fastopt
    >>> from fastopt.interop import from_keras_variables
    >>> variables = [np.array(3), np.array(0.5), np.array([-0.1, 0.2])]   # optimizer.variables
    >>> config = {"learning_rate": 0.5, "momentum": 0.9, "nesterov": False}
    >>> serialized = {"class_name": "SGD", "config": config}
    >>> opt = fastopt.Momentum({"w": np.zeros(2)}, lr=0.5, lr_inside=True)
    >>> opt.load_state_dict(from_keras_variables(variables, serialized, ["w"]))
    >>> opt.groups[0].state
    MomentumState(step=3, buf=array([-0.1,  0.2]))
    """
    class_name, config = _config(serialized)
    names = checked_names(FROM, "names", names)
    ranked = checked_order(FROM, "order", order, names)
    rule = CLASSES[class_name]
    if rule == "momentum" and config["momentum"] == 0:
        rule = "sgd"
    if rule == "adam" and config.get("amsgrad"):
        rule = "amsgrad"
    row, arrays = KERAS[rule], list(variables)
    wanted = 2 + len(names) * len(row.arrays) + len(row.numbers)
    said = f"for {len(names)} names, Keras' {class_name} has {wanted} variables, not {len(arrays)}"
    ensure(FROM, len(arrays) == wanted, said)
    count = _numpy(arrays[0])
    is_int = count.ndim == 0 and count.dtype.kind in "iu"
    ensure(FROM, is_int, f"variables[0] must be the iteration, an int, it is {count!r:.60}")
    step = int(count)
    given = {key: value for key, value in config.items() if value is not None}
    options = row.read({key: given[key] * (2 if key in HALVED else 1) for key in given})
    clips = {name: options.pop(name) for name in CLIPS if name in options}
    state: dict[str, Any] = {slot: {} for slot in row.arrays}
    of_arrays = arrays[2 : len(arrays) - len(row.numbers)]
    for (name, slot), variable in zip(_order(row, names), of_arrays, strict=True):
        array, place = _numpy(variable), f"{slot} of {name!r}"
        state[slot][name] = checked_array(FROM, place, array, row.is_non_negative(slot))
    for slot, variable in zip(row.numbers, arrays[len(arrays) - len(row.numbers) :], strict=True):
        number = checked_array(FROM, slot, np.array(float(_numpy(variable))), True)
        state[slot] = {name: number.copy() for name in names}
    group = {"names": ranked, "options": options, "step": step if state else None, "state": state}
    new = row.state(step, [group])
    new["options"] |= {**clips, "clip_eps": 0.0} if clips else {}
    return new


def to_keras_variables(
    state_dict: Mapping[str, Any], names: Iterable[str] | None = None
) -> list[Any]:
    """Turn the state of our optimizer into the variables of a Keras optimizer.

    That of SGD and Momentum is for ``keras.optimizers.SGD``, that of Adam, AdamW and AMSGrad for
    ``keras.optimizers.Adam`` and ``AdamW``, that of Adagrad, Adadelta, Adamax, FTRL, LAMB, Lion and
    NAdam for Keras' class of that name.

    Parameters
    ----------
    state_dict : dict
        ``opt.state_dict()``, of an optimizer with one group.
    names : list of str, or None
        Our names, in the order of ``model.trainable_variables``; by default as in our optimizer.

    Returns
    -------
    list of arrays
        Copies, in the order of ``optimizer.variables`` of a Keras optimizer that was built: assign
        each to its variable. They have the learning rate, but no other hyper-parameter: make Keras'
        optimizer with the others, such as ``beta_1=opt.groups[0]["beta1"]``.

    Raises
    ------
    TypeError
        If `state_dict` is no dict, or a name no string.
    ValueError
        If it is of RMSprop or RAdam, or has several groups; if `names` are not those of the state;
        if its arrays have not seen equally many updates; or if something would be lost, that Keras'
        optimizer has not: accumulated gradients, averages, schedules, what is frozen,
        ``epsilon_hat=False``, ``eps_inside_sqrt=False``, ``eps_outside_max=False``, `trust_decay`,
        another `momentum_decay` than 1, dampening, clipping by a norm with another `clip_eps` than
        0, and options such as `l1`, `l2` or `nonneg` that are not at their default.

    Notes
    -----
    Keras has one iteration for all parameters, and counts it also for those that had no gradient.
    Its product of NAdam's momenta is one for all, too.

    Where Momentum has not `lr_inside`, its `buf` is multiplied by ``-lr``. Training goes on the
    same then as long as the learning rate stays.

    Examples
    --------
    >>> import numpy as np, fastopt
    >>> from fastopt.interop import to_keras_variables
    >>> opt = fastopt.Adam({"w": np.zeros(2)}, lr=0.5, epsilon_hat=True)
    >>> opt.step({"w": np.ones(2)})
    >>> to_keras_variables(opt.state_dict())    # iteration, learning rate, momentum, velocity
    [array(1), array(0.5), array([0.1, 0.1]), array([0.001, 0.001])]
    >>> values = to_keras_variables(opt.state_dict())
    >>> for variable, value in zip(optimizer.variables, values):    # doctest: +SKIP
    ...     variable.assign(value)
    """
    rule = rule_in(KERAS, TO, state_dict)
    row, groups, shared = KERAS[rule], state_dict["groups"], state_dict["options"]
    ensure(TO, len(groups) == 1, f"Keras' optimizers have one group, the state has {len(groups)}")
    (group,) = groups
    ranked = checked_order(TO, "names", names, group["names"])
    row.refuse_what_would_be_lost(TO, "Keras'", state_dict, {"lr_inside"})
    clips = [name for name in CLIPS if shared[name] is not None]
    said = f"Keras clips with clip_eps=0, not {shared['clip_eps']!r}; set it to 0 before"
    ensure(TO, not clips or shared["clip_eps"] == 0, said)
    lr, step = group["options"]["lr"], _one_step(steps_of(group))
    outside = rule == "momentum" and not group["options"].get("lr_inside")
    arrays = []
    for name, slot in _order(row, ranked):
        array = group["state"][slot][name]
        array = -array * array.dtype.type(lr) if outside else array
        arrays.append(np.array(array, order="C"))
    numbers = [np.array(_one_number(slot, group["state"][slot])) for slot in row.numbers]
    steps = np.array(step if row.arrays else state_dict["step_count"])
    return [steps, np.array(lr), *arrays, *numbers]


def _order(row: Row, names: Sequence[str]) -> list[tuple[str, str]]:
    """Return names and arrays of the state in the order of Keras' variables."""
    pairs = [(name, slot) for name in names for slot in row.arrays if slot not in LAST]
    return pairs + [(name, slot) for name in names for slot in row.arrays if slot in LAST]


def _config(serialized: Any) -> tuple[str, Mapping[str, Any]]:
    config: Any = serialized.get("config") if isinstance(serialized, Mapping) else None
    said = "serialized must be a dict with 'class_name' and 'config'"
    ensure(FROM, isinstance(config, Mapping), said, TypeError)
    class_name = serialized.get("class_name")
    said = f"it must be one of {', '.join(CLASSES)}, it is {class_name!r}"
    ensure(FROM, class_name in list(CLASSES), said)
    for key in KERAS[CLASSES[class_name]].needs(OPTIONAL):
        ensure(FROM, key in config, f"config has no {key!r}")
    for key in ("use_ema", "gradient_accumulation_steps", "loss_scale_factor"):
        given = config.get(key)
        ensure(FROM, not given, f"config has {key}={given!r}, which has no place here")
    power = config.get("learning_rate_power", -0.5)
    ensure(FROM, power == -0.5, f"learning_rate_power must be -0.5, it is {power!r}")
    is_schedule = isinstance(config["learning_rate"], Mapping)
    ensure(FROM, not is_schedule, "learning_rate is a schedule; only a number can be turned")
    return class_name, config


def _one_step(steps: Mapping[str, Any]) -> Any:
    first, step = next(iter(steps.items()), ("", 0))
    said = f"Keras has one iteration for all parameters; {first!r} has seen {step} updates"
    for name, other in steps.items():
        ensure(TO, other == step, f"{said}, {name!r} has seen {other}")
    return step


def _one_number(slot: str, numbers: Mapping[str, Any]) -> float:
    found = set(map(float, numbers.values()))
    ensure(TO, len(found) < 2, f"Keras has one {slot} for all parameters, not {found}")
    return found.pop() if found else 1.0


def _numpy(value: Any) -> Any:
    return value.numpy() if hasattr(value, "numpy") else np.asarray(value)
