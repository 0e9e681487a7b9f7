"""Models of thinc and spaCy train on fastopt as on thinc's own optimizer."""

from __future__ import annotations

import copy
import itertools
import pickle
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest

theirs = pytest.importorskip("thinc.optimizers")
api = pytest.importorskip("thinc.api")

from fastopt import thinc as ours  # noqa: E402

HAS_SCHEDULES = hasattr(theirs.Optimizer, "step")  # thinc 9
SHAPES = [(3, 4), (7,), (1,), (2, 3, 5), (0, 4)]

# Of float32: thinc rounds in another order, and its BLAS in one of its own.
CLOSE: dict[str, float] = {"rtol": 2e-5, "atol": 2e-5}


def updates(
    optimizers: list[Any],
    steps: int = 12,
    shapes: list[tuple[int, ...]] = SHAPES,
    between: Callable[[int, Any], Any] = lambda step, optimizer: optimizer,
) -> list[dict[Any, Any]]:
    """Return the weights of each, by key, after `optimizers` have had the same gradients."""
    rng = np.random.default_rng(1)
    keys = {(i % 2, f"W{i}"): rng.standard_normal(s).astype("f") for i, s in enumerate(shapes)}
    weights = [{key: array.copy() for key, array in keys.items()} for _ in optimizers]
    for step in range(steps):
        for i, (key, start) in enumerate(keys.items()):
            if (step + i) % 5 == 4:  # keys are updated unequally often
                continue
            gradient = (3 * rng.standard_normal(start.shape)).astype("f")
            for own, optimizer in zip(weights, optimizers, strict=True):
                given = gradient.copy()
                result = optimizer(key, own[key], given, lr_scale=1 + step % 3)
                assert isinstance(result, tuple)
                own[key] = result[0]
                assert not result[1].any()
                assert not given.any()
        for optimizer in optimizers:
            optimizer.step_schedules()
            if HAS_SCHEDULES:
                optimizer.last_score = step / 2
        optimizers[:] = [between(step, optimizer) for optimizer in optimizers]
    return weights


def assert_close(actual: Any, wanted: Any) -> None:
    assert list(actual) == list(wanted)
    for key, array in wanted.items():
        assert actual[key].shape == array.shape
        assert actual[key].dtype == array.dtype
        np.testing.assert_allclose(actual[key], array, **CLOSE)


def assert_same_optimizers(optimizer: Any, expected: Any) -> None:
    assert dict(optimizer.nr_update) == dict(expected.nr_update)
    for name in "mom1", "mom2":
        assert_close(getattr(optimizer, name), getattr(expected, name))
    if expected.averages is None:
        assert optimizer.averages is None
    else:
        assert_close(optimizer.averages, expected.averages)


def numbers(optimizer: Any) -> list[float]:
    """Return the options of this step, whichever way the version of thinc has them."""
    found = [
        getattr(optimizer, name) for name in ("learn_rate", "b1", "b2", "eps", "L2", "grad_clip")
    ]
    return [value(optimizer.step) for value in found] if HAS_SCHEDULES else found


@pytest.mark.parametrize("decay", [True, False], ids=["decay", "penalty"])
@pytest.mark.parametrize("averages", [True, False], ids=["averages", "none"])
@pytest.mark.parametrize("clip", [0, 0.5, 5.0, 1e3])
@pytest.mark.parametrize("radam", [True, False], ids=["radam", "adam"])
@pytest.mark.parametrize("betas", [(0.9, 0.999), (0.5, 0.7), (0.0, 0.0), (0.9, 0.0)], ids=str)
def test_every_option(
    betas: tuple[float, float], radam: bool, clip: float, averages: bool, decay: bool
) -> None:
    for penalty, eps in (0.0, 1e-8), (0.1, 1e-2):
        both = [
            module.Optimizer(
                0.01,
                L2=penalty,
                beta1=betas[0],
                beta2=betas[1],
                eps=eps,
                grad_clip=clip,
                use_averages=averages,
                use_radam=radam,
                L2_is_weight_decay=decay,
            )
            for module in (theirs, ours)
        ]
        expected, weights = updates(both)
        assert_close(weights, expected)
        assert_same_optimizers(both[1], both[0])
        assert type(both[1]) is ours.Optimizer


SCHEDULES: dict[str, Callable[[], Any]] = {
    "learn_rate": lambda: api.warmup_linear(0.05, 3, 20),
    "L2": lambda: [0.0, 0.1, 0.2],
    "beta1": lambda: (0.9 / (1 + t) for t in itertools.count()),
    "beta2": lambda: [0.9, 0.99],
    "eps": lambda: (1e-3 * 2.0**t for t in range(4)),
    "grad_clip": lambda: [0.5, 0.0, 5.0, 1e3],
}


