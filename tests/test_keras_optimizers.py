"""Keras' optimizers on fastopt, next to Keras' own: the same weights in the same habits."""

from __future__ import annotations

import copy
import os
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest

pytest.importorskip("torch")
os.environ.setdefault("KERAS_BACKEND", "torch")
keras = pytest.importorskip("keras")
if keras.backend.backend() != "torch":
    pytest.skip("Keras runs on another backend", allow_module_level=True)

import torch  # noqa: E402
from keras_cases import NAMES, NUMBERS, REFUSED, RULES, compute_as_meant  # noqa: E402

import fastopt.keras  # noqa: E402
from fastopt.keras.optimizer import Bound  # noqa: E402

SHAPES: list[tuple[int, ...]] = [(5, 3), (3,), (), (3, 2, 2)]
pytestmark = pytest.mark.filterwarnings("ignore:__array__ implementation:DeprecationWarning")
schedules = keras.optimizers.schedules


@pytest.fixture(autouse=True)
def float64() -> Iterator[None]:
    before = keras.config.floatx(), keras.config.dtype_policy()
    keras.config.set_floatx("float64")
    keras.config.set_dtype_policy("float64")  # of layers: the first one ever made would decide it
    yield
    keras.config.set_floatx(before[0])
    keras.config.set_dtype_policy(before[1])


@pytest.fixture(autouse=True)
def as_meant(monkeypatch: pytest.MonkeyPatch) -> None:
    compute_as_meant(monkeypatch)


@pytest.fixture
def steps(monkeypatch: pytest.MonkeyPatch) -> list[int]:
    """How many variables each step of fastopt has updated."""
    made: list[int] = []
    step = Bound.step

    def counting(self: Bound, grads: Any, params: Any, *rest: Any, **options: Any) -> None:
        step(self, grads, params, *rest, **options)
        made.append(len(params))

    whole = fastopt.keras.Muon._backend_update_step

    def together(self: Any, *arguments: Any) -> None:  # the two steps of Muon
        before = len(made)
        whole(self, *arguments)
        made[before:] = [sum(made[before:])] if made[before:] else []

    monkeypatch.setattr(Bound, "step", counting)
    monkeypatch.setattr(fastopt.keras.Muon, "_backend_update_step", together)
    return made


def make(module: Any, name: str, **options: Any) -> Any:
    return getattr(module, name)(**options)


def both(name: str, **options: Any) -> tuple[Any, Any]:
    return make(fastopt.keras, name, **options), make(keras.optimizers, name, **options)


def variables(shapes: Any = SHAPES, dtype: str = "float64", **options: Any) -> list[Any]:
    rng = np.random.default_rng(0)
    return [
        keras.Variable(rng.normal(size=shape), dtype=dtype, name=f"v{i}", **options)
        for i, shape in enumerate(shapes)
    ]


def gradients(step: int, shapes: Any = SHAPES, dtype: Any = torch.float64) -> list[Any]:
    rng = np.random.default_rng(100 + step)
    return [torch.tensor(rng.normal(size=shape), dtype=dtype) for shape in shapes]


def kept(optimizer: Any) -> list[Any]:
    """Return what an optimizer keeps: `v` of matrices Keras' Adafactor makes anew each time."""
    of_adafactor = optimizer._v if isinstance(optimizer, keras.optimizers.Adafactor) else []
    made = {id(v) for v in of_adafactor if v.ndim > 1}
    return [v for v in optimizer.variables if id(v) not in made]


def assert_close(ours: list[Any], theirs: list[Any], tolerance: float = 1e-12) -> None:
    for a, b in zip(ours, theirs, strict=True):
        np.testing.assert_allclose(a.numpy(), b.numpy(), tolerance, tolerance, err_msg=a.name)


@pytest.mark.parametrize(("name", "options"), RULES + REFUSED)
def test_every_rule(steps: list[int], name: str, options: dict[str, Any]) -> None:
    ours, theirs = both(name, **options)
    w, own = variables(), variables()
    for step in range(20):
        ours.apply(gradients(step), w)
        theirs.apply(gradients(step), own)
        assert_close(w, own)
    assert_close(kept(ours), kept(theirs))
    assert steps == ([] if (name, options) in REFUSED else [4] * 20)


