"""Variables from Keras' optimizers and back: 10 steps here and 10 there are 20 of Keras."""

from __future__ import annotations

import copy
import os
from collections.abc import Iterator
from typing import Any

import numpy as np
import pytest

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
]
# Keras' own variables warn of their __array__.
pytestmark = pytest.mark.filterwarnings("ignore:__array__ implementation:DeprecationWarning")
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
VARIABLES = [np.array(3), np.array(0.1), np.ones(2), np.ones(2)]


def changed(**config: Any) -> dict[str, Any]:
    return {"class_name": "Adam", "config": {**ADAM["config"], **config}}  # type: ignore[dict-item]


MOMENTUM = {
    "class_name": "SGD",
    "config": {"learning_rate": 0.0, "momentum": 0.9, "nesterov": False},
}


@pytest.mark.parametrize(
    ("variables", "serialized", "names", "error", "message"),
    [
        (VARIABLES, None, ["w"], TypeError, "serialized must be a dict with 'class_name'"),
        (VARIABLES, {"config": {}}, ["w"], ValueError, "SGD, Adam or AdamW, it is None"),
        (VARIABLES, ADAM | {"class_name": "Nadam"}, ["w"], ValueError, "it is 'Nadam'"),
        (VARIABLES, ADAM | {"config": {}}, ["w"], ValueError, "config has no 'learning_rate'"),
        (VARIABLES, changed(amsgrad=True), ["w"], ValueError, "config has amsgrad=True"),
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
        (VARIABLES[:3], MOMENTUM, ["w"], ValueError, "momentum of 'w' cannot be divided by"),
    ],
)
def test_from_keras_refuses(
    variables: Any, serialized: Any, names: Any, error: type, message: str
) -> None:
    with pytest.raises(error, match=f"^from_keras_variables: .*{message}"):
        from_keras_variables(variables, serialized, names)


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
    opt.accumulate({"w": np.ones(2)})
    with pytest.raises(ValueError, match="1 accumulated gradients are waiting"):
        to_keras_variables(opt.state_dict())
