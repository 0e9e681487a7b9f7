"""The example with Keras reaches what it promises, and its usual mistakes are mistakes."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from test_examples import load_example

torch = pytest.importorskip("torch")
keras = pytest.importorskip("keras")
if keras.backend.backend() != "torch":
    pytest.skip("Keras runs on another backend", allow_module_level=True)

pytestmark = [
    pytest.mark.filterwarnings("ignore:__array__ implementation:DeprecationWarning"),
    pytest.mark.usefixtures("one_thread_of_torch"),
]


@pytest.fixture(scope="module")
def example() -> Any:
    return load_example("keras_mnist")


@pytest.fixture(scope="module")
def data(example: Any) -> Any:
    return example.load()


def test_parts_have_all_classes_and_no_image_twice(data: Any) -> None:
    assert [np.bincount(part.labels).tolist() for part in data] == [
        [n] * 10 for n in (320, 80, 100)
    ]
    assert len(np.unique(np.concatenate([part.pixels for part in data]), axis=0)) == 5000


def test_trains_as_with_the_adam_of_keras(example: Any, data: Any) -> None:
    before = keras.config.floatx(), keras.config.dtype_policy()
    theirs, ours, difference = example.compare(data, epochs=2, dtype="float64")
    assert (keras.config.floatx(), keras.config.dtype_policy()) == before
    assert {w.dtype for w in ours.model.get_weights()} == {np.dtype("float64")}
    assert ours.model.optimizer.__class__.__module__.startswith("fastopt.keras")
    assert theirs.model.optimizer.__class__.__module__.startswith("keras.")
    assert difference < 1e-10
    assert ours.history["val_accuracy"] == theirs.history["val_accuracy"]
    assert example.accuracy(ours.model, data.test) > 0.85


def test_the_epoch_that_is_best_in_validation_is_kept(
    example: Any, data: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(example, "LR", 0.02)  # so high that it soon gets worse
    few = example.Data(*(example.Images(part.pixels[::4], part.labels[::4]) for part in data))
    run = example.train(0.5, few, epochs=12)
    losses = run.history["val_loss"]
    assert run.best < len(losses) - 1
    assert run.history["learning_rate"][-1] < 0.02
    loss = run.model.evaluate(few.validate.pixels, few.validate.labels, verbose=0)[0]
    assert loss == pytest.approx(min(losses), rel=1e-5)
    assert loss < losses[-1]


def test_usual_mistakes() -> None:
    w = keras.Variable([3.0, -4.0])
    assert float(keras.regularizers.L2(0.1)(w.value.detach())) == pytest.approx(0.1 * 25)
    w.numpy()[:] = 0.0
    assert w.numpy().tolist() == [3.0, -4.0]
    assert keras.optimizers.Adam().epsilon == 1e-7
    certain = keras.ops.one_hot(keras.ops.convert_to_tensor([3]), 10)  # a softmax at its best
    loss = keras.losses.SparseCategoricalCrossentropy(from_logits=True)
    assert float(loss(keras.ops.convert_to_tensor([3]), certain)) == pytest.approx(1.4612, abs=1e-4)