MIXED: list[dict[str, Any]] = [
    {"weight_decay": 0.1, "clipnorm": 0.5, "use_ema": True, "ema_momentum": 0.9},
    {"global_clipnorm": 0.5, "gradient_accumulation_steps": 3, "weight_decay": 0.1},
    {"clipvalue": 0.3, "loss_scale_factor": 8.0, "gradient_accumulation_steps": 2},
    {"use_ema": True, "ema_overwrite_frequency": 3, "clipvalue": 0.3},
    {"use_ema": True, "ema_overwrite_frequency": 2, "gradient_accumulation_steps": 2},
]


@pytest.mark.parametrize("name", NAMES)
@pytest.mark.parametrize("options", MIXED)
def test_what_surrounds_an_update(steps: list[int], name: str, options: dict[str, Any]) -> None:
    def rate() -> Any:
        return schedules.PolynomialDecay(0.1, 20, 0.01)

    ours, theirs = (
        make(module, name, learning_rate=rate(), **options)
        for module in (fastopt.keras, keras.optimizers)
    )
    w, own = variables(constraint="non_neg"), variables(constraint="non_neg")
    for optimizer, its in ((ours, w), (theirs, own)):
        optimizer.exclude_from_weight_decay(var_names=["v1"])
        optimizer.build(its)
    for step in range(24):
        ours.apply(gradients(step))
        theirs.apply(gradients(step))
    assert_close(w, own)
    assert_close(kept(ours), kept(theirs))
    assert len(steps) == 24 // options.get("gradient_accumulation_steps", 1)


@pytest.mark.parametrize("name", NAMES)
def test_what_is_changed_between_steps_counts(steps: list[int], name: str) -> None:
    options = {"momentum": 0.9} if name == "SGD" else {}
    ours, theirs = both(name, **options)
    w, own = variables(), variables()
    rng = np.random.default_rng(1)
    random = [rng.normal(size=shape) for shape in SHAPES]
    for step in range(12):
        for optimizer, its in ((ours, w), (theirs, own)):
            if step == 2:
                optimizer.learning_rate = 0.05
            if step == 3:
                for key, value in NUMBERS[name].items():
                    setattr(optimizer, key, value)
            if step in (4, 5):  # a number that is refused, and all as it was before
                optimizer.learning_rate = (-0.1, 0.05)[step - 4]
                setattr(optimizer, next(iter(NUMBERS[name])), (0.6, 0.5)[step - 4])
            if step == 6:
                optimizer.iterations.assign(100)
            if step == 7:
                weights = [np.abs(v.numpy()) + 0.1 for v in optimizer.variables[2:]]
                optimizer.set_weights([np.array(2), np.array(0.02), *weights])
            if step == 9:
                for variable, value in zip(its, random, strict=True):
                    variable.assign(value)
            if step == 10:  # the tensor is another one
                its[0]._value = torch.nn.Parameter(its[0].value.detach().T.clone().T)
            if step == 11:  # the same one has other memory
                its[1].value.data = its[1].value.data.clone()
            optimizer.apply(gradients(step), its)
        assert_close(w, own)
    assert_close(kept(ours), kept(theirs))
    assert steps == [4] * 11


@pytest.mark.parametrize("name", NAMES)
def test_missing_gradients_and_their_layouts(steps: list[int], name: str) -> None:
    ours, theirs = both(name)
    w, own = variables(), variables()
    for step in range(8):
        grads: list[Any] = gradients(step)
        grads[0] = grads[0].T.contiguous().T
        grads[1] = torch.ones((), dtype=torch.float64).expand(3)
        for optimizer, its in ((ours, w), (theirs, own)):
            if step in (3, 4, 6):
                grads[1 if step == 4 else 2] = None
                with pytest.warns(UserWarning, match="Gradients do not exist"):
                    optimizer.apply(grads, its)
            else:
                optimizer.apply(grads, its)
    assert_close(w, own)
    assert_close(kept(ours), kept(theirs))
    assert steps == [4, 4, 4, 3, 3, 4, 3, 4]


