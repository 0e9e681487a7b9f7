"""The variables of Keras' optimizers, turned into our state and back."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import Any

import numpy as np

from fastopt.interop.names import checked_names, ranks
from fastopt.interop.new_state import new_options, new_state
from fastopt.interop.refusals import refuse_what_would_be_lost

FROM, TO = "from_keras_variables", "to_keras_variables"

SLOTS = {"sgd": (), "momentum": ("buf",), "adam": ("m", "v")}
"""What Keras keeps for every parameter: one after another, parameter by parameter."""


def from_keras_variables(
    variables: Sequence[Any],
    serialized: Mapping[str, Any],
    names: Iterable[str],
    *,
    order: Iterable[str] | None = None,
) -> dict[str, Any]:
    """Turn the variables of a Keras optimizer into a state for ``load_state_dict`` of ours.

    ``keras.optimizers.Adam`` and ``AdamW`` become :class:`fastopt.Adam` (and
    :class:`fastopt.AdamW`, which has the same state), with ``epsilon_hat=True``, as theirs is.
    ``SGD`` becomes :class:`fastopt.Momentum` if it has momentum, else :class:`fastopt.SGD`.

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
        If it is another optimizer than these, has ``amsgrad``, ``use_ema``,
        ``gradient_accumulation_steps``, ``loss_scale_factor`` or a schedule as its learning rate;
        if the variables are too few or too many for the names; if SGD with momentum has a learning
        rate of 0, by which its momentum cannot be divided.

    Notes
    -----
    Keras' momentum has the learning rate in it: ``buf = -momentum/learning_rate``. ``clipnorm`` is
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
    >>> opt = fastopt.Momentum({"w": np.zeros(2)})
    >>> opt.load_state_dict(from_keras_variables(variables, serialized, ["w"]))
    >>> opt.groups[0].state
    MomentumState(step=3, buf=(array([ 0.2, -0.4]),))
    """
    class_name, config = _config(serialized)
    names = checked_names(FROM, "names", names)
    rank = ranks(FROM, "order", names if order is None else order, names)
    is_adam = class_name in ("Adam", "AdamW")
    rule = "adam" if is_adam else "momentum" if config.get("momentum", 0) != 0 else "sgd"
    arrays = list(variables)
    if len(arrays) != 2 + len(names) * len(SLOTS[rule]):
        raise ValueError(
            f"{FROM}: for {len(names)} names, Keras' {class_name} has "
            f"{2 + len(names) * len(SLOTS[rule])} variables, not {len(arrays)}"
        )
    step, lr = _iteration(arrays[0]), float(config["learning_rate"])
    state: dict[str, Any] = {}
    for number, slot in enumerate(SLOTS[rule]):
        own = arrays[2 + number :: len(SLOTS[rule])]
        found = {name: _array(f"{slot} of {name!r}", a) for name, a in zip(names, own, strict=True)}
        state[slot] = {name: found[name] for name in sorted(names, key=rank.__getitem__)}
    if rule == "momentum":
        state["buf"] = {name: _buf(name, velocity, lr) for name, velocity in state["buf"].items()}
    options = new_options(lr)
    options["weight_decay"] = float(config.get("weight_decay") or 0)
    options["clip_value"] = config.get("clipvalue")
    if is_adam:
        options |= {"beta1": float(config["beta_1"]), "beta2": float(config["beta_2"])}
        options |= {"eps": float(config["epsilon"]), "epsilon_hat": True, "scaled_prox": False}
    elif rule == "momentum":
        options |= {"momentum": float(config["momentum"]), "dampening": 0.0}
        options["nesterov"] = bool(config["nesterov"])
    group = {
        "names": sorted(names, key=rank.__getitem__),
        "options": options,
        "step": None if rule == "sgd" else step,
        "state": state,
        "ema_weight": 0.0,
    }
    new = new_state(rule, step, [group])
    for theirs, ours in (("global_clipnorm", "clip_norm"), ("clipnorm", "clip_tensor_norm")):
        if config.get(theirs) is not None:
            new["options"] |= {ours: float(config[theirs]), "clip_eps": 0.0}
    return new


def to_keras_variables(
    state_dict: Mapping[str, Any], names: Iterable[str] | None = None
) -> list[Any]:
    """Turn the state of our optimizer into the variables of a Keras optimizer.

    That of SGD and Momentum is for ``keras.optimizers.SGD``, that of Adam and AdamW for
    ``keras.optimizers.Adam`` and ``AdamW``.

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
        If it is of RMSprop or has several groups; if `names` are not those of the state; or if
        something would be lost, that Keras' optimizer has not: accumulated gradients, averages,
        schedules, ``epsilon_hat=False``, dampening, clipping by a norm with another `clip_eps` than
        0, and options such as `l1`, `l2` or `nonneg` that are not at their default.

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
    if not isinstance(state_dict, Mapping):
        raise TypeError(f"{TO}: state_dict must be a dict, not {type(state_dict).__name__}")
    rule = state_dict.get("rule")
    if rule not in SLOTS:
        raise ValueError(f"{TO}: rule must be one of {', '.join(SLOTS)}, it is {rule!r}")
    if len(state_dict["groups"]) != 1:
        count = len(state_dict["groups"])
        raise ValueError(f"{TO}: Keras' optimizers have one group, the state has {count}")
    (group,) = state_dict["groups"]
    known = group["names"]
    rank = ranks(TO, "names", known if names is None else names, known)
    options, shared = group["options"], state_dict["options"]
    clips = [name for name in ("clip_norm", "clip_tensor_norm") if shared[name] is not None]
    moved = {"weight_decay", "clip_value", *clips}
    keras_only = {"epsilon_hat": True, "dampening": 0.0}
    refuse_what_would_be_lost(TO, "Keras'", state_dict, moved, keras_only)
    if clips and shared["clip_eps"] != 0:
        raise ValueError(
            f"{TO}: Keras clips with clip_eps=0, not {shared['clip_eps']!r}; set it to 0 before"
        )
    step = state_dict["step_count"] if rule == "sgd" else group["step"]
    slots = [dict(group["state"][slot]) for slot in SLOTS[rule]]
    if rule == "momentum":
        slots = [{name: -buf * buf.dtype.type(options["lr"]) for name, buf in slots[0].items()}]
    ordered = sorted(known, key=rank.__getitem__)
    arrays = [np.array(slot[name], order="C") for name in ordered for slot in slots]
    return [np.array(step), np.array(options["lr"]), *arrays]


