"""A scene for a test to spoil, and the check that a step refuses it and writes nothing."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
from cases import Case, all_of

import fastopt


def scene(case: Case) -> tuple[dict, dict, Any]:
    """Return good params, grads and state for a test to spoil."""
    params = {"w": np.full((3, 4), 0.5), "b": [np.full(4, 0.25), np.float32([[1.0]])]}
    grads = {"w": np.full((3, 4), 1.5), "b": [np.full(4, 2.25), np.float32([[3.0]])]}
    return params, grads, case.new_state(params)


def snapshot(*trees: Any) -> list[bytes]:
    """Return the bytes of every array, and what every Dropout has counted."""
    found = []

    def visit(node: Any) -> None:
        if isinstance(node, dict):
            for child in node.values():
                visit(child)
        elif isinstance(node, (list, tuple)) and len(node) < 100:
            for child in node:
                visit(child)
        elif isinstance(node, np.ndarray):
            found.append(np.asarray(node).tobytes())
        elif isinstance(node, fastopt.Dropout):
            found.append(repr(node).encode())

    for tree in trees:
        visit(tree)
    return found


def check_nothing_written(
    call: Callable[[], Any], inputs: list[Any], error: type[Exception], message: str
) -> None:
    before = snapshot(*inputs)
    with pytest.raises(error, match=message) as caught:
        call()
    assert "fastopt" not in str(caught.value), "no C++ type signatures"
    assert snapshot(*inputs) == before, "something was written"


def check_refused(
    case: Case,
    params: Any,
    grads: Any,
    state: Any,
    error: type[Exception],
    message: str,
    **more: Any,
) -> None:
    step = getattr(state, "step", None)
    check_nothing_written(
        lambda: case.step(params, grads, state, **more),
        [params, grads, *all_of(state), *more.values()],
        error,
        rf"^{case.rule}_step: {message}",
    )
    assert getattr(state, "step", None) == step, "the step was counted"
