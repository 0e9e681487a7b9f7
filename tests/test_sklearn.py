"""The networks of scikit-learn train on fastopt to the same weights."""

from __future__ import annotations

import copy
import inspect
import pickle
from functools import partial
from typing import Any

import numpy as np
import pytest
from cases import assert_same_bits

import fastopt

theirs = pytest.importorskip("sklearn.neural_network")
base = pytest.importorskip("sklearn.base")
checks = pytest.importorskip("sklearn.utils.estimator_checks")

from fastopt import sklearn as ours  # noqa: E402

pytestmark = [
    pytest.mark.filterwarnings("ignore::sklearn.exceptions.ConvergenceWarning"),
    # Of theirs, where examples have weights that are float64.
    pytest.mark.filterwarnings("ignore::RuntimeWarning"),
]

SETTINGS: list[dict[str, Any]] = [
    {},
    {"beta_1": 0.5, "beta_2": 0.9, "epsilon": 1e-3, "learning_rate_init": 0.01},
    {"learning_rate": "adaptive"},  # which their Adam does not look at
    {"activation": "tanh", "alpha": 0.5, "batch_size": 13},
    {"solver": "sgd", "learning_rate_init": 0.1},
    {"solver": "sgd", "momentum": 0.0},
    {"solver": "sgd", "momentum": 0.5, "nesterovs_momentum": False},
    {"solver": "sgd", "learning_rate": "invscaling", "learning_rate_init": 0.5, "power_t": 0.3},
    {"solver": "sgd", "learning_rate": "adaptive", "learning_rate_init": 0.5, "tol": 0.05},
    {"early_stopping": True, "n_iter_no_change": 1},
    {"solver": "sgd", "early_stopping": True, "n_iter_no_change": 1, "learning_rate": "adaptive"},
    {"solver": "lbfgs"},
    {"warm_start": True},
]


def data(kind: str, dtype: type = np.float64) -> tuple[Any, Any]:
    rng = np.random.default_rng(0)
    x = rng.standard_normal((90, 6))
    if kind == "MLPRegressor":
        return x.astype(dtype), (np.sin(x[:, 0]) + x[:, 1]).astype(dtype)
    return x.astype(dtype), (x[:, 0] + x[:, 1] ** 2 > 0.5).astype(int) + (x[:, 2] > 1)


def weights(network: Any) -> list[Any]:
    return network.coefs_ + network.intercepts_


def assert_same_training(network: Any, expected: Any, tolerance: float = 1e-12) -> None:
    for array, wanted in zip(weights(network), weights(expected), strict=True):
        assert array.dtype == wanted.dtype
        np.testing.assert_allclose(array, wanted, rtol=tolerance, atol=tolerance)
    assert network.n_iter_ == expected.n_iter_
    if expected.solver != "lbfgs":
        np.testing.assert_allclose(network.loss_curve_, expected.loss_curve_, rtol=1e-6)


@pytest.mark.parametrize("kind", ["MLPClassifier", "MLPRegressor"])
@pytest.mark.parametrize("settings", SETTINGS, ids=str)
def test_the_same_weights(kind: str, settings: dict[str, Any]) -> None:
    x, y = data(kind)
    options = {"hidden_layer_sizes": (7, 5), "max_iter": 25, "random_state": 1} | settings
    expected, network = (getattr(module, kind)(**options) for module in (theirs, ours))
    for _ in range(2):
        expected.fit(x, y)
        network.fit(x, y)
        assert_same_training(network, expected)
    np.testing.assert_allclose(network.predict(x), expected.predict(x), rtol=1e-9)
    if network.solver != "lbfgs":
        assert isinstance(network._optimizer.optimizer, (fastopt.Adam, fastopt.Momentum))
        if network.solver == "sgd":
            assert network._optimizer.learning_rate == expected._optimizer.learning_rate


@pytest.mark.parametrize("solver", ["adam", "sgd"])
@pytest.mark.parametrize("weighted", [False, True])
def test_float32(solver: str, weighted: bool) -> None:
    x, y = data("MLPClassifier", np.float32)
    options = {"solver": solver, "max_iter": 5, "random_state": 1}
    given = [np.linspace(0.5, 2, len(x))] if weighted else []
    expected = theirs.MLPClassifier(**options).fit(x, y, *given)
    network = ours.MLPClassifier(**options).fit(x, y, *given)
    assert_same_training(network, expected, 1e-5)


