"""Variables from Keras' optimizers and back: 10 steps here and 10 there are 20 of Keras."""

from __future__ import annotations

import copy
import os
from collections.abc import Iterator
from typing import Any

import numpy as np
import pytest
from cases import assert_same_bits

import fastopt
from fastopt.interop import from_keras_variables, to_keras_variables

SHAPES: dict[str, tuple[int, ...]] = {"a.kernel": (5, 3), "a.bias": (3,), "scale": ()}
NAMES = list(SHAPES)
REVERSED = NAMES[::-1]

# Our class, Keras', and Keras' options.
PAIRS: list[tuple[str, str, dict[str, Any]]] = [
    ("SGD", "SGD", {"learning_rate": 0.1}),
    ("SGD", "SGD", {"learning_rate": 0.1, "weight_decay": 0.1, "clipnorm": 0.5}),
    ("Momentum", "SGD", {"learning_rate": 0.1, "momentum": 0.9}),
    ("Momentum", "SGD", {"learning_rate": 0.1, "momentum": 0.8, "nesterov": True}),
    ("Momentum", "SGD", {"learning_rate": 0.1, "momentum": 0.8, "global_clipnorm": 1.0}),
    ("Adam", "Adam", {"learning_rate": 0.01}),
    ("Adam", "Adam", {"beta_1": 0.8, "beta_2": 0.95, "epsilon": 1e-3, "weight_decay": 0.1}),
    ("Adam", "Adam", {"learning_rate": 0.01, "clipvalue": 0.5}),
    ("AdamW", "AdamW", {"learning_rate": 0.01}),
    ("Adagrad", "Adagrad", {"learning_rate": 0.1, "epsilon": 1e-3}),
    ("Adadelta", "Adadelta", {"learning_rate": 0.5, "rho": 0.7, "weight_decay": 0.1}),
    ("AMSGrad", "Adam", {"amsgrad": True, "beta_2": 0.7, "weight_decay": 0.1}),
    ("Adamax", "Adamax", {"beta_1": 0.8, "beta_2": 0.95, "epsilon": 1e-3}),
    ("FTRL", "Ftrl", {"learning_rate": 0.1, "l1_regularization_strength": 0.1, "beta": 0.5}),
    (
        "FTRL",
        "Ftrl",
        {"l2_regularization_strength": 0.2, "l2_shrinkage_regularization_strength": 0.3},
    ),
    ("LAMB", "Lamb", {"learning_rate": 0.1, "beta_2": 0.9, "weight_decay": 0.1}),
    ("NAdam", "Nadam", {"learning_rate": 0.1, "beta_1": 0.8, "beta_2": 0.9}),
    ("Lion", "Lion", {"learning_rate": 0.1, "beta_1": 0.8, "clipvalue": 0.5}),
]
pytestmark = [
    # Keras' own variables warn of their __array__.
    pytest.mark.filterwarnings("ignore:__array__ implementation:DeprecationWarning"),
    # States bring the options of Keras' optimizers; that those of ours give way is meant here.
    pytest.mark.filterwarnings("ignore:.*the saved options replace:UserWarning"),
]
for_every_pair = pytest.mark.parametrize(("ours", "theirs", "options"), PAIRS)


@pytest.fixture(scope="module")
def keras() -> Iterator[Any]:
    pytest.importorskip("torch")
    os.environ.setdefault("KERAS_BACKEND", "torch")  # others know no float64, or not everywhere
    module = pytest.importorskip("keras")
    before = module.config.floatx()
    module.config.set_floatx("float64")
    yield module
    module.config.set_floatx(before)


def arrays(seed: int) -> dict[str, Any]:
    rng = np.random.default_rng(seed)
    return {name: np.asarray(rng.normal(size=shape)) for name, shape in SHAPES.items()}


