"""Keras' optimizers where torch compiles what surrounds them, and on Keras' other backends."""

from __future__ import annotations

import importlib.util
import os
import subprocess
import sys
from typing import Any

import numpy as np
import pytest

torch = pytest.importorskip("torch")
keras = pytest.importorskip("keras")
if keras.backend.backend() != "torch":
    pytest.skip("Keras runs on another backend", allow_module_level=True)

import fastopt.keras  # noqa: E402
from fastopt.keras.optimizer import Bound  # noqa: E402


def test_a_step_within_what_torch_compiles(monkeypatch: pytest.MonkeyPatch) -> None:
    """As with ``jit_compile=True``; by torch's tracer alone, whose C++ takes half a minute."""
    made = []
    step = Bound.step

    def counting(self: Bound, *arguments: Any) -> None:
        step(self, *arguments)
        made.append(self)

    monkeypatch.setattr(Bound, "step", counting)

    def train(compiler: Any) -> Any:
        w = keras.Variable(np.linspace(-1, 1, 5, dtype=np.float32))
        optimizer = fastopt.keras.Adam(0.1, clipnorm=1.0)
        optimizer.build([w])
        apply = compiler(optimizer.apply)
        for n in range(3):
            apply([torch.linspace(n, 1, 5)])
        return w.value

    plain = train(lambda function: function)
    compiled = train(lambda function: torch.compile(function, backend="eager"))
    assert torch.equal(plain, compiled)
    assert len(made) == 6


FIT = """
import warnings, numpy as np, keras, fastopt.keras
x, y = (np.random.default_rng(0).normal(size=(32, n)).astype("float32") for n in (6, 2))
with warnings.catch_warnings(record=True) as said:
    warnings.simplefilter("always")
    weights = []
    for module in (fastopt.keras, keras.optimizers):
        keras.utils.set_random_seed(1)
        model = keras.Sequential([keras.Input((6,)), keras.layers.Dense(2)])
        model.compile(module.Adam(0.1, clipnorm=1.0), loss="mse")
        model.fit(x, y, batch_size=8, epochs=2, shuffle=False, verbose=0)
        weights.append(model.get_weights())
for ours, theirs in zip(*weights):
    assert (ours == theirs).all()
print([str(w.message) for w in said if "fastopt" in str(w.message)])
"""


@pytest.mark.parametrize("backend", ["jax", "tensorflow"])
def test_another_backend_is_told_once_that_nothing_is_gained(backend: str) -> None:
    if importlib.util.find_spec(backend) is None:
        pytest.skip(f"{backend} is not installed")
    run = subprocess.run(
        [sys.executable, "-c", FIT],
        capture_output=True,
        text=True,
        check=True,
        env={**os.environ, "KERAS_BACKEND": backend, "PYTHONPATH": os.pathsep.join(sys.path)},
    )
    assert run.stdout.count(f"fastopt.keras.Adam: on the {backend} backend") == 1
    assert "set KERAS_BACKEND=torch" in run.stdout
