"""The page that compares all rules on two problems has all of them, and its problems are right."""

from __future__ import annotations

import importlib.util
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import fastopt
from fastopt.rules import RULES

DOCS = Path(__file__).parents[1] / "docs"
pytest.importorskip("matplotlib")
pytestmark = pytest.mark.skipif(
    not (DOCS / "draw_choosing.py").is_file(), reason="the tests do not stand in the repository"
)


@pytest.fixture(scope="module")
def program() -> Any:
    spec = importlib.util.spec_from_file_location("draw_choosing", DOCS / "draw_choosing.py")
    assert spec
    assert spec.loader
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def test_every_rule_has_a_line_and_a_row(program: Any) -> None:
    made = [make(np.ones(3), lr=0.1) for make, _ in program.OPTIMIZERS.values()]
    assert {opt.rule for opt in made} == set(RULES)
    page = (DOCS / "choosing.md").read_text()
    for name in program.OPTIMIZERS:
        assert f"\n| {name} |" in page
    assert (DOCS / "choosing.png").stat().st_size < 150_000


def test_the_valley(program: Any) -> None:
    """Gradient descent divides the part along curvature h by (1 - lr*h)**2 in each step."""
    run = program.valley(fastopt.SGD, 1.5)
    h = np.geomspace(1 / program.CONDITION, 1, program.DIMENSIONS)
    steps = np.arange(program.STEPS)[:, None]
    expected = np.mean((1 - 1.5 * h) ** (2 * steps), axis=1)
    np.testing.assert_allclose(run.losses, expected, rtol=1e-6, atol=1e-12)


def test_the_best_rate_is_that_of_the_least_loss(program: Any) -> None:
    losses = {1.0: 0.5, 3.0: 0.25, 10.0: np.nan}
    run = program.best(lambda lr: program.Run(lr, [1.0, losses.get(lr, np.inf)]))
    assert (run.lr, run.losses[-1]) == (3.0, 0.25)