@pytest.mark.parametrize("names", [*([name] for name in SCHEDULES), [*SCHEDULES]], ids=",".join)
@pytest.mark.parametrize("decay", [True, False], ids=["decay", "penalty"])
def test_schedules(names: list[str], decay: bool) -> None:
    def make(module: Any) -> Any:
        options = {name: SCHEDULES[name]() for name in names}
        return module.Adam(**({"L2": 0.1} | options), L2_is_weight_decay=decay)

    both = [make(module) for module in (theirs, ours)]
    expected, weights = updates(both)
    assert_close(weights, expected)
    assert_same_optimizers(both[1], both[0])
    assert numbers(both[1]) == numbers(both[0])


@pytest.mark.skipif(not HAS_SCHEDULES, reason="thinc 8 has generators")
def test_schedules_know_key_and_score() -> None:
    seen: list[list[Any]] = []

    def rate(schedule: Any, step: int, *, key: Any, last_score: Any) -> float:
        seen[-1].append((step, key, last_score))
        return 0.01 * (1 + key[0]) / (1 + (last_score or (0, 0))[1])

    weights = []
    for module in theirs, ours:
        seen.append([])
        optimizer = module.Adam(api.Schedule("own", rate))
        weights += updates([optimizer])
        assert optimizer.last_score == (12, 5.5)
        assert optimizer.step == 12
    assert_close(weights[1], weights[0])
    assert seen[1] == list(dict.fromkeys(seen[0]))  # once in each update


def test_options_change_between_updates() -> None:
    if HAS_SCHEDULES:
        values = {"learn_rate": api.constant(0.1), "L2": api.constant(0.2)}
    else:
        values = {"learn_rate": 0.1, "L2": 0.2}

    def between(step: int, optimizer: Any) -> Any:
        if step == 4:
            for name, value in values.items():
                setattr(optimizer, name, value)
            optimizer.averages = {}
        if step == 7:
            optimizer.L2_is_weight_decay = False
            optimizer.averages = None
        return optimizer

    both = [module.Adam(0.01) for module in (theirs, ours)]
    expected, weights = updates(both, between=between)
    assert_close(weights, expected)
    assert_same_optimizers(both[1], both[0])


@pytest.mark.parametrize("dup", [copy.deepcopy, copy.copy, lambda o: pickle.loads(pickle.dumps(o))])
def test_copies_go_on(dup: Callable[[Any], Any]) -> None:
    def between(step: int, optimizer: Any) -> Any:
        if step != 5:
            return optimizer
        other = dup(optimizer)
        if dup is not copy.copy:
            for array in optimizer.mom1.values():
                array.fill(np.nan)  # of the copy nothing changes
        return other

    both = [module.Adam(0.01, L2=0.1) for module in (theirs, ours)]
    expected, weights = updates(both, between=between)
    assert_close(weights, expected)
    assert_same_optimizers(both[1], both[0])
    size = len(pickle.dumps(both[0]))
    assert size <= len(pickle.dumps(both[1])) < size + 200  # no array is in it twice


def strided(array: Any) -> Any:
    return np.repeat(array, 2, axis=-1)[..., ::2]


@pytest.mark.parametrize(
    "names", [["mom1"], ["mom2"], ["averages"], ["mom1", "mom2"]], ids=",".join
)
@pytest.mark.parametrize("exchange", [np.copy, np.zeros_like, strided, None])
def test_moments_and_averages_may_be_replaced(exchange: Any, names: list[str]) -> None:
    def between(step: int, optimizer: Any) -> Any:
        for name in names if step in (4, 8) else []:
            arrays = getattr(optimizer, name)
            if exchange is None:
                del arrays[0, "W0"]
            elif exchange is not strided or type(optimizer) is ours.Optimizer:
                arrays[0, "W0"] = exchange(
                    arrays[0, "W0"]
                )  # of strided ones, thinc takes wrong elements
        return optimizer

    both = [module.Adam(0.01) for module in (theirs, ours)]
    expected, weights = updates(both, between=between, shapes=SHAPES[:1])
    assert_close(weights, expected)
    assert_same_optimizers(both[1], both[0])


