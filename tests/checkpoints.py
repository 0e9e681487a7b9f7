"""What the tests of checkpoints share."""

from __future__ import annotations

from importlib.util import find_spec
from pathlib import Path
from typing import Any

import numpy as np
import pytest

HAS_SAFETENSORS = find_spec("safetensors") is not None
FORMATS = ["npz", "safetensors"] if HAS_SAFETENSORS else ["npz"]

needs_safetensors = pytest.mark.skipif(not HAS_SAFETENSORS, reason="needs safetensors")


def path_for(file_format: str, folder: Path) -> Path:
    """Return where to write a checkpoint of this format."""
    return folder / f"checkpoint.{file_format}"


class FakeOptimizer:
    """Has a state of an array and a count, and takes only one like it."""

    def __init__(self, count: int = 0, moment: float = 0.0) -> None:
        self.count = count
        self.moment = np.full(3, moment, np.float32)

    def state_dict(self) -> dict[str, Any]:
        return {"count": self.count, "m": self.moment, "groups": [{"lr": 0.1}]}

    def load_state_dict(self, state: dict[str, Any]) -> None:
        if state["m"].shape != self.moment.shape:
            raise ValueError("FakeOptimizer: m has another shape")
        self.count = state["count"]
        self.moment[:] = state["m"]