@pytest.mark.parametrize("solver", ["adam", "sgd"])
def test_partial_fit(solver: str) -> None:
    """Also after the weights were replaced, after pickling and in a copy."""
    x, y = data("MLPClassifier")
    options = {"solver": solver, "random_state": 1, "learning_rate": "invscaling"}
    both = [getattr(module, "MLPClassifier")(**options) for module in (theirs, ours)]  # noqa: B009
    for turn in range(6):
        for i, network in enumerate(both):
            network.partial_fit(x, y, classes=np.unique(y))
            if turn == 2:
                network.coefs_ = [array * 0.5 for array in network.coefs_]
            if turn == 3:
                both[i] = pickle.loads(pickle.dumps(network))
            if turn == 4:
                both[i] = copy.deepcopy(network)
                network.coefs_[0][...] = np.nan  # of the copy nothing changes
        assert_same_training(both[1], both[0])
    assert both[1]._optimizer.optimizer.step_count == 6
    assert both[1]._optimizer.optimizer.params["coefs"][0] is both[1].coefs_[0]


def test_the_interface_of_the_parents() -> None:
    for kind in "MLPClassifier", "MLPRegressor":
        network, parent = getattr(ours, kind), getattr(theirs, kind)
        own = dict(inspect.signature(network).parameters)
        assert own.pop("optimizer").default is None
        assert own == dict(inspect.signature(parent).parameters)
        assert issubclass(network, parent)
        made = network((3,), optimizer="sgd", alpha=0.25)
        assert made.get_params() == parent((3,), alpha=0.25).get_params() | {"optimizer": "sgd"}
        assert base.clone(made).get_params() == made.get_params()
        assert "optimizer='sgd'" in repr(made)


@pytest.mark.parametrize("optimizer", [None, "adamw"])
@pytest.mark.parametrize("kind", ["MLPClassifier", "MLPRegressor"])
def test_estimator_checks(kind: str, optimizer: str | None) -> None:
    network = getattr(ours, kind)(max_iter=100, optimizer=optimizer)
    for check in checks.check_estimator(network, on_skip=None):
        assert check["status"] != "failed"


# Optimizers of one's choice


def test_every_rule_by_name() -> None:
    x, y = data("MLPClassifier")
    for name in ("adam", "adamw", "momentum", "rmsprop", "sgd"):
        made = ours.MLPClassifier(
            optimizer=name, learning_rate_init=0.01, max_iter=3, random_state=1
        ).fit(x, y)
        optimizer = made._optimizer.optimizer
        assert type(optimizer).__name__.lower() == name
        assert optimizer.groups[0]["lr"] == 0.01


def test_a_factory() -> None:
    x, y = data("MLPClassifier")
    decay = partial(fastopt.AdamW, lr=0.02, weight_decay=0.1, clip_norm=1.0)
    network = ours.MLPClassifier(optimizer=decay, max_iter=4, random_state=1, batch_size=len(x))
    network.fit(x, y)
    expected = theirs.MLPClassifier(max_iter=1, random_state=1, batch_size=len(x))
    expected.fit(x, y)
    optimizer = network._optimizer.optimizer
    assert (type(optimizer), optimizer.step_count) == (fastopt.AdamW, 4)
    assert optimizer.options["clip_norm"] == 1.0
    assert base.clone(network).optimizer.keywords == decay.keywords

    def scheduled(params: Any) -> fastopt.SGD:
        return fastopt.SGD(params, lr=fastopt.schedules.Cosine(0.1, steps=4))

    again = ours.MLPClassifier(optimizer=scheduled, max_iter=4, batch_size=len(x)).fit(x, y)
    assert again._optimizer.learning_rate == 0.0


def few_weights(arrays: Any) -> fastopt.Adam:
    groups = fastopt.groups(arrays, {"coefs.*": {"l1_prox": 0.1}})
    return fastopt.Adam(groups, lr=0.01)


