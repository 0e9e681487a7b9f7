"""ReduceOnPlateau: its rule, its state, and what it refuses."""

from __future__ import annotations

import copy
import json
import pickle
from typing import Any

import numpy as np
import pytest

from fastopt.schedules import Linear, ReduceOnPlateau

NAN, INF = float("nan"), float("inf")

# Options, metrics, and the value after each of them.
COURSES: list[tuple[dict[str, Any], list[float], list[float]]] = [
    ({"patience": 0}, [3, 2, 2, 2, 1], [8, 8, 4, 2, 2]),
    ({"patience": 1}, [3, 3, 3, 3, 3, 3], [8, 8, 4, 4, 2, 2]),
    ({"patience": 1}, [3, 3, 2, 2, 1, 1], [8] * 6),
    ({"patience": 0, "mode": "max"}, [3, 2, 2, 4, 5], [8, 4, 2, 2, 2]),
    ({"patience": 0, "cooldown": 2}, [3, 3, 3, 3, 3, 3], [8, 4, 4, 4, 2, 2]),
    ({"patience": 0, "min_value": 3}, [3, 3, 3, 3], [8, 4, 3, 3]),
    ({"patience": 0, "threshold": 0.5}, [4, 2, 1.9, 0.9], [8, 4, 4, 4]),
    ({"patience": 0, "threshold": 1, "threshold_mode": "abs"}, [4, 3, 2.9, 1], [8, 4, 4, 4]),
    ({"patience": 0, "threshold": 1, "mode": "max"}, [4, 8, 8.1, 20], [8, 4, 4, 4]),
    ({"patience": 0, "eps": 2}, [3, 3, 3, 3], [8, 4, 4, 4]),  # 4 to 2 is no more than eps
    ({"patience": 0, "factor": 0}, [3, 3, 3], [8, 0, 0]),
    ({"patience": 0}, [NAN, 3, NAN, 2, INF, -INF, 1], [4, 4, 2, 2, 1, 0.5, 0.5]),
]
STATE: dict[str, Any] = {
    "value": 0.05,
    "factor": 0.5,
    "patience": 3,
    "threshold": 0.01,
    "threshold_mode": "abs",
    "mode": "max",
    "cooldown": 4,
    "min_value": 0.001,
    "eps": 1e-9,
    "best": 0.75,
    "num_bad": 2,
    "cooldown_left": 1,
}


@pytest.mark.parametrize(("options", "metrics", "values"), COURSES)
def test_courses(options: dict[str, Any], metrics: list[float], values: list[float]) -> None:
    plateau = ReduceOnPlateau(8, **{"factor": 0.5, **options})
    before = plateau(0)
    for metric, value in zip(metrics, values, strict=True):
        assert plateau.update(metric) == (value < before)
        assert plateau(0) == plateau(10**6) == plateau.value == value
        before = value


def test_defaults() -> None:
    assert repr(ReduceOnPlateau(0.1)) == (
        "ReduceOnPlateau(value=0.1, factor=0.1, patience=10, threshold=0.0001, "
        "threshold_mode='rel', mode='min', cooldown=0, min_value=0.0, eps=1e-08, best=None, "
        "num_bad=0, cooldown_left=0)"
    )


def test_metrics_of_numpy() -> None:
    plateau = ReduceOnPlateau(0.1)
    for metric in (np.float16(3), np.float32(2), np.float64(1), np.int64(0), -1):
        plateau.update(metric)
        assert type(plateau.best) is float
        assert plateau.best == metric


@pytest.mark.parametrize("metric", ["3", None, True, [1.0], np.ones(1), 1j, 10**400])
def test_a_metric_that_is_refused_changes_nothing(metric: Any) -> None:
    plateau = ReduceOnPlateau(**STATE)
    with pytest.raises((TypeError, ValueError), match=r"^ReduceOnPlateau\.update: metric "):
        plateau.update(metric)
    assert plateau.state_dict() == STATE


def test_the_state_brings_all_back(rng: np.random.Generator) -> None:
    """Stopped and resumed anywhere, in any way, it goes on as if never stopped."""
    metrics = rng.standard_normal(60)
    whole = ReduceOnPlateau(0.1, factor=0.7, patience=1, cooldown=2, threshold_mode="abs")
    for metric in metrics:
        loaded = ReduceOnPlateau(3.0)
        loaded.load_state_dict(json.loads(json.dumps(whole.state_dict())))
        others = [
            loaded,
            ReduceOnPlateau(**whole.state_dict()),
            eval(repr(whole)),
            pickle.loads(pickle.dumps(whole)),
            copy.copy(whole),
            copy.deepcopy(whole),
        ]
        assert all(other == whole for other in others)
        reduced = whole.update(metric)
        for other in others:
            assert other.update(metric) == reduced
            assert other.state_dict() == whole.state_dict()
    assert whole.value < 0.01