class OfKeras:
    def __init__(self, keras: Any, kind: str, options: dict[str, Any], start: Any) -> None:
        self.keras = keras
        self.variables = {
            name: keras.Variable(array, dtype="float64") for name, array in start.items()
        }
        self.optimizer = getattr(keras.optimizers, kind)(**options)
        self.optimizer.build(list(self.variables.values()))

    def train(self, steps: range) -> None:
        for step in steps:
            grads = map(self.keras.ops.convert_to_tensor, arrays(100 + step).values())
            self.optimizer.apply(list(grads))

    def params(self) -> dict[str, Any]:
        convert = self.keras.ops.convert_to_numpy
        return {name: np.array(convert(v)) for name, v in self.variables.items()}

    def state(self, **options: Any) -> dict[str, Any]:
        serialized = self.keras.optimizers.serialize(self.optimizer)
        return from_keras_variables(self.optimizer.variables, serialized, NAMES, **options)


def train(opt: Any, steps: range) -> None:
    for step in steps:
        opt.step(arrays(100 + step))


def assert_close(a: dict[str, Any], b: dict[str, Any], options: dict[str, Any]) -> None:
    # Keras computes the factors of its clipping by norms in float32, whatever it clips.
    in_float32 = "clipnorm" in options or "global_clipnorm" in options
    tolerance = 1e-6 if in_float32 else 1e-12
    for name in SHAPES:
        np.testing.assert_allclose(a[name], b[name], tolerance, tolerance, err_msg=name)


@for_every_pair
def test_from_keras(keras: Any, ours: str, theirs: str, options: dict[str, Any]) -> None:
    whole, half = (OfKeras(keras, theirs, options, arrays(0)) for _ in range(2))
    whole.train(range(20))
    half.train(range(10))
    moved = half.params()
    opt = getattr(fastopt, ours)({name: moved[name] for name in REVERSED})
    opt.load_state_dict(half.state(order=REVERSED))
    assert opt.step_count == 10
    train(opt, range(10, 20))
    assert_close(moved, whole.params(), options)


@for_every_pair
def test_to_keras(keras: Any, ours: str, theirs: str, options: dict[str, Any]) -> None:
    whole = OfKeras(keras, theirs, options, arrays(0))
    untrained = whole.state()
    whole.train(range(20))
    params = arrays(0)
    opt = getattr(fastopt, ours)({name: params[name] for name in REVERSED})
    opt.load_state_dict(untrained | {"groups": [reordered(untrained["groups"][0])]})
    train(opt, range(10))
    before = copy.deepcopy(opt.state_dict())
    moved = OfKeras(keras, theirs, options, params)
    values = to_keras_variables(opt.state_dict(), NAMES)
    for variable, value in zip(moved.optimizer.variables, values, strict=True):
        variable.assign(value)
    moved.train(range(10, 20))
    assert_close(moved.params(), whole.params(), options)
    assert repr(opt.state_dict()) == repr(before)


def reordered(group: dict[str, Any]) -> dict[str, Any]:
    state = {slot: {name: own[name] for name in REVERSED} for slot, own in group["state"].items()}
    return group | {"names": REVERSED, "state": state}


ADAM = {
    "class_name": "Adam",
    "config": {"learning_rate": 0.1, "beta_1": 0.9, "beta_2": 0.99, "epsilon": 1e-7},
}
FTRL = {
    "class_name": "Ftrl",
    "config": {
        **{"learning_rate": 0.1, "learning_rate_power": -0.4, "beta": 0.0},
        **{"l1_regularization_strength": 0.0, "l2_regularization_strength": 0.0},
        "l2_shrinkage_regularization_strength": 0.0,
    },
}
VARIABLES = [np.array(3), np.array(0.1), np.ones(2), np.ones(2)]


def changed(**config: Any) -> dict[str, Any]:
    return {"class_name": "Adam", "config": {**ADAM["config"], **config}}  # type: ignore[dict-item]


