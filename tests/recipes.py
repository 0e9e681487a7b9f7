"""The programs of docs/recipes.md, for the tests that run them."""

from __future__ import annotations

import re
import types
from pathlib import Path
from typing import Any

import numpy as np
import pytest

PAGE = Path(__file__).parents[1] / "docs" / "recipes.md"
STEPS = 8

needs_page = pytest.mark.skipif(
    not PAGE.is_file(), reason="the tests do not stand in the repository"
)


def programs() -> dict[str, str]:
    """Return the code of each section, under its title."""
    section = re.compile(r"^## (.*?)$.*?^```python$(.*?)^```$", re.MULTILINE | re.DOTALL)
    return dict(section.findall(PAGE.read_text()))


def recipe(title: str) -> Any:
    """Run the code of a section, and return what it defines."""
    module = types.ModuleType(f"recipe of {title}")
    exec(compile(programs()[title], str(PAGE), "exec"), vars(module))
    return module


def arrays(seed: int, dtype: type = np.float64) -> dict[str, Any]:
    rng = np.random.default_rng(seed)
    return {
        "layer.weight": rng.normal(size=(3, 4)).astype(dtype),
        "layer.bias": rng.normal(size=3).astype(dtype),
        "scale": np.array(rng.normal(), dtype),
    }


def assert_close(ours: Any, theirs: Any, tolerance: float = 1e-12) -> None:
    for name, array in theirs.items():
        np.testing.assert_allclose(ours[name], array, tolerance, tolerance, err_msg=name)