def _config(serialized: Any) -> tuple[str, Mapping[str, Any]]:
    if not isinstance(serialized, Mapping) or not isinstance(serialized.get("config"), Mapping):
        raise TypeError(f"{FROM}: serialized must be a dict with 'class_name' and 'config'")
    class_name, config = serialized.get("class_name"), serialized["config"]
    if class_name not in ("SGD", "Adam", "AdamW"):
        raise ValueError(f"{FROM}: it must be an SGD, Adam or AdamW, it is {class_name!r}")
    needed = {"SGD": ("learning_rate", "momentum", "nesterov")}
    for key in needed.get(class_name, ("learning_rate", "beta_1", "beta_2", "epsilon")):
        if key not in config:
            raise ValueError(f"{FROM}: config has no {key!r}")
    for key in ("amsgrad", "use_ema", "gradient_accumulation_steps", "loss_scale_factor"):
        if config.get(key):
            raise ValueError(f"{FROM}: config has {key}={config[key]!r}, which has no place here")
    if isinstance(config["learning_rate"], Mapping):
        raise ValueError(f"{FROM}: learning_rate is a schedule; only a number can be turned")
    return class_name, config


def _numpy(value: Any) -> Any:
    return value.numpy() if hasattr(value, "numpy") else np.asarray(value)


def _iteration(variable: Any) -> int:
    count = _numpy(variable)
    if count.ndim != 0 or count.dtype.kind not in "iu":
        raise ValueError(f"{FROM}: variables[0] must be the iteration, an int, it is {count!r:.60}")
    return int(count)


def _array(place: str, variable: Any) -> Any:
    array = _numpy(variable)
    if array.dtype not in (np.float32, np.float64):
        raise TypeError(f"{FROM}: {place} must be float32 or float64, not {array.dtype}")
    return array


def _buf(name: str, velocity: Any, lr: float) -> Any:
    if lr == 0:
        raise ValueError(f"{FROM}: the momentum of {name!r} cannot be divided by learning_rate=0")
    return np.asarray(-velocity / velocity.dtype.type(lr))