def test_the_state_is_plain() -> None:
    plateau = ReduceOnPlateau(np.float32(0.5), patience=np.int8(3))
    plateau.cooldown = np.int64(2)
    plateau.update(np.float32(1))
    kinds = {float, int, str}
    assert {type(entry) for entry in plateau.state_dict().values()} == kinds
    assert ReduceOnPlateau(**STATE).state_dict() == STATE


WRONG: list[tuple[dict[str, Any], type[Exception], str]] = [
    ({"value": "x"}, TypeError, "value must be a number, not str"),
    ({"value": NAN}, ValueError, "value must be finite, it is nan"),
    ({"value": 0.0005}, ValueError, "value >= min_value must hold, they are 0.0005 and 0.001"),
    ({"factor": 1}, ValueError, "0 <= factor < 1 must hold, it is 1"),
    ({"factor": -0.1}, ValueError, "0 <= factor < 1 must hold, it is -0.1"),
    ({"patience": -1}, ValueError, "0 <= patience < 2**63 must hold, it is -1"),
    ({"patience": 1.0}, TypeError, "patience must be an int, not float"),
    ({"threshold": -1}, ValueError, "threshold >= 0 must hold, it is -1"),
    ({"threshold": INF}, ValueError, "threshold must be finite, it is inf"),
    ({"threshold_mode": "abc"}, ValueError, "threshold_mode must be 'rel' or 'abs', not 'abc'"),
    ({"mode": None}, ValueError, "mode must be 'min' or 'max', not None"),
    (
        {"mode": "min", "threshold_mode": "rel", "threshold": 1},
        ValueError,
        "threshold < 1 must hold with 'rel' and 'min', it is 1",
    ),
    ({"cooldown": None}, TypeError, "cooldown must be an int, not NoneType"),
    ({"min_value": -1}, ValueError, "min_value >= 0 must hold, it is -1"),
    ({"eps": -1}, ValueError, "eps >= 0 must hold, it is -1"),
    ({"best": INF}, ValueError, "best must be finite, it is inf"),
    ({"num_bad": -1}, ValueError, "0 <= num_bad < 2**63 must hold, it is -1"),
    ({"cooldown_left": True}, TypeError, "cooldown_left must be an int, not bool"),
]


@pytest.mark.parametrize(("wrong", "error", "message"), WRONG)
def test_refusals(wrong: dict[str, Any], error: type[Exception], message: str) -> None:
    """Whenever it gets in: at construction, from a state, or set on the way."""
    message = f"ReduceOnPlateau: {message}"
    with pytest.raises(error) as caught:
        ReduceOnPlateau(**STATE | wrong)
    assert str(caught.value) == message
    plateau = ReduceOnPlateau(0.3, num_bad=1)
    before = plateau.state_dict()
    with pytest.raises(error) as caught:
        plateau.load_state_dict(STATE | wrong)
    assert str(caught.value) == message
    assert plateau.state_dict() == before
    plateau = ReduceOnPlateau(**STATE)
    for name, setting in wrong.items():
        setattr(plateau, name, setting)
    for call in (lambda: plateau.update(1.0), lambda: plateau(0), plateau.state_dict):
        with pytest.raises(error) as caught:
            call()
        assert str(caught.value) == message
    assert (plateau.best, plateau.num_bad) == (
        wrong.get("best", STATE["best"]),
        wrong.get("num_bad", STATE["num_bad"]),
    )


@pytest.mark.parametrize(
    ("state", "error", "message"),
    [
        ({k: v for k, v in STATE.items() if k != "best"}, ValueError, "state has no 'best'"),
        (STATE | {"gamma": 1}, ValueError, "there is no 'gamma' in a ReduceOnPlateau"),
        ([1], TypeError, "state must be a dict, not list"),
    ],
)
def test_states_of_something_else(state: Any, error: type[Exception], message: str) -> None:
    plateau = ReduceOnPlateau(0.3)
    with pytest.raises(error) as caught:
        plateau.load_state_dict(state)
    assert str(caught.value) == f"ReduceOnPlateau.load_state_dict: {message}"
    assert plateau == ReduceOnPlateau(0.3)


def test_it_is_a_schedule() -> None:
    plateau = ReduceOnPlateau(0.5, factor=0.5, patience=0)
    ramp = Linear(0.0, 1.0, steps=10)
    for lr in (plateau * ramp, ramp * plateau):
        assert lr(4) == pytest.approx(0.4 * plateau.value)
    plateau.update(1.0)
    plateau.update(1.0)
    assert (plateau * ramp)(10) == 0.25
    with pytest.raises(TypeError):
        hash(plateau)  # it changes