def test_any_choice_of_variables(steps: list[int], monkeypatch: pytest.MonkeyPatch) -> None:
    """Those of some steps in a row are prepared once, and what is prepared does not pile up."""
    prepared: list[int] = []
    make_own = fastopt.keras.Adam._make

    def counting(self: Any, *arguments: Any) -> Any:
        prepared.append(len(steps))
        return make_own(self, *arguments)

    monkeypatch.setattr(fastopt.keras.Adam, "_make", counting)
    shapes = [(2,)] * 5
    w, own = variables(shapes), variables(shapes)
    ours, theirs = both("Adam", learning_rate=0.1)
    choices = [[i for i in range(5) if bits >> i & 1] for bits in [*range(1, 32), *[3, 5, 6] * 4]]
    for optimizer, its in ((ours, w), (theirs, own)):
        optimizer.build(its)
        for step, choice in enumerate(choices):
            grads = gradients(step, shapes)
            optimizer.apply([grads[i] for i in choice], [its[i] for i in choice])
    assert_close(w, own)
    assert_close(kept(ours), kept(theirs))
    assert len(steps) == 43
    assert prepared == list(range(35))
    assert len(ours._bounds) <= 16


@pytest.mark.parametrize("name", NAMES)
def test_one_variable_in_float32(steps: list[int], name: str) -> None:
    ours, theirs = both(name)
    w, own = ([variables([(7,)], "float32")[0]] for _ in range(2))
    for step in range(10):
        ours.apply(gradients(step, [(7,)], torch.float32), w)
        theirs.apply(gradients(step, [(7,)], torch.float32), own)
    assert_close(w, own, 1e-5)  # Keras rounds its factors, too
    assert steps == [1] * 10


@pytest.mark.parametrize("name", NAMES)
def test_what_fastopt_refuses_keras_updates(steps: list[int], name: str) -> None:
    if name == "Nadam":
        return  # which Keras itself has not in bfloat16 on PyTorch
    w, own = variables(dtype="bfloat16"), variables(dtype="bfloat16")
    more = {"beta_2": 0.9} if name == "ScheduleFreeAdamW" else {}  # else 1 in bfloat16, and NaN
    ours, theirs = both(name, learning_rate=0.1, **more)
    for step in range(5):
        ours.apply(gradients(step, dtype=torch.bfloat16), w)
        theirs.apply(gradients(step, dtype=torch.bfloat16), own)
    for a, b in zip(w, own, strict=True):
        assert torch.equal(a.value, b.value)
    assert steps == []
    of_bounds = [b.optimizer for b in ours._bounds.values()]
    assert of_bounds == [None] * (2 if name == "Muon" else 1)  # not made again and again


@pytest.mark.parametrize("name", NAMES)
def test_wrong_gradients_raise_as_in_keras(name: str) -> None:
    ours, theirs = both(name)
    w = variables()
    for optimizer in (ours, theirs):
        optimizer.build(w)
        with pytest.raises((RuntimeError, IndexError), match=r"size|Dimension out of range"):
            optimizer.apply([torch.ones(2, dtype=torch.float64)] * 4)


def test_autograd_notices_a_step() -> None:
    (w,) = variables([(3,)])
    product = (w.value * w.value).sum()
    fastopt.keras.Adam().apply(gradients(0, [(3,)]), [w])
    with pytest.raises(RuntimeError, match="modified by an inplace operation"):
        product.backward()


def test_a_loss_scale_that_moves(steps: list[int]) -> None:
    results = []
    for module in (fastopt.keras, keras.optimizers):
        its = variables()
        optimizer = keras.optimizers.LossScaleOptimizer(module.Adam(0.1), initial_scale=4.0)
        for step in range(6):
            grads = gradients(step)
            if step == 2:
                grads[0][0] = np.inf
            optimizer.apply(grads, its)
        results.append(its)
    assert_close(*results)
    assert len(steps) == 5


# Models

X, Y = (np.random.default_rng(2).normal(size=(64, n)) for n in (6, 2))


def model(optimizer: Any, **options: Any) -> Any:
    keras.utils.set_random_seed(1)
    layers = [
        keras.layers.Dense(8, activation="relu", name="first"),
        keras.layers.BatchNormalization(name="second"),
        keras.layers.Dense(2, name="third"),
    ]
    made = keras.Sequential([keras.Input((6,)), *layers])
    made.compile(optimizer, loss="mse", **options)
    return made


def fit(made: Any, epochs: int = 3, **options: Any) -> Any:
    return made.fit(X, Y, batch_size=16, epochs=epochs, shuffle=False, verbose=0, **options)