def test_weights_may_be_others() -> None:
    """Also of another shape with as many elements; of another size, the moments do not fit."""
    optimizer, expected = ours.Adam(0.1), theirs.Adam(0.1)
    for shape in (2, 3), (2, 3), (3, 2), (6,):
        for one in optimizer, expected:
            if one.averages:
                one.averages.clear()
            one((0, "W"), np.ones(shape, "f"), np.ones(shape, "f"))
    assert_same_optimizers(optimizer, expected)
    weights, gradient = np.ones(7, "f"), np.ones(7, "f")
    with pytest.raises(
        ValueError, match=r"\(0, 'W'\): mom1 has shape \(6,\), the weights have 7 elements"
    ):
        optimizer((0, "W"), weights, gradient)
    assert (weights == 1).all()
    assert (gradient == 1).all()
    assert optimizer.nr_update[0, "W"] == 4


@pytest.mark.parametrize("layout", [np.asfortranarray, strided])
def test_weights_that_are_not_contiguous_change_in_place(layout: Callable[[Any], Any]) -> None:
    """thinc returns copies of the first, and takes wrong elements of the second."""
    optimizer, expected = ours.Adam(0.1, L2=0.1), theirs.Adam(0.1, L2=0.1)
    wanted = np.arange(12, dtype="f").reshape(3, 4)
    weights = layout(wanted.copy())
    for _ in range(3):
        gradient = np.linspace(-1, 1, 12, dtype="f").reshape(3, 4)
        assert optimizer((0, "W"), weights, layout(gradient))[0] is weights
        expected((0, "W"), wanted, gradient)
    np.testing.assert_allclose(weights, wanted, **CLOSE)
    assert_same_optimizers(optimizer, expected)


@pytest.mark.filterwarnings("ignore::RuntimeWarning")  # of theirs
@pytest.mark.parametrize("bad", [np.inf, np.nan])
@pytest.mark.parametrize("decay", [True, False])
def test_gradients_that_are_not_finite(bad: float, decay: bool) -> None:
    results = []
    for module in theirs, ours:
        weights, gradient = np.ones(3, "f"), np.array([1, bad, 3], "f")
        module.Adam(0.1, L2=0.1, L2_is_weight_decay=decay)((0, "W"), weights, gradient)
        results.append(weights)
    np.testing.assert_allclose(results[1], results[0], **CLOSE)


def test_other_arrays_go_their_own_way(monkeypatch: pytest.MonkeyPatch) -> None:
    results = []
    for module in theirs, ours:
        weights, gradient = np.ones(4), np.arange(4.0)  # float64, which thinc's SGD takes
        module.SGD(0.1, L2=0.1)((0, "W"), weights, gradient, lr_scale=0.5)
        results.append(weights)
    np.testing.assert_array_equal(*results)

    class Array:  # as CuPy's
        pass

    calls = []
    monkeypatch.setattr(
        theirs.Optimizer, "__call__", lambda *given, lr_scale: calls.append((*given, lr_scale))
    )
    optimizer, weights, gradient = ours.Adam(), Array(), Array()
    optimizer(7, weights, gradient, lr_scale=0.5)
    assert calls == [(optimizer, 7, weights, gradient, 0.5)]


def read_only(array: Any) -> Any:
    array.flags.writeable = False
    return array


@pytest.mark.parametrize("make", [ours.Adam, ours.SGD])
@pytest.mark.parametrize(
    ("weights", "gradient", "message"),
    [
        (read_only(np.ones(3, "f")), np.ones(3, "f"), r"\(0, 'W'\): .*params is read-only"),
        (np.ones(3, "f"), read_only(np.ones(3, "f")), r"\(0, 'W'\): .*grads is read-only"),
        (np.ones(3, "f"), np.ones(4, "f"), r"\(0, 'W'\): .*grads has shape \(4,\)"),
        (np.ones(3, "f"), np.ones(3), r"\(0, 'W'\): .*grads has dtype float64"),
    ],
    ids=["weights", "gradient", "shape", "dtype"],
)
def test_what_is_refused(make: Any, weights: Any, gradient: Any, message: str) -> None:
    optimizer = make(0.1)
    before = weights.copy(), gradient.copy()
    with pytest.raises((TypeError, ValueError), match=message):
        optimizer((0, "W"), weights, gradient)
    np.testing.assert_array_equal(weights, before[0])
    np.testing.assert_array_equal(gradient, before[1])
    assert optimizer.nr_update[0, "W"] == 0
    assert optimizer.averages == {}


def test_refused_options() -> None:
    optimizer = ours.Optimizer(0.1)
    with pytest.raises(AttributeError):
        optimizer.learning_rate = 0.1  # the class is locked, as theirs is
    with pytest.raises(TypeError, match="momentum"):
        ours.Adam(0.1, momentum=0.9)
    with pytest.raises(ValueError, match=r"\(0, 'W'\): adam_step: lr must be finite and >= 0"):
        ours.Adam(-0.1)((0, "W"), np.ones(2, "f"), np.ones(2, "f"))
