"""What pairs arrays with states by their places refuses those that stand in others."""

from __future__ import annotations

import copy
import pickle
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest

import fastopt


def two() -> tuple[dict[str, Any], dict[str, Any]]:
    return {"w": np.zeros(3), "b": np.zeros(3)}, {"w": np.ones(3), "b": None}


OTHER_PLACES: dict[str, Callable[[Any], Any]] = {
    "deepcopy": copy.deepcopy,
    "pickle": pickle.dumps,
    "accumulate": lambda opt: opt.accumulate([two()[1]]),
    "update_hessian": lambda opt: opt.update_hessian([two()[1]]),
    "add_group": lambda opt: opt.add_group({"params": {"c": np.ones(2)}}),
}


@pytest.mark.parametrize("name", OTHER_PLACES)
def test_arrays_in_other_places_are_refused(name: str) -> None:
    """By all that pairs them with states by their places; a step says so, too."""
    for change in ("order", "more", "shape"):
        params, grads = two()
        opt = fastopt.Sophia([{"params": params}])
        opt.step([grads])
        if change == "order":
            params["w"] = params.pop("w")
        elif change == "more":
            params["c"] = np.ones(2)
        else:
            params["w"] = np.zeros(4)
        before = repr(opt)
        with pytest.raises(ValueError, match=r"Sophia.*: (params has 3 arrays|0\.\w is another)"):
            OTHER_PLACES[name](opt)
        assert repr(opt) == before
        if change == "order":
            params["b"] = params.pop("b")
            OTHER_PLACES[name](opt)