def assert_same_models(ours: Any, theirs: Any) -> None:
    assert_close(ours.weights, theirs.weights, 1e-11)
    assert_close(kept(ours.optimizer), kept(theirs.optimizer), 1e-11)


@pytest.mark.parametrize("name", NAMES)
def test_fit(steps: list[int], name: str) -> None:
    ours, theirs = map(model, both(name, learning_rate=0.05, weight_decay=0.01))
    for made in (ours, theirs):
        halve = keras.callbacks.ReduceLROnPlateau("loss", patience=0, min_delta=10)
        fit(made, callbacks=[halve])
        made.get_layer("first").trainable = False
        made.compile(made.optimizer, loss="mse")
        fit(made)
        made.get_layer("first").trainable = True
        made.compile(made.optimizer, loss="mse")
        fit(made, callbacks=[keras.callbacks.LearningRateScheduler(lambda n, rate: rate * 0.9)])
    assert_same_models(ours, theirs)
    assert steps == [6] * 12 + [4] * 12 + [6] * 12


@pytest.mark.parametrize("name", NAMES)
def test_files_go_on_exactly(tmp_path: Path, name: str) -> None:
    """Ours in a file of ours, and weights both ways."""
    options = {"learning_rate": 0.05, **({"momentum": 0.9} if name == "SGD" else {})}
    ours, theirs = map(model, both(name, **options))
    fit(ours)
    fit(theirs)
    ours.save(tmp_path / "ours.keras")
    loaded = keras.saving.load_model(tmp_path / "ours.keras")
    assert type(loaded.optimizer) is getattr(fastopt.keras, name)
    ours.save_weights(tmp_path / "ours.weights.h5")
    theirs.save_weights(tmp_path / "theirs.weights.h5")
    to_ours, to_theirs = map(model, both(name, **options))
    for made, file in ((to_ours, "theirs"), (to_theirs, "ours")):
        made.optimizer.build(made.trainable_variables)
        made.load_weights(tmp_path / f"{file}.weights.h5")
    runs = [ours, theirs, loaded, to_ours, to_theirs]
    for made in runs:
        fit(made)
        assert int(made.optimizer.iterations) == 24
    for made in runs[1:]:
        assert_same_models(ours, made)
    for a, b in zip(ours.weights, loaded.weights, strict=True):
        assert torch.equal(a.value, b.value)


def test_a_file_is_loaded_where_the_module_was_imported(tmp_path: Path) -> None:
    made = model(fastopt.keras.Adam())
    fit(made, 1)
    made.save(tmp_path / "m.keras")
    code = "import sys, keras, fastopt.keras; print(keras.saving.load_model(sys.argv[1]).optimizer)"
    run = subprocess.run(
        [sys.executable, "-W", "ignore", "-c", code, str(tmp_path / "m.keras")],
        capture_output=True,
        text=True,
        check=True,
        env={**os.environ, "PYTHONPATH": os.pathsep.join(sys.path)},
    )
    assert "fastopt.keras" in run.stdout  # Keras finds the class by the name it is registered by


@pytest.mark.parametrize("name", NAMES)
def test_copies_and_configs(name: str) -> None:
    options = {"learning_rate": schedules.ExponentialDecay(0.1, 3, 0.5), "clipnorm": 1.0}
    ours, theirs = both(name, **options)
    ours.apply(gradients(0), variables())
    assert ours.get_config() | {"name": ""} == theirs.get_config() | {"name": ""}
    again = keras.optimizers.deserialize(keras.optimizers.serialize(ours))
    assert type(again) is type(ours)
    assert isinstance(ours, getattr(keras.optimizers, name))
    assert type(ours).from_config(ours.get_config()).get_config() == again.get_config()
    assert type(theirs).from_config(ours.get_config()).get_config() == again.get_config()


@pytest.mark.parametrize("name", NAMES)
def test_a_copied_model_goes_on_by_itself(name: str) -> None:
    ours = model(make(fastopt.keras, name))
    fit(ours)
    copied = copy.deepcopy(ours)
    before = [w.numpy().copy() for w in ours.weights]
    fit(copied)
    for kept, w in zip(before, ours.weights, strict=True):
        np.testing.assert_array_equal(kept, w.numpy())
    fit(ours)
    assert_same_models(ours, copied)
