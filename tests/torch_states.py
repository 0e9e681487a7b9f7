"""What the tests of `fastopt.interop` have of torch's optimizers."""

from __future__ import annotations

import copy
from typing import Any

import numpy as np
import pytest

torch = pytest.importorskip("torch")

SHAPES: dict[str, tuple[int, ...]] = {"a.weight": (5, 3), "a.bias": (3,), "scale": ()}
Options = dict[str, Any]


def arrays(seed: int, dtype: str = "float64") -> dict[str, Any]:
    rng = np.random.default_rng(seed)
    return {name: np.asarray(rng.normal(size=shape), dtype) for name, shape in SHAPES.items()}


def tensors(of: dict[str, Any]) -> dict[str, Any]:
    return {name: torch.nn.Parameter(torch.tensor(array)) for name, array in of.items()}


def run_torch(optimizer: Any, params: dict[str, Any], steps: range) -> None:
    for step in steps:
        for name, grad in arrays(100 + step).items():
            params[name].grad = torch.tensor(grad, dtype=params[name].dtype)
        optimizer.step()


def torch_state(name: str, **options: Any) -> dict[str, Any]:
    """Return the state of a torch optimizer after two steps."""
    params = tensors(arrays(1))
    optimizer = getattr(torch.optim, name)(params.values(), lr=0.1, **options)
    run_torch(optimizer, params, range(2))
    return copy.deepcopy(optimizer.state_dict())