@pytest.mark.parametrize(
    "factory",
    [few_weights, partial(fastopt.Adam, lr=0.01, l1_prox={"coefs": 0.1, "intercepts": 0.0})],
    ids=["groups", "tree"],
)
def test_weights_and_intercepts_have_names(factory: Any) -> None:
    """As in the documentation: proximal L1 makes zeros of weights, and of no intercept."""
    x, y = data("MLPRegressor")
    network = ours.MLPRegressor(optimizer=factory, alpha=0.0, max_iter=50, random_state=1)
    network.fit(x, y)
    zeros = [float(np.mean(array == 0)) for array in weights(network)]
    assert min(zeros[:2]) > 0.1
    assert max(zeros[2:]) == 0


def test_learning_rates_for_every_rule() -> None:
    x, y = data("MLPClassifier")
    options: dict[str, Any] = {"optimizer": "rmsprop", "batch_size": len(x), "random_state": 1}
    network = ours.MLPClassifier(learning_rate="invscaling", max_iter=3, **options).fit(x, y)
    assert network._optimizer.learning_rate == 0.001 / (3 * len(x) + 1) ** 0.5
    network = ours.MLPClassifier(
        learning_rate="adaptive", tol=10.0, n_iter_no_change=1, max_iter=5, **options
    ).fit(x, y)
    assert network._optimizer.learning_rate == 0.001 / 5 / 5
    with pytest.raises(ValueError, match="needs an optimizer with one number as lr"):
        ours.MLPClassifier(
            learning_rate="adaptive",
            optimizer=lambda params: fastopt.SGD(params, lr=fastopt.schedules.Cosine(1, steps=9)),
        ).fit(x, y)


@pytest.mark.parametrize(
    ("options", "error", "message"),
    [
        ({"optimizer": "adagrda"}, ValueError, "The 'optimizer' parameter of MLPClassifier"),
        ({"optimizer": 3}, ValueError, "The 'optimizer' parameter of MLPClassifier"),
        (
            {"optimizer": lambda params: params},
            TypeError,
            "MLPClassifier: optimizer must make an optimizer of fastopt from a tree of arrays",
        ),
        (
            {"optimizer": "adam", "solver": "lbfgs"},
            ValueError,
            "MLPClassifier: optimizer= needs solver 'adam' or 'sgd', it is 'lbfgs'",
        ),
    ],
    ids=["unknown name", "number", "wrong factory", "lbfgs"],
)
def test_what_is_refused(options: dict[str, Any], error: type[Exception], message: str) -> None:
    with pytest.raises(error, match=message):
        ours.MLPClassifier(**options).fit(*data("MLPClassifier"))


def test_arrays_that_joblib_maps_predict(tmp_path: Any) -> None:
    joblib = pytest.importorskip("joblib")
    x, y = data("MLPClassifier")
    network = ours.MLPClassifier(max_iter=3, random_state=1).fit(x, y)
    joblib.dump(network, tmp_path / "network")
    mapped = joblib.load(tmp_path / "network", mmap_mode="r")
    np.testing.assert_array_equal(mapped.predict_proba(x), network.predict_proba(x))
    with pytest.raises(ValueError, match=r"params\['coefs'\]\[0\] is read-only"):
        mapped.partial_fit(x, y)
    mapped.coefs_, mapped.intercepts_ = network.coefs_, network.intercepts_
    mapped.partial_fit(x, y)
    assert mapped._optimizer.optimizer.step_count == 4


def test_grid_search_in_two_processes() -> None:
    search = pytest.importorskip("sklearn.model_selection").GridSearchCV
    x, y = data("MLPClassifier")
    grid = {"optimizer": [None, "rmsprop", partial(fastopt.AdamW, lr=0.01)], "alpha": [0.0, 0.1]}
    network = ours.MLPClassifier((4,), max_iter=10, random_state=1)
    alone, shared = (search(network, grid, cv=2, n_jobs=n).fit(x, y) for n in (1, 2))
    np.testing.assert_array_equal(
        alone.cv_results_["mean_test_score"], shared.cv_results_["mean_test_score"]
    )
    assert_same_bits(weights(alone.best_estimator_), weights(shared.best_estimator_))