@pytest.mark.parametrize(
    ("variables", "serialized", "names", "error", "message"),
    [
        (VARIABLES, None, ["w"], TypeError, "serialized must be a dict with 'class_name'"),
        (VARIABLES, {"config": {}}, ["w"], ValueError, "one of SGD, Adam, AdamW, .*, it is None"),
        (VARIABLES, ADAM | {"class_name": "Adafactor"}, ["w"], ValueError, "it is 'Adafactor'"),
        (VARIABLES, FTRL, ["w"], ValueError, r"learning_rate_power must be -0\.5, it is -0\.4"),
        (VARIABLES, ADAM | {"config": {}}, ["w"], ValueError, "config has no 'learning_rate'"),
        (VARIABLES, changed(amsgrad=True), ["w"], ValueError, "for 1 names, .* has 5 variables"),
        (VARIABLES, changed(use_ema=True), ["w"], ValueError, "config has use_ema=True"),
        (VARIABLES, changed(learning_rate={}), ["w"], ValueError, "learning_rate is a schedule"),
        (
            VARIABLES,
            ADAM,
            ["w", "b"],
            ValueError,
            "for 2 names, .* has 6 variables, not 4",
        ),
        (VARIABLES, ADAM, ["w", "w"], ValueError, "names has 'w' twice"),
        (VARIABLES, ADAM, [1], TypeError, "names must be strings, not 1"),
        ([0.5, *VARIABLES[1:]], ADAM, ["w"], ValueError, "must be the iteration, an int"),
        ([*VARIABLES[:3], np.ones(2, int)], ADAM, ["w"], TypeError, "v of 'w' must be float32 or"),
    ],
)
def test_from_keras_refuses(
    variables: Any, serialized: Any, names: Any, error: type, message: str
) -> None:
    with pytest.raises(error, match=f"^from_keras_variables: .*{message}"):
        from_keras_variables(variables, serialized, names)


@pytest.mark.parametrize("lr", [0.0, 0.1])
def test_the_velocity_is_carried_over_as_it_is(lr: float) -> None:
    velocity = np.array([0.3, -0.1])
    config = {"learning_rate": lr, "momentum": 0.9, "nesterov": False}
    serialized = {"class_name": "SGD", "config": config}
    state = from_keras_variables([np.array(3), np.array(lr), velocity], serialized, ["w"])
    opt = fastopt.Momentum({"w": np.zeros(2)})
    with pytest.warns(UserWarning, match=f"lr_inside=False becomes True, lr=0.01 becomes {lr}"):
        opt.load_state_dict(state)
    assert opt.groups[0]["lr_inside"] is True
    assert opt.groups[0]["lr"] == lr
    assert_same_bits(opt.groups[0].state.buf, velocity)
    *_, back = to_keras_variables(opt.state_dict())
    assert_same_bits(back, velocity)


@pytest.mark.parametrize("nesterov", [False, True])
def test_schedules_go_on_as_in_keras(keras: Any, nesterov: bool) -> None:
    def lr(step: int) -> float:
        return 0.1 / (1 + step)

    options = {"learning_rate": 0.1, "momentum": 0.9, "nesterov": nesterov}
    whole, half = (OfKeras(keras, "SGD", options, arrays(0)) for _ in range(2))
    for step in range(20):
        for run in (whole, half) if step < 10 else (whole,):
            run.optimizer.learning_rate = lr(step)
            run.train(range(step, step + 1))
    params = half.params()
    opt = fastopt.Momentum(params)
    opt.load_state_dict(half.state())
    opt.groups[0]["lr"] = lr
    train(opt, range(10, 20))
    assert_close(params, whole.params(), options)
    opt.groups[0]["lr"] = lr(19)
    moved = OfKeras(keras, "SGD", options, params)
    values = to_keras_variables(opt.state_dict())
    for variable, value in zip(moved.optimizer.variables, values, strict=True):
        variable.assign(value)
    for run in (whole, moved):
        run.optimizer.learning_rate = lr(20)
        run.train(range(20, 21))
    assert_close(moved.params(), whole.params(), options)


@pytest.mark.parametrize("old", [False, True])  # states of 0.1.0 did not say where lr is
def test_lr_outside_is_converted(old: bool) -> None:
    opt = fastopt.Momentum({"w": np.zeros(2)}, lr=0.5)
    opt.step({"w": np.array([2.0, -4.0])})
    state = opt.state_dict()
    if old:
        del state["groups"][0]["options"]["lr_inside"]
    count, lr, velocity = to_keras_variables(state)
    assert (int(count), float(lr), velocity.tolist()) == (1, 0.5, [-1.0, 2.0])


def test_what_is_loaded_must_fit() -> None:
    opt = fastopt.Adam({"w": np.zeros(2, np.float32)})
    with pytest.raises(TypeError, match="float64"):
        opt.load_state_dict(from_keras_variables(VARIABLES, ADAM, ["w"]))
    with pytest.raises(ValueError, match="order has no 'w'"):
        from_keras_variables(VARIABLES, ADAM, ["w"], order=["x"])


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({}, "Keras' optimizer has no epsilon_hat=False; set it to True before"),
        ({"bias_correction": False}, "Keras' optimizer has no bias_correction=False; set it to T"),
        ({"l2": 0.1}, "Keras' optimizer has no l2=0.1; set it to 0.0 before"),
        ({"nonneg": True}, "no nonneg=True"),
        ({"maximize": True}, "no maximize=True"),
        ({"lr": lambda step: 0.1}, "lr is a schedule; set it to a number before"),
        ({"clip_norm": 1.0}, "Keras clips with clip_eps=0, not 1e-06"),
        ({"ema_decay": 0.5}, "no ema_decay=0.5"),
        ({"skip_nonfinite": True}, "no skip_nonfinite=True"),
    ],
)
def test_to_keras_refuses_what_would_be_lost(options: dict[str, Any], message: str) -> None:
    opt = fastopt.Adam({"w": np.ones(2)}, **{"epsilon_hat": bool(options), **options})
    with pytest.raises(ValueError, match=f"^to_keras_variables: .*{message}"):
        to_keras_variables(opt.state_dict())


def test_to_keras_refuses_unequal_counts() -> None:
    opt = fastopt.Adam({"w": np.ones(2), "b": np.ones(3)}, epsilon_hat=True)
    opt.step({"w": np.ones(2), "b": np.ones(3)})
    opt.step({"w": np.ones(2), "b": None})
    said = (
        "to_keras_variables: Keras has one iteration for all parameters; "
        "'w' has seen 2 updates, 'b' has seen 1"
    )
    with pytest.raises(ValueError, match=f"^{said}$"):
        to_keras_variables(opt.state_dict())
    opt.step({"w": None, "b": np.ones(3)})
    assert to_keras_variables(opt.state_dict())[0] == 2


def test_to_keras_refuses_other_states() -> None:
    w = np.ones(2)
    groups = fastopt.SGD([{"params": w}, {"params": w.copy()}])
    for state, error, message in [
        (None, TypeError, "state_dict must be a dict, not NoneType"),
        (fastopt.RMSprop(w).state_dict(), ValueError, "rule must be one of .*, it is 'rmsprop'"),
        (groups.state_dict(), ValueError, "Keras' optimizers have one group, the state has 2"),
        (fastopt.Momentum(w, dampening=0.5).state_dict(), ValueError, "no dampening=0.5"),
    ]:
        with pytest.raises(error, match=f"^to_keras_variables: .*{message}"):
            to_keras_variables(state)
    opt = fastopt.SGD({"w": w})
    with pytest.raises(ValueError, match="names has no 'w'"):
        to_keras_variables(opt.state_dict(), ["x"])
    opt.freeze("w")
    with pytest.raises(ValueError, match="Keras' optimizer freezes nothing; unfreeze w before"):
        to_keras_variables(opt.state_dict())
    opt.unfreeze("w")
    opt.accumulate({"w": np.ones(2)})
    with pytest.raises(ValueError, match="1 accumulated gradients are waiting"):
        to_keras_variables(opt.state_dict())
